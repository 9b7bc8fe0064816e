"""What draws frames towards others: against its formulas, alone and in the whole network."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from wan_formulas import Between as Formula
from wan_formulas import wan_velocity

from alchemint_jax import sharding
from alchemint_jax.models.dit import Bias, DiT, DiTConfig
from alchemint_jax.models.dit.between import FLOOR, Between, Drawn, anchor_bias
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.ops.bias import LowRankBias
from alchemint_jax.ops.pooled import pooled_attention
from alchemint_jax.sampling.control import Inbetween, Moment
from alchemint_jax.sampling.control.inbetween import Places

pytestmark = pytest.mark.slow

FRAMES, TEXT = 5, 7
PLAIN = DiTConfig(
    dim=48, n_heads=2, n_layers=3, ffn_dim=32, in_channels=9, out_channels=4, text_dim=12,
    freq_dim=16,
)  # fmt: skip
CONFIGS = {
    "first and last": dataclasses.replace(PLAIN, image_dim=10, image_positions=6),
    "no stream of pictures": PLAIN,
}
# In layers 1 and 2, counted from 0; stronger than is good for a video.
CONTROL = Inbetween(3, 2, steps=(0, 1), layers=(0, 0.7), edge=1.9, middle=0.4)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_pooled_attention_is_the_mean_over_heads_and_queries():
    """In double precision, with a bias and queries of no group; and the same on a mesh."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 12, 4, 6)), rng.normal(size=(2, 5, 4, 6))
    groups = np.zeros((1, 12, 3))
    for token in range(10):
        groups[0, token, token // 4] = 1
    rows, columns = rng.normal(size=(1, 12, 2)), rng.normal(size=(2, 5, 2))
    wanted = np.zeros((2, 3, 5))
    for b, g in np.ndindex(2, 3):
        tokens = range(4 * g, min(4 * g + 4, 10))
        given = [
            softmax(k[b, :, h] @ q[b, n, h] / np.sqrt(6) + columns[b] @ rows[0, n])
            for n in tokens
            for h in range(4)
        ]
        wanted[b, g] = np.mean(given, axis=0)
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(pooled_attention)(q, k, groups, LowRankBias(rows, columns)))
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-12)
    devices = jax.devices()[:4]
    given = [np.float32(x) for x in (q, k, groups)]
    small = LowRankBias(np.float32(rows), np.float32(columns))
    with sharding.use_mesh(sharding.make_mesh(data=1, context=2, tensor=2, devices=devices)):
        split = jax.jit(pooled_attention)(*given, small)
    np.testing.assert_allclose(split, wanted, atol=1e-6)


def test_the_bias_brings_attention_to_its_target():
    """In double precision; with a weight of 1 it is there, unless it is below the floor."""
    rng = np.random.default_rng(1)
    seen = softmax(3 * rng.normal(size=(1, 3, 6)))
    seen[0, 1, 0] = FLOOR / 50
    seen[0, 1] /= seen[0, 1].sum()
    targets = np.eye(3)[None].copy()
    targets[0, 1] = [0.25, 0, 0.75]
    with jax.enable_x64(True):
        weights = np.array([[0.0, 1.0, 0.5]])
        bias = np.asarray(jax.jit(anchor_bias)(seen, targets, weights))
    mixed = 0.25 * seen[0, 0] + 0.75 * seen[0, 2]
    wanted = np.log(np.maximum(mixed, 5e-4)) - np.log(np.maximum(seen[0, 1], 5e-4))
    np.testing.assert_allclose(bias[0, 1], wanted, rtol=1e-12)
    assert not bias[0, 0].any() and not bias[0, 2].any()
    drawn = seen[0, 1] * np.exp(bias[0, 1])
    free = (seen[0, 1] > FLOOR) & (mixed > FLOOR)
    np.testing.assert_allclose(drawn[free], mixed[free], rtol=1e-12)
    assert free.sum() >= 4 and not free[0]


def test_logits_of_a_layer_are_those_of_the_formula_in_double_precision():
    """Of two heads, frame by frame, some below the floor; tokens of no frame have no bias."""
    rng = np.random.default_rng(4)
    q, k = rng.normal(size=(1, 17, 2, 6)), 12 * rng.normal(size=(1, 7, 2, 6))
    of_frame = np.repeat(np.arange(FRAMES), 3)
    frames = np.concatenate([np.eye(FRAMES)[of_frame], np.zeros((2, FRAMES))])[None]
    logits = [q[0, :, head] @ k[0, :, head].T / np.sqrt(6) for head in range(2)]
    wanted = Formula(FRAMES, 0.7, 0.3).drawn(logits, of_frame, softmax)
    given = np.zeros((1, FRAMES), bool)
    given[0, [0, -1]] = True
    with jax.enable_x64(True):

        @jax.jit
        def bias(q, k, frames):
            places = Places.of(jnp.asarray(given))
            between = Between(places.targets(), places.weights(0.7, 0.3))
            found = Drawn(between, frames, None).bias(q, k)
            return jnp.einsum("bnr,bmr->bnm", *found)[0]

        found = np.asarray(bias(q, k, frames))
    for one, other in zip(wanted, logits, strict=True):
        np.testing.assert_allclose(found, one - other, rtol=1e-12, atol=1e-14)
    seen = np.mean([softmax(one[:15]) for one in logits], axis=0).reshape(FRAMES, 3, -1).mean(1)
    assert np.abs(found[3:12]).max(1).min() > 1e-2 and (seen[1:-1] < FLOOR).any()


