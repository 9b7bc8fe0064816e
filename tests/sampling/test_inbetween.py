"""Inbetweening: where frames are between keyframes, and what that makes of steps and clips."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.dit.conditioning import Conditions, Given
from alchemint_jax.rotary import retro_scales
from alchemint_jax.rotary.retro import smoothed_scales
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.control import Gating, Inbetween, Moment, Together
from alchemint_jax.sampling.control.inbetween import Places, check_scenes, given_frames, since
from alchemint_jax.sampling.sample import Models, sample_latents
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.scene import Clock, Scene

pytestmark = pytest.mark.slow

FRAMES = 9
CONFIG = DiTConfig(
    dim=24, n_heads=2, n_layers=1, ffn_dim=32, in_channels=10, out_channels=3, text_dim=10,
    freq_dim=16,
)  # fmt: skip
PLAN = Plan(2, 3.0, Guidance(0, 0, 3.0))
ENDS, THREE = [0, 8], [1, 4, 8]


def rows(*given, frames=FRAMES):
    found = np.zeros((len(given), frames), bool)
    for row, at in zip(found, given, strict=True):
        row[at] = True
    return jax.device_put(found)


def conditions(*given):
    """Four channels of mask before three of latents."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return np.float32(rng.standard_normal(shape))

    b = len(given)
    condition = normal(b, FRAMES, 4, 4, 7)
    condition[..., :4] = 0
    condition[..., 3] = np.asarray(rows(*given))[:, :, None, None]
    found = Conditions(
        text=normal(b, 6, 10),
        null_text=normal(b, 6, 10),
        references=np.zeros((b, 0, 4, 4, 3), np.float32),
        used=np.zeros((b, 0), bool),
        intervals=np.zeros((b, 0, 2, 2), np.float32),
        tags=np.zeros((b, 0, 2, 10), np.float32),
        tag_mask=np.zeros((b, 0, 2), bool),
        condition=condition,
    )
    return jax.device_put(found)


def noise(b=2):
    shape = (b, FRAMES, 4, 4, 3)
    return jax.device_put(np.float32(np.random.default_rng(2).standard_normal(shape)))


def biased(control, given, step=1, steps=10, layers=10):
    """As one program: dozens of small operations."""

    @jax.jit
    def steered(counts, conditions, latents):
        moment = Moment(*counts, conditions, layers, lambda *_: None)
        return control(moment, latents).bias.between

    counts = (np.int32(step), np.int32(steps), np.float32(0.5))
    return steered(counts, conditions(*given), noise(len(given)))


def test_weights_and_scales_of_the_release():
    """Between the first and the last of 21 frames; computed by hand from its rules."""
    places = jax.jit(Places.of)(rows([0, 20], frames=21))
    half = [0.69, 0.662, 0.618, 0.562, 0.5, 0.438, 0.382, 0.338, 0.31, 0.3]
    weights = places.weights(0.7, 0.3)[0]
    np.testing.assert_allclose(weights, [0, *half, *half[-2::-1], 0], atol=5e-4)
    control = Inbetween()
    scales = smoothed_scales(places.near(control.reach), control.edge, control.middle)
    np.testing.assert_allclose(scales[0], retro_scales(21, 8 / 81), atol=1e-6)
    for frames, share in ((17, 6 / 65), (9, 3 / 33), (7, 2 / 25)):
        counted = np.arange(frames) / (frames - 1)
        near, ours = (np.minimum(counted, counted[::-1]) < x for x in (share, control.reach))
        np.testing.assert_array_equal(near, ours)


def test_windows_are_those_of_the_release():
    def chosen(of, window):
        return np.flatnonzero(jax.jit(lambda x: since(x, of, window))(np.arange(of))).tolist()

    assert chosen(50, Inbetween().steps) == list(range(1, 21))
    assert chosen(40, Inbetween().layers) == list(range(5, 13))
    assert chosen(30, Inbetween().layers) == list(range(4, 10))
    assert not biased(Inbetween(), [ENDS], step=0).weights.any()
    assert biased(Inbetween(), [ENDS], step=4).weights.any()
    assert not biased(Inbetween(), [ENDS], step=5).weights.any()
    layers = biased(Inbetween(), [ENDS]).layers.tolist()
    assert layers == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("given", [ENDS, THREE, [2, 3, 5], [4], [], list(range(9))])
