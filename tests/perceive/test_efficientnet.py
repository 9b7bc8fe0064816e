"""EfficientNet-Lite0 tells drawn signs apart, and is the network that others run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contracts import check_embedder
from signs import WORDS, draw

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive.efficientnet import EfficientnetEmbedder

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "goldens" / "perceive" / "efficientnet_lite0.npz"


@pytest.fixture(scope="module")
def embedder():
    return EfficientnetEmbedder(side=64, batch=2)


def test_it_keeps_the_contract(embedder):
    subjects = [
        [
            draw(word, 120, 90, radius)[20:160, 40 : 200 + crop]
            for radius, crop in ((60, 0), (48, 9))
        ]
        for word in WORDS
    ]
    check_embedder(embedder, subjects)


def test_it_is_the_network_that_torch_runs(embedder):
    golden = np.load(GOLDEN)
    reference = golden["vector"] / np.linalg.norm(golden["vector"])
    (vector,) = embedder.embed([golden["image"]])  # which is 64 pixels wide: no resizing
    assert vector @ reference > 0.9995  # the weights are in float16
    np.testing.assert_allclose(vector, reference, atol=0.01)


@pytest.mark.parametrize(("field", "value"), [("side", 8), ("batch", 0)])
def test_what_cannot_be_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field}: {value}"):
        EfficientnetEmbedder(**{field: value})
