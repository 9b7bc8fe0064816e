"""The transformer: Wan2.1 without references, and what references, intervals and events may do."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from wan_formulas import wan_velocity

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import VARIANTS, DiT, DiTConfig, remat
from alchemint_jax.models.dit.blocks import sinusoid
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs, repeat
from alchemint_jax.models.layers import unboxed
from alchemint_jax.rotary import FittedRope, MidRope, NoInterval, WeRope

pytestmark = pytest.mark.slow

PLAIN = DiTConfig(
    dim=24,
    n_heads=2,
    n_layers=2,
    ffn_dim=32,
    in_channels=3,
    out_channels=3,
    text_dim=10,
    freq_dim=16,
)
TIMED = dataclasses.replace(PLAIN, slots=3)
EVENTS = dataclasses.replace(PLAIN, events=True)
FRAMES, ROWS, COLUMNS = 3, 4, 6  # latent; tokens: 3 x 2 x 3


def _normal(seed, *shape):
    return np.float32(np.random.default_rng(seed).standard_normal(shape))


def _with(x, where, change):
    """A copy with other values there; by NumPy, for each of JAX's operations is a program."""
    y = np.array(x)
    y[where] = change(y[where]) if callable(change) else change
    return y


def _random_params(config, seed=0):
    """Parameters of trained size everywhere: initial ones have zero heads and unit scales."""
    rng = np.random.default_rng(seed)

    def leaf(path, x):
        names = jax.tree_util.keystr(path, simple=True, separator="/")
        fan_in = x.shape[-2] if names.endswith("kernel") else 4
        mean = 1.0 if "norm_" in names and not names.endswith("bias") else 0.0
        return jax.device_put(np.float32(mean + rng.standard_normal(x.shape) / math.sqrt(fan_in)))

    return jax.tree_util.tree_map_with_path(leaf, DiT(config).abstract_params())


@functools.cache
def _params(config):
    return _random_params(config)


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _jitted(params, inputs, *, config, dtype=jnp.float32):
    return DiT(config, dtype).apply({"params": params}, **inputs)


def _run(config, params, inputs, **options):
    return np.asarray(_jitted(params, inputs, config=config, **options))


@pytest.fixture(scope="module")
def plain():
    return {
        "latents": _normal(0, 2, FRAMES, ROWS, COLUMNS, 3),
        "time": np.array([0.3, 0.9], np.float32),
        "text": _with(_normal(1, 2, 5, 10), np.s_[1, 3:], 0),
    }


@pytest.fixture(scope="module")
def timed(plain):
    """Two subjects in three slots, one with two intervals; the last slot is full of rubbish."""
    intervals = [[[0, 0.5], [1.25, 2]], [[0.5, 1.5], [1, 0]], [[0, 2], [0, 2]]]
    return plain | {
        "references": _normal(2, 2, 3, ROWS, COLUMNS, 3),
        "used": np.array([[1, 1, 0], [1, 1, 0]], bool),
        "intervals": np.tile(np.array(intervals, np.float32)[None], (2, 1, 1, 1)),
        "tags": _normal(3, 2, 3, 4, 10),
        "tag_mask": np.array([[[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]] * 2, bool),
    }


@pytest.fixture(scope="module")
def events(plain):
    return plain | {
        "events": _normal(4, 2, 2, 3, 10),
        "event_mask": np.array([[[1, 1, 0], [1, 1, 1]], [[1, 1, 1], [0, 0, 0]]], bool),
        "event_intervals": np.array([[[0, 1], [1, 2]], [[0, 1.5], [1, 0]]], np.float32),
    }


SUBJECT_INPUTS = ("references", "used", "intervals", "tags", "tag_mask")


def _slots(inputs, order):
    return inputs | {name: inputs[name][:, order] for name in SUBJECT_INPUTS}


def _without_subjects(params):
    return {name: value for name, value in params.items() if name != "subjects"}


# ------------------------------------------------------------------------------ Wan's network


def test_is_wans_formulas(plain):
    params = _params(PLAIN)
    v = _run(PLAIN, params, plain)
    assert v.dtype == np.float32 and v.shape == plain["latents"].shape
    given = (plain[name] for name in ("latents", "time", "text"))
    samples = zip(v, *given, strict=True)
    for actual, latents, time, text in samples:
        expected = wan_velocity(params, latents, time, text, PLAIN.n_heads)
        assert np.std(expected) > 0.3
        np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("variant", "count"), [("wan2.1-1.3b", 1_418_996_800), ("wan2.1-14b", 14_288_491_584)]
)
def test_wan_has_the_published_size(variant, count):
    leaves = jax.tree.leaves(DiT(VARIANTS[variant]).abstract_params())
    assert sum(math.prod(leaf.shape) for leaf in leaves) == count