def test_frames_are_between_the_nearest_keyframes(given):
    """One frame at a time, by the definitions, in double precision."""

    @jax.jit
    def run(rows):
        places = Places.of(rows)
        scales = smoothed_scales(places.near(0.3), 1.06, 0.94)
        return places.targets(), places.weights(0.7, 0.3), places.near(0.3), scales

    with jax.enable_x64(True):
        targets, weights, near, scales = (np.asarray(x)[0] for x in run(rows(given)))
    for i in range(FRAMES):
        window = [near[min(max(j, 0), FRAMES - 1)] for j in range(i - 2, i + 3)]
        wanted = sum(1.06 if there else 0.94 for there in window) / 5
        assert float(scales[i]) == pytest.approx(wanted, rel=1e-14)
    for i in range(FRAMES):
        before = max((g for g in given if g <= i), default=None)
        after = min((g for g in given if g >= i), default=None)
        if before is None or after is None:
            assert weights[i] == 0 and not near[i]
            continue
        length, d = after - before, min(i - before, after - i)
        if not length:
            assert weights[i] == 0 and near[i] and targets[i].tolist() == np.eye(9)[i].tolist()
            continue
        wanted = np.zeros(FRAMES)
        wanted[before] += 1 - (i - before) / length
        wanted[after] += (i - before) / length
        np.testing.assert_allclose(targets[i], wanted, rtol=1e-14, atol=1e-14)
        beta = 0.3 + 0.4 * 0.5 * (1 + math.cos(math.pi * d / (length // 2)))
        assert float(weights[i]) == pytest.approx(beta, rel=1e-14)
        assert bool(near[i]) == (d / length < 0.3)


def test_keyframes_are_found_in_the_mask_and_among_clean_latents():
    given = conditions(ENDS, THREE)
    np.testing.assert_array_equal(given_frames(given, noise()), rows(ENDS, THREE))
    clean = Given(noise(), rows(THREE, ENDS))
    np.testing.assert_array_equal(
        given_frames(given._replace(given=clean), noise()), rows(THREE, ENDS)
    )
    with pytest.raises(ConfigError, match="this model is given none"):
        given_frames(given._replace(condition=None), noise())


def test_what_is_off_is_not_there():
    assert biased(Inbetween(edge=1, middle=1), [ENDS]).scales is None
    plain = biased(Inbetween(near=0, far=0, isolated=False, phase=True), [ENDS])
    assert plain.weights is None and plain.targets is None and plain.phase and not plain.isolated
    assert Inbetween.of(None) is None and Inbetween.of(True) == Inbetween()


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    shapes = DiT(CONFIG).abstract_params()
    params = jax.tree.map(
        lambda x: jax.device_put(np.asarray(rng.normal(0.05, 0.3, x.shape), x.dtype)), shapes
    )
    return Models(DiT(CONFIG), params, None, {})


def test_a_batch_is_its_clips_on_any_mesh(models):
    """Clips with keyframes at other times, one of them on a mesh; and both without a control."""
    given, control = conditions(ENDS, THREE), Inbetween(5, 5, layers=(0, 1), steps=(0, 1))

    def run(control, at=slice(None)):
        own = jax.tree.map(lambda x: x[at], given)
        return np.asarray(sample_latents(models, own, noise()[at], PLAN, control=control))

    both, free = run(control), run(None)
    assert np.abs(both - free).max((1, 2, 3, 4)).min() > 1e-3
    devices = jax.devices()[:4]
    with sharding.use_mesh(sharding.make_mesh(data=1, context=2, tensor=2, devices=devices)):
        np.testing.assert_allclose(run(control, slice(1, 2)), both[1:], atol=1e-4)


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"near": -0.1}, "near = -0.1: must be from 0 to 10"),
        ({"far": math.nan}, "far = nan"),
        ({"edge": 3}, "edge = 3: must be from 0 to 2"),
        ({"reach": 0.6}, "reach = 0.6"),
        ({"steps": (0.5, 0.5)}, "steps = .* two shares"),
        ({"layers": (0, 2)}, "layers"),
    ],
)
def test_fields_that_make_no_sense(fields, says):
    with pytest.raises(ConfigError, match=says):
        Inbetween(**fields)


def test_scenes_need_something_between_keyframes():
    def scene(*at):
        pictures = np.zeros((len(at), 8, 8, 3), np.uint8)
        return Scene("clip", "a cat", Clock(8.0, 17, 4), keyframes=pictures, keyframes_at=at)

    both = Together.of(Gating(), Inbetween())
    for control in (Inbetween(), both):
        check_scenes(control, [scene(0, 16), scene(3, 14)])
        for at in ((), (0,), (0, 4)):
            with pytest.raises(StoryboardError, match="clip: keyframes: inbetween needs two"):
                check_scenes(control, [scene(0, 16), scene(*at)])
    check_scenes(Gating(), [scene()])
    check_scenes(None, [scene()])


def test_controls_are_joined():
    assert Together.of(None, None) is None and Together.of(None, Gating()) == Gating()
    assert Together.of(Gating(), None, Inbetween()) == Together((Gating(), Inbetween()))
    assert Together.of(Inbetween()) == Inbetween()
