"""Datasets of clips on disk: TFDS in ArrayRecord files, read without TensorFlow.

A directory holds one TFDS dataset, of any name, whose records have these features:

* `video` uint8 [f h w 3] and `fps`; `caption`; `index`, the number of the clip in its split;
* for each of r slots, of which the first `n_subjects` are used: `words`, and `references`
  uint8 [r v h w 3], v views of the subject; and `intervals` int32 [r m 2], half-open pixel frames
  in which it is on screen, (0, 0) where a row is not used;
* where clips have events, for each of e rows: `events`, what is said, and `event_intervals`
  int32 [e 2], half-open pixel frames, (0, 0) where a row is not used;
* where clips have cuts, `cuts` int32 [c], the pixel frames that begin another shot, 0 where a row
  is not used.

Other features are allowed, and nothing here looks at them. `ClipShape` gives a builder these
features, and the record of a scene.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.data import records
from alchemint_jax.data.examples import scene_fields
from alchemint_jax.errors import DataError
from alchemint_jax.scene.scene import Scene

FEATURES = ("video", "fps", "caption", "index", "n_subjects", "words", "references", "intervals")
_INFO = "dataset_info.json"


@dataclass(frozen=True)
class ClipShape:
    """What each record of a dataset has room for.

    Attributes:
        frames: of a clip: k times the temporal stride of the autoencoder, and one more.
        size: height and width of a frame in pixels.
        view_size: height and width of the reference pictures.
        slots: subjects.
        views: reference pictures of each subject.
        spans: rows of intervals of each subject; what is beyond them is joined to the last row.
        events: rows of events; None where no clip of the dataset has any.
        cuts: rows of cuts; None where no clip of the dataset has any.
    """

    frames: int
    size: tuple[int, int]
    view_size: tuple[int, int]
    slots: int
    views: int = 1
    spans: int = 2
    events: int | None = None
    cuts: int | None = None

    def features(self, **more: Any) -> Any:
        """The features of a TFDS builder, and `more` of its own."""
        from tensorflow_datasets import features as kinds

        def pixels(*shape: int) -> Any:
            return kinds.Tensor(shape=(*shape, 3), dtype=np.uint8, encoding="zlib")

        def texts(rows: int) -> Any:
            return kinds.Sequence(kinds.Text(), length=rows)

        fields = {
            "video": pixels(self.frames, *self.size),
            "references": pixels(self.slots, self.views, *self.view_size),
            "caption": kinds.Text(),
            "n_subjects": kinds.Scalar(np.int32),
            "words": texts(self.slots),
            "intervals": kinds.Tensor(shape=(self.slots, self.spans, 2), dtype=np.int32),
            "index": kinds.Scalar(np.int64),
            "fps": kinds.Scalar(np.float32),
        }
        if self.events is not None:
            fields |= {
                "events": texts(self.events),
                "event_intervals": kinds.Tensor(shape=(self.events, 2), dtype=np.int32),
            }
        if self.cuts is not None:
            fields["cuts"] = kinds.Tensor(shape=(self.cuts,), dtype=np.int32)
        return kinds.FeaturesDict(fields | more)

    def record(
        self, scene: Scene, video: UInt8[np.ndarray, "f h w 3"], index: int
    ) -> dict[str, Any]:
        """The record of a clip: what a builder yields for it.

        Args:
            scene: who is on screen when; pictures of other sizes are fitted on white.
            video: its frames.
            index: the number of the clip in its split, from 0.

        Raises:
            DataError: the clip does not fit, or an interval reaches outside of it.
            StoryboardError: a picture cannot be read.
        """

        def require(what: str, found: Any, fits: bool, wanted: Any) -> None:
            if not fits:
                raise DataError(f"{scene.id}: {what}: {found}; the records have {wanted}")

        shape, wanted = video.shape, (self.frames, *self.size, 3)
        require("video", list(shape), shape == wanted, list(wanted))
        count, events = len(scene.subjects), len(scene.events)
        require("subjects", count, count <= self.slots, f"room for {self.slots}")
        require("events", events, events <= (self.events or 0), f"room for {self.events or 0}")
        cuts = len(scene.cuts)
        require("cuts", cuts, cuts <= (self.cuts or 0), f"room for {self.cuts or 0}")
        references = np.full((self.slots, self.views, *self.view_size, 3), 255, np.uint8)
        for slot, subject in enumerate(scene.subjects):
            name, pictures = f"subjects[{slot}]", len(subject.pictures)
            require(f"{name}.pictures", pictures, pictures >= self.views, self.views)
            _require_inside(f"{scene.id}: {name}", subject.spans, self.frames)
            for view in range(self.views):
                references[slot, view] = subject.picture(self.view_size, view)
        for number, event in enumerate(scene.events):
            _require_inside(f"{scene.id}: events[{number}]", event.spans, self.frames)
        fields = scene_fields(scene, index, self.slots, self.spans, self.events, self.cuts)
        return {"video": video, "references": references, **fields}


def _require_inside(name: str, spans: Iterable[tuple[int, int]], frames: int) -> None:
    for start, end in spans:
        if not 0 <= start < end <= frames:
            raise DataError(
                f"{name}: frames [{start}, {end}) reach outside of a clip of {frames} frames"
            )


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
    return ClipSource(open_source(data_dir, split, FEATURES), Path(data_dir))


def open_source(data_dir: Path | str, split: str, features: tuple[str, ...]) -> Any:
    """The records of a split of any TFDS dataset that has these features, as TFDS reads them.

    Raises DataError if the directory is missing, is not such a dataset, or is not whole.
    """
    data_dir = Path(data_dir)
    builder = _builder(data_dir, features)
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
    return source


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


def _builder(data_dir: Path, features: tuple[str, ...] = ()) -> Any:
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
    if missing := [feature for feature in features if feature not in known]:
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
