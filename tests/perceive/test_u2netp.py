"""u2netp cuts what stands out from a box, and is the network that others run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contracts import check_segmenter
from signs import blank, draw

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive import u2netp
from alchemint_jax.perceive.embedded import load_layers
from alchemint_jax.perceive.u2netp import U2netSegmenter

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "goldens" / "perceive" / "u2netp.npz"
BOX = np.array([78, 48, 162, 132], np.float32)


@pytest.fixture(scope="module")
def segmenter():
    return U2netSegmenter(side=64)


def test_it_keeps_the_contract(segmenter):
    video = np.stack([draw("clock", 120, 90, 42), blank(), draw("clock", 120, 90, 42)])
    check_segmenter(segmenter, video, np.stack([BOX, np.full(4, np.nan), BOX]).astype(np.float32))


def test_the_mask_is_the_thing_in_the_box(segmenter):
    picture = draw("clock", 120, 90, 42)
    (mask,) = segmenter.segment(picture[None], BOX[None])
    y, x = np.mgrid[:180, :240] + 0.5
    true = np.hypot(x - 120, y - 90) < 42
    assert (mask & true).sum() / (mask | true).sum() > 0.85
    beyond = np.array([[300, 200, 400, 300]], np.float32)
    assert not segmenter.segment(picture[None], beyond).any()


def test_it_is_the_network_that_onnxruntime_runs():
    golden = np.load(GOLDEN)
    layers = load_layers("u2netp.safetensors")
    likely = np.asarray(u2netp._run(layers, golden["image"][None])[0])
    reference = golden["likely"].astype(np.float32)
    assert reference.max() - reference.min() > 0.5
    assert np.abs(likely - reference).mean() < 0.01  # the weights are in float16
    assert np.abs(likely - reference).max() < 0.15


@pytest.mark.parametrize(("field", "value"), [("side", 0), ("side", 100), ("batch", 0)])
def test_what_cannot_be_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field}: {value}"):
        U2netSegmenter(**{field: value})
