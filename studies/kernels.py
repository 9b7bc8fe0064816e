r"""How well does each scheme's attention profile follow the interval it was asked for?

    python -m alchemint_jax.rotary.profiles --frames 9 --head-dim 48 --theta 10 20 30 100 10000 \
        --out docs/results/kernels_9x48.json --figure docs/results/kernels_9x48.svg \
        --figure-theta 20
    python -m alchemint_jax.rotary.profiles --frames 21 --head-dim 128 --theta 10000 \
        --out docs/results/kernels_21x128.json --figure docs/results/kernels_21x128.svg

What is measured is the untrained kernel (`rotary.kernel`): the part of attention that position
alone decides, before any weight is learned. Every gain is scaled to unit mean-square modulus over
its temporal pairs first, so that no scheme wins by longer keys. All single intervals of a clip
with at least 2 pixel frames take part, if they leave latent frames both inside and outside.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from alchemint_jax import media, results
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.rotary.axes import axis_frequencies
from alchemint_jax.rotary.fitted import FittedRope
from alchemint_jax.rotary.profiles import FIGURES, asked_intervals, measure, profiles, shown
from alchemint_jax.rotary.schemes import MidRope, Scheme, SincRope, WeRope
from alchemint_jax.timebase import STRIDE, latent_coordinate

SCHEMES: dict[str, Scheme] = {
    "MidRope": MidRope(),
    "WeRope": WeRope(),
    "WeRope, as printed": WeRope(right="printed"),
    "SincRope": SincRope(),
    "FittedRope": FittedRope(),
}


def compare(
    n_frames: int,
    head_dim: int,
    thetas: Sequence[float | int],
    schemes: Mapping[str, Scheme] | None = None,
) -> dict[str, Any]:
    """Figures of every scheme at every temporal theta, as plain values ready for JSON.

    Args:
        n_frames: latent frames of the clip.
        head_dim: dimensions of an attention head; Wan's split gives its temporal pairs.
        thetas: bases of the temporal frequency ladder.
        schemes: by name; `SCHEMES` where None.
    """
    pixels, inside = asked_intervals(n_frames)
    rows = []
    for theta in thetas:
        freqs = axis_frequencies(head_dim, theta_t=theta)
        for name, scheme in (SCHEMES if schemes is None else schemes).items():
            figures = measure(profiles(scheme, pixels, n_frames, freqs), inside)
            rounded = {key: round(value, 4) for key, value in figures.items()}
            rows.append({"theta": float(theta), "scheme": name, "set": repr(scheme), **rounded})
    return {
        "latent_frames": n_frames,
        "pixel_frames": STRIDE * (n_frames - 1) + 1,
        "head_dim": head_dim,
        "temporal_pairs": int(axis_frequencies(head_dim).t.shape[0]),
        "intervals": len(pixels),
        "figures": {key: text for key, (_, text) in FIGURES.items()},
        "results": rows,
    }


def table(comparison: Mapping[str, Any], theta: float | int) -> str:
    """Markdown table of the schemes at one theta, the best of each column in bold."""
    rows = [row for row in comparison["results"] if row["theta"] == theta]
    best = {key: max(row[key] for row in rows) for key in FIGURES}
    lines = ["| scheme | " + " | ".join(heading for heading, _ in FIGURES.values()) + " |"]
    lines.append("|---|" + "---:|" * len(FIGURES))
    for row in rows:
        cells = []
        for key in FIGURES:
            text = f"{row[key]:.2f}"
            cells.append(f"**{text}**" if text == f"{best[key]:.2f}" else text)
        lines.append(f"| {row['scheme']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def example_intervals(n_frames: int) -> Int[np.ndarray, "4 2"]:
    """Pixel intervals for the figure: short and long about one middle, an early and a late one."""
    middle, wide = (n_frames - 1) // 2, 3 * n_frames // 10
    short = n_frames // 16
    latent = [  # first and last latent frame
        (middle - short, middle + short),
        (middle - wide, middle + wide),
        (0, wide),
        (middle + 1, max(middle + 1, n_frames - 2)),
    ]
    pixels = [(max(0, STRIDE * (i - 1) + 1), STRIDE * j + 1) for i, j in latent]
    return np.array(pixels, np.int64)


PANEL_W, PANEL_H, GAP_X, GAP_Y = 164, 84, 14, 16
LEFT, TOP, BOTTOM = 128, 66, 56
INK, QUIET, RULE, BAND, LINE = "#1f2937", "#6b7280", "#e5e7eb", "#fde68a", "#1d4ed8"
LOW, HIGH = -1.0, 1.0  # at unit mean-square modulus a profile cannot leave this range


def draw(
    curves: Mapping[str, Float[np.ndarray, "n t"]],
    shown: Mapping[str, Bool[np.ndarray, "n t"]],
    pixels: Int[np.ndarray, "n 2"],
    title: str,
) -> str:
    """An SVG: bands are the intervals asked for, full dots the frames that a profile shows.

    Args:
        curves: attention profile of each interval over the latent frames, by scheme.
        shown: frames to draw as full dots.
        pixels: half-open pixel intervals, one per column.
        title: what all panels have in common.
    """
    n_frames = next(iter(curves.values())).shape[1]
    n_pixels = STRIDE * (n_frames - 1) + 1
    width = LEFT + len(pixels) * (PANEL_W + GAP_X)
    height = TOP + len(curves) * (PANEL_H + GAP_Y) - GAP_Y + BOTTOM
    radius = min(3.2, 0.3 * PANEL_W / n_frames)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{INK}">',
        f"<title>Attention profiles of the interval schemes: {escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="13" font-weight="bold">{escape(title)}</text>',
    ]
    for column, (start, end) in enumerate(pixels.tolist()):
        x = LEFT + column * (PANEL_W + GAP_X)
        parts.append(
            f'<text x="{x + PANEL_W / 2}" y="{TOP - 12}" text-anchor="middle">'
            f"asked: [{start}, {end}) of {n_pixels}</text>"
        )
        for row, name in enumerate(curves):
            y = TOP + row * (PANEL_H + GAP_Y)
            parts += _panel(x, y, curves[name][column], shown[name][column], (start, end), radius)
    for row, name in enumerate(curves):
        y = TOP + row * (PANEL_H + GAP_Y)
        first, _, second = name.partition(", ")
        middle = y + PANEL_H / 2
        parts.append(f'<text x="10" y="{middle + 4}" font-weight="bold">{escape(first)}</text>')
        if second:
            parts.append(f'<text x="10" y="{middle + 20}" fill="{QUIET}">{escape(second)}</text>')
        for value in (LOW, 0, HIGH):
            at = _height(value, y) + 4
            parts.append(
                f'<text x="{LEFT - 6}" y="{at}" text-anchor="end" font-size="10" '
                f'fill="{QUIET}">{value:g}</text>'
            )
    parts += _legend(height - 16, n_frames)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _height(value: float | int, top: float | int) -> float:
    return round(top + PANEL_H * (HIGH - value) / (HIGH - LOW), 1)


def _panel(
    x: int,
    y: int,
    profile: Float[np.ndarray, " t"],
    shown: Bool[np.ndarray, " t"],
    interval: tuple[int, int],
    radius: float,
) -> list[str]:
    def across(latent: float | int) -> float:
        return round(x + PANEL_W * (latent + 0.5) / len(profile), 1)

    # Pixel frame p fills [p - 1/2, p + 1/2); half a frame beyond the clip's ends is still inside.
    left, right = (across(float(latent_coordinate(p - 0.5))) for p in interval)
    parts = [
        f'<rect x="{left}" y="{y}" width="{right - left:.1f}" height="{PANEL_H}" fill="{BAND}"/>',
        f'<path d="M{x} {_height(0, y)}h{PANEL_W}" stroke="{RULE}"/>',
        f'<rect x="{x}" y="{y}" width="{PANEL_W}" height="{PANEL_H}" fill="none" stroke="{RULE}"/>',
    ]
    dots = [(across(i), _height(float(value), y)) for i, value in enumerate(profile)]
    path = " ".join(f"{cx},{cy}" for cx, cy in dots)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.3"/>')
    for (cx, cy), full in zip(dots, shown, strict=True):
        fill = LINE if full else "white"
        parts.append(
            f'<circle cx="{cx}" cy="{cy}" r="{radius:.1f}" fill="{fill}" stroke="{LINE}"/>'
        )
    return parts


def _legend(y: int, n_frames: int) -> list[str]:
    return [
        f'<g fill="{QUIET}">'
        f'<text x="{LEFT}" y="{y - 18}">x: latent frame, 0 to {n_frames - 1}; '
        "y: attention profile at equal key norm</text>",
        f'<rect x="{LEFT}" y="{y - 9}" width="14" height="10" fill="{BAND}"/>'
        f'<text x="{LEFT + 20}" y="{y}">asked for</text>',
        f'<circle cx="{LEFT + 105}" cy="{y - 4}" r="3.2" fill="{LINE}" stroke="{LINE}"/>'
        f'<text x="{LEFT + 114}" y="{y}">above the middle of the profile’s own range</text>',
        f'<circle cx="{LEFT + 414}" cy="{y - 4}" r="3.2" fill="white" stroke="{LINE}"/>'
        f'<text x="{LEFT + 423}" y="{y}">below it</text></g>',
    ]


def figure(n_frames: int, head_dim: int, theta: float | int) -> str:
    """SVG of every scheme's kernel for a few intervals."""
    freqs = axis_frequencies(head_dim, theta_t=theta)
    pixels = example_intervals(n_frames)
    curves = {name: profiles(scheme, pixels, n_frames, freqs) for name, scheme in SCHEMES.items()}
    title = f"{n_frames} latent frames, {freqs.t.shape[0]} temporal pairs, theta {theta:g}"
    return draw(curves, {name: shown(p) for name, p in curves.items()}, pixels, title)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Compare interval schemes by their kernels.")
    parser.add_argument("--frames", type=int, required=True, help="latent frames of the clip")
    parser.add_argument("--head-dim", type=int, required=True)
    parser.add_argument("--theta", type=float, nargs="+", default=[1e4], help="temporal thetas")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--figure", type=Path, help="an SVG of the kernels to write")
    parser.add_argument("--figure-theta", type=float, help="its theta; the first where not given")
    args = parser.parse_args(argv)
    if args.frames < 2:
        parser.error(f"--frames {args.frames}: a clip needs at least 2 latent frames to compare")
    try:
        for path in filter(None, (args.out, args.figure)):
            media.check_writable(path)
        check_outputs([("--out", args.out), ("--figure", args.figure)])
        prepare_jax()
        result = compare(args.frames, args.head_dim, args.theta)
        files = {args.out: results.to_json(result)}
        if args.figure:
            theta = args.theta[0] if args.figure_theta is None else args.figure_theta
            files[args.figure] = figure(args.frames, args.head_dim, theta)
        for path, text in files.items():
            media.write_bytes(path, text.encode())
    except AlchemintError as error:
        parser.error(str(error))
    for theta in args.theta:
        print(f"theta {theta:g}, {result['intervals']} intervals\n\n{table(result, theta)}")


if __name__ == "__main__":
    main()
