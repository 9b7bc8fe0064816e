"""Storyboards that give the first frame of the video, or the first and the last one."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from alchemint_jax.errors import StoryboardError
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
