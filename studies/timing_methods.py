r"""Ways to say when, on a model that never knew time: its figures, and what each way costs.

    python -m studies.timing_methods --limit 128 --steps 5 --batch 16 \
        --out runs/timing_methods.json --figure runs/timing_methods.svg

The model is sprites/untimed, which draws as the bundled one does and knows no time (see
configs/sprites_untimed.py); `--model` takes any whose scheme is NoInterval. No way trains anything,
and all of a block see the same boards and the same noise: with pictures of the subjects, and with
words alone, where pictures and word tags are emptied, as guidance empties them. Boards of words
alone are those whose prompt names the colour of each subject. Their events are what the prompt says
of each subject, while that is on screen. Costs are CPU time of a batch, against the same batch
without any control. Models that have nothing but words to go by are in `studies.timing_words`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.rotary import NoInterval
from alchemint_jax.sampling.control import Gating, Relay, TempoControl, Together, TSAttn
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Event, Scene
from alchemint_jax.worlds.sprites.cases import sprites_cases
from studies import timing_figures, variants
from studies.timing_figures import PLAIN, SHOWN, TITLES, Way, drawn, figures

GATING = Gating(edge=3.0, lift=2.0, steps=(0, 0.6))
"""Chosen on other boards, those of seed 101: subjects come and go in what the model learned from,
and it would leave some of them out without the lift; when they come is settled in the first steps,
and in the last ones, which settle what they look like, the gate only costs identity."""
TEMPO = TempoControl(steps=(0, 0.2), iterations=4, rate=0.02, magnitude=0.3, entropy=0.1)
"""Few rounds of large steps: the model makes five steps, and its clips have nine latent frames."""
WAYS = {
    PLAIN: Way(),
    "gating": Way(GATING),
    "TempoControl": Way(TEMPO),
    "gating, TempoControl": Way(Together((GATING, TEMPO))),
    "events, relay": Way(events=Relay()),
    "events, TS-Attn": Way(events=TSAttn()),
}
GIVEN = {
    "pictures": (PLAIN, "gating", "gating, TempoControl"),
    "words alone": (PLAIN, "gating", "TempoControl", "events, relay", "events, TS-Attn"),
}
"""The ways that are measured, by what the model is given."""
SHARE = 2
"""Words alone are tried on so many times fewer boards."""


def worded(limit: int, seed: int) -> list[Scene]:
    """The first cases of a seed whose prompt names the colour of each subject.

    Others cannot be drawn from words.
    """
    found: list[Scene] = []
    for many in (4 * limit * 2**i for i in itertools.count()):
        found = [c for c in sprites_cases(many, seed) if all(" " in s.word for s in c.subjects)]
        if len(found) >= limit:
            break
    return found[:limit]


def eventful(case: Scene) -> Scene:
    """The case whose prompt is told as events: of each subject, while that is on screen."""
    texts = re.split(r" while | and |, ", case.caption)
    spans = (subject.spans for subject in case.subjects)
    events = tuple(Event(text, own) for text, own in zip(texts, spans, strict=True))
    return dataclasses.replace(case, caption="", events=events)


class WordsAlone(Pipeline):
    """A pipeline whose pictures and word tags are empty, as guidance empties them."""

    def conditions(
        self,
        scenes: Sequence[Scene],
        negative_prompt: str | None = None,
        slots: int | None = None,
    ) -> Conditions:
        """See `Pipeline.conditions`."""
        given = super().conditions(scenes, negative_prompt, slots)
        return given._replace(
            references=jnp.zeros_like(given.references), tags=jnp.zeros_like(given.tags)
        )


def without_pictures(pipe: Pipeline) -> WordsAlone:
    """The same model, given words alone."""
    return WordsAlone(*(getattr(pipe, field.name) for field in dataclasses.fields(pipe)))


def measure(
    pipe: Pipeline, cases: Sequence[Scene], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each way, and of each less those without any control, board by board.

    `seed` draws the noise, and `settings` are those of `benchmark.render`.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, list[float]] = {}
    words = worded(-(-len(cases) // SHARE), seed)
    for given, names in GIVEN.items():
        whole = given == "pictures"
        own, boards = (pipe, cases) if whole else (without_pictures(pipe), words)
        ways = {name: WAYS[name] for name in names}
        found, taken = drawn(
            given, ways, own, boards, lambda case, _: eventful(case), seed=seed, **settings
        )
        rows |= found
        seconds |= taken
    return figures(WAYS, rows, seconds)


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """All ways and figures, with pictures and with words alone, as SVG."""
    return timing_figures.draw_figure(WAYS, found, "a model that never knew time")


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Scene]:
    if not pipe.limits.max_subjects:
        raise ConfigError("takes no references")
    if not isinstance(pipe.models.dit.config.scheme, NoInterval):
        raise ConfigError("knows time; give a model whose scheme is NoInterval")
    return sprites_cases(limit, seed)


STUDY = variants.Study(
    description="Measure ways to say when, on a model that never knew time.",
    model="sprites/untimed",
    limit=128,
    boards=_boards,
    case=lambda case: case,
    measure=measure,
    shown={name: TITLES[name] for name in SHOWN},
    draw=draw_figure,
    whole=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    return variants.main(STUDY, argv)


if __name__ == "__main__":
    sys.exit(main())
