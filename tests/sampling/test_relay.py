"""Relay: events told in the prompt, and hidden from the video outside of their time."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from told_kit import BASE, CLOCK, scene

from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.dit import Attended, Bias
from alchemint_jax.models.dit.conditioning import Conditions, Told
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.sampling.control import Gating, Moment, Relay, Steered, Together
from alchemint_jax.sampling.control.relay import event_bias, relay_penalty
from alchemint_jax.tokenizers import ByteTokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.load(BASE, relay=Relay())


# ------------------------------------------------------------------------------------- formula


penalty = jax.jit(relay_penalty, static_argnums=(1, 2, 3))


@pytest.mark.parametrize(("tail", "least"), [(2.0, 1e-3), (0.5, 0.1)])
def test_the_penalty_is_that_of_half_open_intervals(tail, least):
    """For whole latent frames [a, b): m = (a + b - 1) / 2, w = (b - a - 1) / 2, in float64."""
    spans = [[(2, 6)], [(0, 1)], [(4, 5), (8, 11)], [(0, 12)]]
    table = np.tile(np.array([1.0, 0.0], np.float32), (1, 4, 2, 1))
    wanted = np.full((4, 12), np.inf)
    sigma = tail / math.sqrt(2 * math.log(1 / least))
    for row, some in enumerate(spans):
        for number, (a, b) in enumerate(some):
            table[0, row, number] = a, b - 1
            m, w = (a + b - 1) / 2, (b - a - 1) / 2
            cost = np.maximum(np.abs(np.arange(12.0) - m) - w, 0) ** 2 / (2 * sigma**2)
            wanted[row] = np.minimum(wanted[row], cost)
    found = np.asarray(penalty(table, 12, tail, least))[0]
    np.testing.assert_allclose(found, np.minimum(wanted, -HIDDEN), rtol=1e-5)
    assert (found[0, 2:6] == 0).all() and (found[3] == 0).all()
    assert found[0, 1] > 0 < found[0, 6]


def test_the_weight_is_least_where_the_tail_ends_and_nothing_where_there_is_no_interval():
    intervals = np.float32([[[[3.0, 5.0]], [[1.0, 0.0]]]])
    found = np.asarray(penalty(intervals, 9, 2.0, 1e-3))[0]
    np.testing.assert_allclose(np.exp(-found[0, [1, 7]]), 1e-3, rtol=1e-5)
    assert (found[1] == -HIDDEN).all()


def test_only_tokens_of_an_event_are_hidden():
    cost = np.float32([[[0.0, 3.0], [5.0, 0.0]]])
    words = np.array([[[False, True, True, False], [False, False, False, True]]])
    wanted = [[0, 0, 0, -5], [0, -3, -3, 0]]
    np.testing.assert_array_equal(np.asarray(jax.jit(event_bias)(cost, words))[0], wanted)


@pytest.mark.parametrize("changes", [{"tail": 0}, {"tail": 1e9}, {"least": 0.0}, {"least": 1.0}])
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=f"Relay: {next(iter(changes))} = "):
        Relay(**changes)


# --------------------------------------------------------------------------------------- texts


def test_texts_are_joined_and_each_knows_its_tokens(pipe):
    parts = ["  a  red disc ", "", "it falls &amp;amp;amp; it", "a red disc"]
    for tokenizer in (ByteTokenizer(60), dataclasses.replace(pipe.texts.tokenizer, length=60)):
        text, found = tokenizer.join(parts)
        assert text == "a red disc it falls & it a red disc"
        ids, mask = tokenizer.encode([text])
        assert found.sum(0).max() == 1 and not found[:, ~mask[0]].any()
        assert not found[1].any() and found[2].any()
        # The third one's words stand in the first one as well, and are not those.
        assert np.flatnonzero(found[3])[0] > np.flatnonzero(found[2])[-1]
        alone = tokenizer.encode(["a red disc"])[0][0]
        assert set(ids[0, found[3]]) <= set(alone) and abs(found[0].sum() - found[3].sum()) < 2


def test_what_follows_an_empty_caption_begins_the_prompt(pipe):
    (text,), found = pipe.texts.join([["", "it falls"]], 3, 40)
    assert text == "it falls" and found[0, 1, 0] and not found[0, [0, 2]].any()


# ------------------------------------------------------------------------------------ pipeline


def test_events_are_in_the_prompt_and_conditions_say_where_and_when(pipe):
    scenes = [scene(("it falls", (0, 4)), ("it turns blue", (3, 9))), scene()]
    found = pipe.conditions(scenes)
    assert found.events is None and found.told.words.shape[:2] == (2, 2)
    plain = dataclasses.replace(pipe, relay=None)
    told = scene(caption="a red disc it falls it turns blue")
    np.testing.assert_array_equal(found.text[0], plain.conditions([told]).text[0])
    np.testing.assert_array_equal(found.text[1], plain.conditions([scene()]).text[0])
    latent = CLOCK.latent(np.array([[[[0, 4]], [[3, 9]]]], np.int32))
    np.testing.assert_allclose(found.told.intervals[0], latent[0])
    empty = np.asarray(found.told.intervals[1])
    assert (empty[..., 0] > empty[..., 1]).all()


def render(pipe, one, **options):
    return pipe.render([one], steps=2, guidance=Guidance(both=3.0), **options).astype(int)


def test_it_is_the_bias_that_its_definition_says(pipe):
    one = scene(("it falls", (0, 2)), caption="a disc")
    found = render(pipe, one)
    conditions = pipe.conditions([one])
    cost = penalty(conditions.told.intervals, 3, 2.0, 1e-3)
    bias = Bias(words=jax.jit(event_bias)(cost, conditions.told.words))
    plain = dataclasses.replace(pipe, relay=None)
    told = scene(caption="a disc it falls")
    wanted = render(plain, told, control=lambda moment, latents: Steered(latents, bias))
    assert np.abs(found - wanted).max() <= 1
    assert np.abs(found - render(plain, told)).max() > 1, "the bias does something"


def test_without_events_it_does_nothing(pipe):
    plain = dataclasses.replace(pipe, relay=None)
    np.testing.assert_array_equal(render(pipe, scene()), render(plain, scene()))


def test_events_without_a_relay_are_refused_and_told_of_it(pipe):
    plain = dataclasses.replace(pipe, relay=None)
    with pytest.raises(StoryboardError, match="events: .*--relay tells them in the prompt"):
        plain.check(scene(("it falls", (0, 4))))
    pipe.check(scene(("it falls", (0, 4))))


def test_prompt_and_events_together_must_fit(pipe):
    half = "a red disc " * 60
    pipe.check(scene(caption=half))
    with pytest.raises(StoryboardError, match=r"clip: prompt and events: \d+ tokens long"):
        pipe.check(scene((half, (0, 4)), caption=half))


def test_a_model_with_an_event_branch_needs_none():
    with pytest.raises(ConfigError, match="has an event branch"):
        Pipeline.load("sprites/events", relay=Relay())


# ------------------------------------------------------------------------------------ together


def moment(told):
    blank = jnp.zeros((1, 1, 1))
    conditions = Conditions(
        text=blank,
        null_text=blank,
        references=jnp.zeros((1, 1, 2, 2, 3)),
        used=jnp.ones((1, 1), bool),
        intervals=jnp.asarray([[[[0.0, 1.0]]]]),
        tags=jnp.zeros((1, 1, 1, 1)),
        tag_mask=jnp.ones((1, 1, 1), bool),
        words=jnp.asarray([[[True, False, True]]]),
        told=told,
    )
    return Moment(jnp.int32(0), jnp.int32(2), jnp.float32(1), conditions, 2, lambda *_: Attended())


def test_a_subject_that_an_event_names_follows_both():
    told = Told(jnp.asarray([[[False, True, True]]]), jnp.asarray([[[[2.0, 2.0]]]]))
    latents = jnp.zeros((1, 3, 2, 2, 3))
    relay, gating = Relay(tail=1.0), Gating()
    one, other = (control(moment(told), latents).bias for control in (relay, gating))
    both = Together((relay, gating))(moment(told), latents)
    np.testing.assert_allclose(both.bias.words, one.words + other.words)
    np.testing.assert_array_equal(both.bias.subjects, other.subjects)
    assert (np.asarray(both.bias.words)[0, 0] < -1).tolist() == [False, True, True]
    assert both.latents is latents and both.control == Together((relay, gating))


def test_controls_that_remember_go_on_one_by_one():
    def moved(by):
        return lambda moment, latents: Steered(latents + by, None, moved(2 * by))

    latents = jnp.zeros((1, 3, 2, 2, 3))
    found = Together((moved(1), Relay(), moved(10)))(moment(None), latents)
    assert (np.asarray(found.latents) == 11).all() and found.bias is None
    again = found.control(moment(None), latents)
    assert (np.asarray(again.latents) == 22).all()


def test_biases_of_some_layers_are_not_added_to_others(pipe):
    some = Bias(words=jnp.zeros((1, 2, 3)), layers=jnp.ones(2))
    with pytest.raises(ValueError, match="some layers"):
        some + Bias(words=jnp.zeros((1, 2, 3)))
    with pytest.raises(ConfigError, match=r"Gating: layers = \(0, 0.5\): a relay acts on all"):
        render(pipe, scene(), control=Gating(layers=(0, 0.5)))
