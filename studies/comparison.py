"""The tables and the figure of a study, whose arms saw the same boards and are compared on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from alchemint_jax.evaluate import paired, scores
from studies.charts import Panel, forest
from studies.rows import MEASURES, Rows

FIGURES = ("t_iou", "t_l2", "presence", "absence", "detected", "identity")
PAPER = {
    "MidRope": {"t_iou": 0.453, "t_l2": 0.300},
    "WeRope": {"t_iou": 0.469, "t_l2": 0.288},
}
"""AlcheMinT's own ablation, for orientation: another model, other boards, another tracker."""
SINGLE: dict[str, tuple[Callable[[int, int], float], float, float]] = {
    "short intervals": (lambda start, end: end - start, 0, 0.25),
    "medium intervals": (lambda start, end: end - start, 0.25, 0.45),
    "long intervals": (lambda start, end: end - start, 0.45, 1.01),
    "early intervals": (lambda start, end: (start + end) / 2, 0, 1 / 3),
    "middle intervals": (lambda start, end: (start + end) / 2, 1 / 3, 2 / 3),
    "late intervals": (lambda start, end: (start + end) / 2, 2 / 3, 1.01),
}
"""Single intervals [start, end) whose length or middle is a share of the clip from low to high."""


def groups(rows: Rows) -> Iterator[tuple[str, Rows]]:
    """All subjects, the groups of a report, and single intervals by their length and place."""
    yield "all", rows
    parts = dict(scores.groups(rows))
    yield from parts.items()
    single = parts["one interval"]
    for name, (of, low, high) in SINGLE.items():
        yield name, [r for r in single if low <= of(*r["asked"][0]) / r["n_frames"] < high]


def compare(arms: Mapping[str, Rows], baseline: str) -> dict[str, Any]:
    """The tables of a study; `arms` maps each arm to its rows of all seeds, in the same order."""
    return {
        "arms": {
            arm: {
                name: scores.summarise(part, MEASURES) | {"correlation": scores.correlations(part)}
                for name, part in groups(rows)
                if part
            }
            for arm, rows in arms.items()
        },
        "baseline": baseline,
        "differences": {
            arm: {
                name: {figure: paired.difference(part, other, figure) for figure in FIGURES}
                for (name, part), (_, other) in zip(
                    groups(rows), groups(arms[baseline]), strict=True
                )
                if part
            }
            for arm, rows in arms.items()
            if arm != baseline and baseline in arms
        },
        "per_seed": {
            arm: {
                str(seed): float(np.mean([row["t_iou"] for row in rows if row["seed"] == seed]))
                for seed in sorted({row["seed"] for row in rows})
            }
            for arm, rows in arms.items()
        },
        "paper": PAPER,
    }


def table(comparison: Mapping[str, Any]) -> str:
    """Markdown: one line per arm, all boards, with the correlations of moment and length and what
    the paper measured.

    The 95 % intervals are over boards: they say nothing about other seeds.
    """
    rates = ("presence", "absence", "identity")
    paper = [name for name in comparison["arms"] if name in comparison["paper"]]
    head = ["t-IOU", f"less {comparison['baseline']}", "t-L2", *rates, "moment", "length"]
    head += ["paper's t-IOU, t-L2"] if paper else []
    lines = ["| trained with | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    for arm, parts in comparison["arms"].items():
        every, gain = parts["all"], comparison["differences"].get(arm)
        cells = [_with_interval(every["t_iou"], ".2f")]
        cells.append(_with_interval(gain["all"]["t_iou"], "+.2f") if gain else "")
        cells += [f"{every[name]['mean']:.2f}" for name in ("t_l2", *rates)]
        cells += [f"{every['correlation'][name]:.2f}" for name in ("midpoint", "length")]
        if paper:
            theirs = comparison["paper"].get(arm)
            cells.append(f"{theirs['t_iou']:.3f}, {theirs['t_l2']:.3f}" if theirs else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _with_interval(figure: Mapping[str, float], form: str) -> str:
    return f"{figure['mean']:{form}} ({figure['low']:{form}} to {figure['high']:{form}})"


BLOCKS = {
    "t-IOU by length": ("short intervals", "medium intervals", "long intervals"),
    "t-IOU by place": ("early intervals", "middle intervals", "late intervals"),
    "t-IOU by board": ("1 subject", "2 subjects", "3 subjects", "similar subjects"),
}


AXES = {
    "t_iou": "1 is best",
    "t_l2": "share of the clip; 0 is best",
    "presence": "share of frames; 1 is best",
    "absence": "share of frames; 1 is best",
    "identity": "share of subjects; 1 is best",
}
"""The panels of all boards: labels of their axes by figure."""


def figure(comparison: Mapping[str, Any]) -> bytes:
    """An SVG of every arm: its figures on all boards, and t-IOU by kind of interval and board."""
    arms = comparison["arms"]
    blocks = {
        "all boards": [
            Panel(MEASURES[name], axis, {arm: arms[arm]["all"][name] for arm in arms})
            for name, axis in AXES.items()
        ]
    }
    for name, parts in BLOCKS.items():
        found = [
            Panel(part, "t-IOU", {arm: arms[arm][part]["t_iou"] for arm in arms})
            for part in parts
            if all(part in arms[arm] for arm in arms)
        ]
        if found:
            blocks[name] = found
    title = "What the arms of the study score, over boards"
    return forest(blocks, title, comparison["baseline"])