def test_a_bias_that_is_there_counts_in_what_is_looked_at():
    """It is added to the bias; no gradient goes through; in a layer of strength 0 it is alone."""
    rng = np.random.default_rng(3)
    q, k = (jax.device_put(np.float32(rng.normal(size=(1, n, 2, 6)))) for n in (8, 5))
    frames = jax.device_put(np.float32(np.repeat(np.eye(4), 2, axis=0)[None]))
    words = LowRankBias(frames, jax.device_put(np.float32(rng.normal(size=(1, 5, 4)))))
    targets = jax.device_put(np.full((1, 4, 4), 0.25, np.float32))
    between = Between(targets, jax.device_put(np.float32([[0.0, 1.0, 0.5, 0.0]])))

    @jax.jit
    def found(q, strength):
        return Drawn(between, frames, strength).bias(q, k, words).keys

    @jax.jit
    def pulled(words):
        seen = pooled_attention(q, k, frames, words)
        return anchor_bias(seen, targets, between.weights)

    pull = np.asarray(pulled(words))
    wanted = words.keys + 0.5 * pull.swapaxes(1, 2)
    np.testing.assert_allclose(found(q, 0.5), wanted, atol=1e-5)
    np.testing.assert_array_equal(found(q, 0.0), words.keys)
    assert np.abs(np.asarray(pulled(None)) - pull).max() > 1e-2
    assert not np.any(jax.jit(jax.grad(lambda q: found(q, 1.0).sum()))(q))
    assert Drawn(Between(), frames, None).bias(q, k, words) is words


def test_biases_are_added_where_they_go_together():
    words, between = jnp.zeros((1, FRAMES, TEXT)), Bias(between=Between(weights=jnp.ones((1, 2))))
    some = Bias(words=words, layers=jnp.ones(3))
    for both in (some + between, between + some):
        assert both.words is words and both.layers is some.layers
        assert both.between is between.between
    with pytest.raises(ValueError, match="two biases that depend on attention"):
        between + between
    twice = between.repeated(2).without_captions(jnp.asarray([True, False]))
    assert twice.between.weights.tolist() == [[0, 0], [1, 1]]


# --------------------------------------------------------------------------- the whole network


def inputs(config):
    """Of two samples; the mask of the condition is its first channel."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jax.device_put(np.float32(rng.normal(size=shape)))

    given = np.zeros((2, FRAMES, 4, 6, 1), np.float32)
    given[:, [0, -1]] = 1
    found = {
        "latents": normal(2, FRAMES, 4, 6, 4),
        "time": jnp.full(2, 0.7),
        "text": 2 * normal(2, TEXT, 12),
        "condition": normal(2, FRAMES, 4, 6, 5).at[..., :1].set(given),
    }
    if config.image_dim:
        found["image"] = normal(2, config.image_positions, 10)
    return found


def random_params(config):
    rng = np.random.default_rng(0)
    shapes = DiT(config).abstract_params()
    return jax.tree.map(lambda x: jax.device_put(np.float32(rng.normal(0, 0.3, x.shape))), shapes)


def bias_of(given, control=CONTROL):
    """The second sample is one of a pass without a caption."""

    @jax.jit
    def made(condition, latents):
        conditions = Conditions(*[None] * 7, condition=condition)
        counts = (jnp.int32(1), jnp.int32(10), jnp.float32(0.7))
        moment = Moment(*counts, conditions, PLAIN.n_layers, lambda *_: None)
        return control(moment, latents).bias.without_captions(jnp.asarray([False, True]))

    return made(given["condition"], given["latents"])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_network_is_that_of_the_formulas(name):
    config = CONFIGS[name]
    params, given = random_params(config), inputs(config)
    run = jax.jit(lambda given, bias: DiT(config).apply({"params": params}, **given, bias=bias))
    drawn = Formula(FRAMES, 3, 2, (1, 2), True, 1.9, 0.4)
    scaled = dataclasses.replace(drawn, layers=())

    def formula(between, sample=0):
        one = {key: np.asarray(x)[sample] for key, x in given.items()}
        latents = np.concatenate([one["latents"], one["condition"]], axis=-1)
        rest = {"image": one.get("image"), "between": between}
        return wan_velocity(params, latents, 0.7, one["text"], 2, **rest)

    wanted, found = formula(drawn), run(given, bias_of(given))
    np.testing.assert_allclose(found[0], wanted, atol=5e-4)
    np.testing.assert_allclose(found[1], formula(scaled, 1), atol=5e-4)
    # Each part of it is seen.
    without = [scaled, dataclasses.replace(drawn, ends=1.0, middle=1.0)]
    if config.image_positions:
        without.append(dataclasses.replace(drawn, isolated=False))
    for other in without:
        assert np.abs(formula(other) - wanted).max() > 5e-3


def test_what_is_not_asked_for_is_not_in_the_program():
    config = CONFIGS["first and last"]
    params, given = random_params(config), inputs(config)

    def program(bias):
        apply = jax.jit(lambda bias: DiT(config).apply({"params": params}, **given, bias=bias))
        return apply.lower(bias).as_text()

    nothing = program(None)
    assert program(Bias(between=Between())) == nothing
    scaled = program(bias_of(given, Inbetween(near=0, far=0, isolated=False)))
    drawn = program(bias_of(given))
    counts = [text.count("dot_general") for text in (nothing, scaled, drawn)]
    # Scaled time costs no product. What is drawn has two products more for a softmax of its own of
    # each picture, and three more in each of three streams: two to look, and one to mix.
    assert counts[0] == counts[1] and counts[2] == counts[0] + 2 + 3 * 3
