"""Tensors in safetensors files, one or several, read and written one at a time.

Only safetensors is read; pickles are refused, since loading one runs whatever code its author put
in. Nothing here ever holds more than one tensor (or one layer of a stacked one) besides what the
caller keeps.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from alchemint_jax.errors import NonFiniteError, WeightsError, listed
from alchemint_jax.places import local
from alchemint_jax.signatures import mistaken
from alchemint_jax.weights.finite import check, is_finite
from alchemint_jax.weights.tensors import (
    DTYPES,
    Box,
    Piece,
    Tensor,
    extent,
    rows_at_once,
    size,
)

PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle")
STEMS = ("model", "diffusion_pytorch_model")
"""Names of weight files without their ending: ours and transformers', and diffusers'."""
MAX_SHARD = 5 * 10**9
"""Bytes of tensors in one file; more are written as several with an index, as others do."""
_LARGEST = float(np.finfo(np.float32).max)
_SHOWN = 20  # offending tensors listed per kind


def find(folder: Path) -> list[Path]:
    """The weight files in `folder`; of a sharded network all that its index names.

    Raises:
        WeightsError: there are none, only pickles, or the index is damaged or not complete.
    """
    for stem in STEMS:
        index = folder / f"{stem}.safetensors.index.json"
        whole = folder / f"{stem}.safetensors"
        _check_links([index, whole])
        if index.is_file():
            return indexed(index)
        if whole.is_file():
            return [whole]
    if others := sorted(f.name for f in folder.glob("*.safetensors") if f.is_file()):
        names = " or ".join(f"{stem}.safetensors" for stem in STEMS)
        raise WeightsError(
            f"{folder} holds {', '.join(others[:5])}, but weights are looked for in {names} (or "
            "several parts and an index): rename the file, or give it alone"
        )
    raise WeightsError(
        f"{folder / 'model.safetensors'} is missing{pickle_advice(folder, folder.parent)}"
    )


def indexed(index: Path) -> list[Path]:
    """The files that the index of a sharded network names.

    Raises:
        WeightsError: the index is damaged, or a file is missing.
    """
    values = read_json(index)
    try:
        names = sorted(set(values["weight_map"].values()))
        files = [index.parent / name for name in names]
    except (KeyError, TypeError, AttributeError) as e:
        raise WeightsError(f"{index} is damaged: it must hold a 'weight_map' ({e})") from e
    strange = [name for name in names if Path(name).name != name or name in ("", ".", "..")]
    if strange:
        raise WeightsError(f"{index} names {strange[0]!r}, which does not lie beside it")
    _check_links(files)
    if absent := [file.name for file in files if not file.is_file()]:
        raise WeightsError(
            f"{index} names {', '.join(listed(absent))}, "
            f"which {'is' if len(absent) == 1 else 'are'} missing: fetch all {len(names)} parts"
        )
    return files


def _check_links(files: Iterable[Path]) -> None:
    """A link to nowhere is neither a file nor absent: another would be taken in its place."""
    for file in files:
        if file.is_symlink() and not file.exists():
            raise WeightsError(f"{file} {mistaken(file, 'a file')}")


def pickle_advice(*folders: Path) -> str:
    """What to do where safetensors was expected; it depends on whether pickles are there."""
    names = sorted(
        p.name for d in folders if d.is_dir() for p in d.iterdir() if p.suffix.lower() in PICKLES
    )
    if not names:
        return "; save the component with alchemint_jax.weights.save, or check the directory"
    return (
        f"; pickled weights ({', '.join(names[:3])}) are never loaded, since unpickling runs "
        "code from the file: fetch the safetensors version (for Wan the *-Diffusers repository)"
    )


def open_files(files: Iterable[Path]) -> dict[str, Tensor]:
    """All tensors in `files` by name; only the headers are read.

    Raises:
        WeightsError: a file is a pickle, truncated or no safetensors file, or two hold one name.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        if file.suffix.lower() in PICKLES:
            raise WeightsError(
                f"{file} may be a pickle, which is never loaded, since unpickling runs code from "
                "the file: fetch the safetensors version (for Wan the *-Diffusers repository)"
            )
        try:
            with safe_open(file, framework="np") as f:
                slices = {name: f.get_slice(name) for name in f.keys()}  # noqa: SIM118 (not a dict)
                for name, part in slices.items():
                    if name in found:
                        raise WeightsError(f"{file} holds {name}, and so does a file before it")
                    shape, dtype = tuple(part.get_shape()), part.get_dtype()
                    found[name] = Stored(file, name, shape, dtype)
        except (SafetensorError, OSError) as e:
            raise damaged(file, e) from e
    return found


