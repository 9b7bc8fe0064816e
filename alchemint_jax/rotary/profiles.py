"""Attention profiles of schemes, and how well they follow the intervals asked for.

A profile is the untrained kernel (`rotary.kernel`): the part of attention that position alone
decides, before any weight is learned. Every gain is scaled to unit mean-square modulus over its
temporal pairs first, so that no scheme wins by longer keys.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from alchemint_jax.rotary.axes import Frequencies, kernel
from alchemint_jax.rotary.fitted import coverage
from alchemint_jax.rotary.schemes import Scheme
from alchemint_jax.scene.clock import WAN_STRIDE, Clock

Profiles = Float[np.ndarray, "n t"]
Inside = Bool[np.ndarray, "n t"]

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

    @jax.jit  # dozens of small operations
    def of(latent: Float[Array, "n 1 2"]) -> Float[Array, "n t"]:
        temporal = scheme.gains(latent, n_frames, freqs)[..., : freqs.t.shape[0]]
        norm = jnp.sqrt(jnp.mean(jnp.abs(temporal) ** 2, axis=-1, keepdims=True))
        return kernel(temporal / norm, n_frames, freqs)

    # Rounded, so that frames that tie by symmetry tie in floating point too.
    return np.round(np.asarray(of(clock.latent(pixels[:, None])), np.float64), 6)


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
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0


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
