"""Published models of subjects in the transformer, against the formulas of Wan2.1."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from wan_formulas import wan_velocity

from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.sampling.kinds import KINDS

pytestmark = pytest.mark.slow

PLAIN = DiTConfig(
    dim=128, n_heads=1, n_layers=2, ffn_dim=32, in_channels=4, out_channels=4, text_dim=24,
    freq_dim=16,
)  # fmt: skip


def random_params(config, seed=0):
    rng = np.random.default_rng(seed)
    shapes = DiT(config).abstract_params()
    return jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), shapes)


def inputs(slots, seed=1):
    """Of one sample: three latent frames, and pictures of the same size."""
    rng = np.random.default_rng(seed)
    return {
        "latents": rng.normal(size=(1, 3, 4, 6, 4)).astype(np.float32),
        "time": np.array([0.7], np.float32),
        "text": rng.normal(size=(1, 5, 24)).astype(np.float32),
        "references": rng.normal(size=(1, slots, 4, 6, 4)).astype(np.float32),
        "intervals": np.tile(np.array([1, 2], np.float32), (1, slots, 1, 1)),
        "tags": np.zeros((1, slots, 2, 24), np.float32),
        "tag_mask": np.ones((1, slots, 2), bool),
    }


CORNERS = {
    # Three latent frames of video, then one for each picture; rows and columns as those of a frame.
    "phantom": [(3, 0, 0), (4, 0, 0), (5, 0, 0), (6, 0, 0)],
    "kaleido": [(0, 80, 80), (1, 80, 80), (2, 80, 80)],
}


@pytest.mark.parametrize("name", CORNERS)
def test_pictures_go_through_the_network_as_the_authors_have_them(name):
    kind = KINDS[name]
    config = kind.config(PLAIN, "here")
    assert DiT(config).abstract_params() == DiT(PLAIN).abstract_params()
    params, given = random_params(PLAIN), inputs(kind.slots)
    used = np.arange(kind.slots)[None] < 2

    def ours(config, **changes):
        return np.asarray(
            jax.jit(DiT(config).apply)({"params": params}, **given | {"used": used} | changes)
        )

    def formula(corners):
        pairs = [(given["references"][0, i], corners[i]) for i in range(len(corners))]
        one = (given[key][0] for key in ("latents", "time", "text"))
        return wan_velocity(params, *one, heads=1, references=pairs)

    found = ours(config)[0]
    np.testing.assert_allclose(found, formula(CORNERS[name][:2]), atol=3e-4)
    every = ours(config, used=np.ones_like(used))[0]
    np.testing.assert_allclose(every, formula(CORNERS[name]), atol=3e-4)
    # These would be told apart: other corners, clean modulation, or no pictures at all.
    assert np.abs(found - formula([(0, 0, 0), (1, 0, 0)])).max() > 1e-2
    assert np.abs(found - ours(dataclasses.replace(config, reference_time="clean"))).max() > 1e-2
    assert np.abs(found - formula([])).max() > 1e-2
    # No interval turns anything.
    np.testing.assert_array_equal(found, ours(config, intervals=given["intervals"] * 0)[0])
