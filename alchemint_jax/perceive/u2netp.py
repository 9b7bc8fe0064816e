"""U2-Net, small: cuts the salient object out of a box, in JAX, with weights in the package.

Source: X. Qin et al., "U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection",
Pattern Recognition 106 (2020); the variant with 16 and 64 channels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Float32, UInt8

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive.embedded import load_layers
from alchemint_jax.perceive.layers import Images, Layer, convolve, halve
from alchemint_jax.perceive.pixels import batches, cut, grow, resize, resize_map, stack
from alchemint_jax.programs import kept

MULTIPLE = 32
"""Sides of its images are multiples of this."""

# Stages and how deep each one goes; 0 stands for four dilated layers without pooling.
_DOWN = {"down1": 7, "down2": 6, "down3": 5, "down4": 4, "down5": 0, "down6": 0}
_UP = {"up5": 0, "up4": 4, "up3": 5, "up2": 6, "up1": 7}
_SIDES = ("up1", "up2", "up3", "up4", "up5", "down6")
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def layer_names() -> Iterator[str]:
    """The names of all layers, in the order in which they run."""
    for stage, depth in {**_DOWN, **_UP}.items():
        depth = depth or 4
        yield f"{stage}.in"
        yield from (f"{stage}.{level}" for level in range(1, depth + 1))
        yield from (f"{stage}.back{level}" for level in reversed(range(1, depth)))
    yield from (f"side.{stage}" for stage in _SIDES)
    yield "out"


def u2netp(layers: Mapping[str, Layer], images: UInt8[Array, "b h w 3"]) -> Float[Array, "b h w"]:
    """How likely each pixel is of the salient object."""
    x = images / jnp.maximum(images.max((1, 2, 3), keepdims=True), 1).astype(jnp.float32)
    x = (x - jnp.array(_MEAN)[None, None, None]) / jnp.array(_STD)[None, None, None]
    stages: dict[str, Images] = {}
    for stage, depth in _DOWN.items():
        x = stages[stage] = _nested(layers, stage, depth, halve(x) if stages else x)
    for stage, depth in _UP.items():
        beside = stages[stage.replace("up", "down")]
        x = jnp.concatenate([_enlarge(x, 2), beside], -1)
        x = stages[stage] = _nested(layers, stage, depth, x)
    sides = [convolve(stages[stage], layers[f"side.{stage}"]) for stage in _SIDES]
    sides = [_enlarge(side, 2**level) for level, side in enumerate(sides)]
    return jax.nn.sigmoid(convolve(jnp.concatenate(sides, -1), layers["out"]))[..., 0]


def _nested(layers: Mapping[str, Layer], stage: str, depth: int, x: Images) -> Images:
    """A small U of its own within each stage, which is added to what it begins with."""

    def step(name: str, x: Images, dilation: int = 1) -> Images:
        return jax.nn.relu(convolve(x, layers[f"{stage}.{name}"], dilation=dilation))

    pooled, last = depth > 0, depth or 4
    x = first = step("in", x)
    levels: list[Images] = []
    for level in range(1, last):
        if pooled and level > 1:
            x = halve(x)
        x = step(str(level), x, 1 if pooled else 2 ** (level - 1))
        levels.append(x)
    x = step(str(last), x, 2 if pooled else 2 ** (last - 1))
    for level in reversed(range(1, last)):
        if pooled and level < last - 1:
            x = _enlarge(x, 2)
        x = jnp.concatenate([x, levels.pop()], -1)
        x = step(f"back{level}", x, 1 if pooled else 2 ** (level - 1))
    return first + x


def _enlarge(x: Images, factor: int) -> Images:
    if factor == 1:
        return x
    if factor == 2:  # two sums, where the general way multiplies by matrices
        return _twice(_twice(x, 1), 2)
    b, h, w, c = x.shape
    return jax.image.resize(x, (b, h * factor, w * factor, c), "bilinear")


def _twice(x: Images, axis: int) -> Images:
    """Each pixel becomes two, a quarter of the way to either neighbour."""
    count = x.shape[axis]
    wide = jnp.pad(x, [(int(i == axis),) * 2 for i in range(4)], mode="edge")
    before, after = (lax.slice_in_dim(wide, i, i + count, axis=axis) for i in (0, 2))
    pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    return pairs.reshape([2 * n if i == axis else n for i, n in enumerate(x.shape)])


_run = kept(jax.jit(u2netp))


@dataclasses.dataclass(frozen=True)
class U2netSegmenter:
    """A `Segmenter` that cuts the salient object out of each box, frame by frame.

    It knows nothing of kinds and follows nothing: of two things in a box it takes what stands out,
    or both. Where nobody points at anything the mask is empty.

    Attributes:
        margin: by what share of its width and height a box is grown at each side, so that the
            network sees what the object stands out from.
        threshold: how likely a pixel of the mask is, at least.
        side: of the square that the network sees, in pixels, a multiple of 32. It was trained at
            320. Less is faster (in proportion to the area) and more often has all of the object;
            edges become rougher.
        batch: boxes that the network sees at once. One is fastest on a CPU.
    """

    margin: int | float = 0.15
    threshold: int | float = 0.5
    side: int = 192
    batch: int = 1

    def __post_init__(self) -> None:
        if self.side < MULTIPLE or self.side % MULTIPLE:
            raise ConfigError(f"side: {self.side} is no multiple of {MULTIPLE}")
        if self.batch < 1:
            raise ConfigError(f"batch: {self.batch} boxes; at least one is needed")

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Its weights, read when the first box is seen."""
        return load_layers("u2netp.safetensors")

    def segment(
        self, video: UInt8[np.ndarray, "f h w 3"], boxes: Float32[np.ndarray, "f 4"]
    ) -> Bool[np.ndarray, "f h w"]:
        """See `Segmenter.segment`."""
        masks = np.zeros(video.shape[:3], bool)
        places = grow(boxes, self.margin, *video.shape[1:3])
        known = {frame: place for frame, place in enumerate(places) if place is not None}
        for part in batches([*known], self.batch):
            crops = [cut(video[frame], known[frame]) for frame in part]
            images = stack([resize(crop, self.side, self.side) for crop in crops], self.batch)
            likely = np.asarray(_run(self.layers, images))
            for frame, crop, one in zip(part, crops, likely, strict=False):
                cut(masks[frame], known[frame])[:] = (
                    resize_map(one, *crop.shape[:2]) > self.threshold
                )
        return masks
