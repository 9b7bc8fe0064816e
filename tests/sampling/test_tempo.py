"""TempoControl: whose latents move, when, and where to."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import Attended, Bias, DiT, DiTConfig, Probe
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.control import (
    Gating,
    Moment,
    Steered,
    TempoControl,
    Together,
    When,
)
from alchemint_jax.sampling.control.tempo import Followed, optimised
from alchemint_jax.sampling.control.tempo_losses import Terms, tempo_terms
from alchemint_jax.sampling.fitting import fitted
from alchemint_jax.sampling.parts import Parts
from alchemint_jax.sampling.sample import Models, sample_latents, solve_piece
from alchemint_jax.sampling.settings import Plan, Settings
from alchemint_jax.sampling.solvers import SOLVERS
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.scene import Clock
from alchemint_jax.tokenizers import ByteTokenizer

pytestmark = pytest.mark.slow

FRAMES = 5
CLOCK = Clock(8, 17, 4)
CONFIG = DiTConfig(
    dim=24, n_heads=2, n_layers=2, ffn_dim=32, in_channels=3, out_channels=3, text_dim=10,
    freq_dim=16, slots=2,
)  # fmt: skip
PLAN = Plan(3, 3.0, Guidance(0.5, 0.5, 1.0))
WORDS = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]], bool)
FIRST = TempoControl(steps=(0, 0.4), rate=0.02, iterations=4, entropy=0.1, enough=2)


def conditions():
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jax.device_put(np.float32(rng.standard_normal(shape)))

    spans = np.array([[[[0, 9]], [[9, 17]]], [[[5, 13]], [[0, 17]]]], np.int32)
    return Conditions(
        text=normal(2, 6, 10),
        null_text=normal(2, 6, 10),
        references=normal(2, 2, 4, 4, 3),
        used=jnp.ones((2, 2), bool),
        intervals=jnp.asarray(CLOCK.latent(spans)),
        tags=normal(2, 2, 2, 10),
        tag_mask=jnp.ones((2, 2, 2), bool),
        words=jnp.asarray([WORDS, WORDS]),
    )


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    shapes = DiT(CONFIG).abstract_params()
    params = jax.tree.map(
        lambda x: jax.device_put(np.asarray(rng.normal(0.05, 0.3, x.shape), x.dtype)), shapes
    )
    return Models(DiT(CONFIG), params, None, {})


def noise():
    return jax.device_put(
        np.float32(np.random.default_rng(2).standard_normal((2, FRAMES, 4, 4, 3)))
    )


# ----------------------------------------------------------------------------------- the loop


def adamw(z, slope, rate, rounds):
    """As PyTorch has it: decay, then the step."""
    m = v = np.zeros_like(z)
    for t in range(1, rounds + 1):
        g = slope(z)
        z = z * (1 - rate * 0.01)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        z = z - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return z


def test_each_sample_is_optimised_alone_until_it_is_done():
    """Of |z - 1|**4: the first is done at the start, the second after 3 rounds, the third never."""
    start = np.array([[1.0, 1.1], [3.0, 1.0], [-4.0, 9.0]])
    far = np.array([0.5, 2.0 - 0.25, 0.0])

    def slope(z):
        return 4 * (z - 1) ** 3

    with jax.enable_x64(True):

        def objective(z):
            return ((z - 1) ** 4).sum(-1), jnp.abs(z - 1).max(-1) < far

        rounds = jax.jit(optimised, static_argnums=(0, 2))
        found = rounds(objective, jnp.asarray(start), optax.adamw(0.1, weight_decay=0.01), 6)
    wanted = [start[0], adamw(start[1], slope, 0.1, 3), adamw(start[2], slope, 0.1, 6)]
    assert np.abs(wanted[1] - 1).max() < far[1] < np.abs(adamw(start[1], slope, 0.1, 2) - 1).max()
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_loop_ends_with_the_last_sample_and_none_is_asked_for_outside_of_the_steps():
    asked = []

    def objective(z):
        jax.debug.callback(lambda: asked.append(1))
        return (z**2).sum(-1), jnp.abs(z).max(-1) < 0.75

    run = jax.jit(lambda n: optimised(objective, jnp.ones((2, 3)), optax.adamw(0.1), n))
    ended = run(10)
    jax.effects_barrier()
    assert len(asked) == 4 and (np.abs(ended) < 0.75).all()  # the fourth finds that it is done
    np.testing.assert_array_equal(run(0), np.ones((2, 3)))
    jax.effects_barrier()
    assert len(asked) == 4


# --------------------------------------------------------------------------------- the control


@jax.jit
def _heard(control, counts, given, latents):
    asked = []

    def look(z, time, probe, bias):
        asked.append(time)
        counted = probe.words.sum(-1)[:, None, None, None]  # 1, of the tokens of each word
        words = (jax.nn.sigmoid(z[..., :1]) * counted)[None, :, None]
        return Attended(words=jnp.broadcast_to(words, (2, *words.shape[1:])))

    return control(Moment(*counts, given, 2, look), latents), asked[0]


def heard(control, step=0, steps=10, given=None):
    """A step at a model whose attention is the latents' first channel, and for when it is asked."""
    counts = (jnp.int32(step), jnp.int32(steps), jnp.float32(0.5))
    return _heard(control, counts, given or conditions(), noise())


