"""Gating: its biases are those of their definitions, and its limits those of the problem."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import Attended, Bias, DiT, DiTConfig, Probe
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.rotary import NoInterval, WeRope
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.control import Gating, Moment
from alchemint_jax.sampling.control.gating import gate_bias, inside, word_bias
from alchemint_jax.sampling.fitting import fitted, fitted_gating
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
# Of two clips with three subjects: several intervals, all the time, never; early, late, one frame.
SPANS = [[[(0, 3), (8, 15)], [(0, 17)], []], [[(0, 5)], [(9, 17)], [(6, 7)]]]
WORDS = np.array([[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]], bool)
CONFIG = DiTConfig(
    dim=24, n_heads=2, n_layers=1, ffn_dim=32, in_channels=3, out_channels=3, text_dim=10,
    freq_dim=16, slots=3,
)  # fmt: skip
PLAN = Plan(3, 3.0, Guidance(0.5, 0.5, 1.0))


def intervals():
    rows = np.zeros((2, 3, 2, 2), np.int32)
    for clip, own in zip(rows, SPANS, strict=True):
        for slot, spans in zip(clip, own, strict=True):
            slot[: len(spans)] = np.reshape(spans, (-1, 2))
    return CLOCK.latent(rows)


def conditions(words=True):
    rng = np.random.default_rng(1)

    def normal(*shape):
        return np.float32(rng.standard_normal(shape))

    found = Conditions(
        text=normal(2, 6, 10),
        null_text=normal(2, 6, 10),
        references=normal(2, 3, 4, 4, 3),
        used=np.array([[True, True, False], [True] * 3]),
        intervals=intervals(),
        tags=normal(2, 3, 2, 10),
        tag_mask=np.ones((2, 3, 2), bool),
        words=np.array([WORDS, WORDS]) if words else None,
    )
    return jax.device_put(found)


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    shapes = DiT(CONFIG).abstract_params()
    params = jax.tree.map(
        lambda x: jax.device_put(np.asarray(rng.normal(0.05, 0.3, x.shape), x.dtype)), shapes
    )
    return Models(DiT(CONFIG), params, None, {})


def noise():
    shape = (2, FRAMES, 4, 4, 3)
    return jax.device_put(np.float32(np.random.default_rng(2).standard_normal(shape)))


def biased(gating, step=0, steps=10, layers=4, words=True):
    """As one program; NumPy's, so that what is compared of it makes no others."""

    @jax.jit
    def steered(counts, conditions, latents):
        moment = Moment(*counts, conditions, layers, lambda *_: Attended())
        return gating(moment, latents).bias

    counts = (np.int32(step), np.int32(steps), np.float32(0.5))
    return jax.tree.map(np.asarray, steered(counts, conditions(words), noise()))


def held(frame):
    """Pixel frames that a latent frame holds."""
    return [0] if frame == 0 else range(4 * frame - 3, 4 * frame + 1)


def expected(strength, mass=0.9):
    """The bias of each latent frame on each subject [b r t], by counting frames and bisection."""
    found = np.zeros((2, 3, FRAMES))
    for b, r, t in np.ndindex(found.shape):
        there = {f for s, e in SPANS[b][r] for f in range(s, e)}
        covered = sum(f in there for f in held(t)) / len(held(t))
        low, high = -float(strength), 0.0
        for _ in range(200):  # the attention that is left grows with the bias
            middle = (low + high) / 2
            left = mass * math.exp(middle) / (1 - mass + mass * math.exp(middle))
            low, high = (middle, high) if left < mass * covered else (low, middle)
        found[b, r, t] = high
    return found


@pytest.mark.parametrize(("strength", "mass"), [(30.0, 0.9), (3.0, 0.5), (6.0, 0.01)])
def test_the_bias_lets_attention_follow_the_intervals(strength, mass):
    bias = biased(Gating(strength, 1 / (1 - mass)))
    wanted = expected(strength, mass)
    np.testing.assert_allclose(bias.subjects, wanted.swapaxes(1, 2), atol=2e-5)
    for t, token in np.ndindex(FRAMES, 6):
        own = [r for r in range(3) if WORDS[r, token]]
        for b in range(2):
            of_token = max((wanted[b, r, t] for r in own), default=0.0)
            assert float(bias.words[b, t, token]) == pytest.approx(of_token, abs=2e-5)
    assert bias.layers is None and bias.frames is None


def test_what_is_on_screen_is_lifted_by_its_share():
    plain, lifted = biased(Gating(edge=3)), biased(Gating(edge=3, lift=2.0))
    covered = np.zeros((2, 3, FRAMES))
    for b, r, t in np.ndindex(covered.shape):
        there = {f for s, e in SPANS[b][r] for f in range(s, e)}
        covered[b, r, t] = np.mean([f in there for f in held(t)])
    gap = np.asarray(lifted.subjects - plain.subjects).swapaxes(1, 2)
    np.testing.assert_allclose(gap, 2 * covered, atol=1e-5)
    assert covered.max() == 1 and covered.min() == 0
    assert float(lifted.words.max()) == pytest.approx(2) and float(plain.words.max()) == 0


