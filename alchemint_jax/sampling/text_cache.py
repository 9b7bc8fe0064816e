"""States of prompts kept on disk, so that a prompt seen before needs no text encoder at all.

cache = TextCache(fingerprint(directory / "text_encoder", "int8"))
ids, mask = tokenizer.encode(texts)
states = cache.states(ids, mask, lambda *tokens: encode_ids(*load_encoder(), *tokens))
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import jax
import ml_dtypes
import numpy as np
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from alchemint_jax.caches import cache_root
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.sampling.finite import TEXT, require_finite
from alchemint_jax.weights.finite import is_finite

_DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_OURS = re.compile(r"[0-9a-f]{64}(\.safetensors|\..*\.tmp)")
_SAMPLES, _SAMPLE = 256, 4096


def default_directory() -> Path | None:
    """Where prompts are kept unless told otherwise; None where there is no home directory."""
    root = cache_root()
    return root / "prompts" if root else None


def fingerprint(directory: str | os.PathLike, *how: str, moved: bool = False) -> str:
    """Names an encoder by its files without reading all of them, and by how it is run.

    Takes config.json, and of every safetensors file its name, size, time of change and 1 MiB of
    samples. A copy with a new time counts as another encoder: that costs one encoding.

    Args:
        directory: of the encoder (`text_encoder/`).
        how: whatever else changes its states, such as "int8" or "bfloat16".
        moved: leave out the times, so that copies on other machines count as the same.

    Raises:
        WeightsError: there are no safetensors, or a file cannot be read.
    """
    digest = hashlib.sha256(repr(how).encode())
    files = sorted(Path(directory).glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{directory} holds no *.safetensors")
    try:
        digest.update((Path(directory) / "config.json").read_bytes())
        for file in files:
            with open(file, "rb") as f:
                stat = os.fstat(f.fileno())
                times = () if moved else (stat.st_mtime_ns,)
                digest.update(repr((file.name, stat.st_size, *times)).encode())
                sample_file(digest, f)
    except OSError as e:
        raise WeightsError(f"cannot read the text encoder: {e}") from e
    return digest.hexdigest()


def sample_file(digest: Any, file: BinaryIO) -> None:
    """Adds 1 MiB of samples of an open file, from all over it, to a digest."""
    size = os.fstat(file.fileno()).st_size
    for i in range(_SAMPLES):
        file.seek(i * size // _SAMPLES)
        digest.update(file.read(_SAMPLE))


@dataclasses.dataclass(frozen=True)
class TextCache:
    """States of texts by the encoder and their token ids; the least recently used go first.

    Ids stand for text, tokenizer and length: whatever changes them changes the key. Files are
    written completely before they get their name, and one that does not match its checksum counts
    as absent, so that several processes may share a directory.

    Attributes:
        encoder: what `fingerprint` gives; states of another encoder are never returned.
        directory: made if absent; with None nothing is kept.
        limit: bytes that files may take together; a prompt of 100 tokens takes 1.6 MB (xxl).
        dtype: in which states are kept and returned, "float32" or "bfloat16".
    """

    encoder: str
    directory: Path | None = dataclasses.field(default_factory=default_directory)
    limit: int = 2**30
    dtype: str = "float32"

    def __post_init__(self):
        if self.dtype not in _DTYPES:
            raise ConfigError(
                f"TextCache.dtype is {self.dtype!r}; it must be one of {', '.join(_DTYPES)}"
            )

    def states(
        self,
        ids: Int[np.ndarray, "b l"],
        mask: Bool[np.ndarray, "b l"],
        encode: Callable[[np.ndarray, np.ndarray], np.ndarray | jax.Array],
    ) -> Float[np.ndarray, "b l d"]:
        """States of tokens, zero where padded.

        Args:
            ids: token ids.
            mask: true on tokens.
            encode: `(ids [n l], mask [n l]) -> states [n l d]`, called at most once, with those
                texts that are not in the cache. Load the encoder's weights in it, not before.

        Raises:
            NonFiniteError: new states are NaN or infinite somewhere; they are not kept. Where those
                on disk are, they count as absent.
        """
        keys = [self._key(*row) for row in zip(ids, mask, strict=True)]
        read = {key: self._read(key, int(row.sum())) for key, row in zip(keys, mask, strict=True)}
        known = {key: states for key, states in read.items() if states is not None}
        missing = [keys.index(key) for key in read if key not in known]
        if missing:
            fresh = np.asarray(encode(ids[missing], mask[missing])).astype(_DTYPES[self.dtype])
            require_finite(fresh, TEXT)
            new = {keys[i]: s[mask[i]] for i, s in zip(missing, fresh, strict=True)}
            self._write(new)
            known |= new
        found = [known[key] for key in keys]
        out = np.zeros((*ids.shape, found[0].shape[-1]), _DTYPES[self.dtype])
        for row, seen, states in zip(out, mask, found, strict=True):
            row[seen] = states
        return out

    def _key(self, ids: np.ndarray, mask: np.ndarray) -> str:
        digest = hashlib.sha256(repr((self.encoder, self.dtype)).encode())
        for part in (np.flatnonzero(mask), ids[mask]):
            digest.update(part.astype("<i4").tobytes())
        return digest.hexdigest()

    def _read(self, key: str, tokens: int) -> np.ndarray | None:
        if self.directory is None:
            return None
        file = self.directory / f"{key}.safetensors"
        try:
            with safe_open(file, framework="np") as f:
                states = f.get_tensor("states")
                intact = (f.metadata() or {}).get("sha256") == _checksum(states)
        except (OSError, SafetensorError):  # absent, unreadable or damaged: encoded again
            return None
        if not intact or states.dtype != _DTYPES[self.dtype] or states.shape[:-1] != (tokens,):
            return None
        if not is_finite(states):
            return None
        with contextlib.suppress(OSError):  # a directory that is read only serves as well
            os.utime(file)
        return states

    def _write(self, new: dict[str, np.ndarray]) -> None:
        if self.directory is None:
            _warn("there is no home directory; XDG_CACHE_HOME may name another place")
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for key, states in new.items():
                data = save({"states": states}, {"sha256": _checksum(states)})
                handle, temporary = tempfile.mkstemp(".tmp", f"{key}.", self.directory)
                try:
                    with open(handle, "wb") as f:
                        f.write(data)
                    os.replace(temporary, self.directory / f"{key}.safetensors")
                except OSError:
                    os.unlink(temporary)  # on a full disk above all
                    raise
            self._trim(self.directory)
        except OSError as e:
            _warn(str(e))

    def _trim(self, directory: Path) -> None:
        """Removes our oldest files beyond the limit, those that a crash left behind among them."""
        files = []
        for file in directory.iterdir():
            if _OURS.fullmatch(file.name):
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    files.append((file.stat().st_mtime_ns, file.stat().st_size, file))
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files):
            if total <= self.limit:
                return
            file.unlink(missing_ok=True)
            total -= size


def _warn(why: str) -> None:
    warnings.warn(f"prompts are not cached: {why}", stacklevel=4)


def _checksum(states: np.ndarray) -> str:
    return hashlib.sha256(states.tobytes()).hexdigest()