def test_latents_go_where_attention_follows_the_curves():
    """One round of AdamW goes down the slope of the loss, by `rate` in each number that matters."""
    control = dataclasses.replace(FIRST, iterations=1)
    steered, time = heard(control)
    curves = [[[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]], [[0, 0, 1, 1, 0], [1.0] * 5]]
    curves = jnp.asarray(curves)

    def loss(z):
        attention = jax.nn.sigmoid(z[..., 0]).reshape(2, 1, FRAMES, 16)
        terms = tempo_terms(jnp.broadcast_to(attention, (2, 2, FRAMES, 16)), curves, 0.7)
        return (-terms.correlation + 0.3 * terms.magnitude + 0.1 * terms.entropy).mean(1).sum()

    np.testing.assert_allclose(
        steered.latents - noise() * (1 - 0.02 * 0.01),
        -0.02 * np.sign(jax.jit(jax.grad(loss))(noise())),
        atol=1e-4,
    )
    assert steered.bias is None and time == 0.5
    assert np.abs(heard(FIRST, step=4)[0].latents - noise()).max() == 0 < FIRST.rate
    assert np.abs(heard(FIRST, step=3)[0].latents - noise()).max() > 0


def test_the_loss_is_the_mean_over_words_that_are_there_in_double_precision():
    """Word by word; the second video has one word, and the third none. Weights are the usual."""
    rng = np.random.default_rng(4)
    terms = Terms(*(rng.uniform(-1, 1, (3, 2)) for _ in Terms._fields))
    there = np.array([[True, True], [True, False], [False, False]])
    with jax.enable_x64(True):
        loss, _ = TempoControl()._objective(
            lambda z: Terms(*map(jnp.asarray, terms)),
            jnp.asarray(there),
            jnp.asarray(there),
            jnp.zeros((3, FRAMES, 4, 4, 3)),
        )
    for video in range(3):
        own = [
            -terms.correlation[video, word]
            + 0.3 * terms.magnitude[video, word]
            + 10 * terms.entropy[video, word]
            for word in range(2)
            if there[video, word]
        ]
        assert float(loss[video]) == pytest.approx(np.mean(own) if own else 0, rel=1e-13)