def test_it_is_the_least_squares_fit_of_attention_in_double_precision():
    """Against a fine grid of biases, and exact wherever the gate is deep enough."""
    covered, strength = np.linspace(0, 1, 9), 4.0
    grid = np.linspace(-strength, 0, 4001)
    for mass in (0.2, 0.9, 0.999):
        with jax.enable_x64(True):
            bias = np.asarray(
                jax.jit(gate_bias, static_argnums=(1, 2))(covered, 1 / (1 - mass), strength)
            )

        def left(bias, mass=mass):
            return mass * np.exp(bias) / (1 - mass + mass * np.exp(bias))

        errors = (left(grid)[None] - mass * covered[:, None]) ** 2
        np.testing.assert_allclose(bias, grid[errors.argmin(1)], atol=1e-3)
        free = bias > -strength
        np.testing.assert_allclose(left(bias)[free], mass * covered[free], rtol=1e-13)
        assert bias[0] == -strength and bias[-1] == 0
    still = gate_bias(jnp.asarray([0.0, 0.25, 1.0]), 0, strength)
    assert still.tolist() == [-strength, 0, 0]  # covered in part is open


@pytest.mark.parametrize(("edge", "strength"), [(0, 30.0), (0.5, 3.0), (1, 6.0), (10.0, 30.0)])
def test_gates_of_frames_and_tokens_are_those_of_their_formulas_in_double_precision(edge, strength):
    """Frame by frame, and token by token: of several subjects the highest, of none 0."""
    covered = np.random.default_rng(5).uniform(0, 1, (1, 3, 40))
    covered[0, :, :2] = 0, 1
    wanted = np.full(covered.shape, -strength)
    for at in zip(*np.nonzero(covered), strict=True):
        c = covered[at]
        wanted[at] = max(math.log(c / (c + edge * (1 - c))), -strength)
    with jax.enable_x64(True):
        gate = np.asarray(jax.jit(gate_bias, static_argnums=(1, 2))(covered, edge, strength))
        tokens = np.asarray(jax.jit(word_bias)(gate, WORDS[None]))
    np.testing.assert_allclose(gate, wanted, rtol=1e-12, atol=1e-15)
    for t, token in np.ndindex(40, 6):
        own = [gate[0, r, t] for r in range(3) if WORDS[r, token]]
        assert tokens[0, t, token] == max(own, default=0)
    # Each of the three cases is there: closed, open, and in between.
    assert gate.min() == -strength and gate.max() == 0
    assert ((gate > -strength) & (gate < 0)).any() == (edge > 0)


def test_with_an_edge_of_1_odds_are_as_large_as_the_share():
    """Of attention to two subjects of two keys each, among five keys of the video."""
    logits = np.random.default_rng(4).standard_normal(9)
    share = np.array([0.25, 0.75])
    bias = np.concatenate([np.zeros(5), np.repeat(gate_bias(jnp.asarray(share), 1, 30.0), 2)])

    def odds(logits):
        mass = np.exp(logits)
        return np.array([mass[5:7].sum(), mass[7:].sum()]) / mass[:5].sum()

    np.testing.assert_allclose(odds(logits + bias), share * odds(logits), rtol=1e-6)


def test_windows_of_steps_and_layers():
    assert [float(inside(jnp.int32(i), 10, (0, 0.3))) for i in range(5)] == [1, 1, 1, 0, 0]
    early = Gating(8.0, steps=(0, 0.3))
    np.testing.assert_array_equal(biased(early, 2).subjects, biased(Gating(8.0)).subjects)
    assert not np.any(biased(early, 3).subjects) and not np.any(biased(early, 3).words)
    assert biased(Gating(layers=(0.25, 0.75))).layers.tolist() == [0, 1, 1, 0]


def test_captions_that_are_not_there_are_not_gated():
    bias = Bias(words=-jnp.ones((2, 3, 4))).repeated(2)
    worded = bias.without_captions(jnp.asarray([True, False, False, True]))
    assert np.asarray(worded.words).any((1, 2)).tolist() == [False, True, True, False]
    assert biased(Gating(words=False)).words is None and biased(Gating(), words=False).words is None
    assert Bias().without_captions(jnp.asarray([True])).words is None
    assert word_bias(jnp.zeros((1, 0, 3)), jnp.zeros((1, 0, 4), bool)).tolist() == [[[0.0] * 4] * 3]


