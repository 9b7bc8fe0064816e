r"""Three systems that anyone can run, asked for the same boards: a table, and a page of each.

    python -m studies.three_systems --limit 64 --steps 5 --pages runs/three_systems \
        --out docs/results/three_systems.json

They are the bundled model; the same model without intervals, whose references are placed as if they
were on screen all the time; and that one with gating, which times it without training. Each has a
report, as `alchemint evaluate` writes it, and all of them a leaderboard.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.evaluate.comparison import compare
from alchemint_jax.evaluate.html_report import save_report
from alchemint_jax.evaluate.leaderboard import save_leaderboard
from alchemint_jax.evaluate.reports import Report, report_of
from alchemint_jax.sampling.control import Gating
from alchemint_jax.scene.scene import Scene
from studies import gating, variants

SYSTEMS: dict[str, tuple[bool, Gating | None]] = {
    "the bundled model": gating.VARIANTS["timed"],
    "without intervals": gating.VARIANTS["untimed"],
    "without intervals, gated": gating.VARIANTS["untimed, gated"],
}
"""Whether the model is told when subjects appear, and the gate. The first is what others are
compared to."""
SHOWN = ("t_iou", "t_l2", "frame_iou", "presence", "absence", "identity")
FIRST = next(iter(SYSTEMS))


def measure(
    draw: Callable[..., np.ndarray],
    cases: Sequence[Scene],
    *,
    seed: int,
    pages: Path | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """The figures of each system, and of each less those of the first, board by board.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`. Reports and a leaderboard go to the folder `pages`.
    """
    reports: dict[str, Report] = {}
    for name, (timed, gate) in SYSTEMS.items():
        print(name, file=sys.stderr, flush=True)
        drawn = functools.partial(gating.draw_variant, draw, slots=3, timed=timed, gating=gate)
        videos = render(drawn, cases, seed=seed, **settings)
        content = {
            "settings": {
                "model": name,
                "benchmark": "sprites",
                "seed": seed,
                "steps": settings.get("steps"),
                **({"control": repr(gate)} if gate else {}),
            },
            **scores.score(cases, videos, gating.TRACKER),
        }
        folder = (pages or Path()) / name.replace(", ", "_").replace(" ", "_")
        if pages is not None:
            save_report(content, videos, cases, folder)
        reports[name] = report_of(content, name, folder / "report.json")
    if pages is not None:
        save_leaderboard(list(reports.values()), pages / "leaderboard.html")
    compared = {
        name: compare(reports[FIRST], report)["figures"]
        for name, report in reports.items()
        if name != FIRST
    }
    return {
        "gating": {name: repr(gate) for name, (_, gate) in SYSTEMS.items() if gate},
        "variants": {name: report.content["overall"] for name, report in reports.items()},
        "baselines": reports[FIRST].content["baselines"],
        "differences": compared,
    }


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each system, then what each has more or less than the first."""
    titles = gating.MEASURES
    lines = ["| | " + " | ".join(titles[name] for name in SHOWN) + " |"]
    lines.append("|---|" + "---:|" * len(SHOWN))
    for system, summary in found["variants"].items():
        cells = ["{mean:.2f} ({low:.2f} to {high:.2f})".format(**summary[name]) for name in SHOWN]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    for system, figures in found["differences"].items():
        cells = []
        for name in SHOWN:
            gap = figures[name]["difference"]
            clear = "" if figures[name]["better"] else ", not clear"
            cells.append("{mean:+.2f} ({low:+.2f} to {high:+.2f}".format(**gap) + f"{clear})")
        lines.append(f"| {system}, less {FIRST} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


STUDY = variants.Study(
    description="Ask three systems for the same boards.",
    model="sprites",
    limit=64,
    boards=gating.STUDY.boards,
    case=gating.STUDY.case,
    measure=measure,
    shown={name: gating.MEASURES[name] for name in SHOWN},
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    words = list(sys.argv[1:] if argv is None else argv)
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--pages", type=Path, help="a folder for reports and a leaderboard")
    args, rest = own.parse_known_args(words)
    try:
        if args.pages is not None:
            media.check_folder(args.pages)
    except AlchemintError as error:
        own.error(str(error))
    measured = functools.partial(measure, pages=args.pages)
    return variants.main(dataclasses.replace(STUDY, measure=measured), rest, parents=[own])


if __name__ == "__main__":
    sys.exit(main())
