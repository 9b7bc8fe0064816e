"""YOLOv3-tiny finds drawn signs where they are, and is the network that others run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contracts import check_detector
from signs import WORDS, blank, draw

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive import yolo
from alchemint_jax.perceive.boxes import overlaps
from alchemint_jax.perceive.embedded import load_layers
from alchemint_jax.perceive.yolo import YoloDetector

GOLDEN = Path(__file__).parents[1] / "goldens" / "perceive" / "yolov3_tiny.npz"


@pytest.fixture(scope="module")
def detector():
    return YoloDetector(side=160, batch=2)


@pytest.fixture(scope="module")
def both():
    return draw("stop sign", 175, 110, 36, draw("clock", 65, 70, 42))


def test_it_keeps_the_contract(detector, both):
    video = np.stack([both, blank(), draw("clock", 120, 80, 50)])
    check_detector(detector, video, ["person", *WORDS])


def test_signs_are_found_where_they_are_in_videos_of_any_size(detector, both):
    run = yolo._run.__wrapped__  # no program is kept on disk here
    compiled = run._cache_size()
    for enlarge in (1, 3):
        video = both.repeat(enlarge, 0).repeat(enlarge, 1)[None]
        (found,) = detector.detect(video, WORDS)
        assert sorted(found.words) == [0, 1]
        true = np.array([[23, 28, 107, 112], [139, 74, 211, 146]], np.float32) * enlarge
        for box, score, word in zip(found.boxes, found.scores, found.words, strict=True):
            assert score > 0.7
            assert overlaps(box[None], true[word][None]) > 0.75
    assert run._cache_size() - compiled <= 1


def test_words_are_those_of_coco_in_any_case(detector, both):
    (found,) = detector.detect(both[None], ["STOP sign", "stop", "a clock", "zebra"])
    assert set(found.words) == {0}
    (nothing,) = detector.detect(blank()[None], list(detector.vocabulary))
    assert len(nothing.scores) == 0


def test_boxes_at_the_border_end_there(detector):
    video = draw("clock", 20, 90, 60)[None]
    (found,) = detector.detect(video, WORDS)
    assert len(found.boxes) and found.boxes[0, 0] == 0


def test_it_is_the_network_that_opencv_runs():
    golden = np.load(GOLDEN)
    boxes, scores = yolo._run(load_layers("yolov3_tiny.safetensors"), golden["image"][None])
    reference = golden["boxes"]
    size = np.tile(np.maximum(reference[:, 2:] - reference[:, :2], 8), 2)
    # The weights are in float16. A box of the wrong anchors would be half as large.
    assert (np.abs(np.asarray(boxes[0]) - reference) / size).max() < 0.03
    kept = tuple(golden["kept"].T)
    assert len(kept[0]) >= 1
    np.testing.assert_allclose(np.asarray(scores[0])[kept], golden["scores"], atol=0.01)


@pytest.mark.parametrize(("field", "value"), [("side", 0), ("side", 100), ("batch", 0)])
def test_what_cannot_be_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field}: {value}"):
        YoloDetector(**{field: value})
