r"""What gating does to when subjects are on screen: boards rendered with it and without.

    python -m studies.gating --model sprites --limit 128 --steps 10 \
        --out docs/results/sprites_gating.json --figure docs/results/sprites_gating.svg

For a model that never knew time, the arm NoInterval of configs/sprites_schemes.py:

    alchemint data sprites --out data/sprites --clips 3400
    alchemint data encode --data data/sprites --vae sprites --out data/schemes_latents
    alchemint train --config configs/sprites_schemes.py:NoInterval --workdir runs/untimed
    python -m studies.gating --model runs/untimed/export --limit 128 --steps 10 \
        --out docs/results/sprites_gating_untimed.json \
        --figure docs/results/sprites_gating_untimed.svg

The model is not trained again. All variants see the same boards and the same noise.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.sampling.control import Control, Gating
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
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
VARIANTS: dict[str, Control | None] = {"ungated": None, "gated": Gating()}
"""The control that each variant is rendered under."""


def measure(
    draw: Callable[..., np.ndarray], cases: Sequence[Scene], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each variant, and of the gated one less the ungated, board by board.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`.
    """
    rows = {}
    for name, control in VARIANTS.items():
        print(name, file=sys.stderr, flush=True)
        videos = render(functools.partial(draw, control=control), cases, seed=seed, **settings)
        found = scores.score(cases, videos, TRACKER)["rows"]
        rows[name] = [row | {"seed": seed} for row in found]

    def parts(name: str) -> dict[str, list[dict[str, Any]]]:
        own = dict(scores.groups(rows[name]))
        return {"all": rows[name]} | {group: own[group] for group in GROUPS if own[group]}

    free, gated = (parts(name) for name in VARIANTS)
    return {
        "gating": repr(VARIANTS["gated"]),
        "variants": {name: scores.summarise(own, MEASURES) for name, own in rows.items()},
        "groups": {
            name: {group: scores.summarise(own, MEASURES) for group, own in parts(name).items()}
            for name in rows
        },
        "differences": {
            group: {
                figure: scores.difference(gated[group], free[group], figure) for figure in SHOWN
            }
            for group in free
        },
    }


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """The figures of both variants, all subjects and those of several intervals, as SVG."""
    blocks = {
        group: [
            Panel(
                MEASURES[name],
                axis,
                {variant: own[group][name] for variant, own in found["groups"].items()},
            )
            for name, axis in SHOWN.items()
        ]
        for group in found["groups"]["ungated"]
    }
    title = f"{found['limit']} boards in {found['steps']} steps, rendered with gating and without"
    return forest(blocks, title, baseline="ungated")


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
