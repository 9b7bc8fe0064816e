"""Relay: events told in the prompt, and hidden from the video outside of their time."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from told_kit import BASE, CLOCK, scene

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.dit import Attended, Bias
from alchemint_jax.models.dit.conditioning import Conditions, Told
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.sampling.control import Gating, Moment, Relay, Steered, Together
from alchemint_jax.sampling.control.relay import event_bias, padding_bias, relay_penalty
from alchemint_jax.sampling.control.telling import told_by
from alchemint_jax.sampling.prompts import Prompts, whole_text
from alchemint_jax.sampling.sample import sample_latents
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.texts import Texts
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
    table = np.tile(np.array([1.0, 0.0]), (1, 4, 2, 1))
    wanted = np.full((4, 12), np.inf)
    sigma = tail / math.sqrt(2 * math.log(1 / least))
    for row, some in enumerate(spans):
        for number, (a, b) in enumerate(some):
            table[0, row, number] = a, b - 1
            m, w = (a + b - 1) / 2, (b - a - 1) / 2
            cost = np.maximum(np.abs(np.arange(12.0) - m) - w, 0) ** 2 / (2 * sigma**2)
            wanted[row] = np.minimum(wanted[row], cost)
    with jax.enable_x64(True):
        found = np.asarray(penalty(table, 12, tail, least))[0]
    np.testing.assert_allclose(found, np.minimum(wanted, -HIDDEN), rtol=1e-12)
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


def test_padding_weighs_what_that_of_the_texts_of_a_frame_does_in_double_precision():
    """Token by token: of texts that are seen at once, the mean by what they are seen with."""
    rng = np.random.default_rng(0)
    cost, padding = rng.uniform(0, 8, (2, 3, 5)), rng.uniform(2, 9, (2, 3))
    words = np.zeros((2, 3, 7), bool)
    words[0, 0, :2] = words[0, 1, 2:4] = words[0, 2, 4] = True  # the second prompt has no events
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(padding_bias)(cost, words, padding))
    for t, token in np.ndindex(5, 7):
        seen = [math.exp(-cost[0, e, t]) for e in range(3)]
        mean = sum(s * p for s, p in zip(seen, padding[0], strict=True)) / sum(seen)
        wanted = math.log(mean / 2) if token > 4 else 0.0
        assert found[0, t, token] == pytest.approx(wanted, rel=1e-12)
    assert not found[1].any() and np.ptp(found[0, :, 5]) > 0.05


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


def test_each_event_is_read_with_the_caption_and_without_others(pipe):
    scenes = [scene(("it falls", (0, 4)), ("it turns blue", (3, 7))), scene()]
    found = pipe.conditions(scenes)
    plain = dataclasses.replace(pipe, relay=None)
    texts = ["a red disc", "a red disc it falls", "a red disc it turns blue"]
    words, read = np.asarray(found.told.words), np.asarray(found.text)
    assert words.shape == (2, 3, 512) and found.events is None and not words[1].any()
    for own, text, padding in zip(words[0], texts, found.told.padding[0], strict=True):
        alone = np.asarray(plain.conditions([scene(caption=text)]).text[0])
        size = int(512 - padding)
        assert own.sum() == size and alone[size - 1].any() and not alone[size:].any()
        np.testing.assert_allclose(read[0, own], alone[:size], atol=1e-5)
    assert not read[0, ~words[0].any(0)].any()
    np.testing.assert_array_equal(read[1], plain.conditions([scene()]).text[0])
    latent = CLOCK.latent(np.array([[[[7, 9]], [[0, 4]], [[3, 7]]]], np.int32))
    np.testing.assert_allclose(found.told.intervals[0], latent[0])
    empty = np.asarray(found.told.intervals[1])
    assert (empty[..., 0] > empty[..., 1]).all()


def test_an_event_that_has_the_caption_in_it_is_a_text_by_itself():
    for text in ("a disc on a lawn falls", "falls"):
        found = whole_text("a lawn", text)
        assert found == (text if "lawn" in text else "a lawn falls")
    assert whole_text("", "it falls").strip() == "it falls"
    assert whole_text("art", "a cart falls") == "art a cart falls"


def test_texts_that_are_too_long_together_take_more_room(pipe):
    settings = dataclasses.replace(pipe.settings, text_length=8)
    found = dataclasses.replace(pipe, settings=settings).conditions(
        [scene(("it falls", (0, 4)), caption="a disc"), scene(caption="a disc")]
    )
    assert found.text.shape[1] == found.null_text.shape[1] == found.words.shape[2] > 8
    for copies in (found.null_text[0], found.text[1]):
        np.testing.assert_array_equal(copies[:8], copies[8:16])


def test_a_frame_sees_what_its_text_alone_would_show_it():
    """Attention over all texts of a scene against that over one of them, padding included."""
    texts = Texts(ByteTokenizer(1), UMT5Encoder(UMT5Config(vocab=259)), dict)
    read = Prompts(texts, (("a b", "a b cde"), ("xy",)), 9)
    draw = np.random.default_rng(0)
    states = draw.normal(size=(3, 9, 4)) * (np.arange(9) < read.sizes[:, None])[..., None]
    queries = draw.normal(size=(2, 4))

    def attend(keys, bias):
        weights = np.exp(keys @ queries.T + bias.T)
        return (weights / weights.sum(0)).T @ keys

    cost = jnp.asarray([[[0.0, 99.0], [99.0, 0.0]], [[99.0, 99.0]] * 2])
    words = jnp.asarray(read.members(2)).at[1].set(False)
    hidden = np.asarray(event_bias(cost, words))
    bias = hidden + np.asarray(padding_bias(cost, words, jnp.asarray(read.padding(2))))
    laid = np.asarray(read.laid(jnp.asarray(states)))
    assert laid.shape[1] == 18
    for frame in range(2):
        wanted = attend(states[frame], np.zeros((2, 9)))[frame]
        np.testing.assert_allclose(attend(laid[0], bias[0])[frame], wanted, rtol=1e-5)
        assert np.abs(attend(laid[0], hidden[0])[frame] - wanted).max() > 1e-3
    wanted = attend(states[2], np.zeros((2, 9)))
    np.testing.assert_allclose(attend(laid[1], bias[1]), wanted, rtol=1e-5)


def test_words_are_found_in_all_texts_of_a_scene():
    texts = Texts(ByteTokenizer(1), UMT5Encoder(UMT5Config(vocab=259)), dict)
    read = Prompts(texts, (("a b", "a b c"), ("c",)), 9)
    found = read.words([["b", "c"], ["c"]], 2)
    assert [np.flatnonzero(row).tolist() for row in found[0]] == [[2, 6], [8]]
    assert [np.flatnonzero(row).tolist() for row in found[1]] == [[0, 9], []]


def render(pipe, one, **options):
    return pipe.render([one], steps=2, guidance=Guidance(both=3.0), **options).astype(int)


def test_an_event_that_lasts_is_a_prompt_and_one_that_does_not_is_none(pipe):
    plain = dataclasses.replace(pipe, relay=None)
    lasts, ends = (render(pipe, scene(("it falls", (0, n)), caption="a disc")) for n in (9, 5))
    wanted = render(plain, scene(caption="a disc it falls"))
    assert np.abs(lasts - wanted).max() <= 1
    for other in (wanted, render(plain, scene(caption="a disc"))):
        assert np.abs(ends - other).max() > 1


def test_guidance_leads_away_from_the_caption_without_the_event(pipe):
    """While it lasts; at other times, and for other videos, from the negative prompt."""
    other = dataclasses.replace(pipe, relay=Relay(contrast=True))
    scenes = [scene(("it falls", (0, 5)), caption="a disc"), scene()]
    found = other.conditions(scenes, "ugly")
    null, words = np.asarray(found.null_text), np.asarray(found.told.null.words)
    assert null.shape == found.text.shape == (2, 1024, null.shape[2]) and not words[1].any()
    plain = dataclasses.replace(pipe, relay=None)
    for own, text in zip(words[0], ("ugly", "a disc"), strict=True):
        alone = np.asarray(plain.conditions([scene(caption=text)]).text[0])
        np.testing.assert_allclose(null[0, own], alone[: own.sum()], atol=1e-5)
    times = np.asarray(found.told.null.intervals)[0, :, 0]
    np.testing.assert_array_equal(times, np.asarray(found.told.intervals)[0, :, 0])
    # Its event lasts, and its guidance has nothing but what the event adds.
    lasts = render(other, scene(("it falls", (0, 9)), caption="a disc"))
    wanted = plain.render(
        [scene(caption="a disc it falls")],
        negative_prompt="a disc",
        steps=2,
        guidance=Guidance(both=3.0),
    )
    assert np.abs(lasts - wanted.astype(int)).max() <= 1
    assert np.abs(lasts - render(pipe, scene(("it falls", (0, 9)), caption="a disc"))).max() > 1
    np.testing.assert_array_equal(render(other, scene()), render(plain, scene()))


def test_frames_on_other_devices_see_their_own_texts(pipe):
    """The video's tokens are split over a mesh, in the midst of a latent frame."""
    relay = Relay(tail=0.75, contrast=True)
    events = ("it falls", (0, 5)), ("it turns blue", (5, 9))
    given = dataclasses.replace(pipe, relay=relay).conditions([scene(*events)], "ugly")
    noise = jax.random.normal(jax.random.key(0), (1, 3, 8, 12, 16))

    def run(control):
        plan = Plan(2, 3.0, Guidance(both=3.0))
        return np.asarray(sample_latents(pipe.models, given, noise, plan, control=control))

    whole, untimed = run(relay), run(None)
    assert np.abs(whole - untimed).max((0, 2, 3, 4)).min() > 1e-3
    devices = jax.devices()[:4]
    with sharding.use_mesh(sharding.make_mesh(data=1, context=4, devices=devices)):
        np.testing.assert_allclose(run(relay), whole, atol=1e-4)