class Stored(Tensor):
    """A tensor in a safetensors file: the only place where parameters are read."""

    def __init__(self, file: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
        super().__init__(shape, dtype, rows_at_once(shape, dtype))
        self.file, self.name = file, name

    def load(self, box: Box) -> np.ndarray:
        """A box, whose values are finite; WeightsError if they are not, or cannot be read."""
        # Opened again for every tensor: a file that stays open keeps all its pages mapped.
        try:
            with safe_open(self.file, framework="np") as f:
                if box == self.whole:
                    array = f.get_tensor(self.name)
                else:
                    array = f.get_slice(self.name)[tuple(slice(*bounds) for bounds in box)]
        except (SafetensorError, OSError) as e:
            raise damaged(self.file, e) from e
        # Whoever reads a tensor, for whatever purpose, reads it here.
        check(array, f"{self.file}: tensor {self.name}")
        return array

    def pieces(self, box: Box) -> list[Piece]:
        """The box itself."""
        count = math.prod(extent(box)) * DTYPES[self.dtype].itemsize
        return [Piece(self.file, self.name, box, count)]


def damaged(file: Path, error: Exception) -> WeightsError:
    """What to raise for a file that is no safetensors file: what it is instead, if that shows."""
    what = mistaken(file, "a safetensors file") or (
        f"is truncated or not a safetensors file ({error}); fetch or save it again"
    )
    return WeightsError(f"{file} {what}")


def read_json(file: Path) -> Any:
    """What a model's JSON file holds.

    Raises:
        FileNotFoundError: there is nothing of that name.
        WeightsError: it cannot be read, is something else, or holds a number that
            is NaN, infinite or too large for float32; that one is named by its field.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        if what := mistaken(file, "JSON", text=True):
            raise WeightsError(f"{file} {what}") from e
        raise
    except OSError as e:
        raise WeightsError(f"{file}: cannot be read: {e.strerror or e}") from e
    except UnicodeDecodeError as e:
        what = mistaken(file, "JSON", text=True) or f"is not valid JSON: {e}"
        raise WeightsError(f"{file} {what}") from e
    try:
        return parse_json(text, str(file))
    except WeightsError as e:
        if what := mistaken(file, "JSON", text=True):
            raise WeightsError(f"{file} {what}") from e
        raise


def parse_json(text: str, where: str) -> Any:
    """What JSON holds that was found at `where`; raises WeightsError as `read_json`."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise WeightsError(f"{where} is not valid JSON: {e}") from e
    for field, number in _numbers(values):
        if not abs(number) <= _LARGEST:  # NaN fails too
            raise WeightsError(
                f"{where}: {field} is {number!r}; a number must be finite, and one that float32 "
                "can hold"
            )
    return values


def _numbers(values: Any) -> Iterator[tuple[str, float]]:
    """All numbers in what JSON holds, and where they are."""
    left = [("", values)]
    while left:  # JSON may be nested deeply
        where, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{where}.{name}".lstrip("."), item) for name, item in value.items()]
        elif isinstance(value, list):
            left += [(f"{where}[{i}]", item) for i, item in enumerate(value)]
        elif isinstance(value, (int, float)):
            yield where, value


def compare(
    where: Path, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor], hint: str = ""
) -> None:
    """Checks that there is just what is wanted, in the right shapes.

    Raises:
        WeightsError: all that is missing, unexpected, misshapen or not floating point.
    """
    shared = [name for name in wanted if name in found]
    kinds = {
        "missing": [f"{n} {list(wanted[n])}" for n in wanted if n not in found],
        "unexpected": [f"{n} {list(found[n].shape)}" for n in found if n not in wanted],
        "of another shape": [
            f"{n}: file {list(found[n].shape)}, model {list(wanted[n])}"
            for n in shared
            if found[n].shape != tuple(wanted[n])
        ],
        "not floating point": [
            f"{n} {found[n].dtype}" for n in shared if found[n].dtype not in DTYPES
        ],
    }
    if not any(kinds.values()):
        return
    count = sum(math.prod(shape) for shape in wanted.values())
    lines = [f"{where} does not fit the model ({len(wanted)} tensors, {count} parameters):"]
    for kind, names in kinds.items():
        lines += listing(kind, names)
    lines.append(hint or "The file and config.json beside it must come from the same model.")
    raise WeightsError("\n".join(lines))


