"""What latents look like, roughly and at once: a linear map to pixels, fitted in closed form.

A latent and its eight neighbours in its frame tell most of the pixels that it stands for. The map
is fitted by ridge regression to a few clips that the autoencoder encodes when the model is loaded;
the first latent frame, which holds one pixel frame alone, has a map of its own.

Axes: b clips, f pixel frames, t latent frames, h w grid, c channels, p pixels along a cell's side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.worlds.sprites.world import sample_clip

CLIPS, FRAMES = 16, 9  # that the map is fitted to: 12 thousand latents
_SIDE = 128  # pixels, the longest side of a preview
_RIDGE = 1e-3
_SEED = 77

Encode = Callable[[Float[np.ndarray, "b f h w 3"]], Float[np.ndarray, "b t h w c"]]


class Preview(NamedTuple):
    """The map.

    Attributes:
        first: [9 c + 1, p p 3], of the first latent frame.
        others: [9 c + 1, s p p 3], of the others, each of which holds s pixel frames.
        stride: s.
        cell: p, pixels of the preview along the side of a latent cell.
    """

    first: np.ndarray
    others: np.ndarray
    stride: int
    cell: int

    def frames(self, latents: Float[np.ndarray, "t h w c"]) -> UInt8[np.ndarray, "f h2 w2 3"]:
        """The frames of a clip, in pixels of the preview."""
        features = neighbours(latents[None])[0]
        parts = [_joined(features[:1] @ self.first, 1, self.cell)]
        if len(latents) > 1:
            parts.append(_joined(features[1:] @ self.others, self.stride, self.cell))
        return (np.concatenate(parts).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def fit(encode: Encode, stride: int, space: int, size: tuple[int, int]) -> Preview:
    """The map of an autoencoder.

    Args:
        encode: gives the latents of videos in [-1, 1].
        stride: pixel frames in a latent frame.
        space: pixels along the side of a latent cell.
        size: height and width of usual videos: the preview of large ones is smaller.
    """
    videos = np.stack([sample_clip(i, seed=_SEED).video for i in range(CLIPS)])
    starts = [(7 * i) % (videos.shape[1] - FRAMES) for i in range(CLIPS)]
    clips = [video[at : at + FRAMES] for video, at in zip(videos, starts, strict=True)]
    pixels = np.stack(clips).astype(np.float32) / 255
    latents = np.asarray(encode(pixels * 2 - 1))
    cell = max(1, min(space, _SIDE * space // max(size)))
    cell = next(n for n in range(cell, 0, -1) if space % n == 0)
    small = _pooled(pixels, space // cell)
    features = neighbours(latents)
    first = _cells(small[:, :1], 1, cell)
    others = _cells(small[:, 1:], stride, cell)
    return Preview(_ridge(features[:, :1], first), _ridge(features[:, 1:], others), stride, cell)


def neighbours(latents: Float[np.ndarray, "b t h w c"]) -> Float[np.ndarray, "b t h w n"]:
    """Each latent, those around it, and a 1."""
    padded = np.pad(latents, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    h, w = latents.shape[2:4]
    parts = [padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)]
    return np.concatenate([*parts, np.ones((*latents.shape[:-1], 1), latents.dtype)], axis=-1)


def clean_sample(
    before: Float[np.ndarray, "*shape"],
    after: Float[np.ndarray, "*shape"],
    sigmas: tuple[float, float],
) -> Float[np.ndarray, "*shape"]:
    """Where the flow would end if it went on straight: z - sigma dz/dsigma.

    Args:
        before: latents at the first of the noise levels.
        after: those at the second.
        sigmas: the levels.
    """
    return after - sigmas[1] * (after - before) / (sigmas[1] - sigmas[0])


def _pooled(video: np.ndarray, by: int) -> np.ndarray:
    """The mean of squares of `by` x `by` pixels."""
    b, f, h, w, _ = video.shape
    return video.reshape(b, f, h // by, by, w // by, by, 3).mean((3, 5))


def _cells(video: np.ndarray, frames: int, cell: int) -> np.ndarray:
    """[b, f, h, w, 3] as [b, t, h / p, w / p, s p p 3]."""
    b, f, h, w, _ = video.shape
    t, rows, columns = f // frames, h // cell, w // cell
    parts = video.reshape(b, t, frames, rows, cell, columns, cell, 3)
    return parts.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, t, rows, columns, -1)


def _joined(cells: np.ndarray, frames: int, cell: int) -> np.ndarray:
    """[t, h, w, s p p 3] as [t s, h p, w p, 3]."""
    t, h, w, _ = cells.shape
    parts = cells.reshape(t, h, w, frames, cell, cell, 3).transpose(0, 3, 1, 4, 2, 5, 6)
    return parts.reshape(t * frames, h * cell, w * cell, 3)


def _ridge(features: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    x = features.reshape(-1, features.shape[-1]).astype(np.float64)
    y = wanted.reshape(-1, wanted.shape[-1])
    penalty = _RIDGE * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(x.T @ x + penalty, x.T @ y).astype(np.float32)