def test_cosines_come_first():
    embedded = np.asarray(jax.jit(sinusoid, static_argnums=1)(np.float32([0.0, 0.25]), 6))
    np.testing.assert_allclose(embedded[0], [1, 1, 1, 0, 0, 0], atol=1e-6)
    angle = 250 * 10000.0 ** (-np.arange(3) / 3)
    np.testing.assert_allclose(embedded[1], [*np.cos(angle), *np.sin(angle)], atol=1e-4)


def test_text_padding_is_attended_to(plain):
    """Wan does not mask it: the states of padding are one more key, and pretrained weights know."""
    longer = plain | {"text": np.pad(plain["text"], ((0, 0), (0, 4), (0, 0)))}
    change = _run(PLAIN, _params(PLAIN), longer) - _run(PLAIN, _params(PLAIN), plain)
    assert np.abs(change).max(axis=(1, 2, 3, 4)).min() > 1e-3


def test_every_input_matters(plain):
    v = _run(PLAIN, _params(PLAIN), plain)
    for name in plain:
        other = _run(PLAIN, _params(PLAIN), plain | {name: plain[name] * 0.9})
        assert np.abs(other - v).max(axis=(1, 2, 3, 4)).min() > 1e-3, name
    # Samples of a batch have nothing to do with each other.
    alone = _run(PLAIN, _params(PLAIN), {name: x[1:] for name, x in plain.items()})
    np.testing.assert_allclose(alone, v[1:], atol=2e-6)


def test_one_time_per_token(plain):
    v = _run(PLAIN, _params(PLAIN), plain)
    tokens = FRAMES * ROWS * COLUMNS // 4
    each = np.broadcast_to(plain["time"][:, None], (2, tokens))
    np.testing.assert_allclose(_run(PLAIN, _params(PLAIN), plain | {"time": each}), v, atol=1e-6)
    last = _with(each, np.s_[:, -1], 0.0)
    assert np.abs(_run(PLAIN, _params(PLAIN), plain | {"time": last}) - v).max() > 1e-3


# -------------------------------------------------------------------------- timed references


def test_without_references_it_is_the_plain_model_to_the_last_bit(plain):
    params = _params(TIMED)
    assert params.keys() - _params(PLAIN).keys() == {"subjects"}
    a, b = _run(TIMED, params, plain), _run(PLAIN, _without_subjects(params), plain)
    np.testing.assert_array_equal(a, b)


def test_with_all_slots_empty_it_is_the_plain_model(plain, timed):
    params = _params(TIMED)
    empty = timed | {"used": np.zeros((2, 3), bool)}
    v = _run(TIMED, params, plain)
    np.testing.assert_allclose(_run(TIMED, params, empty), v, atol=2e-6)


def test_empty_slots_change_nothing(timed):
    params = _params(TIMED)
    v = _run(TIMED, params, _slots(timed, [0, 1, 2]))
    np.testing.assert_allclose(_run(TIMED, params, _slots(timed, [0, 1])), v, atol=2e-6)
    one = timed | {"used": np.array([[1, 0, 0]] * 2, bool)}
    with_two_empty = _run(TIMED, params, one)
    np.testing.assert_allclose(_run(TIMED, params, _slots(one, [0])), with_two_empty, atol=2e-6)
    assert np.abs(with_two_empty - v).max() > 1e-2  # a used slot is another matter


