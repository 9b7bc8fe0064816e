"""Dense captions inside the transformer and in guidance: padding, order, null branches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.dit.conditioning import Conditions, Events, model_inputs, repeat

pytestmark = pytest.mark.slow

CONFIG = DiTConfig(
    dim=24,
    n_heads=2,
    n_layers=2,
    ffn_dim=16,
    in_channels=2,
    out_channels=2,
    text_dim=6,
    freq_dim=8,
    events=True,
)
B, E, Q = 2, 2, 3


def _normal(seed, *shape):
    return jax.device_put(np.float32(np.random.default_rng(seed).standard_normal(shape)))


@pytest.fixture(scope="module")
def params():
    shapes = DiT(CONFIG).abstract_params()
    return jax.tree.map(lambda x: _normal(sum(x.shape), *x.shape) / max(x.shape) ** 0.5, shapes)


@pytest.fixture(scope="module")
def run(params):
    apply = jax.jit(lambda inputs: DiT(CONFIG).apply({"params": params}, **inputs))
    return lambda inputs: np.asarray(apply(inputs))


@pytest.fixture(scope="module")
def plain():
    time, text = jnp.asarray([0.3, 0.8]), _normal(1, B, 4, 6)
    return {"latents": _normal(0, B, 3, 4, 4, 2), "time": time, "text": text}


@pytest.fixture(scope="module")
def events():
    return {
        "events": _normal(2, B, E, Q, 6),
        "event_mask": jnp.asarray([[[1, 1, 0], [1, 1, 1]]] * B, bool),
        "event_intervals": jnp.asarray([[[0, 1], [1.25, 2]]] * B, jnp.float32),
    }


def _padded(events, rows, before=False):
    """More rows, unused, with content that must not be seen."""

    def joined(x, filler):
        more = jnp.broadcast_to(jnp.asarray(filler, x.dtype), (B, rows, *x.shape[2:]))
        return jnp.concatenate([more, x] if before else [x, more], axis=1)

    return {
        "events": joined(events["events"], 9.0),
        "event_mask": joined(events["event_mask"], False),
        "event_intervals": joined(events["event_intervals"], [1.0, 0.0]),
    }


@pytest.mark.parametrize("before", [False, True])
def test_the_number_of_empty_rows_does_not_matter(run, plain, events, before):
    v = run(plain | events)
    other = run(plain | _padded(events, 2, before))
    np.testing.assert_allclose(other, v, atol=2e-5)
    filled = run(plain | events | {"events": events["events"] + 1})
    assert np.abs(filled - v).max() > 1e-2


def test_a_sample_without_any_event_is_one_without_the_branch(run, plain, events):
    v, full = run(plain), run(plain | events)
    none = dict(events)
    none["event_mask"] = events["event_mask"].at[0].set(False)
    none["event_intervals"] = events["event_intervals"].at[0].set(jnp.asarray([1.0, 0.0]))
    found = run(plain | none)
    np.testing.assert_allclose(found[0], v[0], atol=2e-5)
    np.testing.assert_allclose(found[1], full[1], atol=2e-5)
    assert np.abs(full - v).max() > 1e-2


def test_the_order_of_rows_is_not_the_order_of_time(run, plain, events):
    v = run(plain | events)
    turned = {name: x[:, ::-1] for name, x in events.items()}
    np.testing.assert_allclose(run(plain | turned), v, atol=2e-5)
    wrong = turned | {"event_intervals": events["event_intervals"]}
    assert np.abs(run(plain | wrong) - v).max() > 1e-2


def test_events_of_one_time_keep_the_order_of_their_rows(run, plain, events):
    together = events | {"event_intervals": jnp.full((B, E, 2), jnp.asarray([0.0, 2.0]))}
    turned = {name: x[:, ::-1] for name, x in together.items()}
    assert np.abs(run(plain | turned) - run(plain | together)).max() > 1e-3
    padded = run(plain | _padded(together, 2, before=True))
    np.testing.assert_allclose(padded, run(plain | together), atol=2e-5)


@pytest.fixture(scope="module")
def conditions(events):
    slots = 2
    return Conditions(
        text=_normal(3, B, 4, 6),
        null_text=_normal(4, B, 4, 6),
        references=_normal(5, B, slots, 2, 2, 2),
        used=jnp.ones((B, slots), bool),
        intervals=jnp.zeros((B, slots, 1, 2)),
        tags=_normal(6, B, slots, 2, 6),
        tag_mask=jnp.ones((B, slots, 2), bool),
        events=Events(
            states=events["events"],
            used=jnp.asarray([[True, True], [True, False]]),
            intervals=events["event_intervals"].at[1, 1].set(jnp.asarray([1.0, 0.0])),
            null=_normal(7, B, Q, 6),
        ),
    )


@pytest.mark.parametrize("with_images", [False, True])
def test_branches_without_text_empty_events_and_keep_their_times(conditions, with_images):
    pictures = jnp.full(B, with_images)
    full = model_inputs(conditions, jnp.ones(B, bool), pictures)[1]
    null = model_inputs(conditions, jnp.zeros(B, bool), pictures)[1]
    np.testing.assert_array_equal(full["events"], conditions.events.states)
    for branch in (full, null):
        # A used row is seen whole, as long as every other one, whatever its text.
        used = np.broadcast_to(np.asarray(conditions.events.used)[..., None], (B, E, Q))
        np.testing.assert_array_equal(branch["event_mask"], used)
        np.testing.assert_array_equal(branch["event_intervals"], conditions.events.intervals)
    for row in range(E):
        np.testing.assert_array_equal(null["events"][:, row], conditions.events.null)
    # Samples of one batch are emptied one by one, and branches are stacked whole.
    mixed = model_inputs(conditions, jnp.asarray([True, False]), pictures)[1]
    np.testing.assert_array_equal(mixed["events"][0], full["events"][0])
    np.testing.assert_array_equal(mixed["events"][1], null["events"][1])
    assert repeat(conditions, 3).events.states.shape == (3 * B, E, Q, 6)


def test_pictures_do_not_touch_events(conditions):
    text = jnp.ones(B, bool)
    kept = model_inputs(conditions, text, jnp.ones(B, bool))[1]
    dropped = model_inputs(conditions, text, jnp.zeros(B, bool))[1]
    for name in ("events", "event_mask", "event_intervals"):
        np.testing.assert_array_equal(kept[name], dropped[name])
    none = conditions._replace(events=None)
    assert "events" not in model_inputs(none, text, text)[1]
