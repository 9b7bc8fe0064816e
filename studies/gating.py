r"""What gating does to when subjects are on screen: boards rendered with it and without.

    python -m studies.gating --model sprites --limit 256 --steps 5 \
        --out docs/results/sprites_gating.json --figure docs/results/sprites_gating.svg

The model is not trained again. Half of the variants do not tell it when subjects appear: references
are placed as if they were on screen all the time, and the gate alone knows. So does every variant
of a model that never knew time, such as the arm NoInterval of configs/sprites_schemes.py:

    alchemint train --config configs/sprites_schemes.py:NoInterval --workdir runs/untimed
    python -m studies.gating --model runs/untimed/export --limit 128 --steps 5 \
        --out runs/untimed_gating.json --figure runs/untimed_gating.svg

All variants see the same boards and the same noise.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.sampling.control import Gating, Moment, Steered
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.packing import pack
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites import tracker
from alchemint_jax.worlds.sprites.cases import sprites_cases
from studies import variants
from studies.charts import Panel, forest

SHOWN = {
    "t_iou": "1 is best",
    "frame_iou": "1 is best",
    "presence": "share of frames; 1 is best",
    "absence": "share of frames; 1 is best",
    "identity": "share of subjects; 1 is best",
}
"""Labels of axes by figure."""
GROUPS = ("one interval", "several intervals")
TRACKER = tracker.SpritesTracker()
MEASURES = scores.measures(TRACKER)
VARIANTS: dict[str, tuple[bool, Gating | None]] = {
    "timed": (True, None),
    "timed, gated": (True, Gating(edge=0)),
    "untimed": (False, None),
    "untimed, gated": (False, Gating(edge=10.0)),
}
"""Whether the model is told when subjects appear, and the gate."""
PAIRS = {"timed, gated": "timed", "untimed, gated": "untimed"}
"""Each variant, and the one that it is compared to."""


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["intervals"], meta_fields=["gating"]
)
@dataclasses.dataclass(frozen=True)
class Told:
    """The gate for subjects that are on screen at these latent intervals [b r m 2]."""

    gating: Gating
    intervals: Any

    def __call__(self, moment: Moment, latents: jax.Array) -> Steered:
        """See `Gating`."""
        conditions = moment.conditions._replace(intervals=self.intervals)
        return self.gating(dataclasses.replace(moment, conditions=conditions), latents)


def untimed(case: Scene) -> Scene:
    """The board with all subjects on screen all the time."""
    always = Spans([(0, int(case.clock.frames))])
    subjects = (dataclasses.replace(subject, spans=always) for subject in case.subjects)
    return dataclasses.replace(case, subjects=tuple(subjects))


def draw_variant(
    draw: Callable[..., np.ndarray],
    cases: Sequence[Scene],
    *,
    slots: int,
    timed: bool,
    gating: Gating | None,
    **settings: Any,
) -> np.ndarray:
    """`Pipeline.render` of these boards, as a variant has it."""
    intervals = cases[0].clock.latent(pack(cases, slots).intervals)
    asked = cases if timed else [untimed(case) for case in cases]
    control = None if gating is None else Told(gating, jnp.asarray(intervals))
    return draw(asked, control=control, **settings)


def measure(
    draw: Callable[..., np.ndarray],
    cases: Sequence[Scene],
    *,
    seed: int,
    slots: int = 3,
    **settings: Any,
) -> dict[str, Any]:
    """The figures of each variant, and of gated ones less those without, board by board.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`.
    """
    rows = {}
    for name, (timed, gating) in VARIANTS.items():
        print(name, file=sys.stderr, flush=True)
        drawn = functools.partial(draw_variant, draw, slots=slots, timed=timed, gating=gating)
        videos = render(drawn, cases, seed=seed, **settings)
        found = scores.score(cases, videos, TRACKER)["rows"]
        rows[name] = [row | {"seed": seed} for row in found]
    parts = {name: _parts(own) for name, own in rows.items()}
    return {
        "gating": {name: repr(gating) for name, (_, gating) in VARIANTS.items() if gating},
        "variants": {name: scores.summarise(own, MEASURES) for name, own in rows.items()},
        "groups": {
            name: {group: scores.summarise(own, MEASURES) for group, own in groups.items()}
            for name, groups in parts.items()
        },
        "differences": {
            name: {
                group: {
                    figure: paired.difference(own, parts[PAIRS[name]][group], figure)
                    for figure in SHOWN
                }
                for group, own in parts[name].items()
            }
            for name in PAIRS
        },
    }


def _parts(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    own = dict(scores.groups(rows))
    return {"all": rows} | {group: own[group] for group in GROUPS if own[group]}


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """The figures of all variants, of all subjects and those of several intervals, as SVG."""
    blocks = {
        f"{group} subjects" if group == "all" else group: [
            Panel(
                MEASURES[name],
                axis,
                {variant: own[group][name] for variant, own in found["groups"].items()},
            )
            for name, axis in SHOWN.items()
        ]
        for group in found["groups"]["timed"]
    }
    title = f"{found['limit']} boards in {found['steps']} steps, with and without gating"
    return forest(blocks, title, baseline="timed")


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Scene]:
    if not pipe.limits.max_subjects:
        raise ConfigError("takes no references, so there is nothing to gate")
    return sprites_cases(limit, seed)


STUDY = variants.Study(
    description="Measure a model with and without gating.",
    model="sprites",
    limit=128,
    boards=_boards,
    case=lambda case: case,
    measure=measure,
    shown={name: MEASURES[name] for name in SHOWN},
    draw=draw_figure,
)
main = functools.partial(variants.main, STUDY)
"""The command line of this module."""


if __name__ == "__main__":
    sys.exit(main())
