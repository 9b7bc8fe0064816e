"""Storyboards that give frames of the video: the first, the last, or any other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene import Clock, Scene
from alchemint_jax.scene.limits import Limits
from alchemint_jax.scene.storyboard import Storyboard

BOARD = {"prompt": "a cat jumps", "duration": 1.0}
LIMITS = {n: Limits(0, 81, (16.0,), ((32, 48),), 4, keyframes=n) for n in (0, 1, 2)}


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path


def test_pictures_are_found_beside_the_board(folder):
    board = Storyboard.from_dict(BOARD | {"first_frame": "a.png"}, base=folder)
    assert board.first_frame == folder / "a.png"
    assert board.last_frame is None
    assert board.validate_for(LIMITS[1]).first_frame == folder / "a.png"


@pytest.mark.parametrize(
    ("given", "limit", "field"),
    [
        ((), 1, "first_frame: is missing"),
        (("first_frame",), 2, "last_frame: is missing"),
        (("first_frame",), 0, "first_frame: cannot be given"),
        (("first_frame", "last_frame"), 1, "last_frame: cannot be given"),
    ],
)
def test_a_model_says_which_keyframes_it_needs(folder, given, limit, field):
    board = Storyboard.from_dict(BOARD | dict.fromkeys(given, "a.png"), base=folder)
    with pytest.raises(StoryboardError, match=field):
        board.validate_for(LIMITS[limit])


def test_a_damaged_keyframe_is_named(folder):
    (folder / "b.png").write_bytes(b"no picture")
    with pytest.raises(StoryboardError, match="last_frame: .*b.png"):
        Storyboard.from_dict(BOARD | {"last_frame": "b.png"}, base=folder)


# ------------------------------------------------------------------------------ at any other second


def test_keyframes_lie_where_their_seconds_are(folder):
    given = [{"image": "a.png", "at": at} for at in (0.8, 0.26)]
    board = Storyboard.from_dict(
        BOARD | {"keyframes": given, "first_frame": "a.png"}, base=folder, source="b.yaml"
    )
    assert [entry.at for entry in board.keyframes] == [0.8, 0.26]
    names = [name for name, _ in board.pictures()]
    assert names == ["first_frame", "keyframes[0].image", "keyframes[1].image"]
    limits = dataclasses.replace(LIMITS[1], more_keyframes="frames")
    scene = board.scene(limits)
    assert scene.given_at == (0, 4, 13) and len(scene.keyframes) == 3
    assert sorted(scene.given((8, 8))) == [0, 4, 13]
    assert "keyframes at any time" in limits.describe()
    with pytest.raises(StoryboardError, match=r"keyframes: the one at 0.25 s: cannot be given"):
        board.scene(LIMITS[1])


def test_without_times_a_scene_has_its_ends():
    for count, at in ((0, ()), (1, (0,)), (2, (0, 16))):
        pictures = np.zeros((count, 8, 8, 3), np.uint8)
        assert Scene("a", "a", Clock(16, 17, 4), keyframes=pictures).given_at == at


@pytest.mark.parametrize(
    ("duration", "at", "frame"),
    [(1.0, 0.0, 0), (1.0, 0.03, 0), (1.0, 0.04, 1), (1.0, 1.0, 16), (0.9, 0.9, 16), (0.8, 0.8, 12)],
)
def test_an_instant_is_the_nearest_frame_and_the_end_is_the_last(duration, at, frame):
    """0.9 s at 16 frames per second is a clip of 17 frames, 0.8 s one of 13."""
    clock = Clock.for_duration(duration, 16.0, 4)
    assert clock.instant(at, duration) == frame


def test_latent_frames_hold_what_the_clock_says():
    clock = Clock(16, 17, 4)
    for latent in range(clock.latent_frames):
        start, end = clock.held([latent, latent])
        assert {clock.latent_frame(frame) for frame in range(start, end)} == {latent}
    for second in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="not an instant"):
            clock.instant(second)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"keyframes": [{"image": "a.png", "at": 1.5}]},
            r"keyframes\[0\].at: must be between 0 and 1",
        ),
        ({"keyframes": [{"image": "a.png"}]}, r"keyframes\[0\].at: is missing"),
        ({"keyframes": [{"at": 0.5}]}, r"keyframes\[0\].image: is missing"),
        ({"keyframes": {"image": "a.png"}}, "keyframes: expected a list"),
        ({"keyframes": [{"image": "b.png", "at": 0.5}]}, r"keyframes\[0\].image: .*b.png"),
        ({"keyframes": [{"image": "a.png", "at": 0.5, "second": 1}]}, "second: unknown field"),
    ],
)
def test_bad_keyframes_are_named(folder, changes, says):
    with pytest.raises(StoryboardError, match=says):
        Storyboard.from_dict(BOARD | changes, base=folder)


def test_two_pictures_of_one_frame_are_named(folder):
    limits = dataclasses.replace(LIMITS[0], more_keyframes="frames")

    def scene(*at, **changes):
        keyframes = [{"image": "a.png", "at": second} for second in at]
        board = Storyboard.from_dict(BOARD | {"keyframes": keyframes} | changes, base=folder)
        return board.scene(limits)

    with pytest.raises(StoryboardError, match=r"keyframes\[0\]: is the same frame as last_frame"):
        scene(1.0, last_frame="a.png")
    with pytest.raises(
        StoryboardError, match=r"keyframes\[1\]: is the same frame as keyframes\[0\]"
    ):
        scene(0.5, 0.51)
    assert scene(0.5, 0.5625).given_at == (8, 9)
    limits = dataclasses.replace(limits, more_keyframes="latent frames")
    assert scene(0.5, 0.5625).given_at == (8, 9)  # 8 is the last frame of one latent frame
    with pytest.raises(StoryboardError, match="0.5625 s and 0.625 s are too close to each other"):
        scene(0.5625, 0.625)