def test_a_contrast_needs_a_relay_and_guidance():
    assert Relay.of(True, contrast=True) == Relay(contrast=True)
    assert Relay.of(1.0, contrast=True) == Relay(1.0, contrast=True)
    with pytest.raises(ConfigError, match="--contrast: .* give --relay, too"):
        told_by(None, None, True)


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
    with pytest.raises(StoryboardError, match=r"clip: prompt and events\[0\].text: \d+ tok"):
        pipe.check(scene(("a blue star " * 60, (0, 4)), caption=half))


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


def test_passes_without_the_caption_have_a_bias_of_their_own():
    rows = jnp.asarray([[[1.0, 2.0]], [[3.0, 4.0]]])
    bias = Bias(words=rows, nulls=-rows) + Bias(nulls=-rows)
    found = bias.repeated(2).without_captions(jnp.asarray([False, True, True, False]))
    wanted = [rows[0], -2 * rows[1], -2 * rows[0], rows[1]]
    np.testing.assert_array_equal(found.words, jnp.stack(wanted))
    assert found.nulls is None
    with pytest.raises(ValueError, match="some layers"):
        Bias(nulls=rows, layers=jnp.ones(2)) + Bias(words=rows)


def test_biases_of_some_layers_are_not_added_to_others(pipe):
    some = Bias(words=jnp.zeros((1, 2, 3)), layers=jnp.ones(2))
    with pytest.raises(ValueError, match="some layers"):
        some + Bias(words=jnp.zeros((1, 2, 3)))
    with pytest.raises(ConfigError, match=r"Gating: layers = \(0, 0.5\): a relay acts on all"):
        render(pipe, scene(), control=Gating(layers=(0, 0.5)))