def test_contents_of_empty_slots_are_irrelevant(timed):
    params = _params(TIMED)
    v = _run(TIMED, params, timed)
    other = {
        "references": _with(timed["references"], np.s_[:, 2], lambda x: -30 * x),
        "tags": _with(timed["tags"], np.s_[:, 2], lambda x: x + 7),
        "intervals": _with(timed["intervals"], np.s_[:, 2], [[1.0, 1.5], [1.0, 0.0]]),
        "tag_mask": _with(timed["tag_mask"], np.s_[:, 2], False),
    }
    np.testing.assert_array_equal(_run(TIMED, params, timed | other), v)
    # Nor do the tokens of a tag beyond its word, or the numbers in an empty interval.
    beyond = ~timed["tag_mask"][..., None]
    other = {
        "tags": np.where(beyond, np.float32(5), timed["tags"]),
        "intervals": _with(timed["intervals"], np.s_[:, 1, 1], [9.0, 2.0]),
    }
    np.testing.assert_array_equal(_run(TIMED, params, timed | other), v)
    used = timed | {"used": np.ones((2, 3), bool)}
    assert np.abs(_run(TIMED, params, used) - v).max() > 1e-2


@pytest.mark.parametrize("name", ["references", "intervals", "tags", "tag_mask"])
def test_everything_about_a_subject_matters(timed, name):
    params, v = _params(TIMED), _run(TIMED, _params(TIMED), timed)
    changed = {
        "references": lambda x: _with(x, np.s_[:, 0], np.negative),
        "intervals": lambda x: _with(x, np.s_[:, 0, 0], [1.0, 1.5]),
        "tags": lambda x: _with(x, np.s_[:, 0], np.negative),
        "tag_mask": lambda x: _with(x, np.s_[:, 0, 2], False),
    }
    other = timed | {name: changed[name](timed[name])}
    assert np.abs(_run(TIMED, params, other) - v).max(axis=(1, 2, 3, 4)).min() > 1e-3


def test_slots_differ_by_their_index_embedding_alone(timed):
    params, order = _params(TIMED), [1, 2, 0]
    v = _run(TIMED, params, timed)
    moved = _slots(timed, order)
    index = np.asarray(params["subjects"]["index"])[order]
    permuted = params | {"subjects": params["subjects"] | {"index": index}}
    np.testing.assert_allclose(_run(TIMED, permuted, moved), v, atol=1e-5)
    assert np.abs(_run(TIMED, params, moved) - v).max() > 1e-3


def test_without_index_embeddings_the_order_of_slots_is_irrelevant(timed):
    config = dataclasses.replace(TIMED, index=False)
    params = _params(config)
    assert "index" not in params["subjects"]
    v = _run(config, params, timed)
    np.testing.assert_allclose(_run(config, params, _slots(timed, [1, 2, 0])), v, atol=1e-5)


def test_without_tags_only_pictures_matter(timed):
    config = dataclasses.replace(TIMED, tags=False)
    params = _params(config)
    assert set(params["subjects"]) == {"index"}
    v = _run(config, params, timed)
    other = {"tags": -timed["tags"], "tag_mask": ~timed["tag_mask"]}
    np.testing.assert_array_equal(_run(config, params, timed | other), v)
    other = {"references": -timed["references"]}
    assert np.abs(_run(config, params, timed | other) - v).max() > 1e-3


def test_references_are_clean_unless_told_otherwise(timed):
    params, shared = _params(TIMED), dataclasses.replace(TIMED, reference_time="video")
    assert np.abs(_run(shared, params, timed) - _run(TIMED, params, timed)).max() > 1e-3
    at_zero = timed | {"time": np.zeros(2, np.float32)}
    np.testing.assert_array_equal(_run(shared, params, at_zero), _run(TIMED, params, at_zero))


def test_schemes_differ_and_no_interval_ignores_intervals(timed):
    params = _params(TIMED)
    moved = timed | {"intervals": _with(timed["intervals"], np.s_[:, 0, 0], [1.0, 1.5])}
    schemes = [WeRope(), MidRope(), FittedRope(), NoInterval()]
    outputs = []
    for scheme in schemes:
        config = dataclasses.replace(TIMED, scheme=scheme)
        outputs.append(_run(config, params, timed))
        same = np.array_equal(_run(config, params, moved), outputs[-1])
        assert same == isinstance(scheme, NoInterval)
    for i, a in enumerate(outputs):
        assert all(np.abs(a - b).max() > 1e-4 for b in outputs[:i])
    keys_only = dataclasses.replace(TIMED, mix_queries=False)
    assert np.abs(_run(keys_only, params, timed) - outputs[0]).max() > 1e-4


