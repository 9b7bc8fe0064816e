"""Records: what one example holds, and its way in and out of ArrayRecord files.

A packed record is a JSON header (strings, numbers, and the place of each array) followed by the
bytes of the arrays. It is self-describing, needs no schema file, and reading it runs no code.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.errors import DataError
from alchemint_jax.places import Place

WRITER_OPTIONS = "group_size:1"
"""One record per group: anything larger makes random reads decompress their neighbours."""

_HEADER = struct.Struct("<4sI")
_MAGIC = b"ALR1"


def pack(record: Mapping[str, Any]) -> bytes:
    """A flat record of arrays, strings, numbers and lists of those as bytes."""
    plain: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    blobs: list[bytes] = []
    for key, value in record.items():
        if isinstance(value, np.ndarray):
            arrays[key] = [value.dtype.str, list(value.shape)]
            blobs.append(np.ascontiguousarray(value).tobytes())
        else:
            plain[key] = value
    header = json.dumps({"plain": plain, "arrays": arrays}).encode()
    return b"".join([_HEADER.pack(_MAGIC, len(header)), header, *blobs])


def unpack(data: bytes) -> dict[str, Any]:
    """The inverse of `pack`; arrays are read-only views. Raises DataError on foreign bytes."""
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise DataError("this is not a record of ours: it does not start with the record signature")
    _, length = _HEADER.unpack_from(data)
    start = _HEADER.size + length
    header = json.loads(data[_HEADER.size : start])
    record = dict(header["plain"])
    for key, (dtype, shape) in header["arrays"].items():
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if start + size > len(data):
            raise DataError(f"a record is cut short: field {key!r} needs {size} bytes")
        record[key] = np.frombuffer(data, dtype, count, start).reshape(shape)
        start += size
    return record


def write_shard(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes an ArrayRecord file, which appears only when it is whole. Returns the count.

    Raises DataError if it cannot be written.
    """
    return write_bytes(path, map(pack, records))


def write_bytes(path: Path, records: Iterable[bytes], options: str = WRITER_OPTIONS) -> int:
    """`write_shard` of records of any kind, with other options of ArrayRecord's writer."""
    from array_record.python.array_record_module import ArrayRecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")

    def checked(call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except RuntimeError as error:  # what ArrayRecord makes of a full disk
            raise DataError(f"{path}: cannot be written: {error}") from error

    writer = checked(ArrayRecordWriter, str(partial), options)
    count = 0
    try:
        for record in records:
            checked(writer.write, record)
            count += 1
        checked(writer.close)
    except BaseException:
        with contextlib.suppress(RuntimeError):
            writer.close()
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)
    return count


class ShardedSource:
    """Random access over the packed records of ArrayRecord files, in the order of the files."""

    def __init__(self, paths: Sequence[Place]):
        quiet_flags()
        from grain.sources import ArrayRecordDataSource

        self._source = ArrayRecordDataSource([str(p) for p in paths])
        self._folder = paths[0].parent if paths else Path()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return unpack(read_record(self._source, index, self._folder))


def read_record(source: Any, index: int, folder: Place) -> Any:
    """`source[index]`; raises DataError, naming the folder, if the file is damaged there."""
    try:
        return source[index]
    except (RuntimeError, ValueError) as error:  # ArrayRecord's and the decoders'
        raise DataError(
            f"{folder}: record {index} cannot be read ({error}); write the dataset again"
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    os.replace(partial, path)


def read_json(path: Place) -> dict[str, Any]:
    """The object in a JSON file; raises DataError if it is unreadable."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def quiet_flags() -> None:
    """Lets Grain read its absl flags outside `absl.app.run`, where nobody has parsed them."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
