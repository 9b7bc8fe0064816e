r"""Where should references lie that have no time? Trains every arm of a config alike, on pictures.

    python -m studies.reference_places --workdir runs/rrope \
        --out runs/rrope.json --figure runs/rrope.svg

Arms are the `ARMS` of configs/sprites_rrope.py, whose docstring says what they start from. All of
them see the same data in the same order and draw the same boards, pictures of the sprites world
that no training draws, from the same noise. They are compared with one another, and their order
with the one that Kaleido found. Training resumes where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import arguments, media, results, shipped
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.evaluate.metrics import kendall
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans
from alchemint_jax.train.config import run_file
from alchemint_jax.train.run import run_config
from alchemint_jax.worlds.sprites import SpritesTracker
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.world import World
from studies.charts import Panel, forest
from studies.schemes import check_arm

SHOWN = {
    "identity": "share of subjects; 1 is best",
    "likeness": "1 is best",
    "confusion": "share of pictures; 0 is best",
}
"""Labels of axes by figure."""
TRACKER = SpritesTracker()
TITLES = {name: scores.measures(TRACKER)[name] for name in SHOWN}
BASELINE = "first"
STILL = 5
"""Frames of a picture that stands still."""
PAPER = {
    **{"first": 0.708, "apart": 0.690, "shift-h": 0.687, "before": 0.683, "shift-w": 0.679},
    **{"future": 0.667, "overlapping": 0.661, "at-once": 0.644},
}
"""Consistency of subjects in table 5 of Kaleido; it has no arm for `last`."""
Rows = list[dict[str, Any]]


def boards(limit: int, seed: int) -> list[Scene]:
    """Pictures to ask for, of one to three subjects, all of which are there."""
    return sprites_cases(limit, seed, World.short(1))


def draw_arm(config: str, workdir: Path, overrides: list[str], cases: Sequence[Scene]) -> Rows:
    """Trains an arm, or goes on with it, and measures what it draws."""
    result = run_config(config, workdir, overrides)
    if result.interrupted or result.signal is not None:
        raise KeyboardInterrupt
    pipe = Pipeline.load(workdir / "export")
    return measure(cases, render(pipe.render, cases, seed=0, batch=16))


def measure(cases: Sequence[Scene], pictures: np.ndarray) -> Rows:
    """A row for each subject of pictures [b 1 h w 3].

    The tracker takes what is there for one frame to be a flicker, so it is shown stills.
    """
    always = Spans([(0, STILL)])
    stills = [
        dataclasses.replace(
            case,
            clock=dataclasses.replace(case.clock, frames=STILL),
            subjects=tuple(dataclasses.replace(one, spans=always) for one in case.subjects),
        )
        for case in cases
    ]
    found = scores.score(stills, np.repeat(pictures, STILL, axis=1), TRACKER)["rows"]
    return [row | {"seed": 0} for row in found]


def compare(rows: Mapping[str, Rows]) -> dict[str, Any]:
    """The figures of all arms, less those of R-RoPE, and how alike their order is to Kaleido's."""
    found: dict[str, Any] = {
        "arms": {arm: scores.summarise(own, SHOWN) for arm, own in rows.items()},
        "differences": {
            arm: {name: paired.difference(own, rows[BASELINE], name) for name in SHOWN}
            for arm, own in rows.items()
            if arm != BASELINE
        },
        "paper": PAPER,
    }
    known = [arm for arm in PAPER if arm in rows]  # in its order, the best one first
    theirs = np.array([PAPER[arm] for arm in known])
    if len(known) > 1:
        found["kendall"] = {
            name: kendall(
                theirs, np.array([found["arms"][arm][name]["mean"] for arm in known]).round(6)
            )
            for name in ("identity", "likeness")
        }
    found["pairs"] = {name: _pairs(rows, known, name) for name in ("identity", "likeness")}
    return found


def _pairs(rows: Mapping[str, Rows], known: Sequence[str], figure: str) -> dict[str, list[str]]:
    """The pairs of arms whose difference has an interval without 0: as in Kaleido, or not."""
    clear: dict[str, list[str]] = {"as in the paper": [], "the other way": []}
    for better, worse in itertools.combinations(known, 2):  # in Kaleido's order
        gap = paired.difference(rows[better], rows[worse], figure)
        if gap["low"] > 0:
            clear["as in the paper"].append(f"{better} over {worse}")
        elif gap["high"] < 0:
            clear["the other way"].append(f"{worse} over {better}")
    return clear


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each arm, with what it gains over R-RoPE."""
    head = [f"{TITLES[name]} | less {BASELINE}" for name in SHOWN]
    lines = [f"| references lie | {' | '.join(head)} | Kaleido |"]
    lines.append("|---|" + "---:|" * (2 * len(SHOWN) + 1))
    for arm, own in found["arms"].items():
        cells = []
        for name in SHOWN:
            gap = found["differences"].get(arm, {}).get(name)
            cells.append(f"{own[name]['mean']:.3f}")
            cells.append(
                f"{gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})" if gap else ""
            )
        paper = found["paper"].get(arm)
        lines.append(f"| {arm} | {' | '.join(cells)} | {'' if paper is None else paper} |")
    return "\n".join(lines) + "\n"


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """An SVG of the figures of all arms."""
    panels = [
        Panel(TITLES[name], label, {arm: own[name] for arm, own in found["arms"].items()})
        for name, label in SHOWN.items()
    ]
    title = f"Where references lie, by {found['limit']} pictures"
    return forest({"references lie": panels}, title, baseline=BASELINE)


def parser() -> argparse.ArgumentParser:
    """The options of the command line of this module."""
    command = argparse.ArgumentParser(description="Compare places of references without times.")
    command.add_argument("--config", type=shipped.find, default="configs/sprites_rrope.py")
    command.add_argument("--arms", nargs="+", help="which; all of the config's where not given")
    command.add_argument("--limit", type=arguments.whole(1), default=128, help="boards")
    command.add_argument("--seed", type=arguments.seed, default=7, help="of the boards")
    command.add_argument("--workdir", type=Path, required=True)
    command.add_argument("--out", type=Path, required=True, help="the JSON to write")
    command.add_argument("--figure", type=Path, help="an SVG to write")
    command.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    command = parser()
    args = command.parse_args(argv)
    prepare_jax()
    try:
        arms = list(dict.fromkeys(args.arms or run_file(args.config).get("ARMS", ())))
        if arms[:1] != [BASELINE]:
            raise ConfigError(f"--arms: begins with {BASELINE}, which others are compared to")
        for path in filter(None, (args.out, args.figure)):
            media.check_writable(path)
        check_outputs([("--out", args.out), ("--figure", args.figure)], [("--config", args.config)])
        for arm in arms:  # of all, before one is trained
            check_arm(f"{args.config}:{arm}", args.set)
        cases, rows, found = boards(args.limit, args.seed), {}, {}
        for arm in arms:
            print(arm, file=sys.stderr, flush=True)
            rows[arm] = draw_arm(f"{args.config}:{arm}", args.workdir / arm, args.set, cases)
            found = {"limit": args.limit, "seed": args.seed, "set": args.set, **compare(rows)}
            results.write_json(args.out, found)
            if args.figure:
                media.write_bytes(args.figure, draw_figure(found))
    except AlchemintError as error:
        command.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
