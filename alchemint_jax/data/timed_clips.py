"""The TFDS dataset `timed_clips`: annotated videos of any size and length, with cut-out subjects.

    DIR/timed_clips.json                       what it is; written last
    DIR/1.0.0/timed_clips-SPLIT.array_record-00000-of-00004, and the metadata of TFDS

A record has

* `video`, the bytes of an mp4 of the scene (H.264, as `media.write_video` writes it);
* `scene`, JSON text: its line of scenes.jsonl (see `data.lines`);
* for each of any number of pictures: `pictures`, the bytes of a PNG (RGB, or RGBA that is
  transparent around the subject); `picture_subjects` int32, the number of the subject in the scene;
  `picture_frames` int32, the frame of this scene that it was taken from, -1 where it is from
  elsewhere; and `picture_kinds`, one of `KINDS`;
* `index`, the number of the clip in its split.

It needs no TensorFlow, and its files open with `tfds.builder_from_directory`, too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alchemint_jax.data import clips, decode, records, whole
from alchemint_jax.data.lines import read_line
from alchemint_jax.errors import DataError
from alchemint_jax.places import local
from alchemint_jax.progress import Progress
from alchemint_jax.scene.scene import Scene

NAME = "timed_clips"
VERSION = "1.0.0"
KINDS = ("crop", "segment", "inpaint", "redux", "cross")
"""What a picture is: the box around a subject, the subject alone, with another background, in
another pose or light, or of the same subject in another scene."""
FEATURES = ("video", "scene", "pictures", "picture_subjects", "picture_frames", "picture_kinds")
ELSEWHERE = -1
"""The frame of a picture that is not of this scene."""

_MARK = f"{NAME}.json"
_MOST = 2**30  # bytes; protocol buffers end at twice as many


@dataclass(frozen=True)
class Picture:
    """A picture of a subject.

    Attributes:
        png: the bytes of a PNG, RGBA or RGB.
        subject: number of the subject in its scene.
        kind: one of `KINDS`.
        frame: of the scene, from which it was taken; -1 where it is from elsewhere.
    """

    png: bytes
    subject: int
    kind: str = "segment"
    frame: int = ELSEWHERE

    def pixels(self) -> UInt8[np.ndarray, "h w 4"]:
        """RGBA. Raises DataError if it is no PNG."""
        try:
            return np.asarray(Image.open(io.BytesIO(self.png), formats=["PNG"]).convert("RGBA"))
        except Exception as error:  # decoders let all kinds escape on damaged files
            raise DataError(f"a picture cannot be decoded ({error})") from error


@dataclass(frozen=True, eq=False)
class TimedClip:
    """A video, what is said of it, and pictures of its subjects.

    Attributes:
        line: its line of scenes.jsonl.
        video: the bytes of an mp4.
        pictures: of its subjects, in any order.
    """

    line: Mapping[str, Any]
    video: bytes
    pictures: tuple[Picture, ...] = ()

    def scene(self, stride: int = 1) -> Scene:
        """Who is on screen when; without pictures.

        Args:
            stride: pixel frames in a latent frame of the autoencoder that it is for.

        Raises:
            DataError: the line makes no sense.
        """
        return read_line(self.line, stride)

    def frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Its frames [start, stop), decoded one after the other; see `decode.frames`.

        Raises:
            DataError: the video is damaged, or has another number of frames than its line says.
        """
        stop = int(self.line["frames"]) if stop is None else stop
        try:
            yield from decode.frames(self.video, start, stop, size)
        except DataError as error:
            raise DataError(f"{self.line.get('id')}: {error}") from error


def write_timed_clips(
    out: Path | str,
    splits: Mapping[str, Sequence[TimedClip]],
    identity: Mapping[str, Any],
    shard: int = 64,
) -> Path:
    """Writes a dataset into `out`, which appears only when it is whole.

    An interrupted run goes on after its last finished shard, and asks only for the clips of those
    that are missing. Give sequences that make a clip when it is asked for: one is held at a time.
    Returns `out`, at once if it already holds this very dataset.

    Args:
        out: the directory to write.
        splits: the clips of each split. There is to be one named `train`; training measures its
            loss on `validation`. Scenes of one source should be in one split. Splits without clips
            are left out.
        identity: what tells this dataset from another one, for example a fingerprint of how it was
            made; JSON.
        shard: clips in a file.

    Raises:
        DataError: a clip cannot be written, there are none for `train`, or something else is at
            `out`.
    """
    out = local(out)
    if shard < 1:
        raise DataError(f"a shard has at least one clip, not {shard}")
    splits = {split: members for split, members in splits.items() if len(members)}
    if "train" not in splits:
        raise DataError(f"{out}: there are no clips for a split named 'train'")
    wanted = {
        "dataset": NAME,
        "version": VERSION,
        "identity": dict(identity),
        "shard": shard,
        "splits": {split: len(members) for split, members in splits.items()},
    }
    partial = whole.begin(out, wanted, _MARK)
    if partial is None:
        return out
    features, serialize = _serializer()
    sizes: dict[str, list[int]] = {}
    done = 0
    with Progress(sum(map(len, splits.values())), "packing clips") as progress:
        for split, members in splits.items():
            total = -(-len(members) // shard)
            sizes[split] = []
            for i in range(total):
                name = f"{NAME}-{split}.array_record-{i:05d}-of-{total:05d}"
                path, rows = partial / VERSION / name, range(i * shard, (i + 1) * shard)
                rows = range(rows.start, min(rows.stop, len(members)))
                if not path.is_file():
                    made = (serialize(members[row], row) for row in rows)
                    # Neither mp4 nor PNG gets smaller.
                    records.write_bytes(path, made, "group_size:1,uncompressed")
                sizes[split].append(len(rows))
                done += len(rows)
                progress.update(done)
    _write_metadata(partial / VERSION, features, sizes)
    whole.finish(partial, out, wanted, _MARK)
    return out


class TimedClips(Sequence[TimedClip]):
    """Random access to the clips of a split. Make one with `open_timed_clips`."""

    def __init__(self, source: Any, folder: Path):
        self._source = source
        self._folder = folder

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} clips, and no clip {index}")
        index %= len(self)
        record = records.read_record(self._source, index, self._folder)
        columns = ("pictures", "picture_subjects", "picture_kinds", "picture_frames")
        pictures = zip(*(record[name] for name in columns), strict=True)
        return TimedClip(
            line=json.loads(record["scene"]),
            video=record["video"],
            pictures=tuple(
                Picture(png, int(subject), kind.decode(), int(frame))
                for png, subject, kind, frame in pictures
            ),
        )


