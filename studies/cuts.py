r"""Is there a cut where one was asked for, and none elsewhere?

    python -m studies.cuts --model runs/sprites_cuts/export --limit 20 --steps 8 --batch 20 \
        --out runs/sprites_cuts.json --figure runs/sprites_cuts.svg

The docstring of configs/sprites_cuts.py says how the model is trained. Boards are clips of the
sprites world with one or two cuts, from seeds that no training draws. Each is asked for with its
cuts, without any, and with one somewhere else; a finder of shots that compares neighbouring frames
says where the cuts of a video are. It is shown the clips themselves, too. All see the same noise.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, named
from alchemint_jax.worlds.sprites.cuts import starts
from alchemint_jax.worlds.sprites.world import World, sample_clip
from studies import variants
from studies.charts import Panel, forest

WORLD = dataclasses.replace(World.eventful(), cuts=True)
SHOWN = {
    "made": "share of cuts; 1 is best",
    "extra": "cuts in a video; 0 is best",
    "exact": "share of videos; 1 is best",
}
TITLES = {"made": "cuts made", "extra": "cuts not asked for", "exact": "just what was asked"}
NEAR = 2
"""Frames by which a cut may be early or late: half of a latent frame."""
FINDER = ContentShots(threshold=20, reach=4)
"""Another background changes more than that, and two subjects that come at once change less."""
CLIPS = "the clips themselves"


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """A case, and the clip that it asks for."""

    case: Scene
    clip: np.ndarray


def boards(limit: int, seed: int) -> list[Board]:
    """The first `limit` clips of the world that have a cut."""
    found: list[Board] = []
    index = 0
    while len(found) < limit:
        clip = sample_clip(index, FIRST_SEED + seed, WORLD)
        if clip.scene.cuts and all(subject.spans for subject in clip.scene.subjects):
            found.append(Board(named(f"cuts-{seed}-{index:05d}", clip.scene), clip.video))
        index += 1
    return found


def moved(case: Scene) -> tuple[int, ...]:
    """One cut at the start of a latent frame that is far from the cuts of a board."""
    return (max(starts(case.clock), key=lambda at: min(abs(at - cut) for cut in case.cuts)),)


VARIANTS: dict[str, Callable[[Scene], tuple[int, ...]]] = {
    "cuts": lambda case: case.cuts,
    "none": lambda case: (),
    "elsewhere": moved,
}
"""What cuts are asked for."""


def score(case: Scene, video: np.ndarray) -> dict[str, Any]:
    """How the cuts of a video are those of a case, each of which is made by one."""
    found = [start for start, _ in FINDER.find(video)[1:]]
    left, made = list(found), 0
    for cut in case.cuts:
        if near := [at for at in left if abs(at - cut) <= NEAR]:
            left.remove(min(near, key=lambda at: abs(at - cut)))
            made += 1
    return {
        **{"case": case.id, "asked": list(case.cuts), "found": found},
        "made": made / len(case.cuts) if case.cuts else None,
        "extra": len(left),
        "exact": float(made == len(case.cuts) and not left),
    }


def measure(
    draw: Callable[..., np.ndarray], found: Sequence[Board], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each variant, and of the clips themselves.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`.
    """
    rows = {CLIPS: [score(board.case, board.clip) for board in found]}
    for name, change in VARIANTS.items():
        print(name, file=sys.stderr, flush=True)
        cases = [dataclasses.replace(board.case, cuts=change(board.case)) for board in found]
        videos = render(draw, cases, seed=seed, **settings)
        rows[name] = [score(case, video) for case, video in zip(cases, videos, strict=True)]
    ids = [board.case.id for board in found]
    return {
        "boards": len(found),
        "variants": {
            name: {
                figure: scores.estimate(np.array([row[figure] for row in own], np.float64), ids)
                for figure in SHOWN
            }
            for name, own in rows.items()
        },
        "rows": rows,
    }


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each variant."""
    lines = [f"| asked for | {' | '.join(TITLES.values())} |", "|---|" + "---:|" * len(TITLES)]
    for name, own in found["variants"].items():
        cells = [
            f"{x['mean']:.2f} ({x['low']:.2f} to {x['high']:.2f})"
            if (x := own[figure])["mean"] is not None and np.isfinite(x["mean"])
            else ""
            for figure in TITLES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """The figures of all variants, one panel each, as SVG."""
    panels = [
        Panel(TITLES[name], label, {v: own[name] for v, own in found["variants"].items()})
        for name, label in SHOWN.items()
    ]
    title = f"Cuts of {found['boards']} boards, in {found['steps']} steps"
    return forest({"asked for": panels}, title, baseline=CLIPS)


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Board]:
    if not pipe.limits.cuts:
        raise ConfigError("has no cuts")
    return boards(limit, seed)


STUDY = variants.Study(
    description="Measure whether a model cuts where it is asked to, and nowhere else.",
    model="runs/sprites_cuts/export",
    limit=32,
    boards=_boards,
    case=lambda board: board.case,
    measure=measure,
    shown=TITLES,
    draw=draw_figure,
)
main = functools.partial(variants.main, STUDY)
"""The command line of this module."""


if __name__ == "__main__":
    sys.exit(main())
