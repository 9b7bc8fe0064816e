"""Text to token ids: the bytes that the sprites model reads, and Wan2.1's vocabulary file.

Ids of bytes follow ByT5 (Xue et al. 2021): 0 pads, 1 ends a text, 2 is unused, and 3 + b is the
UTF-8 byte b. No vocabulary file is needed and no word is unknown.
"""

from __future__ import annotations

import dataclasses
import html
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.signatures import mistaken
from alchemint_jax.wording import occurrences

PAD = 0
EOS = 1
FIRST_BYTE = 3
FILE = "tokenizer.json"
_WANTED = f"a {FILE}"


def clean_text(text: str) -> str:
    """Undo HTML escapes (twice, as Wan does), compose characters (NFC), collapse white space."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    return " ".join(text.split())


def joined(parts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Cleaned texts behind one another, and where each of them is, in characters; an empty one is
    nowhere.
    """
    text, places = "", []
    for part in parts:
        text += " " if text and part else ""
        places.append((len(text), len(text) + len(part)))
        text += part
    return text, places


def clean_prompt(text: str) -> str:
    """Wan's cleaning: mend wrong decodings (ftfy), undo HTML escapes twice, collapse white space.

    Unlike `clean_text`, which the sprites model was trained with, characters that the escapes
    stood for are not composed afterwards.
    """
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def _cleaned(text: str, clean: Callable[[str], str]) -> str:
    """A text that stays as it is if it is cleaned: `encode` does so, too."""
    while (cleaner := clean(text)) != text:
        text = cleaner
    return text


@dataclasses.dataclass(frozen=True)
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

    def tokens_of(self, text: str, word: str) -> Bool[np.ndarray, " l"]:
        """Which tokens of `text`, as `encode` gives them, are of `word`, wherever it stands."""
        text = clean_text(text)
        return self._within(text, occurrences(text, clean_text(word)))

    def join(self, parts: Sequence[str]) -> tuple[str, Bool[np.ndarray, "p l"]]:
        """Texts as one, and which of its tokens are of each of them."""
        text, places = joined([_cleaned(part, clean_text) for part in parts])
        return text, np.stack([self._within(text, [place]) for place in places])

    def _within(self, text: str, places: Iterable[tuple[int, int]]) -> Bool[np.ndarray, " l"]:
        """Which tokens of a cleaned text are in [start, end) of its characters."""
        found = np.zeros(self.length, np.bool_)
        for start, end in places:
            before, after = (len(text[:i].encode("utf-8", "replace")) for i in (start, end))
            found[before:after] = True
        found[-1] = False  # at the most, the text ends there
        return found

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


