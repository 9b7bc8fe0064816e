r"""Ways to say when, on a model that has words alone to go by: figures, and what each way costs.

    python -m studies.timing_words --model runs/sprites_words/export --limit 64 --steps 8 \
        --batch 16 --out runs/timing_words.json --figure runs/timing_words.svg

The model is that of configs/sprites_words.py: it takes no pictures, was never told when, and its
boards have one subject, whose colour and shape the prompt names. Its event is that prompt, while it
is on screen; at other times the prompt is the background. No way trains anything, and all see the
same boards and the same noise. Costs are CPU time of a batch, against the same batch without any
control.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.sampling.control import Relay, TempoControl, TSAttn
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Event, Scene
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.world import World
from studies import timing_figures, variants
from studies.timing_figures import PLAIN, SHOWN, TITLES, Way, drawn, figures

TEMPO = TempoControl(steps=(0, 0.2), iterations=4, rate=0.2, entropy=0.1, trim=0, signal="spread")
"""Few rounds of large steps: the model makes eight, and its clips have nine latent frames. Chosen
on other boards, those of seeds 101 and 202."""
MEAN = dataclasses.replace(TEMPO, signal="mean", layers=(0.66, 1))
"""The paper's signal, of the last two of six layers: in an earlier training by the same recipe
those attended more to a subject's word where it was drawn, and the middle ones less."""
TAIL = 0.75
"""Latent frames over which an event fades: clips have nine. Chosen on boards of seed 101."""
WAYS = {
    PLAIN: Way(),
    "TempoControl": Way(TEMPO),
    "TempoControl, mean": Way(MEAN),
    "events, relay": Way(events=Relay(TAIL)),
    "events, contrast": Way(events=Relay(TAIL, contrast=True)),
    "events, TS-Attn": Way(events=TSAttn()),
}
GIVEN = "words alone"


def worded(limit: int, seed: int) -> list[Scene]:
    """The first cases of a seed with one subject: the model never read of more."""
    # Of five successive cases two are such.
    cases = sprites_cases(-(-5 * limit // 2), seed, World.of_words())
    return [case for case in cases if len(case.subjects) == 1][:limit]


def eventful(case: Scene, by: Relay | TSAttn) -> Scene:
    """The case whose prompt is told as an event: of its subject, while that is on screen.

    For TS-Attn, for which all is one text, the event is what the prompt says without the
    background.
    """
    what, _, ground = case.caption.partition(" on ")
    text = case.caption if isinstance(by, Relay) else what
    (subject,) = case.subjects
    return dataclasses.replace(case, caption=ground, events=(Event(text, subject.spans),))


class Unseated(Pipeline):
    """A model without references, for boards with subjects: they say what is timed, and when."""

    def check(self, scene: Scene) -> None:
        """See `Pipeline.check`."""
        super().check(dataclasses.replace(scene, subjects=()))

    def conditions(
        self,
        scenes: Sequence[Scene],
        negative_prompt: str | None = None,
        slots: int | None = None,
    ) -> Conditions:
        """See `Pipeline.conditions`."""
        read = [dataclasses.replace(scene, subjects=()) for scene in scenes]
        return super().conditions(read, negative_prompt, slots)


def unseated(pipe: Pipeline) -> Unseated:
    """The same model, for boards with subjects."""
    return Unseated(*(getattr(pipe, field.name) for field in dataclasses.fields(pipe)))


def measure(
    pipe: Pipeline, cases: Sequence[Scene], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each way, and of each less those without any control, board by board.

    `seed` draws the noise, and `settings` are those of `benchmark.render`.
    """
    rows, seconds = drawn(GIVEN, WAYS, unseated(pipe), cases, eventful, seed=seed, **settings)
    return figures(WAYS, rows, seconds)


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """All ways and figures, as SVG."""
    return timing_figures.draw_figure(WAYS, found, "a model that has words alone to go by")


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Scene]:
    if pipe.limits.max_subjects:
        raise ConfigError("takes references; give a model of words alone")
    return worded(limit, seed)


STUDY = variants.Study(
    description="Measure ways to say when, on a model that has words alone to go by.",
    model="runs/sprites_words/export",
    limit=64,
    boards=_boards,
    case=lambda case: dataclasses.replace(case, subjects=()),
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
