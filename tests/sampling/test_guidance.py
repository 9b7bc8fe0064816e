"""Four-branch guidance against its formula, and that it passes no more branches than it needs."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alchemint_jax.errors import ConfigError
from alchemint_jax.sampling import Guidance, guided_velocity
from alchemint_jax.sampling.guidance import Branch

NULL, PICTURES, TEXT, BOTH = (Branch(t, p) for t in (False, True) for p in (False, True))
WEIGHTS = st.integers(-80, 160).map(lambda n: n / 10)


def _model(log):
    """Four unrelated velocities, so that a branch taken for another one shows."""

    def model(z, with_text, with_images):
        log.append((np.asarray(with_text), np.asarray(with_images)))
        text, pictures = (jnp.where(w, 1.0, 0.0)[:, None] for w in (with_text, with_images))
        return jnp.sin(z) * (1 + text) + jnp.cos(z) * pictures + 3 * text * pictures * z

    return model


def _single(z, branch):
    flags = (np.full(len(z), flag) for flag in branch)
    return _model([])(z, *flags)


@pytest.fixture
def z():
    return jax.device_put(np.float32(np.random.default_rng(0).standard_normal((3, 4))))


def _guided(guidance, z, log):
    branches = guidance.branches()
    return guided_velocity(_model(log), z, tuple(branches), jnp.asarray(list(branches.values())))


@given(WEIGHTS, WEIGHTS, WEIGHTS)
@example(0.1, 0.2, 0.7)
def test_weights_sum_to_one_and_none_is_zero(text, image, both):
    branches = Guidance(text, image, both).branches()
    assert sum(branches.values()) == pytest.approx(1, abs=1e-9)
    # Tenths do not add up in binary: what is left of 1 must not become a pass of the model.
    assert all(abs(weight) > 0.05 for weight in branches.values())


@pytest.mark.parametrize("seed", range(5))
def test_is_the_formula(z, seed):
    text, image, both = np.random.default_rng(seed).uniform(-2, 8, 3)
    v0, vi, vt, vit = (_single(z, branch) for branch in (NULL, PICTURES, TEXT, BOTH))
    expected = v0 + image * (vi - v0) + text * (vt - v0) + both * (vit - v0)
    log = []
    np.testing.assert_allclose(_guided(Guidance(text, image, both), z, log), expected, atol=2e-5)
    assert len(log) == 1 and len(log[0][0]) == 4 * len(z)  # one pass, four times the batch


def test_both_equal_to_one_is_the_conditional_model_in_a_single_branch(z):
    log = []
    v = _guided(Guidance(text=0, image=0, both=1), z, log)
    np.testing.assert_array_equal(v, _single(z, BOTH))
    assert len(log) == 1 and len(log[0][0]) == len(z)
    assert log[0][0].all() and log[0][1].all()


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [
        (Guidance(0, 0, 1), [BOTH]),
        (Guidance(0, 0, 0), [NULL]),
        (Guidance(0, 0, 3), [NULL, BOTH]),
        (Guidance(0, 1, 0), [PICTURES]),
        (Guidance(1, 0, 0), [TEXT]),
        (Guidance(0, -5, 6), [PICTURES, BOTH]),
        (Guidance(2, 0, 3), [NULL, TEXT, BOTH]),
        (Guidance(2, 1, 3), [NULL, PICTURES, TEXT, BOTH]),
    ],
)
def test_zero_weights_are_not_passed(z, guidance, expected):
    log = []
    _guided(guidance, z, log)
    flags = [Branch(bool(t), bool(p)) for t, p in zip(*(f[:: len(z)] for f in log[0]), strict=True)]
    assert sorted(flags) == sorted(expected)


def test_phantoms_chain_is_a_special_case(z):
    """v0 + 5 (vI - v0) + 7.5 (vIT - vI)."""
    v0, vi, vit = (_single(z, branch) for branch in (NULL, PICTURES, BOTH))
    expected = v0 + 5 * (vi - v0) + 7.5 * (vit - vi)
    np.testing.assert_allclose(_guided(Guidance(0, -2.5, 7.5), z, []), expected, atol=2e-5)


@pytest.mark.parametrize("field", ["text", "image", "both"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        Guidance(**{field: value})
