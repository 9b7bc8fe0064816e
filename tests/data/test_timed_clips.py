from __future__ import annotations

import dataclasses
import filecmp

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from drawn_clips import COLORS, drawn
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from alchemint_jax.data import records, write_sheet
from alchemint_jax.data.timed_clips import TimedClip, open_timed_clips, write_timed_clips
from alchemint_jax.errors import DataError


@pytest.fixture(scope="module")
def clips():
    return [
        drawn([[[3, 10]], [[0, 25]]], name="two")[0],
        drawn([], frames=1, size=(31, 45), name="none")[0],  # an odd size, and no subject at all
        drawn([[[0, 5], [9, 12]]], frames=13, name="comes back")[0],
    ]


@pytest.fixture(scope="module")
def folder(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("timed") / "set"
    splits = {"train": clips, "validation": clips[:1], "test": []}
    return write_timed_clips(out, splits, {"made": "by a test"}, shard=2)


def test_what_is_written_is_read(clips, folder):
    found = open_timed_clips(folder, "train")
    assert len(found) == 3 and len(open_timed_clips(folder, "validation")) == 1
    for one, clip in zip(found, clips, strict=True):
        assert (one.line, one.video, one.pictures) == (clip.line, clip.video, clip.pictures)
    scene = found[0].scene(stride=4)
    assert [subject.spans for subject in scene.subjects] == [((3, 10),), ((0, 25),)]
    assert scene.events[0].spans == ((4, 8),) and scene.size == (48, 64)
    assert found[0].pictures[0].pixels().shape == (16, 12, 4)
    with pytest.raises(DataError, match="no split 'test'"):
        open_timed_clips(folder, "test")


def test_tfds_opens_it_by_itself(clips, folder):
    (source,) = [path.parent for path in folder.glob("*/dataset_info.json")]
    record = tfds.builder_from_directory(str(source)).as_data_source("train")[2]
    assert record["video"] == clips[2].video and record["index"] == 2
    assert list(record["picture_frames"]) == [0]


def test_records_are_the_bytes_that_protocol_buffers_write(clips, folder):
    for path in folder.glob("*/*.array_record-*"):
        reader = array_record_module.ArrayRecordReader(str(path))
        (raw,) = reader.read([0])
        example = tf_example_pb2.Example.FromString(raw)
        assert example.SerializeToString(deterministic=True) == raw
        assert len(example.features.feature) == 7
        reader.close()


def test_a_stretch_of_frames_is_that_stretch():
    clip, video = drawn([[[0, 260]]], frames=260, size=(24, 32))  # of more than one key frame
    whole = np.stack(list(clip.frames()))
    assert np.abs(whole.astype(int) - video).mean() < 2
    for start, stop in ((0, 1), (249, 253), (259, 260), (100, 105)):
        np.testing.assert_array_equal(np.stack(list(clip.frames(start, stop))), whole[start:stop])
    assert next(clip.frames(7, 8, size=(24, 16))).shape == (24, 16, 3)


def test_writing_goes_on_and_ends_in_the_same_bytes(clips, folder, tmp_path):
    broken = dataclasses.replace(clips[2], line={})

    def write(last):
        splits = {"train": [*clips[:2], last], "validation": clips[:1]}
        return write_timed_clips(tmp_path / "set", splits, {"made": "by a test"}, shard=2)

    def first_shard():
        (path,) = tmp_path.glob("*set*/*/*train*record-00000*")
        return path.stat().st_ino

    with pytest.raises(DataError):
        write(broken)
    assert not (tmp_path / "set").exists()
    before = first_shard()
    out = write(clips[2])
    assert first_shard() == before  # it was not written again
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(names) == 6 and filecmp.cmpfiles(folder, out, names, shallow=False)[0] == names
    assert write(broken) == out  # nothing is left to write
    with pytest.raises(DataError, match="another identity"):
        write_timed_clips(out, {"train": clips, "validation": clips[:1]}, {}, shard=2)


def test_what_cannot_be_a_record_is_refused(clips, tmp_path):
    clip = clips[0]
    line = dict(clip.line)

    def refused(message, **changes):
        bad = dataclasses.replace(clip, **changes)
        with pytest.raises(DataError, match=message):
            write_timed_clips(tmp_path / "set", {"train": [bad]}, {})

    picture = clip.pictures[0]
    photo = dataclasses.replace(picture, kind="photo")
    refused("two: pictures.0.: kind is 'photo'", pictures=(photo,))
    refused("no subject 2", pictures=(dataclasses.replace(picture, subject=2),))
    refused("no frame 25", pictures=(dataclasses.replace(picture, frame=25),))
    refused("field 'fps' is missing", line={k: v for k, v in line.items() if k != "fps"})
    refused("reach outside", line=line | {"frames": 5})
    with pytest.raises(DataError, match="no clips for a split named 'train'"):
        write_timed_clips(tmp_path / "other", {"validation": clips}, {})


def test_damaged_videos_name_the_clip(clips):
    whole = clips[0]
    for video in (b"", whole.video[:700], whole.video[: len(whole.video) // 2]):
        with pytest.raises(DataError, match="^two: "):
            list(TimedClip(whole.line, video).frames())
    longer = TimedClip(dict(whole.line) | {"frames": 30}, whole.video)
    with pytest.raises(DataError, match="two: the video ends at frame 25, not at 30"):
        list(longer.frames())


def test_records_of_other_bytes_are_told_apart(folder):
    (path, _) = sorted(folder.glob("*/*train*record*"))
    assert records.ShardedSource([path])  # files of ArrayRecord
    with pytest.raises(DataError, match="signature"):
        records.ShardedSource([path])[0]


def drawn_sheet(folder, path, **options):
    with Image.open(write_sheet(folder, path, **options)) as image:
        return np.asarray(image).astype(int)


def test_a_sheet_shows_frames_pictures_and_the_time_on_screen(folder, tmp_path):
    sheet = drawn_sheet(folder, tmp_path / "first.png", rows=1)
    assert sheet.shape[1] > 11 * 64
    # The second subject is always there, in a clip of 25 frames; the first one in 7 of them.
    strip = 11 * (64 + 4)
    rows = {
        word: [int((np.abs(line - color).sum(-1) == 0)[24 : 24 + strip].sum()) for line in sheet]
        for word, color in (("first", (0, 114, 178)), ("second", (213, 94, 0)))
    }
    assert max(rows["second"]) == strip
    assert abs(rows["first"].index(max(rows["first"])) - rows["second"].index(strip)) == 14
    assert max(rows["first"]) == pytest.approx(7 / 25 * strip, abs=2)
    # Squares in the frames, and in the pictures to the right of them.
    for color in COLORS.values():
        near = np.abs(sheet - color).sum(-1) < 60
        assert near[:, :strip].sum() > 400 and near[:, strip + 24 :].sum() > 400
    every = drawn_sheet(folder, tmp_path / "all.png")  # with one of one frame and no subject
    assert len(every) > 2 * len(sheet)
    with pytest.raises(DataError, match="at least one row"):
        write_sheet(folder, tmp_path / "none.png", rows=0)
