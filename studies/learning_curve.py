"""Learning curves: `python -m studies.learning_curve RUN/metrics.jsonl CURVE.svg`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from alchemint_jax import media
from alchemint_jax.errors import AlchemintError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.train.metrics import read_metrics

WIDTH, HEIGHT, MARGIN = 720, 300, 48
COLORS = ("#2563eb", "#dc2626", "#16a34a", "#9333ea")


def curves(lines: Sequence[dict], names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) of each named figure, where it was logged."""
    return {name: [(line["step"], line[name]) for line in lines if name in line] for name in names}


def draw(series: dict[str, list[tuple[float, float]]]) -> str:
    """An SVG of the series over steps, on a logarithmic axis; all values must be positive."""
    points = [p for line in series.values() for p in line]
    right = max(step for step, _ in points)
    low, high = (math.log10(fn(value for _, value in points)) for fn in (min, max))

    def at(step: float, value: float) -> tuple[float, float]:
        x = MARGIN + (WIDTH - 2 * MARGIN) * step / right
        share = (math.log10(value) - low) / max(high - low, 1e-9)
        return round(x, 1), round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for i in range(5):
        value = 10 ** (low + (high - low) * i / 4)
        y = at(0, value)[1]
        parts.append(f'<path d="M{MARGIN} {y}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y + 4}" text-anchor="end">{value:.2g}</text>')
        step = right * i / 4
        x = at(step, 10**low)[0]
        y = HEIGHT - MARGIN + 18
        parts.append(f'<text x="{x}" y="{y}" text-anchor="middle">{step:g}</text>')
    for i, (name, line) in enumerate(series.items()):
        color = COLORS[i % len(COLORS)]
        path = " ".join(f"{x},{y}" for x, y in (at(*p) for p in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        x = MARGIN + 150 * i
        parts.append(f'<text x="{x}" y="{MARGIN - 18}" fill="{color}">{name}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">step</text></svg>')
    return "\n".join(parts) + "\n"


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Draw the learning curve of a run.")
    parser.add_argument("metrics", type=Path, help="metrics.jsonl of a run")
    parser.add_argument("out", type=Path, help="the SVG to write")
    parser.add_argument("--figures", nargs="+", default=["loss", "validation/loss"])
    args = parser.parse_args()
    try:
        media.check_writable(args.out)
        check_outputs([("OUT", args.out)], [("METRICS", args.metrics)])
        series = curves(read_metrics(args.metrics), args.figures)
        text = draw({name: line for name, line in series.items() if line})
        media.write_bytes(args.out, text.encode())
    except AlchemintError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
