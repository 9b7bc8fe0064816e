"""Text to token ids: cleaning, and the byte-level tokenizer of the sprites model.

Ids follow ByT5 (Xue et al. 2021): 0 pads, 1 ends a text, 2 is unused, and 3 + b is the UTF-8
byte b. No vocabulary file, no word unknown.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32

from alchemint_jax.errors import ConfigError

PAD = 0
EOS = 1
FIRST_BYTE = 3


def clean_text(text: str) -> str:
    """Undo HTML escapes (twice, as Wan does), compose characters (NFC), collapse white space."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    return " ".join(text.split())


@dataclass(frozen=True)
class ByteTokenizer:
    """Byte-level tokenizer of fixed length.

    Attributes:
        length: tokens per text, the end token included; at least 1.
    """

    length: int

    def __post_init__(self):
        if self.length < 1:
            raise ConfigError(
                f"ByteTokenizer.length is {self.length}; it must be at least 1, for the end token"
            )

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return FIRST_BYTE + 256

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Int32[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]:
        """Clean and tokenize `texts`: `(ids, mask)`, both `[len(texts), length]`.

        `mask` is true on a text's bytes and its end token. A text that is too long is cut
        between two characters and still ends with the end token.
        """
        if isinstance(texts, str):
            raise TypeError("encode takes a list of texts; for a single one, pass [text]")
        ids = np.full((len(texts), self.length), PAD, np.int32)
        for row, text in zip(ids, texts, strict=True):
            data = clean_text(text).encode("utf-8", "replace")[: self.length - 1]
            # Only the last character can be incomplete, and only because of the cut.
            data = data.decode("utf-8", "ignore").encode("utf-8")
            row[: len(data)] = np.frombuffer(data, np.uint8).astype(np.int32) + FIRST_BYTE
            row[len(data)] = EOS
        return ids, ids != PAD

    def decode(self, ids: Iterable) -> list[str]:
        """Texts of rows of ids (arrays or lists), each read up to its end token.

        Ids that are no byte are skipped.
        """
        texts = []
        for row in ids:
            data = bytearray()
            for i in map(int, row):
                if i == EOS:
                    break
                if FIRST_BYTE <= i < self.vocab_size:
                    data.append(i - FIRST_BYTE)
            texts.append(data.decode("utf-8", "replace"))
        return texts