def test_incomplete_or_too_many_subjects_are_refused(plain, timed):
    missing = {name: value for name, value in timed.items() if name != "used"}
    with pytest.raises(ValueError, match="references need used"):
        _run(TIMED, _params(TIMED), missing)
    four = _slots(timed, [0, 1, 2, 2])
    with pytest.raises(ValueError, match="4 references, but the model has 3 slots"):
        _run(TIMED, _params(TIMED), four)


# ---------------------------------------------------------------------------- null branches


_inputs = jax.jit(model_inputs)


def _conditions(timed):
    return Conditions(
        text=timed["text"],
        null_text=_normal(9, *timed["text"].shape),
        **{name: timed[name] for name in SUBJECT_INPUTS},
    )


def test_null_branches_empty_content_and_keep_intervals(timed):
    conditions = _conditions(timed)
    text, extra = _inputs(conditions, np.array([True, False]), np.array([False, True]))
    np.testing.assert_array_equal(text[0], conditions.text[0])
    np.testing.assert_array_equal(text[1], conditions.null_text[1])
    for name in ("used", "intervals", "tag_mask"):
        np.testing.assert_array_equal(extra[name], timed[name])
    for name in ("references", "tags"):
        assert not np.any(extra[name][0]) and np.any(timed[name][0])
        np.testing.assert_array_equal(extra[name][1], timed[name][1])


def test_the_null_branch_has_the_gains_of_the_full_one(timed):
    """Empty pictures still stand where and when the subjects do, so intervals move its output."""
    params, nobody = _params(TIMED), np.zeros(2, bool)

    def null(timed):
        text, extra = _inputs(_conditions(timed), nobody, nobody)
        return _run(TIMED, params, timed | {"text": text} | extra)

    moved = timed | {"intervals": _with(timed["intervals"], np.s_[:, 0, 0], [1.0, 1.5])}
    other = timed | {"references": -timed["references"], "tags": -timed["tags"]}
    np.testing.assert_array_equal(null(other), null(timed))
    assert np.abs(null(moved) - null(timed)).max() > 1e-3


def test_repeat_tiles_the_batch(timed):
    plain = _conditions(timed)
    given = plain._replace(condition=plain.references[:, :1], image=plain.text)
    for conditions in (plain, given):
        twice = repeat(conditions, 2)
        for once, both in zip(conditions, twice, strict=True):
            if once is None:
                assert both is None
            else:
                np.testing.assert_array_equal(both, np.concatenate([once, once]))


# ------------------------------------------------------------------------------------ events


def test_event_branch_starts_without_effect(plain, events):
    init = jax.jit(lambda key, given: DiT(EVENTS).init(key, **given)["params"])
    fresh = unboxed(init(jax.random.key(0), events))
    head = _normal(5, *fresh["head"]["kernel"].shape)  # a fresh head is zero and hides everything
    fresh = fresh | {"head": fresh["head"] | {"kernel": head}}
    v = _run(EVENTS, fresh, plain)
    assert np.abs(v).max() > 0.1
    # It adds zeros; with it the compiler fuses, and so rounds, the rest otherwise.
    np.testing.assert_allclose(_run(EVENTS, fresh, events), v, atol=1e-5)
    branch = fresh["blocks"]["event_attn"]
    kernel = 0.3 * _normal(6, *branch["o"]["kernel"].shape)
    learned = branch | {"o": branch["o"] | {"kernel": kernel}}
    learned = fresh | {"blocks": fresh["blocks"] | {"event_attn": learned}}
    assert np.abs(_run(EVENTS, learned, events) - v).max() > 1e-3


def test_events_know_their_time_and_their_mask(events):
    params = _params(EVENTS)
    v = _run(EVENTS, params, events)
    hidden = ~events["event_mask"][..., None]
    other = events | {"events": np.where(hidden, np.float32(9), events["events"])}
    np.testing.assert_array_equal(_run(EVENTS, params, other), v)
    swapped = events | {
        "events": events["events"][:, ::-1],
        "event_mask": np.ones((2, 2, 3), bool),
    }
    full = events | {"event_mask": np.ones((2, 2, 3), bool)}
    assert np.abs(_run(EVENTS, params, swapped) - _run(EVENTS, params, full))[0].max() > 1e-3
    later = events | {"event_intervals": _with(events["event_intervals"], 0, [[0, 0.5], [0.5, 2]])}
    change = np.abs(_run(EVENTS, params, later) - v)
    assert change[0].max() > 1e-4 and change[1].max() < 1e-6


