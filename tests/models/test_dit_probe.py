"""The probe and the bias of the transformer's attention, by the definition of both."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from einops import rearrange

from alchemint_jax.models.dit import Bias, DiT, DiTConfig, Probe
from alchemint_jax.models.dit.sequence import SequenceLayout
from alchemint_jax.models.layers import rms_norm, unboxed
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.rotary import FittedRope, apply_gains, axis_frequencies, sequence_gains

pytestmark = pytest.mark.slow

CONFIG = DiTConfig(
    dim=24,
    n_heads=2,
    n_layers=2,
    ffn_dim=32,
    in_channels=3,
    out_channels=3,
    text_dim=10,
    freq_dim=16,
    slots=3,
)
FRAMES, CELLS, WORDS, TOKENS = 3, 6, 4, 5
VIDEO, PICTURES = FRAMES * CELLS, 3 * CELLS


def _params(config):
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jax.device_put(np.float32(rng.normal(0.1, 0.5, x.shape))),
        DiT(config).abstract_params(),
    )


def _inputs():
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jax.device_put(np.float32(rng.standard_normal(shape)))

    intervals = [[[0, 0.5]], [[1, 2]], [[0, 2]]]
    return {
        "latents": normal(2, FRAMES, 4, 6, 3),
        "time": jnp.asarray([0.3, 0.9]),
        "text": normal(2, TOKENS, 10),
        "references": normal(2, 3, 4, 6, 3),
        "used": jnp.asarray([[1, 1, 0], [1, 0, 1]], bool),
        "intervals": jnp.tile(jnp.asarray(intervals, jnp.float32)[None], (2, 1, 1, 1)),
        "tags": normal(2, 3, WORDS, 10),
        "tag_mask": jnp.asarray([[[1, 1, 1, 0]] * 3] * 2, bool),
    }


def _bias():
    rng = np.random.default_rng(2)

    def normal(*shape):
        return jax.device_put(np.float32(2 * rng.standard_normal(shape)))

    return Bias(normal(2, FRAMES, 3), normal(2, 3, FRAMES), normal(2, FRAMES, TOKENS))


ALL = Probe(words=jax.device_put(np.tile(np.eye(TOKENS, dtype=np.float32), (2, 1, 1))), heads=True)


@functools.partial(jax.jit, static_argnums=0)
def _inside(config, params, inputs, bias):
    """Queries and keys as they meet [l b n k d], values and outputs of every attention."""
    _, state = DiT(config).apply(
        {"params": params},
        **inputs,
        bias=bias,
        probe=Probe(subjects=False),
        capture_intermediates=lambda module, _: module.name in ("q", "k", "v", "o"),
        mutable=["intermediates"],
    )
    gains = sequence_gains(
        axis_frequencies(config.head_dim, config.theta_t, config.theta_hw),
        (FRAMES, 2, 3),
        inputs["intervals"],
        config.scheme,
        (2, 3),
        WORDS if config.tags else 0,
    )
    found = {}
    for name in ("self_attn", "cross_attn"):
        taken = state["intermediates"]["blocks"][name]
        parts = {part: taken[part]["__call__"][0] for part in ("q", "k", "v", "o")}
        for part, turn in zip("qk", gains, strict=True):
            scale = params["blocks"][name][f"norm_{part}"]
            x = jnp.stack([rms_norm(*pair) for pair in zip(parts[part], scale, strict=True)])
            x = rearrange(x, "l b n (k d) -> l b n k d", k=config.n_heads)
            turned = jnp.stack([apply_gains(y, turn) for y in x]) if name == "self_attn" else x
            parts[part] = turned
        found[name] = parts
    return found


def _definition(config, params, inputs, bias=None):
    """Probabilities of every self- and cross-attention [l b k n m], from its queries and keys."""
    words = WORDS if config.tags else 0
    owner = np.concatenate([np.repeat(np.arange(3), n) for n in (CELLS, words)])
    frame = np.repeat(np.arange(FRAMES), CELLS)
    seen = jnp.repeat(inputs["used"], CELLS, axis=1)
    tags = inputs["tag_mask"][:, :, :words] & inputs["used"][..., None]
    hidden = ~jnp.concatenate([jnp.ones((2, VIDEO), bool), seen, tags.reshape(2, -1)], axis=1)
    layers = np.ones(2) if bias is None or bias.layers is None else np.asarray(bias.layers)
    found = {}
    for name, taken in _inside(config, params, inputs, bias).items():
        q, k, v, o = (np.asarray(taken[part]) for part in ("q", "k", "v", "o"))
        logits = np.einsum("lbnkd,lbmkd->lbknm", q, k) * config.head_dim**-0.5
        strength = layers[:, None, None, None, None]
        if name == "self_attn":
            if bias is not None and bias.subjects is not None:
                part = np.asarray(bias.subjects)[:, frame][:, :, owner]
                logits[..., :VIDEO, VIDEO:] += strength * part[None, :, None]
            if bias is not None and bias.frames is not None:
                part = np.asarray(bias.frames)[:, owner][:, :, frame]
                logits[..., VIDEO:, :VIDEO] += strength * part[None, :, None]
            logits = np.where(hidden[None, :, None, None], -np.inf, logits)
        elif bias is not None and bias.words is not None:
            logits[..., :VIDEO, :] += strength * np.asarray(bias.words)[:, frame][None, :, None]
        found[name] = scipy.special.softmax(logits, axis=-1)
        # They are those that the model used: probabilities times values, projected, are its output.
        v = rearrange(v, "l b n (k d) -> l b n k d", k=config.n_heads)
        y = np.einsum("lbknm,lbmkd->lbnkd", found[name], v)
        y = rearrange(y, "l b n k d -> l b n (k d)")
        project = params["blocks"][name]["o"]
        y = np.einsum("lbnd,lde->lbne", y, project["kernel"]) + project["bias"][:, None, None]
        np.testing.assert_allclose(y, o, atol=1e-4)
    return found


@functools.cache
def _compiled(config):
    return jax.jit(lambda p, x, e: DiT(config).apply({"params": p}, **x, **e))


def _run(config=CONFIG, inputs=None, **extra):
    return _compiled(config)(_params(config), inputs or _inputs(), extra)


@pytest.mark.parametrize("biased", [False, True], ids=["as it is", "biased"])
@pytest.mark.parametrize("tags", [True, False], ids=["tags", "no tags"])
def test_the_probe_tells_the_probabilities_that_the_model_uses(tags, biased):
    config = dataclasses.replace(CONFIG, tags=tags)
    bias = _bias() if biased else None
    if biased and tags:
        bias = dataclasses.replace(bias, layers=jnp.asarray([1.0, -0.5]))
    wanted = _definition(config, _params(config), _inputs(), bias)
    velocity, seen = _run(config, probe=ALL, bias=bias)
    grid = dict(t=FRAMES, h=2, w=3)
    to = wanted["self_attn"][..., :VIDEO, VIDEO:]
    pictures = rearrange(
        to[..., :PICTURES], "l b k (t h w) (r c) -> l b k t h w r c", r=3, **grid
    ).sum(-1)
    np.testing.assert_allclose(seen.references, pictures, atol=2e-5)
    words = rearrange(to[..., PICTURES:], "l b k (t h w) (r c) -> l b k t h w r c", r=3, **grid)
    np.testing.assert_allclose(seen.tags, words.sum(-1), atol=2e-5)
    caption = rearrange(
        wanted["cross_attn"][..., :VIDEO, :], "l b k (t h w) m -> l b k t h w m", **grid
    )
    np.testing.assert_allclose(seen.words, caption, atol=2e-5)
    assert np.ptp(np.asarray(seen.words)) > 0.05 and np.ptp(pictures) > 0.05
    np.testing.assert_allclose(velocity, _run(config, bias=bias), atol=1e-4)


def test_what_is_not_kept_apart_is_averaged_and_layers_are_chosen():
    whole = _run(probe=ALL)[1]
    less = _run(probe=Probe(layers=(1,), places=False))[1]
    assert less.words is None and less.references.shape == (1, 2, 1, FRAMES, 1, 1, 3)
    np.testing.assert_allclose(
        less.references[0], whole.references[1].mean((1, 3, 4), keepdims=True), atol=1e-6
    )
    with pytest.raises(ValueError, match=r"probe: layers is \(2,\); the model has 0 to 1"):
        _run(probe=Probe(layers=(2,)))
    groups = jnp.zeros((2, 1, TOKENS)).at[:, 0, 1:3].set(0.5)
    words = _run(probe=Probe(words=groups, subjects=False))[1]
    assert words.references is None and words.tags is None
    np.testing.assert_allclose(
        words.words[..., 0], whole.words[..., 1:3].mean((2, -1))[:, :, None], atol=1e-6
    )


def test_tables_are_the_bias_of_each_pair_of_tokens_in_double_precision():
    """Tokens: three frames of six cells, three pictures of as many, and three tags of four."""
    sequence = SequenceLayout((FRAMES, 2, 3), 3, CELLS, WORDS)
    tables = _bias()
    frame = [n // CELLS for n in range(VIDEO)]
    owner = [n // CELLS for n in range(PICTURES)] + [n // WORDS for n in range(3 * WORDS)]
    with jax.enable_x64(True):
        given = {
            name: np.float64(getattr(tables, name)) for name in ("subjects", "frames", "words")
        }
        bias = Bias(**{name: jnp.asarray(table) for name, table in given.items()})
        factors = bias.of_sequence(sequence), bias.of_caption(sequence, TOKENS)
        found = [np.asarray(jnp.einsum("bnr,bmr->bnm", *pair)) for pair in factors]
    wanted = np.zeros((2, VIDEO + len(owner), VIDEO + len(owner)))
    caption = np.zeros((2, VIDEO + len(owner), TOKENS))
    for n, t in enumerate(frame):
        caption[:, n] = given["words"][:, t]
        for m, r in enumerate(owner, VIDEO):
            wanted[:, n, m] = given["subjects"][:, t, r]
            wanted[:, m, n] = given["frames"][:, r, t]
    for one, other in zip(found, (wanted, caption), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
        assert one.dtype == np.float64 and np.abs(other).max() > 1


def test_averages_are_those_of_heads_and_places_in_double_precision():
    sequence = SequenceLayout((FRAMES, 2, 3), 3, CELLS, WORDS)
    given = np.random.default_rng(3).uniform(0, 1, (1, VIDEO + 30, 2, 4))
    cells = given[:, :VIDEO].reshape(1, FRAMES, 2, 3, 2, 4)
    for heads, places in np.ndindex(2, 2):
        with jax.enable_x64(True):
            probe = Probe(heads=bool(heads), places=bool(places))
            found = np.asarray(probe.averaged(jnp.asarray(given), sequence))
        for k, t, y, x, g in np.ndindex(found.shape[1:]):
            part = cells[0, t, y if places else slice(None), x if places else slice(None)]
            part = part[..., k if heads else slice(None), g]
            assert found[0, k, t, y, x, g] == pytest.approx(np.mean(part), rel=1e-14)


def test_empty_slots_are_not_looked_at():
    found = np.asarray(_run(probe=ALL)[1].references)
    used = np.broadcast_to(
        np.asarray(_inputs()["used"])[None, :, None, None, None, None], found.shape
    )
    assert (found[~used] == 0).all() and (found[used] > 0).all() and (found.sum(-1) < 1).all()


def test_the_interval_moves_the_map():
    inputs = _inputs()
    later = inputs | {"intervals": inputs["intervals"].at[:, 0, 0].set(jnp.asarray([1.5, 2.0]))}
    one, other = (_run(inputs=x, probe=ALL)[1].references for x in (inputs, later))
    assert np.abs(one - other)[..., 0].max() > 1e-3


def test_what_is_hidden_gets_exactly_nothing():
    bias = Bias(
        subjects=jnp.zeros((2, FRAMES, 3)).at[0, 1, 0].set(HIDDEN),
        words=jnp.zeros((2, FRAMES, TOKENS)).at[:, 2, 3].set(HIDDEN),
        layers=jnp.asarray([1.0, 0.0]),
    )
    seen = jax.tree.map(np.asarray, _run(probe=ALL, bias=bias)[1])
    subjects = (seen.references + seen.tags).min((2, 4, 5))
    assert (subjects[0, 0, 1, 0] == 0).all() and subjects[0, 0, 0, 0] > 0 < subjects[0, 1, 1, 0]
    assert (seen.words[0, :, :, 2, ..., 3] == 0).all() and seen.words[0, :, :, 1].min() > 0
    assert subjects[1, 0, 1, 0] > 0 < seen.words[1].min()  # the second layer is left out


def test_the_probe_has_a_gradient():
    config = dataclasses.replace(CONFIG, remat="full")
    inputs, params = _inputs(), _params(config)
    bias = _bias()

    def given(latents):
        x = inputs | {"latents": latents}
        seen = DiT(config).apply({"params": params}, **x, bias=bias, probe=ALL)[1]
        return seen.references[1, :, :, 1].sum() + seen.words[..., 2].sum()

    at = inputs["latents"]
    gradient = jax.jit(jax.grad(given))(at)
    slope, run = jnp.linalg.norm(gradient), jax.jit(given)
    aside = 0.03 * gradient / slope
    assert slope > 0.03
    np.testing.assert_allclose((run(at + aside) - run(at - aside)) / 0.06, slope, rtol=0.02)


@pytest.mark.parametrize("name", ["subjects", "frames", "words"])
def test_a_table_of_another_size_is_refused(name):
    table = getattr(_bias(), name)
    with pytest.raises(ValueError, match=f"bias: {name} has the shape.*must be"):
        _run(bias=Bias(**{name: jnp.pad(table, ((0, 0), (0, 1), (0, 0)))}))


def test_without_bias_and_probe_the_program_is_the_one_that_has_neither():
    """Text of the program for the compiler; with a bias and a probe there is more of it."""
    params, inputs = DiT(CONFIG).abstract_params(), _inputs()

    def text(**extra):
        run = jax.jit(lambda p, x, e: DiT(CONFIG).apply({"params": p}, **x, **e))
        return run.lower(params, inputs, extra).as_text()

    default = text()
    assert text(bias=None, probe=None) == default
    width = "x2x12xf32"  # queries, keys and values as wide as heads, and none that is wider
    assert width in default and not any(f"x2x{n}xf32" in default for n in range(13, 24))
    wider = text(bias=_bias(), probe=ALL)
    assert "x2x18xf32" in wider and len(wider) > len(default)


def test_an_untrained_model_already_looks_at_references_during_their_intervals():
    """By the biases of queries and keys alone: without them attention knows nothing of time."""
    config = dataclasses.replace(CONFIG, dim=96, theta_t=20.0, scheme=FittedRope())
    rng = np.random.default_rng(2)
    inputs = DiT(config).example_inputs() | {
        "latents": jax.device_put(np.float32(rng.standard_normal((1, 9, 4, 4, 3)))),
        "references": jax.device_put(np.float32(rng.standard_normal((1, 2, 4, 4, 3)))),
        "used": jnp.ones((1, 2), bool),
        "intervals": jnp.asarray([[[[0.0, 3.0]], [[5.0, 8.0]]]]),
        "tags": jnp.zeros((1, 2, 1, 10)),
        "tag_mask": jnp.ones((1, 2, 1), bool),
    }
    params = unboxed(jax.jit(DiT(config).init)(jax.random.key(0), **inputs)["params"])
    run = jax.jit(lambda p: DiT(config).apply({"params": p}, **inputs, probe=Probe(places=False)))

    def inside_over_outside(params):
        pictures = np.asarray(run(params)[1].references)
        first, second = pictures.mean((0, 1, 2, 4, 5)).T
        inside, outside = first[:4].mean() + second[5:].mean(), first[5:].mean() + second[:4].mean()
        return inside / outside

    attention = params["blocks"]["self_attn"]
    flat = {name: attention[name] | {"bias": attention[name]["bias"] * 0} for name in ("q", "k")}
    without = params | {"blocks": params["blocks"] | {"self_attn": attention | flat}}
    assert inside_over_outside(params) > 1.2
    assert 0.9 < inside_over_outside(without) < 1.1