def listing(kind: str, names: Iterable[str]) -> list[str]:
    """Lines of an error that lists tensors of a kind; none where there are no such tensors."""
    names = sorted(names)
    if not names:
        return []
    return [f"  {len(names)} {kind}:", *(f"    {name}" for name in listed(names, _SHOWN))]


def write(
    folder: Path,
    stem: str,
    tensors: Mapping[str, Tensor],
    texts: Mapping[str, str],
    dtype: str | None = None,
    max_shard: int = MAX_SHARD,
    on_bytes: Callable[[int], None] = lambda more: None,
) -> None:
    """Writes a network into `folder`, tensor by tensor.

    Everything is written completely beside the folder and then renamed into it, the text files
    last, so that whatever fails, what was there before stays readable.

    Args:
        folder: made if absent; its other files stay as they are.
        stem: name of the weight file without its ending, one of `STEMS` or another.
        tensors: by name.
        texts: further files by name, such as config.json.
        dtype: key of `DTYPES` to store in; None keeps that of each tensor.
        max_shard: bytes per file; several files get an index.
        on_bytes: called with the size of each tensor once it is written.

    Raises:
        WeightsError: values do not fit the dtype, are NaN or infinite, or writing failed.
    """
    folder = local(folder)
    shards = _shards(tensors, dtype, max_shard)
    count = len(shards)
    names = [f"{stem}-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
    names = names if count > 1 else [f"{stem}.safetensors"]
    index = f"{stem}.safetensors.index.json"
    texts = dict(texts)
    if count > 1:
        weight_map = {
            name: file for file, shard in zip(names, shards, strict=True) for name in shard
        }
        total = sum(size(t, dtype) for t in tensors.values())
        texts[index] = json.dumps(
            {"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2
        )
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent)
        )
        for file, shard in zip(names, shards, strict=True):
            with open(temporary / file, "wb") as f:
                f.write(_header(shard, dtype))
                for name, tensor in shard.items():
                    for part in tensor.rows():
                        f.write(_stored(name, part, dtype or tensor.dtype).data)
                    on_bytes(size(tensor, dtype))
                f.flush()
                os.fsync(f.fileno())
        for file, text in texts.items():
            with open(temporary / file, "w", encoding="utf-8") as f:
                f.write(text)
                f.flush()
                os.fsync(f.fileno())
        for file in [*names, *texts]:
            os.replace(temporary / file, folder / file)
        whole = "config.json" in texts  # a network, and not a file beside others
        _remove_older(folder, STEMS if whole else (stem,), {*names, *texts})
    except OSError as e:
        raise WeightsError(f"cannot write weights to {folder}: {e}") from e
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _shards(
    tensors: Mapping[str, Tensor], dtype: str | None, max_shard: int
) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    held = 0
    for name, tensor in tensors.items():
        bytes_ = size(tensor, dtype)
        if shards[-1] and held + bytes_ > max_shard:
            shards.append({})
            held = 0
        shards[-1][name] = tensor
        held += bytes_
    return shards


def _header(shard: Mapping[str, Tensor], dtype: str | None) -> bytes:
    # "pt" is what other readers look for: tensors that torch, too, may load.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, tensor in shard.items():
        end = start + size(tensor, dtype)
        header[name] = {
            "dtype": dtype or tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _stored(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    wanted = DTYPES[dtype]
    check(array, f"parameter {name}")
    with np.errstate(over="ignore"):  # reported below
        stored = np.asarray(array, wanted, order="C")
    if not is_finite(stored):
        raise NonFiniteError(
            f"parameter {name} does not fit {wanted}: the largest magnitude is "
            f"{np.max(np.abs(array)):.3g}; store {'bfloat16 or ' * (dtype == 'F16')}float32"
        )
    return stored.view(np.uint8) if stored.ndim else stored.reshape(1).view(np.uint8)


def _remove_older(folder: Path, stems: Iterable[str], kept: set[str]) -> None:
    """Files of an earlier save, in other parts or another format, might be found first."""
    names = "|".join(map(re.escape, stems))
    older = re.compile(rf"({names})(-\d{{5}}-of-\d{{5}})?\.safetensors(\.index\.json)?")
    for file in folder.iterdir():
        if older.fullmatch(file.name) and file.name not in kept:
            file.unlink()
