from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from alchemint_jax.errors import StoryboardError
from alchemint_jax.images import load_keyframe, load_reference
from alchemint_jax.scene import Clock, Event, Limits, Scene, Spans, Storyboard, Subject

LIMITS = Limits(2, 81, (16.0, 8.0), ((32, 48),), stride=4, min_frames=5, events=True, keyframes=2)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def board(picture, **changes):
    subject = {"word": "disc", "image": picture, "appears": [[2.0, 3.9], [0.5, 1.0]]}
    fields = {
        "prompt": "a disc",
        "duration": 3.9,
        "fps": 8,
        "subjects": [subject],
        "events": [{"text": "it stops", "during": [0, 0.5]}],
        "first_frame": picture,
        "last_frame": picture,
    }
    return Storyboard.from_dict(fields | changes, source="b.yaml")


def test_a_board_is_a_scene_in_frames(picture):
    scene = board(picture).scene(LIMITS)
    assert (scene.id, scene.caption, scene.size) == ("b.yaml", "a disc", (32, 48))
    assert scene.clock == Clock(8.0, 33, 4)
    # What reaches the duration asked for reaches the last frame, which lies beyond it.
    assert scene.subjects[0].spans == ((4, 8), (16, 33)) and scene.subjects[0].word == "disc"
    assert scene.events == (Event("it stops", Spans([(0, 4)])),)
    assert scene.keyframes == (picture, picture)
    with pytest.raises(StoryboardError, match="3 subjects are too many"):
        board(picture, subjects=3 * [{"word": "a", "image": picture, "appears": [[0, 1]]}]).scene(
            LIMITS
        )


def test_each_keyframe_has_a_frame(picture):
    scene = board(picture).scene(LIMITS)
    with pytest.raises(ValueError, match="b.yaml: keyframes_at: must have one"):
        dataclasses.replace(scene, keyframes=())


def test_the_stride_decides_how_many_frames(picture):
    frames = {
        stride: board(picture).scene(dataclasses.replace(LIMITS, stride=stride)).clock.frames
        for stride in (1, 2, 4, 8)
    }
    assert frames == {1: 32, 2: 33, 4: 33, 8: 33}


def test_pictures_in_memory_and_in_files_are_the_same(picture):
    pixels = np.asarray(Image.open(picture))
    there = Subject("disc", Spans(), (picture,))
    here = Subject("disc", Spans(), pixels[None])
    expected = load_reference(picture, (16, 16))
    for subject in (there, here):
        np.testing.assert_array_equal(subject.picture((16, 16)), expected)
    for given in ((picture,), pixels[None]):
        scene = Scene("a", "a", Clock(8.0, 5, 4), keyframes=given)
        np.testing.assert_array_equal(scene.keyframe(0, (16, 16)), load_keyframe(picture, (16, 16)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"subjects": (Subject("a", Spans()),) * 3}, "subjects: 3 subjects are too many"),
        ({"keyframes": (), "keyframes_at": None}, "first_frame: is missing"),
        ({"size": (64, 64)}, "size: 64x64 is not possible"),
        ({"clock": Clock(24.0, 33, 4)}, "fps: 24 frames per second"),
        ({"clock": Clock(8.0, 85, 4)}, "duration: 10.5 s at 8 fps is 85 frames, not possible"),
        ({"clock": Clock(8.0, 7, 2)}, "7 frames, not possible .frames must be 4k.1."),
    ],
)
def test_what_a_model_cannot_do_is_refused(picture, change, problem):
    scene = board(picture).scene(LIMITS)
    scene.check(LIMITS)
    with pytest.raises(StoryboardError, match=f"b.yaml: .*{problem}.*; this model can do: up to 2"):
        dataclasses.replace(scene, **change).check(LIMITS)
