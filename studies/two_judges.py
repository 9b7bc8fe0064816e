r"""Whether two judges rank systems alike: arms of the sprites model, each measured by both.

    python -m studies.two_judges --limit 8 --steps 5 --out docs/results/two_judges.json

The tracker of sprites knows the colours of that world. The other judge, `proposals`, knows nothing
of it: the embedded segmenter and embedder look for what is like the references. The arms are the
bundled model, told and not told when subjects appear, with gating and without, and in fewer steps.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.evaluate.metrics import kendall
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.sampling.control import Gating
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds import named
from studies import gating, variants

ARMS: dict[str, tuple[bool, Gating | None, int | None]] = {
    **{name: (*how, None) for name, how in gating.VARIANTS.items()},
    "timed, 2 steps": (True, None, 2),
    "timed, 1 step": (True, None, 1),
}
"""Whether the model is told when subjects appear, the gate, and sampling steps where fewer."""
JUDGES = ("sprites", "proposals")
FIGURES = ("t_iou", "frame_iou", "presence", "absence", "identity")
TITLES = {name: gating.MEASURES[name] for name in FIGURES}


def measure(
    draw: Callable[..., np.ndarray],
    cases: Sequence[Scene],
    *,
    seed: int,
    judges: Mapping[str, Tracker] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """The figures of each arm by each judge, and how alike these rank the arms.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`.
    """
    judges = judges or {name: named.tracker(name) for name in JUDGES}
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in judges}
    for arm, (timed, gate, steps) in ARMS.items():
        print(arm, file=sys.stderr, flush=True)
        drawn = functools.partial(gating.draw_variant, draw, slots=3, timed=timed, gating=gate)
        own = {**settings, "steps": steps or settings.get("steps")}
        videos = render(drawn, cases, seed=seed, **own)
        for name, judge in judges.items():
            found = scores.score(cases, videos, judge)["rows"]
            rows[name][arm] = [row | {"seed": seed} for row in found]
    by_judge = {
        name: {arm: scores.summarise(some, FIGURES) for arm, some in arms.items()}
        for name, arms in rows.items()
    }
    return {
        "variants": by_judge[JUDGES[0]],
        "second": by_judge[JUDGES[1]],
        "kendall": {figure: _tau(by_judge, figure) for figure in FIGURES},
        "apart": {figure: list(_apart(rows, by_judge, figure)) for figure in FIGURES},
    }


def _tau(by_judge: Mapping[str, Mapping[str, Any]], figure: str) -> float:
    """Kendall's tau of the two rankings of the arms."""
    one, two = (
        np.array([arms[arm][figure]["mean"] for arm in ARMS]).round(6)  # equal means are a tie
        for arms in by_judge.values()
    )
    return kendall(one, two)


def _apart(
    rows: Mapping[str, Mapping[str, list[dict[str, Any]]]],
    by_judge: Mapping[str, Mapping[str, Any]],
    figure: str,
) -> Any:
    """Pairs of arms that the two judges put in another order, with what each says of them.

    Each judge's difference is that of the second arm less the first, board by board.
    """
    for a, b in itertools.combinations(ARMS, 2):
        gaps = [arms[b][figure]["mean"] - arms[a][figure]["mean"] for arms in by_judge.values()]
        if np.prod(np.sign(gaps)) < 0:
            said = {
                name: paired.difference(arms[b], arms[a], figure) for name, arms in rows.items()
            }
            yield {"arms": [a, b], "differences": said}


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each arm, with both judges' figures, and one with Kendall's tau."""
    lines = ["| | " + " | ".join(TITLES.values()) + " |", "|---|" + "---:|" * len(FIGURES)]
    for arm, first in found["variants"].items():
        second = found["second"][arm]
        cells = [f"{first[name]['mean']:.2f}, {second[name]['mean']:.2f}" for name in FIGURES]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    taus = [found["kendall"][name] for name in FIGURES]
    lines.append("| Kendall's tau | " + " | ".join(f"{tau:.2f}" for tau in taus) + " |")
    return "\n".join(lines) + "\n"


STUDY = variants.Study(
    description="Rank arms of the sprites model by two judges.",
    model="sprites",
    limit=8,
    boards=gating.STUDY.boards,
    case=gating.STUDY.case,
    measure=measure,
    shown=TITLES,
)
main = functools.partial(variants.main, STUDY)
"""The command line of this module."""


if __name__ == "__main__":
    sys.exit(main())
