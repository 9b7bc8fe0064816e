"""Boards drawn in several ways, in turns, and what each way costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.scene.scene import Scene


def drawn_in_turns(
    ways: Mapping[str, Callable[..., np.ndarray]],
    cases: Sequence[Scene],
    *,
    seed: int,
    **settings: Any,
) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """Videos [b f h w 3] of each way, and the CPU seconds of its batches.

    Every batch is drawn in all ways, one after another: a machine whose speed drifts is as fast for
    one as for the others.

    Args:
        ways: what draws scenes, as `Pipeline.render` does, by name.
        cases: what is asked for.
        seed: of the noise.
        settings: of `benchmark.render`.
    """
    videos: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}

    def draw(scenes: Sequence[Scene], **more: Any) -> np.ndarray:
        for name, way in ways.items():
            began = time.process_time()
            videos[name].append(np.asarray(way(scenes, **more)))
            seconds[name].append(time.process_time() - began)
        return videos[name][-1]

    render(draw, cases, seed=seed, **settings)
    # What fills the last batch is beyond the cases.
    whole = {name: np.concatenate(parts)[: len(cases)] for name, parts in videos.items()}
    return whole, seconds


def cost(seconds: Sequence[float], plain: Sequence[float]) -> dict[str, float]:
    """CPU time of batches against that of the plain ones: of all together, the least, the largest.

    The first batch, which is compiled, is left out if there are others.
    """
    first = 1 if len(seconds) > 1 else 0
    own, base = (np.array(x)[first:] for x in (seconds, plain))
    ratios = own / base
    mean = own.sum() / base.sum()
    return {"mean": float(mean), "low": float(ratios.min()), "high": float(ratios.max())}