def is_timed_clips(data_dir: Path | str) -> bool:
    """Whether a directory holds such a dataset."""
    return (Path(data_dir) / _MARK).is_file()


def open_timed_clips(data_dir: Path | str, split: str) -> TimedClips:
    """The clips of a split. Raises DataError if it is missing or broken."""
    return TimedClips(clips.open_source(data_dir, split, FEATURES), Path(data_dir))


def _serializer() -> tuple[Any, Any]:
    """The features of TFDS, and what makes the bytes of a record."""
    from tensorflow_datasets import features as kinds
    from tensorflow_datasets.core import example_serializer

    features = kinds.FeaturesDict(
        {
            "video": kinds.Text(),  # as TFDS calls bytes that it is to leave alone
            "scene": kinds.Text(),
            "pictures": kinds.Sequence(kinds.Text()),
            "picture_subjects": kinds.Sequence(kinds.Scalar(np.int32)),
            "picture_frames": kinds.Sequence(kinds.Scalar(np.int32)),
            "picture_kinds": kinds.Sequence(kinds.Text()),
            "index": kinds.Scalar(np.int64),
        }
    )
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())

    def serialize(clip: TimedClip, index: int) -> bytes:
        _check(clip)
        pictures = clip.pictures
        example = {
            "video": b"",  # joined below
            "scene": json.dumps(dict(clip.line), ensure_ascii=False),
            "pictures": [one.png for one in pictures],
            "picture_subjects": np.array([one.subject for one in pictures], np.int32),
            "picture_frames": np.array([one.frame for one in pictures], np.int32),
            "picture_kinds": [one.kind for one in pictures],
            "index": index,
        }
        made = serializer.get_tf_example(features.encode_example(example))
        del made.features.feature["video"]
        # Fields have an order of their own in every process unless it is asked for.
        return _joined(made.features.SerializeToString(deterministic=True), "video", clip.video)

    return features, serialize


def _joined(features: bytes, name: str, value: bytes) -> bytes:
    """A tf.train.Example of these features and a last one of bytes, which are copied once.

    Protocol buffers copy a value when it is set, while it is serialised, and when that ends. Source
    of the format: https://protobuf.dev/programming-guides/encoding.
    """
    first, second = b"\x0a", b"\x12"  # fields 1 and 2, of so many bytes
    feature = _field(first, *_field(first, value))
    entry = _field(first, *_field(first, name.encode()), *_field(second, *feature))
    return b"".join(_field(first, features, *entry))


def _field(tag: bytes, *parts: bytes) -> list[bytes]:
    """The pieces of a field of a protocol buffer: its tag, its length, its parts."""
    length, size = bytearray(), sum(map(len, parts))
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return [tag, bytes([*length, size]), *parts]


def _check(clip: TimedClip) -> None:
    scene = clip.scene()
    for number, one in enumerate(clip.pictures):
        where = f"{scene.id}: pictures[{number}]"
        if one.kind not in KINDS:
            raise DataError(f"{where}: kind is {one.kind!r}; it must be one of {', '.join(KINDS)}")
        if not 0 <= one.subject < len(scene.subjects):
            raise DataError(f"{where}: there is no subject {one.subject}")
        if not ELSEWHERE <= one.frame < scene.clock.frames:
            raise DataError(f"{where}: there is no frame {one.frame}")
    size = len(clip.video) + sum(len(one.png) for one in clip.pictures)
    if size > _MOST:
        raise DataError(f"{scene.id}: has {size >> 20} MiB; cut it into shorter scenes")


def _write_metadata(folder: Path, features: Any, sizes: Mapping[str, Sequence[int]]) -> None:
    import tensorflow_datasets as tfds

    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(lengths),
            num_bytes=sum(
                path.stat().st_size for path in folder.glob(f"{NAME}-{split}.array_record-*")
            ),
        )
        for split, lengths in sizes.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=infos,
        version=VERSION,
        check_data=False,  # it would be read with TensorFlow
    )