def test_attention_is_that_of_the_layers_that_are_read():
    """The first layer's is the first channel of the latents here, the second's the second."""

    def look(z, time, probe, bias):
        words = jax.nn.sigmoid(jnp.moveaxis(z[..., :2], -1, 0))[:, :, None, ..., None]
        return probe.chosen(Attended(words=jnp.repeat(words, 2, -1)))

    def moved(control):
        counts = (jnp.int32(0), jnp.int32(10), jnp.float32(0.5))
        run = jax.jit(lambda z: control(Moment(*counts, conditions(), 2, look), z).latents)
        return np.abs(run(noise()) - noise()).max((0, 1, 2, 3)) > 0.01

    assert moved(FIRST).tolist() == [True, True, False]
    late = dataclasses.replace(FIRST, layers=(0.5, 1))
    assert moved(late).tolist() == [False, True, False]
    with pytest.raises(ConfigError, match="layers = .*: holds the middle of none of 2 layers"):
        moved(dataclasses.replace(FIRST, layers=(0.4, 0.6)))


def test_a_spread_is_that_of_each_head():
    """Two heads, opposite to one another: their mean is the same at all places."""
    asked = []

    def look(z, time, probe, bias):
        asked.append(probe.heads)
        up = 0.1 * jax.nn.sigmoid(z[..., :1])
        heads = jnp.stack([0.5 + up, 0.5 - up], 1)[None]
        words = jnp.repeat(heads if probe.heads else heads.mean(2, keepdims=True), 2, -1)
        return Attended(words=words)

    def run(control):
        counts = (jnp.int32(0), jnp.int32(10), jnp.float32(0.5))
        given = conditions()
        given = given._replace(words=given.words.at[:, 1].set(False))
        moved = jax.jit(lambda z: control(Moment(*counts, given, 2, look), z).latents)
        return moved(noise())

    def followed(z):
        spreads = np.asarray(jax.nn.sigmoid(z[..., 0])).reshape(2, FRAMES, -1).std(-1)
        curves = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 0]])
        return np.array([np.corrcoef(spreads[i, 1:-1], curves[i, 1:-1])[0, 1] for i in (0, 1)])

    blind = dataclasses.replace(FIRST, magnitude=0, entropy=0)
    still = run(blind) - noise()
    assert np.abs(still).max() < 0.02
    moved = run(dataclasses.replace(blind, signal="spread"))
    assert set(asked) == {False, True} and np.abs(moved - noise())[..., 0].max() > 0.05
    assert (followed(moved) > followed(noise()) + 0.1).all()


def test_as_released_a_step_looks_at_the_time_of_the_one_before():
    released = dataclasses.replace(FIRST, order="released", steps=(0, 0.1))
    first, _ = heard(released)
    np.testing.assert_array_equal(first.latents, noise())  # no step was made yet
    assert first.control.before == 0.5
    second, time = heard(dataclasses.replace(first.control, before=jnp.float32(0.9)), step=1)
    assert time == jnp.float32(0.9) and np.abs(second.latents - noise()).max() > 0.01
    assert np.abs(heard(released, step=2)[0].latents - noise()).max() == 0


def test_words_that_are_not_there_or_never_change():
    """Of no token: nothing is asked. Without a change: never done, and so are all rounds made."""
    given = conditions()
    blank = given._replace(words=jnp.zeros_like(given.words))
    np.testing.assert_array_equal(heard(FIRST, given=blank)[0].latents, noise())
    always = jnp.broadcast_to(CLOCK.latent(np.array([[[[0, 17]]]], np.int32)), (2, 2, 1, 2))
    still = dataclasses.replace(FIRST, enough=-1)
    moved = heard(still, given=given._replace(intervals=always))[0].latents
    assert np.abs(moved - noise()).max() > 3 * FIRST.rate
    np.testing.assert_array_equal(heard(still)[0].latents, noise())  # at once enough


def test_words_are_found_in_prompts_before_they_are_followed():
    with pytest.raises(ConfigError, match="not found yet"):
        heard(TempoControl([When("moon", seconds=((0, 1),))]))


def run(models, control, at=slice(None), given=None):
    given = jax.tree.map(lambda x: x[at], given or conditions())
    return np.asarray(sample_latents(models, given, noise()[at], PLAN, control=control))


