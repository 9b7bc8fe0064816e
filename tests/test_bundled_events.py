"""The bundled model with events: it follows them, and its figures are those of its own weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rolled import rolled

import alchemint_jax as al
from alchemint_jax import weights
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.train.config import load_config
from alchemint_jax.train.dit_fields import make_dit_task
from alchemint_jax.train.metrics import read_metrics
from studies import events

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def figures():
    return json.loads((RESULTS / "sprites_events.json").read_text())


def test_it_shares_what_it_can():
    own, shared = (fingerprints(name) for name in ("sprites/events", "sprites"))
    assert own.keys() == shared.keys() == {"transformer", "vae", "text_encoder"}
    assert {name for name in own if own[name] != shared[name]} == {"transformer"}
    folder = weights.locate("sprites/events")
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 6.5e6


def test_it_is_what_its_config_makes():
    pipe = al.Pipeline.load("sprites/events")
    task = make_dit_task(load_config(ROOT / "configs" / "sprites_events.py"))
    own = pipe.models.dit.config
    assert own == dataclasses.replace(task.model, remat=own.remat)
    assert pipe.settings == task.sampling
    assert pipe.limits.events and not al.Pipeline.load("sprites").limits.events


@pytest.mark.parametrize("stage", ["first", "second"])
def test_its_recipe_is_that_of_the_committed_curves(stage):
    lines = read_metrics(RESULTS / f"sprites_events_{stage}.jsonl")
    config = load_config(f"{ROOT / 'configs' / 'sprites_events.py'}:{stage}").train
    assert config.total_steps == lines[-1]["step"]
    for name, rate in config.optimizer.groups:
        highest = max(line.get(f"lr/{name}", 0) for line in lines)
        assert highest == pytest.approx(rate, rel=0.02)


def test_it_follows_its_events():
    """A board twice in one batch: with its events, and without."""
    boards = events.boards(1, seed=7) * 2
    cases = [board.case for board in boards]
    cases[1] = dataclasses.replace(cases[1], events=())
    pipe = rolled(al.Pipeline.load("sprites/events"))
    videos = pipe.render(cases, steps=4, seed=7)
    heard, deaf = (
        np.mean([row["event"] for row in events.score(boards[half], videos[half], seed=7)])
        for half in (slice(1), slice(1, 2))
    )
    assert heard > deaf + 0.3


def test_card_and_documents_show_the_committed_figures(figures):
    assert figures["weights"] == fingerprints("sprites/events")
    card = (weights.locate("sprites/events") / "README.md").read_text()
    for variant in figures["variants"].values():
        shown = (variant[name] for name in events.MEASURES)
        cells = [f"{x['mean']:.2f} ({x['low']:.2f} to {x['high']:.2f})" for x in shown]
        assert f"| {' | '.join(cells)} |\n" in card
    assert all(less["event"]["low"] > 0.2 for less in figures["differences"].values())
    page = ROOT / "docs" / "measurements" / "conditions.md"
    said_there = " ".join(page.read_text().split())
    asked, without, other = (figures["variants"][name]["event"] for name in events.VARIANTS)
    said = "by {mean:.2f} ({low:.2f} to {high:.2f}) in IoU".format(**asked)
    against = f"against {without['mean']:.2f} without events and {other['mean']:.2f} at exchanged"
    assert f"{said}, {against} times" in said_there
    assert f"On {figures['boards']} boards" in said_there
