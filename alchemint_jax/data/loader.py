"""Grain pipelines: clips for the autoencoder, encoded examples for the diffusion transformer.

Both are endless and reshuffled every epoch. What is in an example, random augmentation included,
depends on the seed and its number alone, and a `Share` says which numbers a process reads: so one
that starts where others left off goes on at the very next example. Batches are plain NumPy; placing
them on devices is the caller's business.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import grain
import numpy as np

from alchemint_jax.data import records
from alchemint_jax.data.clips import open_split
from alchemint_jax.data.examples import read_scene
from alchemint_jax.data.schedule import Mixed, Schedule
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.data.text_states import Lengths
from alchemint_jax.data.words import Ids, States, Words
from alchemint_jax.data.workers import end_with_parent
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.packing import event_rows, pack, pack_cuts
from alchemint_jax.scene.scene import Scene
from alchemint_jax.tokenizers import ByteTokenizer, Tokenizer

TAG_LENGTH = 16
_BYTES = ByteTokenizer(112)
_SLOTS = ("references", "used", "intervals", "tag_ids", "tag_mask", "tags")
"""The fields of a batch that have slots."""


@dataclasses.dataclass(frozen=True)
class LoaderConfig:
    """How a pipeline reads. `batch_size` is that of one process."""

    batch_size: int
    seed: int = 0
    num_workers: int = 0
    """Worker processes; 0 reads in threads."""
    read_threads: int = 2
    buffer: int = 4
    """Batches read ahead; this bounds the memory that a pipeline holds."""
    shuffle: bool = True

    def __post_init__(self) -> None:
        lowest = {"batch_size": 1, "num_workers": 0, "read_threads": 1, "buffer": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Augment:
    """What is random about an encoded example; with both off the loader is a plain reader."""

    shuffle_slots: bool = True
    """Which subject sits in which slot is drawn for every example separately."""
    random_view: bool = True
    """The reference is a random view of the subject, not the first one."""


def clip_loader(
    data_dir: Path | str,
    split: str,
    config: LoaderConfig,
    frames: int | None = None,
    with_references: bool = False,
    side: int | None = None,
    share: Share = WHOLE,
    stride: int = 1,
) -> grain.IterDataset:
    """Batches of clips, `video` uint8 [b f h w 3], of a dataset (see `data.clips`).

    `frames` cuts a window of that many frames, starting anywhere; it must be one more than a
    multiple of `stride`, the temporal one of the autoencoder that they are for. `with_references`
    adds `references` uint8 [b r v h w 3] (white where unused) and `used` bool [b r]. `side` cuts a
    square window of that many pixels around a random colourful pixel: subjects are a small part of
    a clip, and most of what there is to learn. `share` is what this process reads. Raises DataError
    if there is no such dataset and ConfigError if `frames`, `side` or `share` does not fit.
    """
    source = open_split(data_dir, split)
    total = source[0]["video"].shape[0]
    if frames is not None and not (1 <= frames <= total and Clock(1, frames, stride).whole):
        raise ConfigError(f"frames must be {stride}k+1 and at most {total}, got {frames}")
    height, width = source[0]["video"].shape[1:3]
    if side is not None and not 1 <= side <= min(height, width):
        raise ConfigError(f"side must be from 1 to {min(height, width)}, got {side}")
    return pipeline(source, _CropClip(frames, with_references, side), config, share)


def latent_loader(
    data_dir: Path | str,
    split: str,
    config: LoaderConfig,
    augment: Augment = Augment(),
    *,
    tokenizer: Tokenizer = _BYTES,
    tag_length: int = TAG_LENGTH,
    event_length: int | None = None,
    share: Share = WHOLE,
    cached_text: bool = False,
    with_cuts: bool = False,
    with_references: bool = True,
) -> grain.IterDataset:
    """Batches for the diffusion transformer from a dataset written by `encode_dataset`.

    `latents` float32 [b t h w c] and `references` float32 [b r h w c] are normalised, with zeros in
    unused slots; `used` bool [b r]; `intervals` float32 [b r m 2] in latent coordinates, (1, 0)
    where empty (see `scene.clock`); `tag_ids` int32 and `tag_mask` bool [b r tag_length];
    `text_ids` int32 and `text_mask` bool [b l], as long as the tokenizer's texts. With an
    `event_length` also the events and the gaps between them: `event_ids` int32 and `event_mask`
    bool [b e event_length], `event_intervals` float32 [b e 2] in latent coordinates, and which rows
    are used, `event_used` bool [b e].
    Where `with_cuts`, `cuts` float32 [b c] are the latent times at which another shot begins, and
    `cut_used` bool [b c] says which there are.
    With `cached_text` there are, instead of ids, states that were encoded with the clips, float16:
    `text` [b l d], `tags` [b r tag_length d] with `tag_mask`, `events` [b e event_length d], and
    `null_text` and `null_event` [b n d], those of the empty text without padding.
    Not `with_references`, no clip has slots: r is 0.
    All clips of a batch are of one bucket; `data.schedule` says of which.
    `share` is what this process reads.
    Raises DataError if there is no such dataset, and ConfigError if `share` does not fit.
    """
    from alchemint_jax.data.encoded import open_encoded, open_texts, read_header

    header = read_header(data_dir)
    if split not in header["splits"]:
        raise DataError(f"{data_dir}: no split {split!r}; it has {' and '.join(header['splits'])}")
    rows = event_rows(header.get("events", 0))
    if cached_text:
        lengths = Lengths(tokenizer.length, tag_length, event_length or _any(header))
        states = open_texts(data_dir, lengths)
        words: Words = States(states, lengths, rows, event_length is not None)
    else:
        words = Ids(tokenizer, tag_length, event_length, rows)
    filled = [i for i, one in enumerate(header["buckets"]) if one["splits"].get(split)]
    sources = [open_encoded(data_dir, split, i) for i in filled]
    clocks = [
        Clock(header["fps"], header["buckets"][i]["frames"], header["stride"]) for i in filled
    ]
    cuts = header.get("cuts", 0) if with_cuts else None
    examples = [_Example(augment, words, clock, cuts) for clock in clocks]
    # A whole batch at once, for that costs hardly more than one example.
    return _stream(sources, examples, config, share).map(_Ready(with_references))


def _any(header: dict[str, Any]) -> int:
    """How long events are, where nobody reads them."""
    return header["text"]["lengths"]["event"] if header["text"] else 0


def pipeline(
    source: Any,
    transform: grain.transforms.RandomMap,
    config: LoaderConfig,
    share: Share = WHOLE,
) -> grain.IterDataset:
    """Shuffled, repeated, transformed, shared out to processes, batched.

    `transform` draws from a generator of its own for every example of every epoch.
    Raises DataError if there are no examples, and ConfigError if the share does not fit the batch.
    """
    return _stream([source], [transform], config, share)


def _stream(
    sources: list[Any],
    transforms: list[Any],
    config: LoaderConfig,
    share: Share,
) -> grain.IterDataset:
    """`pipeline` of several sources, each with its transform; a batch is of one of them."""
    records.quiet_flags()
    if not sum(map(len, sources)):
        raise DataError("there are no examples")
    streams = []
    for number, (source, transform) in enumerate(zip(sources, transforms, strict=True)):
        # The first one is seeded as if it were alone.
        dataset = grain.MapDataset.source(source).seed(config.seed + number * 2**16)
        if config.shuffle:
            dataset = dataset.shuffle()
        streams.append(dataset.repeat().random_map(transform))
    options = grain.ReadOptions(config.read_threads, config.buffer * config.batch_size)
    # Transformed (lazily) before it is shared out: Grain seeds by position, and that must be the
    # position in the stream of all processes.
    joined = streams[0]
    if len(streams) > 1:
        whole = share.batch(config.batch_size)
        joined = Mixed(streams, Schedule(tuple(map(len, sources)), whole, config.seed))
    stream = shared(joined, share, config.batch_size).to_iter_dataset(options)
    if config.num_workers:
        # Before batching, so that the order of examples does not depend on the number of workers.
        workers = grain.MultiprocessingOptions(
            num_workers=config.num_workers,
            per_worker_buffer_size=max(1, config.buffer * config.batch_size // config.num_workers),
        )
        stream = stream.mp_prefetch(workers, worker_init_fn=end_with_parent)
    return stream.batch(config.batch_size, drop_remainder=True)


def shared(dataset: grain.MapDataset, share: Share, batch_size: int) -> grain.MapDataset:
    """The examples of a share, in the order in which a process reads them.

    `batch_size` is that of one process. Raises ConfigError if it does not fit the share.
    """
    return _Shared(dataset, share, batch_size)


class _Shared(grain.MapDataset):
    def __init__(self, parent: grain.MapDataset, share: Share, batch_size: int) -> None:
        super().__init__(parent)
        left = max(0, len(parent) - share.start)
        self._share, self._batch_size = share, batch_size
        self._length = min(sys.maxsize, left // share.batch(batch_size) * batch_size)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        return self.parents[0][self._share.example(index, self._batch_size)]

    def __str__(self) -> str:
        return f"{self._share}"


@dataclasses.dataclass(frozen=True)
class _CropClip(grain.transforms.RandomMap):
    frames: int | None
    with_references: bool
    side: int | None = None

    def random_map(
        self, element: dict[str, Any], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        video = element["video"]
        if self.frames is not None:
            start = int(rng.integers(len(video) - self.frames + 1))
            video = video[start : start + self.frames]
        if self.side is not None:
            video = _window(video, self.side, rng)
        if not self.with_references:
            return {"video": video}
        references = element["references"]
        used = np.arange(len(references)) < element["n_subjects"]  # pictures there are
        return {"video": video, "references": references, "used": used}


def _window(video: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A square window around a pixel drawn in proportion to its squared chroma in some frame."""
    frame = video[rng.integers(len(video))].astype(np.int64)
    weight = (frame.max(-1) - frame.min(-1)).ravel() ** 2 + 1
    spot = int(np.searchsorted(np.cumsum(weight), rng.integers(1, weight.sum() + 1)))
    height, width = frame.shape[:2]
    centre = np.array(divmod(spot, width)) + rng.integers(-side // 4, side // 4 + 1, 2)
    top, left = np.clip(centre - side // 2, 0, [height - side, width - side])
    return video[:, top : top + side, left : left + side]


@dataclasses.dataclass(frozen=True)
class _Example(grain.transforms.RandomMap):
    augment: Augment
    words: Words
    clock: Clock
    cuts: int | None = None

    def random_map(
        self, element: dict[str, Any], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        # Every draw happens, used or not: switching one kind off leaves the other as it was.
        slots, views = element["references"].shape[:2]
        order, view = rng.permutation(slots), rng.integers(views, size=slots)
        order = order if self.augment.shuffle_slots else np.arange(slots)
        view = view if self.augment.random_view else np.zeros_like(view)
        scene = read_scene(element, self.clock)
        packed = pack([scene], slots, most=element["intervals"].shape[1], places=[order])
        used = packed.used[0]
        chosen = element["references"][order, view[order]]
        chosen[~used] = 0
        return (
            self._cuts(scene)
            | self.words.fields(scene, element, packed, order)
            | {
                "latents": element["latents"],
                "references": chosen,
                "used": used,
                "intervals": self.clock.latent(packed.intervals[0]),
            }
        )

    def _cuts(self, scene: Scene) -> dict[str, np.ndarray]:
        if self.cuts is None:
            return {}
        rows = pack_cuts([scene], self.cuts)
        return {"cuts": self.clock.cut(rows.at[0]), "cut_used": rows.used[0]}


@dataclasses.dataclass(frozen=True)
class _Ready(grain.transforms.Map):
    """What is left to do for a batch: halves to floats, and slots of models without references."""

    with_references: bool

    def map(self, element: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        floats = ("latents", "references")
        if not self.with_references:
            element = element | {name: element[name][:, :0] for name in _SLOTS if name in element}
        return element | {name: element[name].astype(np.float32) for name in floats}
