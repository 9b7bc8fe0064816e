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
from alchemint_jax.models.dit.between import FLOOR, Between, anchor_bias
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.ops.bias import LowRankBias
from alchemint_jax.ops.pooled import pooled_attention
from alchemint_jax.sampling.control import Inbetween, Moment

pytestmark = pytest.mark.slow

FRAMES, TEXT = 5, 7
PLAIN = DiTConfig(
    dim=48, n_heads=2, n_layers=3, ffn_dim=32, in_channels=4, out_channels=4, text_dim=12,
    freq_dim=16,
)  # fmt: skip
GIVEN = dataclasses.replace(PLAIN, in_channels=9)
CONFIGS = {
    "first and last": dataclasses.replace(GIVEN, image_dim=10, image_positions=6),
    "one picture": dataclasses.replace(GIVEN, image_dim=10),
    "no stream of pictures": GIVEN,
}
CONTROL = Inbetween(steps=(0, 1), layers=(0, 0.7))  # layers 1 and 2, counted from 0


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
        bias = LowRankBias(jnp.asarray(rows), jnp.asarray(columns))
        found = pooled_attention(*map(jnp.asarray, (q, k, groups)), bias)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-12)
    devices = jax.devices()[:4]
    given = [jnp.asarray(x, jnp.float32) for x in (q, k, groups)]
    small = LowRankBias(jnp.asarray(rows, jnp.float32), jnp.asarray(columns, jnp.float32))
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
        weights = jnp.asarray([[0.0, 1.0, 0.5]])
        bias = np.asarray(anchor_bias(jnp.asarray(seen), jnp.asarray(targets), weights))
    mixed = 0.25 * seen[0, 0] + 0.75 * seen[0, 2]
    wanted = np.log(np.maximum(mixed, 5e-4)) - np.log(np.maximum(seen[0, 1], 5e-4))
    np.testing.assert_allclose(bias[0, 1], wanted, rtol=1e-12)
    assert not bias[0, 0].any() and not bias[0, 2].any()
    drawn = seen[0, 1] * np.exp(bias[0, 1])
    free = (seen[0, 1] > FLOOR) & (mixed > FLOOR)
    np.testing.assert_allclose(drawn[free], mixed[free], rtol=1e-12)
    assert free.sum() >= 4 and not free[0]


# --------------------------------------------------------------------------- the whole network


def inputs(config, seed=1, batch=1):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    latents, condition = normal(batch, FRAMES, 4, 6, 4), normal(batch, FRAMES, 4, 6, 5)
    # The mask is the first channel: the first and the last frame are given.
    given = np.zeros((batch, FRAMES, 4, 6, 1), np.float32)
    given[:, [0, -1]] = 1
    found = {
        "latents": latents,
        "time": jnp.full(batch, 0.7),
        "text": 2 * normal(batch, TEXT, 12),
        "condition": condition.at[..., :1].set(given),
    }
    if config.image_dim:
        found["image"] = normal(batch, config.image_positions or 3, 10)
    return found


def random_params(config, seed=0):
    rng = np.random.default_rng(seed)
    shapes = DiT(config).abstract_params()
    return jax.tree.map(lambda x: rng.normal(0, 0.25, x.shape).astype(np.float32), shapes)


def bias_of(given, control=CONTROL, config=PLAIN):
    conditions = Conditions(*[None] * 7, condition=given["condition"])
    counts = (jnp.int32(1), jnp.int32(10), jnp.float32(0.7))
    moment = Moment(*counts, conditions, config.n_layers, lambda *_: None)
    return control(moment, given["latents"]).bias


