"""Steps under controls that are given more than a text, on a mesh: keyframes, or events."""

from __future__ import annotations

import dataclasses

import jax
import pytest
from tiny_plan import CONFIG, TINY

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.plan import steps
from alchemint_jax.sampling.control import Gating, Inbetween, Relay, Together, TSAttn
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task

pytestmark = pytest.mark.slow

FLF2V = ("model.in_channels=36", "model.image_dim=32", "model.image_positions=10", "model.slots=0")
WORK = steps.Work(size=(32, 32), frames=5, references=0, batch=2)


def trace(*overrides, control=None):
    task = build_task(load_config(CONFIG, [*TINY.overrides, *overrides]))
    mesh = sharding.make_mesh(data=2, context=2, tensor=1, devices=jax.devices()[:4])
    return steps.sample_step(task, WORK, mesh, control)


def test_it_is_planned_with_both_streams_of_pictures():
    plain, drawn = (trace(*FLF2V, control=control) for control in (None, Inbetween()))
    conditions = drawn.kinds["batch"][0]
    assert conditions.condition.shape == (2, 2, 4, 4, 20) and conditions.image.shape == (2, 10, 32)
    assert "cond[" in str(drawn.traced.jaxpr) and "cond[" not in str(plain.traced.jaxpr)
    assert drawn.model_flops == plain.model_flops


def test_what_cannot_be_planned_is_said():
    with pytest.raises(ConfigError, match="between keyframes, and this model is given none"):
        trace("model.slots=0", control=Inbetween())


def told_step(control):
    work = dataclasses.replace(WORK, references=1, told=3)
    task = build_task(load_config(CONFIG, [*TINY.overrides]))
    mesh = sharding.make_mesh(data=2, context=2, tensor=1, devices=jax.devices()[:4])
    return steps.sample_step(task, work, mesh, control)


@pytest.mark.parametrize("control", [Relay(), Together((TSAttn(), Gating(8.0)))])
def test_events_are_told_in_the_caption(control):
    step = told_step(control)
    length = step.kinds["batch"][0].text.shape[1]
    found = step.kinds["batch"][0].told
    # A relay's frames without any event are one more.
    events = 4 if control == Relay() else 3
    assert found.words.shape == (2, events, length)
    assert (found.padding is None) == (events == 3)
    assert ("cond[" in str(step.traced.jaxpr)) == (control != Relay())
    with pytest.raises(ConfigError, match="model.events is True: its branch is told of events"):
        trace("model.events=True", control=control)


def test_a_contrast_reads_texts_twice_as_long():
    """As the pipeline makes them: in passes with the caption, and in those without."""
    one, two = (told_step(Relay(contrast=contrast)) for contrast in (False, True))
    length = one.kinds["batch"][0].text.shape[1]
    found = two.kinds["batch"][0]
    assert found.text.shape[1] == found.null_text.shape[1] == 2 * length
    assert found.words.shape[2] == found.told.words.shape[2] == 2 * length
    assert found.told.null.words.shape[1:] == (2, 2 * length)
    assert two.model_flops > one.model_flops