def test_events_need_a_branch_for_them(plain, events):
    with pytest.raises(ValueError, match="events=True"):
        _run(PLAIN, _params(PLAIN), events)


# ------------------------------------------------------------------------ how it is computed


def _loss(config, params, inputs):
    given = jax.tree.map(jnp.asarray, inputs)
    return jnp.sum(DiT(config).apply({"params": params}, **given) ** 2)


def _traced(config, params, inputs):
    """Value and gradient, before they are compiled."""
    return jax.jit(jax.value_and_grad(lambda p: _loss(config, p, inputs))).trace(params)


def _value_and_grad(traced, params):
    return traced.lower().compile()(params)


def test_unrolled_layers_are_the_same_and_every_parameter_is_trained(timed):
    params, unrolled = _params(TIMED), dataclasses.replace(TIMED, unroll=2)
    v = _run(TIMED, params, timed)
    np.testing.assert_allclose(_run(unrolled, params, timed), v, atol=1e-5)
    assert "unroll=2" in str(_jitted.trace(params, timed, config=unrolled).jaxpr)
    _, gradient = _value_and_grad(_traced(TIMED, params, timed), params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = jax.tree_util.keystr(path)
        if name.endswith("['k']['bias']"):
            continue
        for layer in leaf if "blocks" in name else [leaf]:
            assert np.abs(layer).max() > 1e-4, name


def _kept(traced, config, params):
    """Bytes that the layers keep between forward and backward pass, outside of host memory."""
    forward = next(e for e in traced.jaxpr.eqns if e.primitive.name == "scan")
    sizes, weights = [], {leaf.shape for leaf in jax.tree.leaves(params["blocks"])}
    for v in forward.outvars:
        here = v.aval.memory_space is not jax.memory.Space.Host
        if v.aval.shape[:1] == (config.n_layers,) and v.aval.shape not in weights and here:
            sizes.append(v.aval.size * v.aval.dtype.itemsize)
    return sum(sizes)


def test_policies_keep_less_and_change_nothing(plain):
    params = _params(PLAIN)
    traced = _traced(PLAIN, params, plain)
    value, gradient = _value_and_grad(traced, params)
    kept = {"none": _kept(traced, PLAIN, params)}
    for name in remat.POLICIES.keys() - {"none"}:
        config = dataclasses.replace(PLAIN, remat=name)
        traced = _traced(config, params, plain)
        kept[name] = _kept(traced, config, params)
        other, other_gradient = _value_and_grad(traced, params)
        np.testing.assert_allclose(other, value, rtol=1e-6)
        for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(other_gradient), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6 * max(1, float(np.abs(a).max())))
    order = ["none", "dots", "attention", "full", "offload"]
    assert sorted(kept, key=kept.get, reverse=True) == order and len(set(kept.values())) == 5


def test_an_unknown_policy_is_named():
    with pytest.raises(ConfigError, match="remat is 'some'.*offload"):
        dataclasses.replace(TIMED, remat="some")


def test_bfloat16_computes_and_returns_float32(timed):
    params = _params(TIMED)
    half = _run(TIMED, params, timed, dtype=jnp.bfloat16)
    error = half - _run(TIMED, params, timed)
    assert half.dtype == np.float32 and np.isfinite(half).all()
    assert 0 < np.std(error) < 0.2 * np.std(half)


def test_parameters_carry_logical_axes_and_match_the_abstract_ones(timed):
    init = lambda given: DiT(TIMED).init(jax.random.key(0), **given)["params"]  # noqa: E731
    boxed = jax.eval_shape(init, timed)
    assert boxed["blocks"]["self_attn"]["q"]["kernel"].names == ("layers", "embed", "heads")
    assert boxed["blocks"]["ffn_down"]["kernel"].names == ("layers", "mlp", "embed")
    real, abstract = unboxed(boxed), DiT(TIMED).abstract_params()
    assert jax.tree.structure(real) == jax.tree.structure(abstract)
    assert [x.shape for x in jax.tree.leaves(real)] == [x.shape for x in jax.tree.leaves(abstract)]