@pytest.mark.parametrize("name", CONFIGS)
def test_the_network_is_that_of_the_formulas(name):
    config = CONFIGS[name]
    params, given = random_params(config), inputs(config)
    run = jax.jit(lambda given, bias: DiT(config).apply({"params": params}, **given, bias=bias))
    plain = Formula(FRAMES)
    drawn = Formula(FRAMES, 0.7, 0.3, (1, 2), True, 1.06, 0.94)

    def formula(between):
        latents = np.concatenate([given["latents"][0], given["condition"][0]], axis=-1)
        image = given["image"][0] if "image" in given else None
        return wan_velocity(params, latents, 0.7, given["text"][0], 2, image=image, between=between)

    wanted = formula(drawn)
    np.testing.assert_allclose(run(given, bias_of(given))[0], wanted, atol=3e-4)
    np.testing.assert_allclose(run(given, None)[0], formula(plain), atol=3e-4)
    # Each part of it is seen.
    without = [plain, dataclasses.replace(drawn, near=0, far=0)]
    without.append(dataclasses.replace(drawn, ends=1.0, middle=1.0))
    if config.image_positions:
        without.append(dataclasses.replace(drawn, isolated=False))
    for other in without:
        assert np.abs(formula(other) - wanted).max() > 3e-3


def test_a_bias_of_words_is_in_what_is_drawn():
    """Both together are not one after the other: attention is looked at under the bias."""
    config = CONFIGS["no stream of pictures"]
    params, given = random_params(config), inputs(config)
    words = jnp.zeros((1, FRAMES, TEXT)).at[:, 2:, 3].set(-1024.0)
    both = Bias(words=words) + bias_of(given)
    keep = np.array([0, 1, 2, 4, 5, 6])
    # A token that no frame sees is as one that is not there.
    everywhere = Bias(words=words.at[:, :, 3].set(-1024.0)) + bias_of(given)

    def run(given, bias):
        return np.asarray(jax.jit(DiT(config).apply)({"params": params}, **given, bias=bias))

    np.testing.assert_allclose(
        run(given, everywhere),
        run(given | {"text": given["text"][:, keep]}, bias_of(given)),
        atol=1e-5,
    )
    assert np.abs(run(given, both) - run(given, everywhere)).max() > 1e-3
    some = Bias(words=words, layers=jnp.asarray([1.0, 0.0, 0.0])) + bias_of(given)
    assert np.abs(run(given, some) - run(given, both)).max() > 1e-4
    with pytest.raises(ValueError, match="two biases that depend on attention"):
        both + bias_of(given)


def test_passes_without_a_caption_are_not_drawn_but_scaled():
    config = CONFIGS["first and last"]
    params, given = random_params(config), inputs(config, batch=2)
    run = jax.jit(lambda given, bias: DiT(config).apply({"params": params}, **given, bias=bias))
    bias = bias_of(given)
    found = run(given, bias.without_captions(jnp.asarray([True, False])))
    undrawn = run(given, bias_of(given, Inbetween(near=0, far=0)))
    drawn = run(given, bias)
    np.testing.assert_allclose(found[0], undrawn[0], atol=2e-6)
    np.testing.assert_allclose(found[1], drawn[1], atol=2e-6)
    assert np.abs(drawn[0] - undrawn[0]).max() > 1e-3
    twice = bias.repeated(2)
    assert twice.between.weights.shape == (4, FRAMES) and twice.between.layers.shape == (3,)


def test_gradients_do_not_go_through_the_bias_and_are_those_of_the_rest():
    config = CONFIGS["no stream of pictures"]
    params, given = random_params(config), inputs(config)
    dit = DiT(dataclasses.replace(config, remat="full"))

    def size(latents, bias):
        return (dit.apply({"params": params}, **given | {"latents": latents}, bias=bias) ** 2).sum()

    slope = jax.jit(jax.grad(size))(given["latents"], bias_of(given))
    assert np.isfinite(slope).all() and np.abs(slope).max() > 1e-3


def test_what_is_not_asked_for_is_not_in_the_program():
    config = CONFIGS["first and last"]
    params, given = random_params(config), inputs(config)

    def program(bias):
        apply = jax.jit(lambda bias: DiT(config).apply({"params": params}, **given, bias=bias))
        return apply.lower(bias).as_text()

    nothing = program(None)
    assert program(Bias()) == nothing and program(Bias(between=Between())) == nothing
    scaled = program(bias_of(given, Inbetween(near=0, far=0, isolated=False)))
    drawn = program(bias_of(given))
    counts = [text.count("dot_general") for text in (nothing, scaled, drawn)]
    # Scaled time costs no product; what is drawn looks at each of three streams (two products
    # each), and two softmaxes of pictures are two products more than one.
    assert counts[0] == counts[1] and counts[2] == counts[0] + 2 + 3 * 3
