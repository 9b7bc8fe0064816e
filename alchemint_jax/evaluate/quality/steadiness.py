"""How steady a video is: subject and background consistency, and flicker, as VBench defines them.

Source: Z. Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models",
arXiv:2311.17982, and its code. VBench takes the vectors of DINO (ViT-B/16) for the consistency of
subjects and those of CLIP (ViT-B/32) for that of backgrounds; the formula is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.scene.spans import Spans


def consistency(
    vectors: Float[np.ndarray, "f d"], runs: Sequence[tuple[int, int]] | None = None
) -> float:
    """How alike each frame is to the one before it and to the first one.

    VBench looks at the whole frame, so a subject that enters or leaves makes a video less
    consistent, even if that was asked for. With `runs`, such as those of `steady_runs`, frames are
    compared only with others of their run.

    Args:
        vectors: of each frame, of length 1, `[f, d]`.
        runs: half-open runs (first, end) of frames; None is all of them as one.

    Returns:
        The mean over frames but the first of each run, from 0 to 1, of which 1 is best; NaN if
        there is none.

    Raises:
        IndexError: `vectors` is not a table.

    Examples:
        >>> vectors = np.array([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0]])
        >>> al.evaluate.quality.consistency(vectors)  # (0.6 + 0.6) / 2, then (0.6 + 1.0) / 2
        0.7

    Source:
        VBench, arXiv 2311.17982: subject consistency and background consistency.
    """
    terms: list[np.ndarray] = []
    for start, end in [(0, len(vectors))] if runs is None else runs:
        own = vectors[start:end].astype(np.float64)
        before = (own[1:] * own[:-1]).sum(1)
        first = (own[1:] * own[:1]).sum(1)
        terms.append((np.maximum(before, 0) + np.maximum(first, 0)) / 2)
    joined = np.concatenate([np.zeros(0), *terms])
    return float(joined.mean()) if joined.size else float("nan")


def steady_runs(spans: Sequence[Spans], n_frames: int) -> list[tuple[int, int]]:
    """The runs of frames during which nobody should enter or leave.

    Args:
        spans: the frames in which each subject should be on screen.
        n_frames: frames of the video.

    Returns:
        Half-open runs in order, which cover the video.

    Raises:
        ValueError: an entry is not made of pairs.

    Examples:
        >>> from alchemint_jax.scene import Spans
        >>> al.evaluate.quality.steady_runs([Spans([(2, 6)]), Spans([(6, 9)])], n_frames=9)
        [(0, 2), (2, 6), (6, 9)]

    Source:
        This repository.
    """
    inside = {edge for own in spans for span in own for edge in span if 0 < edge < n_frames}
    edges = [0, *sorted(inside), n_frames]
    return [(start, end) for start, end in itertools.pairwise(edges) if start < end]


def temporal_flickering(video: UInt8[np.ndarray, "f h w 3"]) -> float:
    """How little each frame differs from the one before it, pixel by pixel.

    VBench measures this on scenes in which nothing is meant to move: motion counts as flicker.

    Args:
        video: uint8 `[f, h, w, 3]`.

    Returns:
        A number from 0 to 1, of which 1 is best; NaN for fewer than two frames.

    Raises:
        TypeError: the video is no array.

    Examples:
        >>> video = np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in (0, 51, 51)])
        >>> al.evaluate.quality.temporal_flickering(video)  # 1 - (51 + 0) / 2 / 255
        0.9

    Source:
        VBench, arXiv 2311.17982: temporal flickering.
    """
    changes = [
        np.abs(after.astype(np.int16) - before).mean()
        for before, after in itertools.pairwise(video)
    ]
    return float((255 - np.mean(changes)) / 255) if changes else float("nan")