@dataclasses.dataclass(frozen=True)
class UMT5Tokenizer:
    """The tokenizer of google/umt5-xxl, or another of its kind. Make one with `load`.

    `dataclasses.replace(tokenizer, length=n)` shares the vocabulary.

    Attributes:
        length: tokens per text, the end token included; at least 1. Wan reads 512.
        backend: the `tokenizers.Tokenizer`.
        end: id of the end token.
    """

    length: int
    backend: Any = dataclasses.field(repr=False)
    end: int

    def __post_init__(self):
        if self.length < 1:
            raise ConfigError(
                f"UMT5Tokenizer.length is {self.length}; it must be at least 1, for the end token"
            )

    @classmethod
    def load(cls, directory: str | os.PathLike, length: int = 512) -> UMT5Tokenizer:
        """Reads `tokenizer.json` from the `tokenizer/` directory of a model.

        The file alone decides normalisation, pieces and what becomes of unknown characters.

        Raises:
            WeightsError: the file is missing, corrupt, or describes another kind of tokenizer.
        """
        import tokenizers

        file = Path(directory) / FILE
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            what = mistaken(file, _WANTED, text=True) or f"is missing{_advice(file.parent)}"
            raise WeightsError(f"{file} {what}") from None
        except OSError as e:
            raise WeightsError(f"cannot read {file}: {e}") from e
        try:
            backend = tokenizers.Tokenizer.from_buffer(data)
        except Exception as e:  # the library raises nothing narrower
            what = mistaken(file, _WANTED, text=True) or f"is truncated or not {_WANTED}: {e}"
            raise WeightsError(f"{file} {what}") from e
        return cls(length, backend, _end_token(backend, file))

    @property
    def vocab_size(self) -> int:
        """Number of ids; the embedding may have more rows."""
        return self.backend.get_vocab_size()

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Int32[np.ndarray, "b l"], Bool[np.ndarray, "b l"]]:
        """Clean and tokenize `texts`: `(ids, mask)`, both `[len(texts), length]`.

        `mask` is true on a text's tokens and its end token; ids are 0 beyond. A text that is too
        long loses its last tokens and still ends with the end token.
        """
        if isinstance(texts, str):
            raise TypeError("encode takes a list of texts; for a single one, pass [text]")
        ids = np.full((len(texts), self.length), PAD, np.int32)
        mask = np.zeros(ids.shape, np.bool_)
        cleaned = [clean_prompt(text) for text in texts]
        pieces = self.backend.encode_batch(cleaned, add_special_tokens=False)
        for row, seen, piece in zip(ids, mask, pieces, strict=True):
            kept = [*piece.ids[: self.length - 1], self.end]
            row[: len(kept)] = kept
            seen[: len(kept)] = True
        return ids, mask

    def tokens_of(self, text: str, word: str) -> Bool[np.ndarray, " l"]:
        """Which tokens of `text`, as `encode` gives them, are of `word`, wherever it stands.

        A token that is of the word in part is of it.
        """
        text = clean_prompt(text)
        return self._within(text, occurrences(text, clean_prompt(word)))

    def join(self, parts: Sequence[str]) -> tuple[str, Bool[np.ndarray, "p l"]]:
        """Texts as one, and which of its tokens are of each of them."""
        text, places = joined([_cleaned(part, clean_prompt) for part in parts])
        return text, np.stack([self._within(text, [place]) for place in places])

    def _within(self, text: str, places: Iterable[tuple[int, int]]) -> Bool[np.ndarray, " l"]:
        """Which tokens of a cleaned text are in [start, end) of its characters, if in part."""
        offsets = self.backend.encode(text, add_special_tokens=False).offsets[: self.length - 1]
        found = np.zeros(self.length, np.bool_)
        for start, end in places:
            inside = [max(a, start) < min(b, end) for a, b in offsets]
            found[: len(offsets)] |= np.array(inside, np.bool_)
        return found


Tokenizer = ByteTokenizer | UMT5Tokenizer


def _end_token(backend: Any, file: Path) -> int:
    """The id that ends a text; refuses what is no tokenizer of T5's family."""
    problems = []
    kind = type(backend.model).__name__
    if kind != "Unigram":
        problems.append(f"its model is {kind}, not Unigram")
    if backend.token_to_id("<pad>") != PAD:
        problems.append(f"the id of <pad> is {backend.token_to_id('<pad>')}, not {PAD}")
    # Truncation and padding that were saved along would act on every text.
    backend.no_truncation()
    backend.no_padding()
    bare, ended = (backend.encode("a", add_special_tokens=end).ids for end in (False, True))
    if ended[:-1] != bare:
        problems.append("it does not put one end token after a text, and nothing else")
    if problems:
        raise WeightsError(f"{file} is not a tokenizer of UMT5's kind: {'; '.join(problems)}")
    return ended[-1]


def _advice(directory: Path) -> str:
    if not (directory / "spiece.model").is_file():
        return "; it is in tokenizer/ of a Wan2.1 *-Diffusers model"
    return (
        "; spiece.model alone cannot be read. Take tokenizer.json from google/umt5-xxl or from "
        "tokenizer/ of a Wan2.1 *-Diffusers model, or make it with the transformers library: "
        f"AutoTokenizer.from_pretrained({str(directory)!r}).save_pretrained({str(directory)!r})"
    )