def test_a_deep_gate_hides_a_subject_and_its_word(models):
    """Attention to both is exactly 0 where the subject is away, and what it was where it stays."""
    everything = np.ones(2, bool)
    text, extra = jax.jit(model_inputs)(conditions(), everything, everything)
    probe = Probe(jax.device_put(np.array([WORDS, WORDS], np.float32)), places=False)

    @jax.jit
    def attended(bias):
        given = (noise(), jnp.full(2, 0.5), text)
        found = models.dit.apply(
            {"params": models.dit_params}, *given, **extra, bias=bias, probe=probe
        )[1]
        return [x[0, :, 0, :, 0, 0].swapaxes(1, 2) for x in (found.references, found.words)]

    away = expected(-HIDDEN) < -100  # [b r t]; the second slot of the first clip is not used
    deep = biased(Gating(-HIDDEN))
    subjects, words = (np.asarray(x) for x in attended(deep))
    free, said = (np.asarray(x) for x in attended(jax.tree.map(np.zeros_like, deep)))
    assert (subjects[away] == 0).all() and (free[away] > 0).any()
    shared = away & np.roll(away, 1, 1) & np.roll(away, -1, 1)  # words share a token
    alone = away.copy()
    alone[:, :2] = shared[:, :2]
    assert (words[alone] == 0).all() and (said > 0).all()
    assert (subjects[~away & (free > 0)] > 0).all()


def test_nothing_where_nothing_is_asked_for(models):
    """No strength is no control; words that nobody asks for are not in the compiled program."""

    def pipe(slots=3, stride=4, scheme=NoInterval):
        dit = DiT(dataclasses.replace(CONFIG, slots=slots, scheme=scheme()))
        vae = VAE(VAEConfig(temporal_downsample=(stride == 8, True, True)))
        texts = Texts(ByteTokenizer(1), UMT5Encoder(UMT5Config(vocab=259)), dict)
        return Parts(Models(dit, {}, vae, {}), texts, Settings())

    chosen = fitted_gating
    assert chosen(pipe(), Gating(0)) is None and fitted(pipe(), None) is None
    assert chosen(pipe(), Gating(2.0)) == Gating(2.0)
    assert chosen(pipe(scheme=WeRope), Gating(2.0)) == Gating(2.0, edge=0)
    assert chosen(pipe(scheme=WeRope), Gating(2.0, 3)) == Gating(2.0, 3)
    np.testing.assert_array_equal(biased(Gating()).subjects, biased(Gating(edge=10)).subjects)
    with pytest.raises(ConfigError, match="stride = 4: the autoencoder's is 8"):
        chosen(pipe(stride=8), Gating())
    with pytest.raises(ConfigError, match="takes none"):
        chosen(pipe(slots=0), Gating())

    rows = jnp.asarray(SOLVERS["euler"].table(PLAN.levels()))

    def program(words):
        given = (models.dit_params, conditions(words), (noise(),), rows)
        lowered = solve_piece.lower(
            *given, PLAN.guidance.function(), dit=models.dit, solver="euler"
        )
        return lowered.as_text()

    assert program(True) == program(False)


def test_a_batch_is_its_clips_on_any_mesh_and_all_the_time_is_no_gate(models):
    def run(control, at=slice(None), spans=None):
        given = jax.tree.map(lambda x: x[at], conditions())
        if spans is not None:
            given = given._replace(intervals=spans)
        return np.asarray(sample_latents(models, given, noise()[at], PLAN, control=control))

    both, free = run(Gating()), run(None)
    assert np.abs(both - free).max() > 1e-2
    devices = jax.devices()[:2]
    with sharding.use_mesh(sharding.make_mesh(data=1, context=2, devices=devices)):
        np.testing.assert_allclose(run(Gating(), slice(1, 2)), both[1:], atol=2e-5)
    whole = CLOCK.latent(np.array([[[[0, 17]]]]))
    whole = jax.device_put(np.tile(whole, (2, 3, 2, 1)))
    np.testing.assert_allclose(run(Gating(), spans=whole), run(None, spans=whole), atol=2e-5)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"strength": -1}, "strength = -1: must be from 0 to 1024"),
        ({"strength": math.nan}, "strength = nan"),
        ({"edge": -0.1}, "edge = -0.1: must be from 0 to 1000"),
        ({"lift": 11}, "lift = 11: must be from 0 to 10"),
        ({"steps": (0.5, 0.5)}, "steps = .* two shares"),
        ({"layers": (0, 2)}, "layers"),
        ({"stride": 0}, "stride = 0"),
    ],
)
def test_fields_that_make_no_sense(fields, says):
    with pytest.raises(ConfigError, match=says):
        Gating(**fields)
    assert dataclasses.replace(Gating(), strength=2.0) == Gating(2.0)
