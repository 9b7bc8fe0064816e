"""Pictures, what is measured of them, and which are kept."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.annotate.settings import Select
from alchemint_jax.annotate.stages.pictures import (
    _on_smooth,
    box_at,
    choose_views,
    covered_by,
)
from alchemint_jax.annotate.stages.scores import measure, measure_mask
from alchemint_jax.annotate.stages.select import picture_faults, select, weighted
from alchemint_jax.annotate.tracks import border_share

GOOD = {
    "size": 0.1,
    "pixels": 100.0,
    "overlap": 0.0,
    "border": 0.0,
    "sure": 0.9,
    "brightness": 120.0,
    "clipped": 0.0,
    "sharpness": 200.0,
    "whole": 1.0,
    "filled": 0.6,
}


def subject(frames, seen, **more):
    return {"word": "dog", "frames": frames, "seen": seen, **more}


def test_views_are_spread_and_free_of_others_and_of_the_border():
    mine = [[f, 20.0, 10.0, 40.0, 30.0, 0.9] for f in range(40)]
    other = subject([[0, 12]], [[f, 18.0, 8.0, 42.0, 32.0, 0.9] for f in range(12)])
    for f in range(30, 40):
        mine[f][1:5] = [0.0, 10.0, 20.0, 30.0]
    row = {"subjects": [subject([[0, 40]], mine), other], "size": [60, 100]}
    assert choose_views(row, 0, 3, 1) == [12, 14, 27]
    assert choose_views(row, 0, 3, 20) == [12]
    assert choose_views({**row, "subjects": [subject([[0, 0]], mine)]}, 0, 3, 1) == []


def test_boxes_between_frames_and_what_covers_them():
    one = subject([[0, 11]], [[0, 0.0, 0.0, 10.0, 10.0, 0.9], [10, 10.0, 0.0, 20.0, 10.0, 0.9]])
    assert box_at(one, 5) == [5.0, 0.0, 15.0, 10.0] and box_at(one, 11) is None
    assert covered_by([5, 10.0, 0.0, 20.0, 10.0, 0.9], one) == 0.5
    assert covered_by([11, 10.0, 0.0, 20.0, 10.0, 0.9], one) == 0.0
    assert border_share([0.0, 0.0, 10.0, 30.0], [30, 100]) == pytest.approx((30 + 20) / 80)


def test_measures():
    picture = np.full((32, 32, 4), 255, np.uint8)
    picture[..., :3] = 100
    picture[..., 3] = 0
    picture[4:12, 4:12, 3] = picture[20:24, 20:24, 3] = 255
    found = measure(picture, 32)
    assert found["brightness"] == pytest.approx(100) and found["sharpness"] < 1e-3
    noise = picture.copy()
    noise[..., :3] = np.random.default_rng(0).integers(0, 256, (32, 32, 1))
    assert measure(noise, 32)["sharpness"] > 1000
    mask = measure_mask(picture[..., 3] > 0)
    assert mask["whole"] == pytest.approx(64 / 80) and mask["filled"] == pytest.approx(80 / 1024)
    assert measure_mask(np.zeros((4, 4), bool)) == {"whole": 0.0, "filled": 0.0}


def test_a_smooth_ground_keeps_the_subject_and_its_light():
    image = np.zeros((60, 90, 3), np.uint8)
    image[:, ::2] = 200  # stripes
    mask = np.zeros((60, 90), bool)
    mask[20:40, 30:60] = True
    image[mask] = (10, 200, 30)
    smooth = _on_smooth(image, mask)
    assert np.array_equal(smooth[25:35, 36:54], image[25:35, 36:54])
    ground = smooth[:12].astype(float)
    assert abs(ground.mean() - 100) < 8 and ground.std() < 8
    assert np.array_equal(_on_smooth(image, np.ones_like(mask)), image)


def picture(kind="segment", **scores):
    return {"kind": kind, "scores": {**GOOD, **scores}}


@pytest.mark.parametrize(
    ("scores", "fault"),
    [
        ({"size": 0.001}, "small"),
        ({"pixels": 8}, "small"),
        ({"size": 0.99}, "large"),
        ({"overlap": 0.9}, "covered by another subject"),
        ({"brightness": 3}, "dark"),
        ({"sharpness": 1}, "blurred"),
        ({"border": 0.6}, "cut off by the border"),
        ({"whole": 0.3}, "in pieces"),
        ({"filled": 0.01}, "not cut out"),
    ],
)
def test_faults(scores, fault):
    assert picture_faults(picture(), Select()) == []
    assert picture_faults(picture(**scores), Select()) == [fault]


def test_a_box_needs_no_mask():
    assert picture_faults(picture("crop", whole=0.0, filled=0.0), Select()) == []
    assert picture_faults(picture("inpaint", filled=0.0), Select()) == ["not cut out"]


def test_weights_are_the_mixture_over_the_kinds_there_are():
    every = [picture("crop"), picture("segment"), picture("segment"), picture("cross")]
    weights = [one["weight"] for one in weighted(every, Select())]
    assert np.allclose(weights, [0.7 / 6, 0.7 * 5 / 12, 0.7 * 5 / 12, 0.3], atol=1e-5)
    plain = weighted([picture("odd"), picture("odd")], Select())
    assert [one["weight"] for one in plain] == [0.5, 0.5]


def test_select_says_why():
    def one(word, track, pictures, frames=((0, 20),), score=0.8, named_by="detector"):
        return {
            "word": word,
            "track": track,
            "named_by": named_by,
            "detected_as": word,
            "frames": [list(f) for f in frames],
            "score": score,
            "pictures": pictures,
        }

    row = {
        "fps": 10.0,
        "frames": 40,
        "caption_from": "words",
        "caption": "",
        "dropped": [],
        "status": "ok",
        "others": [one("kitten", None, [], ((15, 30), (33, 35)))],
        "subjects": [
            one("dog", 0, [picture()]),
            one("cat", 1, [picture(sharpness=1), picture(sharpness=2, size=0.0)]),
            one("car", 2, [picture()], frames=((0, 2),)),
            one("bus", 3, [picture()], score=0.01),
            one("cup", 4, [picture("cross")]),
            one("box", 5, [picture()], frames=((0, 8),)),
        ],
    }
    found = select(row, Select(subjects=1))
    assert [s["word"] for s in found["subjects"]] == ["dog"] and found["caption"] == "a dog"
    reasons = {d["word"]: d["reason"] for d in found["dropped"]}
    assert "blurred" in reasons["cat"] and "0.20 s" in reasons["car"]
    assert "not sure" in reasons["bus"] and "no picture" in reasons["cup"]
    assert reasons["box"] == "is one of more than 1 subjects"
    # What is left out for its pictures was there all the same; what is unsure was not.
    assert found["categories"]["cat"] == [[0, 30], [33, 35]]
    assert "bus" not in found["categories"] and "others" not in found
    guess = {**row, "subjects": [one("man", 0, [picture()], named_by="order")]}
    assert select(guess, Select())["status"] == "ok"
    assert "a guess" in select(guess, Select(guessed=False))["dropped"][0]["reason"]
    nothing = select({**row, "subjects": row["subjects"][1:5]}, Select())
    assert nothing["status"] == "dropped" and nothing["caption"] == ""
