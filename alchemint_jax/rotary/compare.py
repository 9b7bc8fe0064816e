r"""How well does each scheme's attention profile follow the interval it was asked for?

    python -m alchemint_jax.rotary.compare --frames 9 --head-dim 48 --theta 10 20 30 100 10000 \
        --out docs/results/kernels_9x48.json --figure docs/results/kernels_9x48.svg \
        --figure-theta 20
    python -m alchemint_jax.rotary.compare --frames 21 --head-dim 128 --theta 10000 \
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

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from alchemint_jax import media, results
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.rotary.axes import Frequencies, axis_frequencies, kernel
from alchemint_jax.rotary.figure import draw
from alchemint_jax.rotary.fitted import FittedRope, coverage
from alchemint_jax.rotary.schemes import MidRope, Scheme, SincRope, WeRope
from alchemint_jax.scene.clock import WAN_STRIDE, Clock

Profiles = Float[np.ndarray, "n t"]
Inside = Bool[np.ndarray, "n t"]

SCHEMES: dict[str, Scheme] = {
    "MidRope": MidRope(),
    "WeRope": WeRope(),
    "WeRope, as printed": WeRope(right="printed"),
    "SincRope": SincRope(),
    "FittedRope": FittedRope(),
}

# Figure -> (heading of its column, what it is); the order is that of the tables.
FIGURES = {
    "gap": ("contrast", "mean profile inside the interval minus outside, mean over intervals"),
    "auc": ("AUC", "P(a frame inside scores above one outside), mean over intervals"),
    "midpoint": ("moment", "correlation of the middles of shown and asked frames"),
    "length": ("length", "correlation of the numbers of shown and asked frames"),
    "iou": ("IoU", "frames above the one best threshold against asked frames, mean over intervals"),
}


def asked_intervals(n_frames: int) -> tuple[Int[np.ndarray, "n 2"], Inside]:
    """Half-open pixel intervals of a clip of `n_frames` latent frames, and the frames they ask for.

    A latent frame is asked for if at least half of its pixel frames are inside. Intervals of a
    single pixel frame are left out, and those that ask for no latent frame or for all of them.
    """
    clock = Clock.for_latents(n_frames, WAN_STRIDE)
    last = int(clock.frames)
    pixels = np.array(
        [(s, e) for s in range(last) for e in range(s + 2, last + 1)], np.int64
    ).reshape(-1, 2)
    covered = np.asarray(coverage(clock.latent(pixels[:, None]), clock))
    inside = covered > 0.5 - 1e-3  # a half, up to rounding
    keep = inside.any(1) & ~inside.all(1)
    return pixels[keep], inside[keep]


def profiles(
    scheme: Scheme, pixels: Int[np.ndarray, "n 2"], n_frames: int, freqs: Frequencies
) -> Profiles:
    """Attention profile of each interval at unit mean-square modulus over the temporal pairs."""
    clock = Clock.for_latents(n_frames, WAN_STRIDE)
    gains = scheme.gains(clock.latent(pixels[:, None]), n_frames, freqs)
    temporal = gains[..., : freqs.t.shape[0]]
    norm = jnp.sqrt(jnp.mean(jnp.abs(temporal) ** 2, axis=-1, keepdims=True))
    # Rounded, so that frames that tie by symmetry tie in floating point too.
    return np.round(np.asarray(kernel(temporal / norm, n_frames, freqs), np.float64), 6)


def shown(profile: Profiles) -> Inside:
    """Frames where a profile lies above the middle of its own range."""
    return profile > (profile.min(1, keepdims=True) + profile.max(1, keepdims=True)) / 2


def contrast(profile: Profiles, inside: Inside) -> float:
    """Mean profile inside minus mean profile outside, mean over intervals."""
    within = np.where(inside, profile, 0).sum(1) / inside.sum(1)
    without = np.where(inside, 0, profile).sum(1) / (~inside).sum(1)
    return float(np.mean(within - without))


def auc(profile: Profiles, inside: Inside) -> float:
    """P(a frame inside scores above one outside), ties count half, mean over intervals."""
    wins = np.sign(profile[:, :, None] - profile[:, None, :]) / 2 + 0.5
    pairs = inside[:, :, None] & ~inside[:, None, :]
    return float(np.mean((wins * pairs).sum((1, 2)) / pairs.sum((1, 2))))


def best_iou(profile: Profiles, inside: Inside) -> float:
    """Mean IoU of `profile >= c` with the frames asked for, at the best c for all intervals."""
    # The k highest frames of an interval are what some c selects; IoU after each of them. Going
    # down through all values at once, each frame changes its own interval's IoU by a step.
    order = np.argsort(-profile, axis=1, kind="stable")
    hits = np.take_along_axis(inside, order, 1).cumsum(1)
    chosen = np.arange(1, profile.shape[1] + 1)[None]
    iou = hits / (inside.sum(1, keepdims=True) + chosen - hits)
    steps = np.diff(iou, axis=1, prepend=0.0).ravel()
    values = np.take_along_axis(profile, order, 1).ravel()
    falling = np.argsort(-values, kind="stable")
    # A threshold cannot separate equal values: look only where the value changes.
    ends = np.append(np.diff(values[falling]) < 0, True)
    return float(np.max(np.cumsum(steps[falling])[ends]) / len(profile))


def correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Pearson correlation; 0 where one side is constant, for it follows nothing."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-9 else 0.0


def measure(profile: Profiles, inside: Inside) -> dict[str, float]:
    """The five figures of `FIGURES`; a profile that is the interval itself has 1 in the last 4."""

    def middle(frames: Inside) -> Float[np.ndarray, " n"]:
        return frames @ np.arange(frames.shape[1], dtype=np.float64) / frames.sum(1)

    seen = shown(profile)
    # A flat profile shows no frame; it says as much about the moment as every frame would.
    somewhere = seen | ~seen.any(1, keepdims=True)
    return {
        "gap": contrast(profile, inside),
        "auc": auc(profile, inside),
        "midpoint": correlation(middle(somewhere), middle(inside)),
        "length": correlation(seen.sum(1).astype(np.float64), inside.sum(1).astype(np.float64)),
        "iou": best_iou(profile, inside),
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
        "pixel_frames": Clock.for_latents(n_frames, WAN_STRIDE).frames,
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
