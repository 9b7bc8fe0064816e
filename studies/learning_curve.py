"""Learning curves: `python -m studies.learning_curve RUN/metrics.jsonl CURVE.svg`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from alchemint_jax import media
from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.train.metrics import read_metrics
from studies import charts

Series = Mapping[str, Sequence[tuple[float, float]]]


def curves(lines: Sequence[Mapping[str, float]], names: Sequence[str]) -> Series:
    """(step, value) of each named figure that was logged, where it was."""
    found = {n: [(line["step"], line[n]) for line in lines if n in line] for n in names}
    return {name: points for name, points in found.items() if points}


def draw(series: Series) -> bytes:
    """An SVG of the series over steps, on a logarithmic axis; all values must be positive."""
    with charts.style():
        canvas = charts.Canvas(7.5, 3)
        axes = canvas.axes(0.7, 0.2, 6.6, 2.25)
        for name, points in series.items():
            # What is measured now and then is drawn as points.
            marker = "o" if "/" in name else None
            axes.plot(*zip(*points, strict=True), lw=1.3, marker=marker, ms=3, label=name, gid=name)
        axes.set_yscale("log")
        values = [value for points in series.values() for _, value in points]
        wide = max(values) > 12 * min(values)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide else (1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        measures = dict.fromkeys(name.rpartition("/")[2] for name in series)
        axes.set(xlabel="training steps", ylabel=f"{', '.join(measures)} (log scale)")
        axes.set_xlim(0, None)
        axes.grid(which="major")
        axes.legend(loc="upper right")
    return charts.svg(canvas.figure)


def _read(path: Path, names: Sequence[str]) -> Series:
    """`curves` of a file; DataError, naming it, where there is nothing to draw."""
    try:
        series = curves(read_metrics(path), names)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if not series:
        raise DataError(f"{path}: has no {' or '.join(names)}")
    for name, points in series.items():
        if not all(isinstance(value, int | float) and value > 0 for _, value in points):
            raise DataError(f"{path}: {name} is not positive everywhere; use other --figures")
    return series


def main(argv: Sequence[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Draw the learning curve of a run.")
    parser.add_argument("metrics", type=Path, help="metrics.jsonl of a run")
    parser.add_argument("out", type=Path, help="the SVG to write")
    parser.add_argument("--figures", nargs="+", default=["loss", "validation/loss"])
    args = parser.parse_args(argv)
    try:
        media.check_writable(args.out)
        check_outputs([("OUT", args.out)], [("METRICS", args.metrics)])
        series = _read(args.metrics, args.figures)
        media.write_bytes(args.out, draw(series))
    except AlchemintError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
