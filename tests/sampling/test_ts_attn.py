"""TS-Attn: what it favours, the words that it looks for, and a video that it acts on."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from told_kit import BASE, CLOCK, scene

from alchemint_jax import cli
from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.sampling.control import Gating, Relay, TSAttn
from alchemint_jax.sampling.control.telling import told_by
from alchemint_jax.sampling.control.ts_attn import favoured
from alchemint_jax.sampling.fitting import fitted, told

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.load(BASE, relay=TSAttn(("disc",), steps=(0, 1)))


def test_each_subject_has_its_own_events_and_those_that_name_nobody():
    """Tokens: a cat | the cat runs | a dog sits | it rains."""
    subjects, events = np.zeros((1, 2, 9), np.float32), np.zeros((1, 3, 9), np.float32)
    subjects[0, 0, [1, 3]] = subjects[0, 1, 5] = 1
    events[0, 0, 2:5] = events[0, 1, 5:7] = events[0, 2, 7:] = 1
    active = np.array([[[1, 0], [1, 1], [0, 1]]], np.float32)  # two frames
    found = favoured(*map(jnp.asarray, (active, events, subjects)))
    cat, dog = np.asarray(found.lifted)[0]
    assert cat[0].tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 0]  # its word, and what it does
    assert cat[1].tolist() == [0, 1, 0, 0, 0, 0, 0, 1, 1]  # its word in the prompt, and the rain
    assert dog[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 0]
    cat, dog = np.asarray(found.lowered)[0]
    assert cat[0].tolist() == [0] * 7 + [1, 1]
    assert cat[1].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0]  # its word follows the event
    assert dog[0].tolist() == cat[0].tolist() and not dog[1].any()


def test_its_words_are_those_of_the_prompt_and_the_events(pipe):
    scenes = [scene(("it falls", (0, 4)), ("the disc turns blue", (3, 9))), scene()]
    control = told(pipe, fitted(pipe, None), scenes, CLOCK)
    found = np.asarray(control.tokens)
    joined = pipe.texts.words(["a red disc it falls the disc turns blue"], [["disc"]], 1, 512)
    np.testing.assert_array_equal(found[0], joined[0])
    where = np.asarray(pipe.conditions(scenes).told.words)[0]
    assert (found[0, 0] & where[1]).any() and not (found[0, 0] & where[0]).any()
    assert control.words is None and control.stride == 4


def test_a_scene_whose_events_happen_to_nobody_is_refused(pipe):
    for relay in (TSAttn(("cat",)), TSAttn()):
        other = dataclasses.replace(pipe, relay=relay)
        with pytest.raises(StoryboardError, match="clip: ts-attn: .* name a word of theirs"):
            other.render([scene(("it falls", (0, 4)))])
        assert not told(other, fitted(other, None), [scene()], CLOCK).tokens.any()


def test_it_matters_where_events_happen_but_not_to_a_video_without_any(pipe):
    """Side by side; the second prompt has one of these words alone."""
    scenes = [scene(("it falls", (0, 2)), caption="a disc"), scene()]
    one, other = (
        dataclasses.replace(pipe, relay=TSAttn((word,), steps=(0, 1)))
        .render(scenes, steps=2, guidance=Guidance(both=3.0))
        .astype(int)
        for word in ("disc", "falls")
    )
    assert np.abs(one[0] - other[0]).max() > 1
    np.testing.assert_array_equal(one[1], other[1])


def test_it_goes_together_with_gating_of_some_layers(pipe):
    """Which a relay does not: that is a table of all layers."""
    limited = dataclasses.replace(pipe.models.dit.config, slots=2)
    models = pipe.models._replace(dit=pipe.models.dit.clone(config=limited))
    gating = Gating(layers=(0, 0.5))
    other = dataclasses.replace(pipe, models=models)
    assert len(fitted(other, gating).controls) == 2
    with pytest.raises(ConfigError, match="a relay acts on all layers"):
        fitted(dataclasses.replace(other, relay=Relay()), gating)


def test_from_the_command_line():
    parse = cli._parser(whole=False).parse_args
    line = ["generate", "examples/two_subjects.yaml", "--out", "v.mp4"]
    for more, wanted in (
        ([], None),
        (["--ts-attn"], TSAttn()),
        (["--ts-attn", "cat", "--ts-attn", "red dog"], TSAttn(("cat", "red dog"))),
        (["--relay", "1"], Relay(1.0)),
    ):
        args = parse([*line, *more])
        assert told_by(args.relay, args.ts_attn) == wanted
    with pytest.raises(ConfigError, match="give one of them"):
        told_by(1.0, ["cat"])
    with pytest.raises(ConfigError, match="either words, or nothing"):
        told_by(None, ["cat", True])
    with pytest.raises(ConfigError, match=r"TSAttn: steps = \(0.5, 0.2\)"):
        TSAttn(steps=(0.5, 0.2))
