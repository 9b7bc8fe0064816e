"""Cuts in the branch of events: one vector at an instant, nothing where there is none."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.dit.blocks import EventInputs
from alchemint_jax.rotary import axis_frequencies, rerope_cut_gains, rerope_query_gains

pytestmark = pytest.mark.slow

SIZES = dict(dim=24, n_heads=2, n_layers=2, ffn_dim=16, in_channels=2, out_channels=2)
CONFIG = DiTConfig(**SIZES, text_dim=6, freq_dim=8, events=True, cuts=True)
B, E, Q = 2, 2, 3


def normal(seed, *shape):
    return np.float32(np.random.default_rng(seed).standard_normal(shape))


@pytest.fixture(scope="module")
def inputs():
    return {
        "latents": normal(0, B, 4, 4, 4, 2),
        "time": np.float32([0.3, 0.8]),
        "text": normal(1, B, 4, 6),
        "events": normal(2, B, E, Q, 6),
        "event_mask": np.ones((B, E, Q), bool),
        "event_intervals": np.float32([[[0, 1.5], [1.5, 3]]] * B),
    }


@pytest.fixture(scope="module")
def params():
    shapes = DiT(CONFIG).abstract_params()
    made = jax.tree.map(
        lambda x: normal(sum(x.shape), *x.shape) / np.float32(max(x.shape) ** 0.5), shapes
    )
    return jax.device_put(made)


@pytest.fixture(scope="module")
def run(params, inputs):
    apply = jax.jit(lambda given: DiT(CONFIG).apply({"params": params}, **given))

    def run(at, used):
        rows = {"cuts": np.array(at, np.float32), "cut_used": np.array(used, bool)}
        return np.asarray(apply(inputs | rows))

    return run


@pytest.fixture(scope="module")
def uncut(params, inputs):
    """Of a network that knows nothing of cuts, with the same weights."""
    plain = DiT(dataclasses.replace(CONFIG, cuts=False))
    own = {name: x for name, x in params.items() if name != "event_cut"}
    assert len(own) == len(params) - 1
    return np.asarray(jax.jit(lambda given: plain.apply({"params": own}, **given))(inputs))


def test_without_a_cut_it_is_the_network_that_knows_none(run, uncut):
    np.testing.assert_allclose(run([[9, 0.5]] * B, [[0, 0]] * B), uncut, atol=2e-5)


def test_only_used_cuts_count_in_any_order_each_for_its_own_sample(run, uncut):
    one = run([[1.5, 0.2], [0, 0]], [[1, 0], [0, 0]])
    assert np.abs(one - uncut)[0].max() > 1e-2
    np.testing.assert_allclose(one[1], uncut[1], atol=2e-5)
    np.testing.assert_allclose(run([[9, 1.5]] * B, [[0, 1], [0, 0]]), one, atol=2e-5)
    two = run([[0.5, 2.5]] * B, [[1, 1]] * B)
    np.testing.assert_allclose(run([[2.5, 0.5]] * B, [[1, 1]] * B), two, atol=2e-5)
    assert np.abs(run([[0.5, 1.5]] * B, [[1, 1]] * B) - two).max() > 1e-3


def test_a_cut_has_the_gain_of_its_instant_and_as_many_tokens_as_a_caption(params):
    freqs = axis_frequencies(CONFIG.head_dim)
    whole = np.float32([[[0.0, 3.0]]])
    gains = np.asarray(rerope_cut_gains(np.float32([[2.0, 0.5]]), whole, freqs))
    frames = np.asarray(rerope_query_gains(whole, 4, freqs))
    np.testing.assert_allclose(gains[0, 0], frames[0, 2], atol=1e-6)  # that of its own frame
    states, mask = normal(5, 1, Q, 24), np.ones((1, Q), bool)
    keys = np.ones((1, Q, gains.shape[-1]), np.complex64)
    vector, used = params["event_cut"], np.array([[True, False]])

    @jax.jit
    def run(states, mask, frames, keys, vector, used, gains):
        found = EventInputs(states, mask, frames, keys).with_cuts(vector, used, gains, Q)
        return found.states, found.mask, found.k_gains

    found = run(states, mask, frames, keys, vector, used, gains)
    states, mask, k_gains = (np.asarray(x) for x in found)
    assert states.shape == (1, 3 * Q, 24) and mask.sum() == 2 * Q
    np.testing.assert_array_equal(states[0, Q:], np.tile(vector, (2 * Q, 1)))
    np.testing.assert_array_equal(k_gains[0, Q : 2 * Q], np.tile(gains[0, 0], (Q, 1)))
    np.testing.assert_array_equal(k_gains[0, 2 * Q :], np.tile(gains[0, 1], (Q, 1)))


def test_cuts_need_events_and_a_model_for_them(inputs):
    with pytest.raises(ConfigError, match=r"model\.cuts"):
        dataclasses.replace(CONFIG, events=False)
    other = DiT(dataclasses.replace(CONFIG, cuts=False))
    rows = {"cuts": np.zeros((B, 1), np.float32), "cut_used": np.ones((B, 1), bool)}
    with pytest.raises(ValueError, match="cuts need"):
        jax.eval_shape(lambda given: other.init(jax.random.key(0), **given), inputs | rows)
