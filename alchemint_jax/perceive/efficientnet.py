"""EfficientNet-Lite0: tells whether two images show the same, in JAX, with weights in the package.

Source: M. Tan and Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", arXiv:1905.11946; the variant for small devices, trained on ImageNet. What goes into its
classifier is the embedding.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, UInt8

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive.embedded import load_layers
from alchemint_jax.perceive.layers import Images, Layer, convolve, depthwise
from alchemint_jax.perceive.pixels import batches, resize, stack
from alchemint_jax.programs import kept


class Block(NamedTuple):
    """An inverted bottleneck: how much wider it is inside, and the stride of it."""

    expand: int
    stride: int


_STAGES = ((1, 1, 1), (2, 6, 2), (2, 6, 2), (3, 6, 2), (3, 6, 1), (4, 6, 2), (1, 6, 1))
BLOCKS = tuple(
    Block(expand, stride if number == 0 else 1)
    for count, expand, stride in _STAGES
    for number in range(count)
)


def efficientnet(
    layers: Mapping[str, Layer], images: UInt8[Array, "b h w 3"]
) -> Float[Array, "b 1280"]:
    """A vector of each image; sides of 224 are what it was trained on."""
    x = (images.astype(jnp.float32) - 127) / 128
    x = _relu6(convolve(x, layers["stem"], stride=2))
    for number, block in enumerate(BLOCKS):
        x = _block(layers, number, block, x)
    return _relu6(convolve(x, layers["head"])).mean((1, 2))


def _block(layers: Mapping[str, Layer], number: int, block: Block, x: Images) -> Images:
    y = x
    if block.expand > 1:
        y = _relu6(convolve(y, layers[f"{number}.expand"]))
    y = _relu6(depthwise(y, layers[f"{number}.depthwise"], block.stride))
    y = convolve(y, layers[f"{number}.project"])
    return x + y if x.shape == y.shape else y


def _relu6(x: Array) -> Array:
    return jnp.clip(x, 0, 6)


_run = kept(jax.jit(efficientnet))


@dataclasses.dataclass(frozen=True)
class EfficientnetEmbedder:
    """An `Embedder` of images of single subjects, which it brings to one size.

    Attributes:
        side: of the square that the network sees, in pixels. It was trained at 224.
        batch: images that the network sees at once. One is fastest on a CPU.
    """

    side: int = 224
    batch: int = 1

    def __post_init__(self) -> None:
        if self.side < 32:
            raise ConfigError(f"side: {self.side} pixels; at least 32 are needed")
        if self.batch < 1:
            raise ConfigError(f"batch: {self.batch} images; at least one is needed")

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Its weights, read when the first image is seen."""
        return load_layers("efficientnet_lite0.safetensors")

    def embed(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float32[np.ndarray, "n 1280"]:
        """See `Embedder.embed`."""
        vectors = np.zeros((len(images), 1280), np.float32)
        for part in batches(range(len(images)), self.batch):
            squares = [resize(images[index], self.side, self.side) for index in part]
            found = np.asarray(_run(self.layers, stack(squares, self.batch)))[: len(part)]
            norms = np.linalg.norm(found, axis=1, keepdims=True)
            vectors[list(part)] = found / np.maximum(norms, 1e-6)
        return vectors
