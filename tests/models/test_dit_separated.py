"""TS-Attn: its bias, its regions and a network under it, against their formulas."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from wan_formulas import Separated as Formula
from wan_formulas import wan_velocity

from alchemint_jax import sharding
from alchemint_jax.models.dit import Bias, DiT, DiTConfig
from alchemint_jax.models.dit.conditioning import Conditions, Told
from alchemint_jax.models.dit.separated import Separated
from alchemint_jax.ops.bias import LowRankBias
from alchemint_jax.ops.separable import Favours, separated_attention, separation, subject_regions
from alchemint_jax.sampling.control import Moment, TSAttn

pytestmark = pytest.mark.slow

GRID = (2, 3, 4)
N, M, HEADS, D = 24, 7, 4, 8
REST = 4  # tokens of the sequence that are none of the video


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def favours():
    """Of two samples: an event in each frame, and two subjects, of which the second has one."""
    subjects, lifted, lowered = (np.zeros((2, 2, *s, M)) for s in ((), (2,), (2,)))
    subjects[:, 0, 0] = subjects[0, 1, 4:6] = 1
    lifted[:, :, 0, 2] = lifted[:, :, 1, 3] = lifted[:, 0, :, 0] = 1
    lowered[:, :, 0, 3] = lowered[:, 0, 1, 2] = 1
    return Favours(subjects, lifted, lowered)


def test_the_bias_brings_the_mean_to_the_largest_logit_and_beyond():
    """Of a key that is lifted; in double precision, for logits whose numbers are easy."""
    logits = np.log(np.array([8.0, 4.0, 2.0, 1.0, 1.0]))
    mean = np.log(2) * 6 / 5
    up, down = np.array([0, 0, 1, 0, 0.0]), np.array([1, 0, 0, 1, 0.0])
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(separation)(logits, up, down))
    # Probabilities less the least of them: 7, 3, 1, 0 and 0 of 7.
    wanted = [-mean, 0, (1 + 0.5 * 6 / 7) * (np.log(8) - mean), -1.5 * mean, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    assert mean + found[2] > logits.max() and mean + found[3] < logits.min()


def test_a_region_is_above_the_upper_half_and_not_alone():
    given = np.zeros((1, N, 2), np.float32)
    given[0, [0, 1, 23], 0] = 1  # two neighbours, and one in a corner of the other frame
    given[0, 5, 1] = 1
    found = np.asarray(jax.jit(subject_regions, static_argnums=1)(given, GRID))
    assert np.flatnonzero(found[0, :, 0]).tolist() == [0, 1] and not found[0, :, 1].any()


@pytest.mark.parametrize("biased", [False, True])
def test_attention_is_biased_where_subjects_are_and_nowhere_else(biased):
    """In double precision; and in single precision on a mesh that splits heads and tokens."""
    rng = np.random.default_rng(0)
    wide = {"q": N + REST, "k": M, "v": M, "raw_q": N + REST, "raw_k": M}
    q, k, v, raw_q, raw_k = (rng.normal(size=(2, n, HEADS, D)) for n in wide.values())
    rows, columns = rng.normal(size=(1, N + REST, 2)), rng.normal(size=(2, M, 2))
    wanted, said, places = np.zeros(q.shape), favours(), []
    for b in range(2):
        own = Formula(GRID, *(x[b] for x in said))
        raw, logits = ([x[b, :, h] @ y[b, :, h].T / np.sqrt(D) for h in range(HEADS)]
                       for x, y in ((raw_q, raw_k), (q, k)))  # fmt: skip
        logits = [one + biased * rows[0] @ columns[b].T for one in logits]
        places.append(own.regions(raw, softmax))
        for h, one in enumerate(own.biased(logits, raw, softmax)):
            wanted[b, :, h] = softmax(one) @ v[b, :, h]
        plain = np.stack([softmax(x) @ v[b, :, h] for h, x in enumerate(logits)], 1)
        moved = np.abs(wanted[b] - plain).max((1, 2)) > 1e-3
        assert (moved[:N] == places[b].any(0)).all() and not moved[N:].any()
    assert 2 <= places[0][0].sum() < N and places[0][1].any() and not places[1][1].any()

    def run(dtype):
        given = [jnp.asarray(x, dtype) for x in (q, k, v, raw_q, raw_k, rows, columns, *said)]
        bias = LowRankBias(*given[5:7]) if biased else None
        return jax.jit(
            lambda q, k, v, raw_q, raw_k: separated_attention(
                q, k, v, (raw_q, raw_k), Favours(*given[7:]), GRID, bias
            )
        )(*given[:5])

    with jax.enable_x64(True):
        np.testing.assert_allclose(run(jnp.float64), wanted, rtol=1e-12, atol=1e-13)
    if biased:
        mesh = sharding.make_mesh(data=1, context=2, tensor=2, devices=jax.devices()[:4])
        with sharding.use_mesh(mesh):
            np.testing.assert_allclose(run(jnp.float32), wanted, atol=1e-5)


# --------------------------------------------------------------------------- the whole network

CONFIG = DiTConfig(
    dim=48, n_heads=2, n_layers=3, ffn_dim=32, in_channels=4, out_channels=4, text_dim=12,
    freq_dim=16,
)  # fmt: skip
FRAMES, TEXT = 5, 9


def control_and_moment(step=0):
    """A control whose word is token 0, with an event from frame 2 on, and one that is later."""
    words, tokens = np.zeros((2, 2, TEXT), bool), np.zeros((2, 1, TEXT), bool)
    words[:, 0, 2:4] = words[:, 1, 5:8] = tokens[:, 0, :2] = True
    intervals = jnp.asarray(np.tile([[[0.0, 2.0]], [[3.0, 4.0]]], (2, 1, 1, 1)), jnp.float32)
    conditions = Conditions(*[None] * 7, told=Told(jnp.asarray(words), intervals))
    moment = Moment(
        jnp.int32(step), jnp.int32(10), jnp.float32(0.9), conditions, 3, lambda *_: None
    )
    return TSAttn(tokens=jnp.asarray(tokens)), moment


def test_the_network_is_that_of_the_formulas():
    """In layers of odd numbers; the second sample is one of a pass without a caption."""
    rng = np.random.default_rng(2)
    shapes = DiT(CONFIG).abstract_params()
    params = jax.tree.map(lambda x: np.float32(rng.normal(0, 0.3, x.shape)), shapes)
    latents, text = rng.normal(size=(2, FRAMES, 4, 6, 4)), 2 * rng.normal(size=(2, TEXT, 12))
    given = {
        "latents": np.float32(latents),
        "time": np.full(2, 0.7, np.float32),
        "text": np.float32(text),
    }
    control, moment = control_and_moment()

    @jax.jit
    def run(params, given):
        bias = control(moment, given["latents"]).bias.without_captions(jnp.array([False, True]))
        return DiT(CONFIG).apply({"params": params}, **given, bias=bias)

    found = run(params, given)

    subjects, lifted, lowered = np.zeros((1, TEXT)), *np.zeros((2, 1, FRAMES, TEXT))
    subjects[:, :2] = lifted[:, :, :2] = 1
    lifted[:, :3, 2:4] = lifted[:, 3:, 5:8] = 1
    lowered[:, 3:, 2:4] = lowered[:, :3, 5:8] = 1
    own = Formula((FRAMES, 2, 3), subjects, lifted, lowered, (1,))

    def formula(separated, sample=0):
        return wan_velocity(params, latents[sample], 0.7, text[sample], 2, separated=separated)

    wanted, plain = formula(own), formula(None)
    np.testing.assert_allclose(found[0], wanted, atol=5e-4)
    np.testing.assert_allclose(found[1], formula(None, 1), atol=5e-4)
    for other in (plain, formula(dataclasses.replace(own, layers=(0, 2)))):
        assert np.abs(other - wanted).max() > 5e-3


def test_it_is_there_in_the_first_steps_and_added_to_what_else_there_is():
    latents = jnp.zeros((2, FRAMES, 4, 6, 4))
    for step, there in ((0, True), (1, True), (2, False), (9, False)):
        control, moment = control_and_moment(step)
        bias = control(moment, latents).bias
        assert bool(bias.separated.favours.subjects.any()) == there
    words = Bias(words=jnp.zeros((2, FRAMES, TEXT)), layers=jnp.ones(3))
    for both in (words + bias, bias + words):
        assert both.words is words.words and both.layers is words.layers
        assert both.separated is bias.separated
    with pytest.raises(ValueError, match="two biases that depend on attention"):
        bias + bias
    twice = Bias(separated=Separated(bias.separated.favours)).repeated(2)
    assert len(twice.separated.favours.subjects) == 4
    nobody = moment.conditions._replace(told=None)
    assert control(dataclasses.replace(moment, conditions=nobody), latents).bias is None
