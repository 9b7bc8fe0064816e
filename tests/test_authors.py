"""Controls and R-RoPE against what the authors' released code gave: tests/goldens/authors.

`tests/parity/authors_goldens.py` runs that code, and says which. Where a part of it computes in
float32, so do its numbers: tolerances of about 1e-6 are theirs. Where ours is another form on
purpose, a test says how one becomes the other.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax.models.dit import DiT, DiTConfig, Probe
from alchemint_jax.models.dit.between import Between, Drawn
from alchemint_jax.models.dit.conditioning import Conditions, Told
from alchemint_jax.ops.separable import separated_attention, separation, subject_regions
from alchemint_jax.rotary import (
    NoInterval,
    ReferenceLayout,
    apply_gains,
    axis_frequencies,
    retro_scales,
    sequence_gains,
)
from alchemint_jax.sampling.control import Inbetween, Moment, TSAttn, onsets
from alchemint_jax.sampling.control.inbetween import Places
from alchemint_jax.sampling.control.relay import event_bias, relay_penalty
from alchemint_jax.sampling.control.tempo_losses import correlation, magnitude, tempo_terms
from alchemint_jax.sampling.control.ts_attn import favoured
from alchemint_jax.weights import wan
from alchemint_jax.weights.layouts import dit as layout
from alchemint_jax.weights.store import read_params
from alchemint_jax.weights.tensors import in_memory

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parent / "goldens" / "authors"
TINY = DiTConfig(
    dim=12, n_heads=2, n_layers=3, ffn_dim=16, in_channels=3, out_channels=3, text_dim=5, freq_dim=8
)


@functools.cache
def golden(name, part):
    """Arrays of a part of a golden, by the rest of their names."""
    arrays = load_file(GOLDENS / f"{name}.safetensors")
    return {
        key.removeprefix(f"{part}."): array
        for key, array in arrays.items()
        if key.startswith(f"{part}.") or not part
    }


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def network(config, arrays, entries):
    """Our parameters, of the weights that a golden has."""
    found = {
        key.removeprefix("weights."): in_memory(array)
        for key, array in arrays.items()
        if key.startswith("weights.")
    }
    target = DiT(config).abstract_params()
    shapes = {
        ".".join(entry.key for entry in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(target)
    }
    return read_params(wan.to_ours(GOLDENS, entries(config), shapes, found), target)


def error(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


# -------------------------------------------------------------------------------- TempoControl

RTOL = {"pearson": 5e-6, "magnitude": 1e-12, "entropy": 1e-12}


def attention_of(frames, rows, columns):
    """The map of a word, which is the mean over both heads and its tokens 0 and 2 of 3."""
    found = jnp.einsum("rklt,rkly,rklx->kltyx", frames, rows, columns)
    return found.mean(0)[jnp.array([0, 2])].mean(0).reshape(21, -1)


@pytest.mark.parametrize("name", ["onset", "curve", "edge", "always"])
def test_losses_and_gradients_are_those_of_tempocontrol(name):
    """Magnitude and entropy in float64; the released signal, and so its correlation, in float32."""
    arrays = golden("tempocontrol", "losses")
    parts, curve = [arrays[x] for x in ("frames", "rows", "columns")], arrays[f"{name}.curve"]
    at = curve == 0.7
    with jax.enable_x64(True):

        @jax.jit
        def terms(frames, rows):
            attention = attention_of(frames, rows, parts[2])
            # A frame whose curve is at the threshold is off, as in the paper; in the released code
            # it counts for neither side.
            found = tempo_terms(attention, jnp.asarray(curve), 0.7)
            beside = magnitude(attention[~at].sum(-1), jnp.asarray(curve[~at] > 0.7))
            return jnp.stack([-found.correlation, beside, found.entropy, found.magnitude])

        found = np.asarray(terms(*parts[:2]))
        slopes = [np.asarray(x) for x in jax.jit(jax.jacrev(terms, (0, 1)))(*parts[:2])]
    assert (found[1] == found[3]) == (name != "edge")
    for row, (term, rtol) in enumerate(RTOL.items()):
        wanted = arrays[f"{name}.{term}"]
        np.testing.assert_allclose(found[row], wanted, rtol=rtol, atol=1e-7 * rtol)
        for slope, of in zip(slopes, ("slope", "slope_rows"), strict=True):
            wanted = arrays[f"{name}.{term}.{of}"]
            atol = rtol * max(1, np.abs(wanted).max())
            np.testing.assert_allclose(slope[row], wanted, rtol=0, atol=atol)
            assert (np.abs(wanted).max() > 1e-3) == (term != "pearson" or name != "always")


def test_correlation_is_that_of_tempocontrol_in_double_precision():
    arrays = golden("tempocontrol", "pearson")
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(correlation)(arrays["given"], arrays["curves"]))
    np.testing.assert_allclose(found, -arrays["loss"], rtol=1e-12)
    assert np.abs(found).min() > 0.01


def test_the_curve_of_a_sound_is_that_of_tempocontrol():
    """Of 210 strengths, ten to each of 21 latent frames: there clocks and equal parts agree."""
    arrays = golden("tempocontrol", "sound")
    found = onsets.peaks(arrays["strength"].astype(float).reshape(21, 10).max(1))
    np.testing.assert_allclose(found, arrays["curve"], atol=2e-7)
    assert (found >= onsets.LOUD).any() and (found < onsets.LOUD).sum() > 10


def test_the_map_of_a_network_is_that_of_tempocontrol():
    """The released code divides the sum over L layers by L - 1, where ours is their mean."""
    arrays = golden("tempocontrol", "network")
    params = network(TINY, arrays, layout.original_entries)
    given = {
        "latents": arrays["latents"].transpose(1, 2, 3, 0)[None],
        "time": arrays["time"] / 1000,
        "text": arrays["text"][None],
    }
    probe = Probe(words=jnp.eye(6)[None], heads=True, subjects=False)
    velocity, seen = jax.jit(lambda p, x: DiT(TINY).apply({"params": p}, **x, probe=probe))(
        params, given
    )
    mean = np.asarray(seen.words).mean(0).reshape(1, 2, 18, 6)
    assert error(mean * 3 / 2, arrays["map"]) < 2e-5 and np.ptp(mean) > 0.01
    assert error(np.asarray(velocity)[0].transpose(3, 0, 1, 2), arrays["velocity"]) < 2e-5


# ----------------------------------------------------------------------------------------- TGI


@pytest.mark.parametrize("frames", [3, 6, 9])
def test_attention_under_kab_is_that_of_tgi_in_double_precision(frames):
    arrays = golden("tgi", f"kab.{frames}")
    q = arrays["q"].reshape(1, 2 * frames, 2, 6)
    k = arrays["k"].reshape(1, 7, 2, 6)
    given = np.zeros((1, frames), bool)
    given[0, [0, -1]] = True
    with jax.enable_x64(True):

        @jax.jit
        def biased(q, k):
            places = Places.of(jnp.asarray(given))
            between = Between(places.targets(), places.weights(0.7, 0.3))
            members = np.repeat(np.eye(frames), 2, axis=0)[None]
            found = Drawn(between, jnp.asarray(members), None).bias(q, k)
            return jnp.einsum("bnr,bmr->bnm", *found)

        bias = np.asarray(biased(q, k))
    for name, own in (("drawn", bias), ("plain", 0 * bias)):
        logits = np.einsum("bnkd,bmkd->bknm", q, k) / np.sqrt(6) + own[:, None]
        y = np.einsum("bknm,bmkd->bnkd", softmax(logits), k).reshape(1, -1, 12)
        np.testing.assert_allclose(y, arrays[name], rtol=1e-12, atol=1e-12)
    moved = np.abs(arrays["drawn"] - arrays["plain"]).max((0, 2)).reshape(frames, 2) > 1e-3
    assert not moved[[0, -1]].any() and moved[1:-1].all()


def test_scales_are_those_of_tgi():
    """For the lengths that the released script takes; its numbers are float32."""
    for frames, edge in ((25, 2), (33, 3), (65, 6), (81, 8)):
        wanted = golden("tgi", "retro")[str(frames)]
        found = retro_scales((frames - 1) // 4 + 1, edge / frames)
        np.testing.assert_allclose(found, wanted, atol=2e-7)
        assert np.ptp(found) > 0.07


def test_a_network_between_keyframes_is_that_of_tgi():
    """Layers 5 and 6 of 7 are drawn, in steps 1 to 4 of 10, and time is scaled in all of them."""
    arrays = golden("tgi", "network")
    sizes = {"n_layers": 7, "in_channels": 9, "out_channels": 4}
    config = dataclasses.replace(TINY, **sizes, image_dim=6, image_positions=514)
    params = network(config, arrays, layout.original_entries)
    given = {
        "latents": arrays["latents"].transpose(0, 2, 3, 4, 1),
        "condition": arrays["condition"].transpose(0, 2, 3, 4, 1),
        "time": np.float32([0.7]),
        "text": arrays["text"],
        "image": arrays["image"],
    }
    given = jax.device_put(given)
    control = Inbetween(9, 6, layers=(4.5 / 7, 1), edge=1.9, middle=0.4)

    @jax.jit
    def run(step):
        conditions = Conditions(*[None] * 7, condition=given["condition"])
        counts = (step, jnp.int32(10), jnp.float32(0.7))
        moment = Moment(*counts, conditions, 7, lambda *_: None)
        bias = control(moment, given["latents"]).bias
        return DiT(config).apply({"params": params}, **given, bias=bias)

    for step in (0, 1, 4, 5):
        found = np.asarray(run(jnp.int32(step))).transpose(0, 4, 1, 2, 3)
        assert error(found, arrays[f"velocity.{step}"]) < 2e-5
    for one, other in (("0", "1"), ("0", "plain")):  # the bias is seen, and so are the scales
        assert error(arrays[f"velocity.{one}"], arrays[f"velocity.{other}"]) > 1e-3


# ------------------------------------------------------------------------------------- TS-Attn

EVENTS = np.zeros((1, 2, 9), bool)
EVENTS[0, 0, 2:4] = EVENTS[0, 1, 5:8] = True
SUBJECT = (np.arange(9) < 2)[None, None]


@pytest.mark.parametrize("events", [1, 2])
def test_attention_is_that_of_ts_attn_in_double_precision(events):
    """With what a block of the released network made of its inputs, up to the output projection.

    Events share the four frames out among them. Of the second one the released code has the spread
    of other queries: it goes on by one token where it means all those of the first event.
    """
    arrays = golden("ts_attn", "block")
    q, k, v, raw_q, raw_k = (
        arrays[name].reshape(1, -1, 2, 6) for name in ("norm_q", "norm_k", "to_v", "to_q", "to_k")
    )
    wanted, plain = (arrays[f"attended.{x}"] for x in (["one", "two"][events - 1], "plain"))
    active = np.repeat(np.eye(events), 4 // events, axis=1)[None]
    released = np.r_[:24, 1:25] if events == 2 else np.arange(48)
    with jax.enable_x64(True):

        @jax.jit
        def attend(q, k, v, raw_q, raw_k):
            favours = favoured(
                *(jnp.asarray(x, float) for x in (active, EVENTS[:, :events], SUBJECT))
            )
            own = separated_attention(q, k, v, (raw_q, raw_k), favours, (4, 3, 4))
            seen = jnp.einsum("bnkd,bmkd->bknm", raw_q, raw_k) / np.sqrt(6)
            given = jax.nn.softmax(seen, axis=-1)[..., :2].mean((1, 3))
            there = subject_regions(given[..., None], (4, 3, 4))
            keys = (there * jnp.repeat(x[:, 0], 12, axis=1) for x in favours[1:])
            bias = separation(seen[:, :, released], *(x[:, None] for x in keys))
            logits = jnp.einsum("bnkd,bmkd->bknm", q, k) / np.sqrt(6) + bias
            shifted = jnp.einsum("bknm,bmkd->bnkd", jax.nn.softmax(logits), v)
            return own, shifted

        own, shifted = (np.asarray(y).reshape(wanted.shape) for y in attend(q, k, v, raw_q, raw_k))
    np.testing.assert_allclose(shifted, wanted, rtol=1e-12, atol=1e-13)
    same = np.arange(48) < (48 if events == 1 else 24)
    np.testing.assert_allclose(own[:, same], wanted[:, same], rtol=1e-12, atol=1e-13)
    moved = np.abs(wanted - plain).max((0, 2)).reshape(2, 24) > 1e-3
    assert (moved.sum(1) >= 2).all() and not moved.all(1).any()
    assert (np.abs(own - wanted)[:, ~same] > 1e-3).any() == (events == 2)


def test_a_network_with_an_event_is_that_of_ts_attn():
    """One that lasts; of the two layers the second is biased."""
    arrays = golden("ts_attn", "network")
    config = dataclasses.replace(TINY, n_layers=2)
    params = network(config, arrays, layout.entries)
    latents = jnp.asarray(arrays["latents"].transpose(0, 2, 3, 4, 1))
    told = Told(jnp.asarray(EVENTS[:, :1]), jnp.asarray([[[[0.0, 3.0]]]]))
    conditions = Conditions(*[None] * 7, told=told)
    counts = (jnp.int32(0), jnp.int32(10), jnp.float32(0.7))
    moment = Moment(*counts, conditions, 2, lambda *_: None)
    control = TSAttn(tokens=jnp.asarray(SUBJECT))

    @functools.partial(jax.jit, static_argnums=0)
    def run(biased):
        bias = control(moment, latents).bias if biased else None
        given = latents, jnp.float32([0.7]), jnp.asarray(arrays["text"])
        return DiT(config).apply({"params": params}, *given, bias=bias)

    for biased, name in ((True, "velocity.one"), (False, "velocity.plain")):
        found = np.asarray(run(biased)).transpose(0, 4, 1, 2, 3)
        assert error(found, arrays[name]) < 2e-5
    assert error(arrays["velocity.plain"], arrays["velocity.one"]) > 1e-2


# ------------------------------------------------------------------------------------- Kaleido


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("released", ReferenceLayout.r_rope(2, offset=(80, 80))),
        ("after", ReferenceLayout.r_rope(2, offset=(80, 80), last=True)),
        ("continued", ReferenceLayout.r_rope(2)),
        ("apart", ReferenceLayout(True, (80, 80), stagger=True, slot_times=(0, 1))),
    ],
)
def test_queries_are_turned_as_by_kaleido(name, places):
    """Angles of up to 163 radians are float32 in both, which round their products alike."""
    arrays = golden("kaleido", "")
    given = np.float32(arrays["given"])
    size = 2 * 2 * 4  # of two references, which are first in the released order
    intervals = np.zeros((1, 2, 1, 2), np.float32)
    freqs, video = axis_frequencies(16), (4, 3, 5)

    @jax.jit
    def turned(x):
        gains, _ = sequence_gains(freqs, video, intervals, NoInterval(), (2, 4), layout=places)
        return apply_gains(x[:, :, None], gains)[:, :, 0]

    if name == "after":
        found = np.asarray(turned(given))
    else:
        found = np.asarray(turned(np.roll(given, -size, axis=1)))
        found = np.roll(found, size, axis=1)
    np.testing.assert_allclose(found, arrays[name], atol=5e-6)
    assert np.abs(arrays[name] - given).max() > 1


# ---------------------------------------------------------------------------------------- Relay


@pytest.mark.parametrize(("name", "tail", "least"), [("usual", 2.0, 1e-3), ("hard", 0.75, 0.01)])
def test_attention_under_the_penalty_is_that_of_prompt_relay(name, tail, least):
    """Of 9 frames of two tokens to three events, in joint attention; its numbers are float32."""
    arrays = golden("relay", "")
    half_open = np.array([[2, 6], [4, 5], [0, 9]], float)
    intervals = (half_open - [0, 1])[None, :, None]
    words = (arrays["segments"] == np.arange(3)[:, None])[None]
    with jax.enable_x64(True):

        @jax.jit
        def biased():
            cost = relay_penalty(jnp.asarray(intervals), 9, tail, least)
            return event_bias(cost, jnp.asarray(words))

        own = np.asarray(biased())[0]
    q, k, v = (arrays[x][0].astype(float) for x in "qkv")
    logits = np.einsum("nkd,mkd->knm", q, k) / np.sqrt(6)
    free = np.einsum("knm,mkd->nkd", softmax(logits), v)
    logits[:, :18, 18:] += np.repeat(own, 2, axis=0)
    found = np.einsum("knm,mkd->nkd", softmax(logits), v)
    np.testing.assert_allclose(found, arrays[name][0], atol=1e-6)
    assert np.abs(found - free)[:18].max() > 1e-2 and (found[18:] == free[18:]).all()