@partial(jax.jit, static_argnames=("dit",))
def correlations(params, given, z, curves, *, dit):
    everything = jnp.ones(2, bool)
    text, extra = model_inputs(given, everything, everything)
    tokens = jnp.asarray([WORDS, WORDS]) / jnp.asarray([[[2.0], [1.0]]])
    probe = Probe(words=tokens, subjects=False)
    seen = dit.apply({"params": params}, z, jnp.ones(2), text, **extra, probe=probe)[1]
    attention = seen.words.mean((0, 2)).reshape(2, FRAMES, -1, 2)
    return tempo_terms(jnp.moveaxis(attention, 3, 1), curves, 0.7).correlation


@pytest.fixture(scope="module")
def control():
    curves = jnp.asarray([[[1, 1, 0, 0, 1], [0, 1, 1, 0, 0]], [[0, 0, 1, 1, 0], [1.0] * 5]])
    followed = Followed(jnp.asarray([WORDS, WORDS]), curves)
    return dataclasses.replace(FIRST, rate=0.1, iterations=4, steps=(0, 1), followed=followed)


def test_in_a_model_words_follow_their_curves_in_a_batch_as_alone_and_on_any_mesh(models, control):
    """In three steps that go nowhere by themselves; the program is that of the flow below."""
    followed = control.followed
    rows = jnp.asarray(SOLVERS["euler"].table(PLAN.levels())) * jnp.asarray([[1.0, 0.0]])
    given = (models.dit_params, conditions(), (noise(),), rows, PLAN.guidance.function())
    (still,), _ = solve_piece(*given, control, 0, len(rows), dit=models.dit, solver="euler")
    before, after = (
        correlations(*given[:2], z, followed.curves, dit=models.dit) for z in (noise(), still)
    )
    assert (after[:, 0] > before[:, 0] + 0.3).all() and after[0, 1] > before[0, 1] + 0.3

    assert np.abs(still - noise())[1].max() > 0.1

    both = run(models, control)
    second = dataclasses.replace(control, followed=jax.tree.map(lambda x: x[1:], followed))
    devices = jax.devices()[:2]
    with sharding.use_mesh(sharding.make_mesh(data=1, context=2, devices=devices)):
        np.testing.assert_allclose(run(models, second, slice(1, 2)), both[1:], atol=2e-3)


def test_gating_is_in_force_where_it_looks(models, control):
    """Both together, in one step: the latents are those of a control that looks under the gate."""

    def looking(moment, latents):
        moment.look(latents, Probe(subjects=False))
        return Steered(latents)

    gate = Bias(subjects=jnp.ones((2, FRAMES, 2)))
    asked = []
    counts = (jnp.int32(0), jnp.int32(1), jnp.float32(0.5))

    def look(*given):
        asked.append(given[3])
        return Attended()

    moment = Moment(*counts, conditions(), 2, look)
    gated = lambda moment, latents: Steered(latents, gate)  # noqa: E731
    Together((looking, gated, looking, gated, looking))(moment, noise())
    assert asked[0] is None and (asked[1].subjects == 1).all() and (asked[2].subjects == 2).all()
    moment.under(gate).look(noise(), Probe(), bias=gate)
    assert (asked[3].subjects == 2).all()
    together = run(models, Together((Gating(), control)))
    assert np.isfinite(together).all() and np.abs(together - run(models, control)).max() > 1e-3


def test_controls_are_joined_and_who_looks_comes_last():
    gating, tempo = Gating(2.0, edge=1), FIRST
    assert Together.of() is None is Together.of(None) and Together.of(None, gating) is gating
    nested = Together.of(gating, Together((tempo, gating)))
    assert nested.controls == (gating, tempo, gating)
    texts = Texts(ByteTokenizer(1), UMT5Encoder(UMT5Config(vocab=259)), dict)
    parts = Parts(Models(DiT(CONFIG), {}, VAE(VAEConfig()), {}), texts, Settings())
    joined = fitted(parts, Together((tempo, gating)))
    assert joined.controls == (gating, tempo)
    assert fitted(parts, tempo) is tempo
