"""Datasets of clips on disk: TFDS in ArrayRecord files, read without TensorFlow.

A directory holds one TFDS dataset, of any name, whose records have these features:

* `video` uint8 [f h w 3] and `fps`; `caption`; `index`, the number of the clip in its split;
* for each of r slots, of which the first `n_subjects` are used: `words`, and `references`
  uint8 [r v h w 3], v views of the subject; and `intervals` int32 [r m 2], half-open pixel frames
  in which it is on screen, (0, 0) where a row is not used;
* where clips have events, for each of e rows: `events`, what is said, and `event_intervals`
  int32 [e 2], half-open pixel frames, (0, 0) where a row is not used.

Other features are allowed, and nothing here looks at them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.data import records
from alchemint_jax.errors import DataError

FEATURES = ("video", "fps", "caption", "index", "n_subjects", "words", "references", "intervals")
_INFO = "dataset_info.json"


class ClipSource:
    """Random access to the clips of a split: dicts of the features, text as `str`."""

    def __init__(self, source: Any, folder: Path):
        self._source = source
        self._folder = folder

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return _text(records.read_record(self._source, index, self._folder))


def open_split(data_dir: Path | str, split: str) -> ClipSource:
    """The clips of a split of a dataset.

    Raises DataError if the directory is missing, is not such a dataset, or is not whole.
    """
    data_dir = Path(data_dir)
    builder = _builder(data_dir)
    if split not in builder.info.splits:
        raise DataError(
            f"{data_dir}: no split {split!r}; it has {' and '.join(sorted(builder.info.splits))}"
        )
    try:
        source = builder.as_data_source(split)
        count = len(source)
    except Exception as error:  # TFDS and ArrayRecord raise many kinds for damaged files
        raise DataError(
            f"{data_dir}: split {split!r} cannot be opened ({error}); write it again"
        ) from error
    expected = builder.info.splits[split].num_examples
    if count != expected:
        raise DataError(
            f"{data_dir}: split {split!r} has {count} clips, not {expected}; write it again"
        )
    return ClipSource(source, data_dir)


def splits(data_dir: Path | str) -> tuple[str, ...]:
    """The names of a dataset's splits, in order. Raises DataError as `open_split` does."""
    return tuple(sorted(_builder(Path(data_dir)).info.splits))


def name(data_dir: Path | str) -> str:
    """What TFDS calls the dataset. Raises DataError as `open_split` does."""
    return str(_builder(Path(data_dir)).name)


def describe(data_dir: Path | str) -> dict[str, Any]:
    """What a dataset was made from, which tells it from others of its name.

    A writer may say it in a JSON file at the top of the directory, whose field `dataset` is the
    name; else it is what TFDS knows: name, version, config and the number of clips of each split.
    Raises DataError as `open_split` does.
    """
    builder = _builder(Path(data_dir))
    for path in sorted(Path(data_dir).glob("*.json")):
        if (said := records.read_json(path)).get("dataset") == builder.name:
            return said
    info = builder.info
    return {
        "dataset": builder.name,
        "version": str(info.version),
        "config": info.config_name,
        "splits": {split: info.splits[split].num_examples for split in sorted(info.splits)},
    }


def _builder(data_dir: Path) -> Any:
    import tensorflow_datasets as tfds

    if not data_dir.is_dir():
        raise DataError(f"{data_dir}: no such directory; write a dataset there first")
    # NAME/CONFIG/VERSION or NAME/VERSION, as TFDS lays out a data directory; or one of these.
    found = [path for depth in range(4) for path in data_dir.glob(depth * "*/" + _INFO)]
    if len(found) != 1:
        raise DataError(
            f"{data_dir}: is not a finished dataset: expected one TFDS dataset inside ({_INFO}), "
            f"found {len(found)}; write it again"
        )
    records.quiet_flags()
    try:
        builder = tfds.builder_from_directory(str(found[0].parent))
        known = set(builder.info.features)
    except Exception as error:  # TFDS raises many kinds for damaged files
        raise DataError(f"{data_dir}: cannot be opened ({error}); write it again") from error
    if missing := [feature for feature in FEATURES if feature not in known]:
        raise DataError(f"{data_dir}: its records have no {' and no '.join(missing)}")
    return builder


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.dtype == object):
        return [_text(item) for item in value]
    return value
