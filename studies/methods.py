r"""All ways to say when and what, side by side: what they do to sprites models, and their cost.

    python -m studies.methods --out docs/results/methods.json --figure docs/results/methods.svg

What they do was measured by a study of its own each, on the models and boards that this is for; the
names of their results are in `BLOCKS`, and so is what `--results` has to hold. Costs are CPU time
over that of the same boards without the method. Where a study has none, they are operations of one
step of sampling over those without it, traced here with shapes in place of arrays.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import media, results, shipped
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.plan import steps
from alchemint_jax.sampling.control import Control, Gating
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task
from studies.charts import Panel, forest
from studies.told_cost import counted

WITHOUT = "without"
COST = ("cost", "over that without")
ENDS = ("mean", "low", "high")
RESULTS = Path("docs/results")


def operations(config: str, overrides: Sequence[str] = (), control: Control | None = None) -> float:
    """Operations of a step of sampling of one clip with two references."""
    task: Any = build_task(load_config(shipped.find(config), list(overrides)))
    work = steps.Work(
        task.sampling.size, task.sampling.max_frames, 2, 1, steps.default_events(task)
    )
    return counted(task, work, control)


def _gated() -> float:
    config = "configs/sprites.py"
    return operations(config, control=Gating()) / operations(config)


def _cut() -> float:
    config = "configs/sprites_cuts.py"
    return operations(config) / operations(config, ["model.cuts=False"])


def _placed() -> float:
    first, overlapping = (
        operations(f"configs/sprites_rrope.py:{arm}") for arm in ("first", "overlapping")
    )
    return first / overlapping


@dataclasses.dataclass(frozen=True)
class Block:
    """Methods that answer one question, as one study has measured them.

    Attributes:
        question: what they are for, in a few words.
        source: the name of the study's results.
        without: the variant without any of them.
        methods: variants by the name of the method.
        figures: what is shown, by the figure's name: its title, and the label of its axis.
        counted: what the methods cost in operations; None where the study has measured time.
    """

    question: str
    source: str
    without: str
    methods: Mapping[str, str]
    figures: Mapping[str, tuple[str, str]]
    counted: Callable[[], float] | None = None


_IDENTITY = ("identity", "share of subjects; 1 is best")
_WHEN = {"t_iou": ("t-IOU", "1 is best"), "identity": _IDENTITY}
BLOCKS = (
    Block(
        "subjects, untimed model",
        "timing_methods",
        "pictures: no control",
        {
            "gating": "pictures: gating",
            "gating, TempoControl": "pictures: gating, TempoControl",
        },
        _WHEN,
    ),
    Block(
        "subjects, timed model",
        "sprites_gating",
        "timed",
        {"gating": "timed, gated"},
        _WHEN,
        _gated,
    ),
    Block(
        "subjects, words alone",
        "timing_words",
        "words alone: no control",
        {
            "TempoControl": "words alone: TempoControl",
            "relay": "words alone: events, relay",
            "relay with contrast": "words alone: events, contrast",
            "TS-Attn": "words alone: events, TS-Attn",
        },
        {"accuracy": ("frames right", "share of frames; 1 is best"), "identity": _IDENTITY},
    ),
    Block(
        "events by a branch",
        "sprites_events",
        "without",
        {"events": "events"},
        {
            "event": ("frames of the event", "IoU; 1 is best"),
            "shape": ("shape kept", "share of events; 1 is best"),
        },
    ),
    Block(
        "cuts by a branch",
        "sprites_cuts",
        "none",
        {"cuts": "cuts"},
        {
            "made": ("cuts made", "share; 1 is best"),
            "extra": ("others", "cuts a clip; 0 is best"),
        },
        _cut,
    ),
    Block(
        "between two frames",
        "sprites_inbetween",
        "plain",
        {"KAB": "KAB", "ReTRo": "ReTRo", "KAB, ReTRo": "KAB, ReTRo"},
        {
            "psnr": ("PSNR", "dB; more is better"),
            "pace": ("error of pace", "0 is best, 1 the worst"),
        },
    ),
    Block(
        "places of references",
        "sprites_rrope",
        "overlapping",
        {"R-RoPE": "first"},
        {"identity": _IDENTITY, "likeness": ("likeness", "1 is best")},
        _placed,
    ),
)


def read(folder: Path, source: str) -> dict[str, Any]:
    """The results of a study.

    Raises DataError if they are not there, or are not JSON.
    """
    path = folder / f"{source}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as results of a study: {error}") from error
    return found


def measure(block: Block, found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures and the cost of each method of a block, and of none, from a study's results."""
    variants = found["arms" if "arms" in found else "variants"]
    named = {WITHOUT: block.without, **block.methods}
    figures = {
        name: {figure: variants[key][figure] for figure in block.figures}
        for name, key in named.items()
    }
    if block.counted:
        ratios = {WITHOUT: 1.0} | dict.fromkeys(block.methods, block.counted())
        costs = {name: dict.fromkeys(ENDS, ratio) for name, ratio in ratios.items()}
    else:
        costs = {
            name: found["cost"][key] if "cost" in found else variants[key]["cost"]
            for name, key in named.items()
        }
    return {name: own | {"cost": costs[name]} for name, own in figures.items()}


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each figure of each method."""
    lines = ["| | | | without | with it | cost |", "|---|---|---|---:|---:|---:|"]
    for block in BLOCKS:
        own = found["blocks"][block.question]
        for method in block.methods:
            for number, (figure, (title, _)) in enumerate(block.figures.items()):
                cells = [_said(own[name][figure]) for name in (WITHOUT, method)]
                cells += [_said(own[method]["cost"])] if number == 0 else []
                line = f"| {block.question} | {method} | {title} | {' | '.join(cells)} |"
                lines.append(line if number == 0 else f"{line} |")
    return "\n".join(lines) + "\n"


def _said(estimate: Mapping[str, Any]) -> str:
    if estimate["mean"] is None:
        return "none to be seen"
    if estimate["low"] == estimate["high"]:
        return f"{estimate['mean']:.2f}"
    return "{mean:.2f} ({low:.2f} to {high:.2f})".format(**estimate)


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """All methods, a block for each question, as SVG."""
    blocks = {
        block.question: [
            Panel(
                *shown,
                {name: own[figure] for name, own in found["blocks"][block.question].items()},
            )
            for figure, shown in {**block.figures, "cost": COST}.items()
        ]
        for block in BLOCKS
    }
    return forest(blocks, "Ways to say when and what, on sprites models", baseline=WITHOUT)


def parser() -> argparse.ArgumentParser:
    """The options of the command line of this module."""
    made = argparse.ArgumentParser(description="Put all ways to say when and what side by side.")
    made.add_argument("--results", type=Path, default=RESULTS, help="where the studies' files are")
    made.add_argument("--out", type=Path, required=True, help="the JSON to write")
    made.add_argument("--figure", type=Path, help="an SVG to write")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    command = parser()
    args = command.parse_args(argv)
    prepare_jax()
    try:
        for path in filter(None, (args.out, args.figure)):
            media.check_writable(path)
        sources = [("--results", args.results / f"{block.source}.json") for block in BLOCKS]
        check_outputs([("--out", args.out), ("--figure", args.figure)], sources)
        given = {block.source: read(args.results, block.source) for block in BLOCKS}
        found = {
            "sources": [block.source for block in BLOCKS],
            "blocks": {block.question: measure(block, given[block.source]) for block in BLOCKS},
        }
        results.write_json(args.out, found)
        if args.figure:
            media.write_bytes(args.figure, draw_figure(found))
    except AlchemintError as error:
        command.error(str(error))
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
