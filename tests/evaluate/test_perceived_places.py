"""A place of a frame shows a subject, or the ground, or another one."""

from __future__ import annotations

import numpy as np
import pytest
from colored import COLORS, ColorDetector, ColorEmbedder, draw

from alchemint_jax.annotate.settings import Detect
from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.evaluate.places import Places, Regained, beside

SIZE = 48, 80
BOX = np.array([4.0, 16.0, 18.0, 32.0])
LEAST = 0.35


def places(video, color="red"):
    pictures = ColorEmbedder().embed([np.full((4, 4, 3), COLORS[color], np.uint8)])
    return Places(video, 0, SIZE, ColorEmbedder(), pictures)


def regained(video, least=LEAST, held=0.3):
    detector = ColorDetector()
    return Regained(places(video), {}, detector, Detect(), 0.2, least, held, frozenset([1]))


def goes_on(video, one=BOX, box=BOX):
    return regained(video).recognises(Seen(0, one, 0.2, "dog"), box, 1)


def test_it_goes_on_where_it_is_and_not_where_it_was():
    assert goes_on(draw(2, {"red": [(0, 2)]}))
    assert not goes_on(draw(2, {"red": [(0, 1)]}))  # it has gone: this is the ground
    elsewhere = draw(2, {"red": [(0, 1)]})
    elsewhere[1, 16:32, 30:44] = COLORS["red"]
    assert not goes_on(elsewhere)
    assert goes_on(elsewhere, box=BOX + [26, 0, 26, 0])


def test_another_one_in_its_place_is_not_it():
    video = draw(2, {"red": [(0, 1)]})
    video[1, 16:32, 4:18] = COLORS["blue"]
    assert not goes_on(video)
    video[1, 16:32, 4:18] = COLORS["yellow"]  # is like the picture by 0.43, and has other colours
    one = places(video)
    assert one.likeness(BOX, 1) > LEAST and one.alike(Seen(0, BOX, 0.2, "dog"), BOX, 1) < 0.55
    assert not goes_on(video)


def test_ground_that_looks_like_the_picture_is_no_subject():
    """Where all of the frame is of its colour, its place does not say that it is there."""
    video = draw(2, {"red": [(0, 2)]})
    video[1] = COLORS["red"]
    one = places(video)
    assert one.shows(Seen(0, BOX, 0.2, "dog"), BOX, 1, LEAST)
    assert one.contrast(BOX, 1) == pytest.approx(0) and not goes_on(video)
    assert regained(video).look({0: Seen(0, BOX, 0.2, "dog")}, 1, [BOX]) is None


def test_something_like_it_is_not_recognised():
    last = Seen(0, BOX, 0.2, "dog")
    video = draw(2, {"red": [(0, 2)]})
    box = BOX + [0, 2, 0, 2]
    seen, sure = regained(video).look({0: last}, 1, [box])
    assert sure and seen.frame == 1 and list(seen.box) == list(box)
    seen, sure = regained(video, least=1.1).look({0: last}, 1, [BOX])
    assert not sure and list(seen.box) == list(BOX)
    assert regained(video, least=1.1, held=1.1).look({0: last}, 1, [BOX]) is None
    other = draw(2, {"red": [(0, 1)]})
    other[1, 16:32, 4:18] = COLORS["yellow"]  # is like the picture by 0.43
    assert regained(other).look({0: last}, 1, [BOX]) is None


def test_places_beside_a_box_are_those_in_the_frame():
    middle = np.array([30.0, 5.0, 50.0, 25.0])
    assert [list(one) for one in beside(middle, SIZE)] == [[10, 5, 30, 25], [50, 5, 70, 25]]
    assert [list(one) for one in beside(BOX, SIZE)] == [[18, 16, 32, 32]]  # 4 of 14 columns
    assert beside(np.array([0.0, 0, 80, 48]), SIZE) == []


def test_the_best_place_is_cut_off_by_the_border():
    one = places(draw(2, {"red": [(0, 2)]}))
    out = np.array([-6.0, 16.0, 14.0, 32.0])
    assert list(one.best([out, BOX + [40, 0, 40, 0]], 0)) == [0, 16, 14, 32]
    assert one.best([np.array([-20.0, 16, 4, 32])], 0) is None  # hardly anything of it
    assert one.best([], 0) is None


@pytest.mark.parametrize("frame", [0, 1])
def test_likeness_is_of_the_frame(frame):
    one = places(draw(2, {"red": [(1, 2)]}))
    assert (one.likeness(BOX, frame) > 0.99) == (frame == 1)
