r"""How well does each scheme's attention profile follow the interval it was asked for?

    python -m studies.kernels --frames 9 --head-dim 48 --theta 10 20 30 100 10000 \
        --out docs/results/kernels_9x48.json --figure docs/results/kernels_9x48.svg \
        --figure-theta 20
    python -m studies.kernels --frames 21 --head-dim 128 --theta 10000 \
        --out docs/results/kernels_21x128.json --figure docs/results/kernels_21x128.svg

What is measured is the untrained kernel (`rotary.kernel`): the part of attention that position
alone decides, before any weight is learned. Every gain is scaled to unit mean-square modulus over
its temporal pairs first, so that no scheme wins by longer keys. All single intervals of a clip
with at least 2 pixel frames take part, if they leave latent frames both inside and outside.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from alchemint_jax import media, results
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.rotary.axes import axis_frequencies
from alchemint_jax.rotary.fitted import FittedRope
from alchemint_jax.rotary.profiles import FIGURES, asked_intervals, measure, profiles, shown
from alchemint_jax.rotary.schemes import MidRope, Scheme, SincRope, WeRope
from alchemint_jax.scene.clock import WAN_STRIDE, Clock
from studies import charts

BAND = "#FBE9A9"  # of what is asked for
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
        "pixel_frames": _last(n_frames),
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
    return Clock.for_latents(n_frames, WAN_STRIDE).held(latent).astype(np.int64)


def figure(n_frames: int, head_dim: int, theta: float | int) -> bytes:
    """An SVG of every scheme's kernel for a few intervals.

    Bands are the intervals asked for, full dots the frames that a profile shows.
    """
    freqs = axis_frequencies(head_dim, theta_t=theta)
    pixels = example_intervals(n_frames)
    left, wide, tall, gap, above, below = 1.9, 1.95, 0.85, 0.16, 0.72, 0.75
    with charts.style():
        canvas = charts.Canvas(
            left + len(pixels) * (wide + gap),
            above + len(SCHEMES) * (tall + gap) + below,
            "Attention profiles at equal key norm: "
            f"{n_frames} latent frames, {freqs.t.shape[0]} temporal pairs, theta {theta:g}",
        )
        for row, (name, scheme) in enumerate(SCHEMES.items()):
            curves = profiles(scheme, pixels, n_frames, freqs)
            top = above + row * (tall + gap)
            canvas.text(
                0.12, top + tall / 2, name.replace(", ", ",\n"), fontweight="bold", va="center"
            )
            for column, interval in enumerate(pixels):
                axes = canvas.axes(left + column * (wide + gap), top, wide, tall)
                _panel(axes, curves[column], interval, f"{name}/{column}".replace(" ", "_"))
                last = row == len(SCHEMES) - 1
                axes.tick_params(labelleft=column == 0, labelbottom=last)
                axes.set_ylabel("profile" if column == 0 else "")
                axes.set_xlabel("latent frame" if last else "")
                if row == 0:
                    start, end = interval
                    asked = f"pixel frames [{start}, {end}) of {_last(n_frames)}"
                    axes.set_title(asked, fontsize=8, fontweight="normal")
        dot: Any = dict(ls="", marker="o", ms=4.5, color=charts.BLUE)
        handles = [
            Patch(color=BAND, label="asked for"),
            Line2D([], [], **dot, label="above the middle of the profile's own range"),
            Line2D([], [], **dot, markerfacecolor="white", label="below it"),
        ]
        canvas.legend(handles, left - 0.1, 0.05)
    return charts.svg(canvas.figure)


def _panel(
    axes: Axes, profile: Float[np.ndarray, " t"], interval: Int[np.ndarray, 2], name: str
) -> None:
    frames, clock = np.arange(len(profile)), Clock.for_latents(len(profile), WAN_STRIDE)
    # Pixel frame p fills [p - 1/2, p + 1/2); half a frame beyond the clip's ends is still inside.
    axes.axvspan(*(float(clock.coordinate(p - 0.5)) for p in interval), color=BAND, lw=0)
    axes.axhline(0, color=charts.RULE, lw=0.6)
    axes.plot(frames, profile, color=charts.BLUE, lw=1.2)
    size = min(4.5, 45 / len(profile))
    for full in (False, True):
        chosen = shown(profile[None])[0] == full
        axes.plot(
            frames[chosen],
            profile[chosen],
            "o",
            ms=size,
            color=charts.BLUE,
            markerfacecolor=charts.BLUE if full else "white",
            gid=f"{name}/{'above' if full else 'below'}",
        )
    axes.set_xlim(-0.5, len(profile) - 0.5)
    axes.set_ylim(-1.08, 1.08)  # at unit mean-square modulus a profile cannot leave [-1, 1]
    axes.set_yticks([-1, 0, 1])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _last(n_frames: int) -> int:
    """The pixel frames of a clip of so many latent frames."""
    return int(Clock.for_latents(n_frames, WAN_STRIDE).frames)


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
        files = {args.out: results.to_json(result).encode()}
        if args.figure:
            theta = args.theta[0] if args.figure_theta is None else args.figure_theta
            files[args.figure] = figure(args.frames, args.head_dim, theta)
        for path, data in files.items():
            media.write_bytes(path, data)
    except AlchemintError as error:
        parser.error(str(error))
    for theta in args.theta:
        print(f"theta {theta:g}, {result['intervals']} intervals\n\n{table(result, theta)}")


if __name__ == "__main__":
    main()
