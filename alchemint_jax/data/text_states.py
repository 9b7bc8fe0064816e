"""States of texts beside encoded clips, so that no step of training needs a text encoder.

    DIR/text/text-00000-of-00004.array_record

Every distinct text (by its tokens) is there once, as `states` float16 [n d] without padding;
records say which rows are theirs. Row 0 is the empty text, which stands in where a text is dropped
and in the gaps between events.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16

from alchemint_jax import places
from alchemint_jax.data import records
from alchemint_jax.errors import DataError
from alchemint_jax.progress import Progress

FOLDER = "text"
EMPTY = 0
"""The row of the empty text."""
_BATCH, _SHARD = 32, 1024


@dataclass(frozen=True)
class Lengths:
    """Tokens that are read of a caption, of a subject's word, and of an event's text."""

    caption: int
    word: int
    event: int


@dataclass(frozen=True)
class TextEncoder:
    """A model's text encoder, as encoding uses it.

    Attributes:
        identity: tells it, and how it is run, from others.
        tokenizer: of any length.
        states: `(ids [b l], mask [b l]) -> [b l d]`, zero where padded.
        dim: of the states.
        lengths: of texts, as the model reads them.
    """

    identity: str
    tokenizer: Any
    states: Any
    dim: int
    lengths: Lengths

    @classmethod
    def load(cls, model: Path | str, int8: bool = False) -> TextEncoder:
        """That of a model directory; its weights are read when the first text is encoded.

        Raises:
            WeightsError: it has none, or says nothing about its use.
        """
        from alchemint_jax import weights
        from alchemint_jax.sampling import settings
        from alchemint_jax.sampling.texts import Texts, encode_ids
        from alchemint_jax.sampling.wan_settings import wan_settings

        directory = weights.locate(model)
        weights.check_part(directory, "text_encoder")
        ours = (directory / settings.FILE).exists() or weights.check_model(directory) is None
        # What sizes there are says nothing about texts.
        chosen = settings.load(directory) if ours else wan_settings(directory, unit=16)
        texts = replace(Texts.load(directory, int8), cache=None)
        params = functools.cache(texts.params)
        return cls(
            identity=identify(directory, int8),
            tokenizer=texts.tokenizer,
            states=lambda ids, mask: encode_ids(texts.encoder, params(), ids, mask),
            dim=texts.encoder.config.dim,
            lengths=Lengths(chosen.text_length, chosen.tag_length, chosen.event_length),
        )

    def tokens(self, texts: Sequence[str], length: int) -> list[np.ndarray]:
        """Ids of texts, cut to a length, without padding."""
        ids, mask = replace(self.tokenizer, length=length).encode(list(texts))
        return [row[seen].astype(np.int32) for row, seen in zip(ids, mask, strict=True)]


def identify(directory: Path, int8: bool = False) -> str:
    """Tells the text encoder of a model directory from others, wherever it lies."""
    from alchemint_jax import weights
    from alchemint_jax.sampling.text_cache import fingerprint

    how = "int8" if int8 else "float32"
    return fingerprint(weights.component_folder(directory, "text_encoder"), how, moved=True)


@dataclass
class TextRows:
    """Which row each text of a dataset has, in the order in which they were first seen."""

    encoder: TextEncoder
    _rows: dict[bytes, int] = field(default_factory=dict)
    _tokens: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows([""], self.encoder.lengths.caption)

    def rows(self, texts: Sequence[str], length: int) -> list[int]:
        """The rows of texts, of which as many tokens as `length` are read."""
        found = []
        for ids in self.encoder.tokens(texts, length) if texts else []:
            key = hashlib.blake2b(ids.tobytes(), digest_size=16).digest()
            row = self._rows.setdefault(key, len(self._tokens))
            if row == len(self._tokens):
                self._tokens.append(ids)
            found.append(row)
        return found

    def write(self, directory: Path) -> dict[str, Any]:
        """Encodes what is not in the folder yet. Returns what the card of a dataset says of it.

        Raises:
            DataError: states are not finite in float16.
        """
        names, count = shard_names(FOLDER, len(self._tokens), _SHARD), len(self._tokens)
        with Progress(count, "encoding texts") as progress:
            for i, name in enumerate(names):
                path = directory / FOLDER / name
                part = self._tokens[i * _SHARD : (i + 1) * _SHARD]
                if not path.is_file():
                    records.write_shard(path, ({"states": one} for one in self._encode(part)))
                progress.update(min(count, (i + 1) * _SHARD))
        return {
            "encoder": self.encoder.identity,
            "dim": self.encoder.dim,
            "rows": count,
            "shard": _SHARD,
            "lengths": asdict(self.encoder.lengths),
        }

    def _encode(self, tokens: list[np.ndarray]) -> Any:
        for start in range(0, len(tokens), _BATCH):
            part = tokens[start : start + _BATCH]
            ids = np.zeros((_BATCH, max(map(len, part))), np.int32)
            mask = np.zeros(ids.shape, bool)
            for row, own in enumerate(part):
                ids[row, : len(own)], mask[row, : len(own)] = own, True
            mask[len(part) :, 0] = True  # rows that only fill the batch
            states = np.asarray(self.encoder.states(ids, mask), np.float32)
            for own, found in zip(part, states, strict=False):
                yield as_half(found[: len(own)], "the text encoder gave states")


def as_half(values: np.ndarray, what: str) -> np.ndarray:
    """Float16. Raises DataError, saying what they are, where they are not finite in it."""
    if not np.isfinite(values).all() or np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise DataError(f"{what} that are not finite in float16")
    return values.astype(np.float16)


class TextStates:
    """Random access to the states of a dataset."""

    def __init__(self, data_dir: Path | str, card: dict[str, Any]):
        folder = places.place(data_dir) / FOLDER
        names = shard_names(FOLDER, card["rows"], card["shard"])
        paths = [folder / name for name in names]
        if missing := places.absent(folder, names):
            raise DataError(f"{folder}: {missing[0]} is missing; encode the dataset again")
        self._source = records.ShardedSource(paths)
        self._dim = card["dim"]
        self.null = self._source[EMPTY]["states"]

    def padded(
        self, rows: Sequence[int], length: int
    ) -> tuple[Float16[np.ndarray, "n l d"], Bool[np.ndarray, "n l"]]:
        """States of texts, zero where padded, and where they are; a row below 0 is of no text."""
        out = np.zeros((len(rows), length, self._dim), np.float16)
        mask = np.zeros(out.shape[:2], bool)
        for i, row in enumerate(rows):
            if row >= 0:
                found = self.null if row == EMPTY else self._source[row]["states"]
                out[i, : len(found)], mask[i, : len(found)] = found, True
        return out, mask


def shard_names(split: str, count: int, shard: int) -> list[str]:
    """File names of so many records, with so many in a file."""
    total = -(-count // shard)
    return [f"{split}-{i:05d}-of-{total:05d}.array_record" for i in range(total)]
