"""What the page measures time by, so that it need not know how seconds become frames."""

from __future__ import annotations

from typing import Any

from alchemint_jax.scene.clock import Clock

_MOST = 5000  # frames: no screen shows more lines


def rulers(clock: Clock, duration: float | int | None = None) -> dict[str, Any]:
    """Where frames begin, in seconds.

    Args:
        clock: of the clip.
        duration: what was asked for, where it is not the clock's.

    Returns:
        "fps" and "frames"; "ticks", f + 1 seconds: frame i is from i to i + 1, and a bar from tick
        i to tick j holds frames [i, j); "latents", the ticks at which a latent frame begins, and
        the last one.
    """
    found: dict[str, Any] = {"fps": float(clock.fps), "frames": int(clock.frames)}
    if clock.frames > _MOST or not clock.whole:
        return {**found, "ticks": [], "latents": []}
    end = clock.duration if duration is None else float(duration)
    last = clock.frames - 1
    ticks = [clock.second(i) for i in range(last)]
    ticks += [clock.seconds([(last, last + 1)])[0][0] if last else 0.0]  # one frame takes no time
    latents = clock.held([[i, i] for i in range(clock.latent_frames)])[:, 0].tolist()
    # A bar that ends with the clip must not end after it, so the last tick is not rounded.
    rounded = [min(round(tick, 6), end) for tick in ticks]
    return {**found, "ticks": [*rounded, end], "latents": [*latents, int(clock.frames)]}
