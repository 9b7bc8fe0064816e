"""How far the judges of timing can be trusted: known faults in clips of the sprites world.

python -m studies.referee_calibration --out docs/results/referee_calibration.json \
    --figure docs/results/referee_calibration.svg

The tracker of sprites is held against the truth on many clips. A second judge, who knows nothing of
that world (it compares what stands out with the references), sees a few of them.
The option --calibrate of `alchemint evaluate` measures your own clips in this way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alchemint_jax import arguments, media, results
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate.calibration import Truth, calibrate
from alchemint_jax.outputs import check_outputs
from alchemint_jax.worlds import named
from alchemint_jax.worlds.sprites import sprites_clips
from studies.charts import BLUE, ORANGE, QUIET, Canvas, style, svg

PANELS = (
    ("late", "Everything is late", "put in, s", "measured, s"),
    ("gap", "Gone for a while", "put in, s", "measured, s"),
    ("faded", "Faded", "opacity", "frames seen, share"),
    ("half out", "Partly out of the picture", "share outside", "frames seen, share"),
)
"""Fault, title, and labels of both axes."""
SHARES = ("faded", "half out")


def measure(clips: int, both: int, seed: int) -> dict[str, Any]:
    """Both calibrations: of the tracker of sprites, and of two judges on the same few clips."""
    truths = [Truth(scene, video) for scene, video in sprites_clips(clips, seed)]
    tracker, second = named.tracker("sprites"), named.tracker("proposals")
    found = calibrate(truths, tracker, settings={"tracker": "sprites", "seed": seed})
    two = calibrate(truths[:both], tracker, second=second, settings={"second": "proposals"})
    kept = ("settings", "clips", "subjects", "truth", "second", "agreement")
    return results.plain({**found, "two": {name: two[name] for name in kept}})


def draw(found: Mapping[str, Any]) -> bytes:
    """An SVG of what this command measured."""
    wide, tall, gap, left, above, below = 2.1, 1.7, 0.65, 0.65, 0.6, 0.85
    count = len(PANELS) + 1
    with style():
        canvas = Canvas(
            left + count * (wide + gap) - 0.3,
            above + tall + below,
            f"Known faults in {found['clips']} clips of sprites, and what is measured of them",
        )
        for column, (fault, title, x, y) in enumerate(PANELS):
            axes = canvas.axes(left + column * (wide + gap), above, wide, tall)
            axes.set_title(title, loc="left")
            axes.set_xlabel(x)
            axes.set_ylabel(y)
            axes.grid()
            two = found["two"]["second"]["faults"].get(fault)
            for name, one, color in (("sprites", found["faults"][fault], BLUE),) + (
                (("proposals", two, ORANGE),) if two else ()
            ):
                _line(axes, fault, one["curve"], color, f"{fault}/{name}".replace(" ", "_"))
            if fault not in SHARES:
                axes.axline((0, 0), slope=1, color=QUIET, lw=0.8, ls=":")
        _thresholds(canvas.axes(left + (count - 1) * (wide + gap), above, wide, tall), found)
        marks: Any = dict(marker="o", markersize=4, lw=1.2)
        canvas.legend(
            [
                Line2D([], [], color=BLUE, label="tracker of sprites", **marks),
                Line2D([], [], color=ORANGE, label="proposals and likeness", **marks),
                Line2D([], [], color=QUIET, lw=0.8, ls=":", label="what was put in"),
            ],
            0.05,
            0.05,
        )
    return svg(canvas.figure)


def _line(
    axes: Axes, fault: str, curve: Mapping[str, Mapping[str, float]], color: str, name: str
) -> None:
    points = sorted(
        (float(amount) if fault in SHARES else one["inserted"], one["measured"])
        for amount, one in curve.items()
        if one["measured"] is not None
    )
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=color, lw=1.2)
    (dots,) = axes.plot(x, y, "o", color=color, markersize=4)
    dots.set_gid(name)
    if fault in SHARES:
        axes.set_ylim(-0.05, 1.05)


def _thresholds(axes: Axes, found: Mapping[str, Any]) -> None:
    points = sorted((float(at), one) for at, one in found["thresholds"]["min_area"].items())
    axes.set_title("Where it counts as there", loc="left")
    axes.set_xlabel("least share of its area")
    axes.set_ylabel("t-IOU, truth")
    axes.grid()
    x, y = [at for at, _ in points], [one["t_iou"]["mean"] for _, one in points]
    axes.plot(x, y, color=BLUE, lw=1.2)
    (dots,) = axes.plot(x, y, "o", color=BLUE, markersize=4)
    dots.set_gid("min_area/sprites")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Calibrate the judges of timing on sprites.")
    counts = arguments.whole(1)
    parser.add_argument("--clips", type=counts, default=24, help="for the tracker of sprites")
    parser.add_argument("--both", type=counts, default=3, help="of these, for both judges")
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the clips")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--figure", type=Path, required=True, help="the SVG to write")
    args = parser.parse_args(argv)
    try:
        for path in (args.out, args.figure):
            media.check_writable(path)
        check_outputs([("--out", args.out), ("--figure", args.figure)])
        prepare_jax()
        found = measure(args.clips, args.both, args.seed)
        results.write_json(args.out, found)
        media.write_bytes(args.figure, draw(found))
    except AlchemintError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
