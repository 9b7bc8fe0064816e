"""`ClipShape` writes what is read again, and refuses what does not fit."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alchemint_jax import cli
from alchemint_jax.data import ClipShape, open_split, write_clips
from alchemint_jax.data.clips import FEATURES
from alchemint_jax.data.examples import read_scene
from alchemint_jax.errors import DataError
from alchemint_jax.scene import Clock, Event, Scene, Spans, Subject

SHAPE = ClipShape(frames=5, size=(16, 24), view_size=(8, 8), slots=2, views=2, events=1)
VIDEO = np.zeros((5, 16, 24, 3), np.uint8)
CLOCK = Clock(8.0, 5, 4)
VIEWS = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), np.uint8)
CAR = Subject("car", Spans([(0, 2), (3, 5)]), VIEWS)
SCENE = Scene("clip 3", "a car", CLOCK, (CAR,), (Event("it stops", Spans([(1, 4)])),))


def test_a_record_says_what_the_scene_says():
    record = SHAPE.record(SCENE, VIDEO, 3)
    assert {*FEATURES} < record.keys() == {*SHAPE.features()}
    read = read_scene(record, CLOCK)
    assert (read.id, read.caption, read.events) == (SCENE.id, SCENE.caption, SCENE.events)
    (car,) = read.subjects
    assert (car.word, car.spans) == (CAR.word, CAR.spans)
    np.testing.assert_array_equal(car.pictures, VIEWS)
    assert (record["references"][1] == 255).all() and not record["intervals"][1].any()
    without = dataclasses.replace(SHAPE, events=None)
    assert {*SHAPE.features()} - {*without.features()} == {"events", "event_intervals"}


def test_pictures_may_be_files_of_any_size(tmp_path):
    Image.new("RGB", (30, 10), (9, 9, 9)).save(tmp_path / "car.png")
    car = dataclasses.replace(CAR, pictures=[tmp_path / "car.png"] * 2)
    scene = dataclasses.replace(SCENE, subjects=(car,))
    view = SHAPE.record(scene, VIDEO, 0)["references"][0, 1]
    assert (view[4] == 9).all() and (view[[0, -1]] == 255).all()


@pytest.mark.parametrize(
    ("changes", "video", "message"),
    [
        ({}, VIDEO[:4], r"clip 3: video: \[4, 16, 24, 3\]; the records have \[5, 16, 24, 3\]"),
        ({"subjects": (CAR,) * 3}, VIDEO, "subjects: 3; the records have room for 2"),
        ({"events": SCENE.events * 2}, VIDEO, "events: 2; the records have room for 1"),
        (
            {"subjects": (dataclasses.replace(CAR, pictures=VIEWS[:1]),)},
            VIDEO,
            r"subjects\[0\].pictures: 1; the records have 2",
        ),
        (
            {"subjects": (dataclasses.replace(CAR, spans=Spans([(3, 6)])),)},
            VIDEO,
            r"subjects\[0\]: frames \[3, 6\) reach outside of a clip of 5 frames",
        ),
        (
            {"events": (Event("it stops", Spans([(-1, 2)])),)},
            VIDEO,
            r"events\[0\]: frames \[-1, 2\) reach outside",
        ),
    ],
)
def test_a_clip_that_does_not_fit_is_refused(changes, video, message):
    with pytest.raises(DataError, match=message):
        SHAPE.record(dataclasses.replace(SCENE, **changes), video, 3)


@pytest.fixture
def write(tmp_path):
    """A dataset of `SCENE` alone."""

    def write(**changes) -> Path:
        shape = dataclasses.replace(SHAPE, **changes)
        video = np.zeros((shape.frames, *shape.size, 3), np.uint8)
        return write_clips(tmp_path / "set", "one_clip", shape, {"train": [(SCENE, video)]})

    return write


def test_a_dataset_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(DataError, match="video"):
        write_clips(tmp_path / "set", "one_clip", SHAPE, {"train": [(SCENE, VIDEO[:1])]})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set").mkdir()
    write_clips(tmp_path / "set", "one_clip", SHAPE, {"train": [(SCENE, VIDEO)]})
    (mine,) = (tmp_path / "set").iterdir()
    assert mine.name == "one_clip"
    with pytest.raises(DataError, match="set: holds something"):
        write_clips(tmp_path / "set", "one_clip", SHAPE, {"train": [(SCENE, VIDEO)]})


def test_nothing_is_left_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    write_clips(tmp_path / "set", "one_clip", SHAPE, {"train": [(SCENE, VIDEO)]})
    assert not list((tmp_path / "temporary").iterdir())


def test_what_is_written_is_read(write):
    source = open_split(write(), "train")
    assert len(source) == 1
    clip = source[0]
    wanted = SHAPE.record(SCENE, VIDEO, 0)
    assert clip.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(clip[name], value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"frames": 8},
            "have 8 frames, and the autoencoder of sprites takes 4k+1, such as 9",
        ),
        ({"size": (16, 25)}, "video: 16 x 25 pixels are no multiples of 4, which the autoencoder"),
        ({"view_size": (6, 8)}, "references: 6 x 8 pixels are no multiples of 4"),
    ],
)
def test_clips_that_would_be_cut_are_not_encoded(write, tmp_path, capsys, changes, message):
    data, out = write(**changes), tmp_path / "latents"
    assert cli.main(["data", "encode", "--data", str(data), "--vae", "sprites", "--out", str(out)])
    assert message in capsys.readouterr().err
    assert not out.exists()
