"""Cuts between shots: from seconds on a board to pixel frames, rows and latent times."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from alchemint_jax.data.examples import read_scene, scene_fields
from alchemint_jax.data.lines import read_line
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.scene import Clock, Scene
from alchemint_jax.scene.limits import Limits
from alchemint_jax.scene.packing import pack_cuts
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.scene.windows import window

BOARD = {"prompt": "a cat jumps", "duration": 4.0}
LIMITS = Limits(0, 81, (8.0,), ((32, 48),), 4, cuts=True)
CLOCK = Clock(8.0, 33, 4)
SCENE = Scene("a", "a cat", CLOCK, size=(32, 48), cuts=(9, 20))


def test_seconds_become_the_frames_that_begin_a_shot():
    board = Storyboard.from_dict(BOARD | {"cuts": [2.51, 1.125]})
    assert board.cuts == (1.125, 2.51)
    assert board.scene(LIMITS).cuts == (9, 20)
    assert Storyboard.from_dict(BOARD).scene(LIMITS).cuts == ()


@pytest.mark.parametrize("cuts", [[0.0], [0.05], [4.1, 1.0], [1.0, 1.05], ["x"], 2.0])
def test_what_is_no_cut_is_refused(cuts):
    with pytest.raises(StoryboardError, match="cuts"):
        Storyboard.from_dict(BOARD | {"cuts": cuts}).scene(LIMITS)


def test_a_model_without_cuts_says_so():
    without = dataclasses.replace(LIMITS, cuts=False)
    board = Storyboard.from_dict(BOARD | {"cuts": [1.0]})
    with pytest.raises(StoryboardError, match=r"cuts: a cut between shots cannot be asked for"):
        board.validate_for(without)
    with pytest.raises(StoryboardError, match="cuts"):
        SCENE.check(without)
    SCENE.check(LIMITS)
    Storyboard.from_dict(BOARD).validate_for(without)
    assert "cuts" in LIMITS.describe() and "cuts" not in without.describe()


def test_a_window_keeps_the_cuts_inside_of_it():
    assert window(SCENE, np.arange(5, 20), 8.0).cuts == (4,)
    assert window(SCENE, np.arange(9, 33), 8.0).cuts == (11,)
    assert window(SCENE, np.arange(0, 33, 2), 4.0).cuts == (5, 10)  # frame 9 is first shown by 10
    assert window(SCENE, np.array([8, 8, 21, 22]), 8.0).cuts == (2,)  # a whole shot is left out


def test_rows_hold_all_cuts_or_none_is_lost():
    rows = pack_cuts([SCENE, dataclasses.replace(SCENE, cuts=())])
    assert rows.at.tolist() == [[9, 20, 0, 0], [0] * 4]
    assert rows.used.tolist() == [[True, True, False, False], [False] * 4]
    assert pack_cuts([dataclasses.replace(SCENE, cuts=tuple(range(1, 6)))]).at.shape == (1, 8)
    with pytest.raises(DataError, match="2 cuts, not 1"):
        pack_cuts([SCENE], 1)


def test_a_cut_lies_between_two_frames():
    at = np.arange(1, 33)
    times = CLOCK.cut(at)
    assert (CLOCK.coordinate(at - 1) < times).all() and (times < CLOCK.coordinate(at)).all()
    assert times.dtype == np.float32
    # Between two latent frames, whose centres are 4i - 1.5: half way.
    np.testing.assert_allclose(CLOCK.cut(np.array([5, 9, 13])), [1.5, 2.5, 3.5])


def test_records_and_lines_keep_them():
    fields = scene_fields(SCENE, 0, slots=1, spans=1, cuts=3) | {"references": np.zeros((1, 1))}
    assert fields["cuts"].tolist() == [9, 20, 0]
    assert read_scene(fields, CLOCK).cuts == SCENE.cuts
    assert "cuts" not in scene_fields(SCENE, 0, slots=1, spans=1)
    line = {"id": "a", "fps": 8.0, "frames": 33, "size": [32, 48], "caption": "", "subjects": []}
    assert read_line(line | {"cuts": [2.5, 1.125]}).cuts == SCENE.cuts
    with pytest.raises(DataError, match="cuts"):
        read_line(line | {"cuts": [4.2]})
