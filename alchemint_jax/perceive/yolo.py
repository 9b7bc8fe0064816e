"""YOLOv3-tiny: finds the 80 kinds of things of COCO, in JAX, with weights that are in the package.

Source: J. Redmon and A. Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767; the layers
are those of darknet's yolov3-tiny.cfg. The copy of that file in the package which the weights are
taken from gives the finer grid the anchors 0, 1 and 2. They were trained with 1, 2 and 3: with the
others, boxes are half as large.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, UInt8

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive import Detections
from alchemint_jax.perceive.boxes import select
from alchemint_jax.perceive.coco import COCO
from alchemint_jax.perceive.embedded import load_layers
from alchemint_jax.perceive.layers import (
    Layer,
    Tiled,
    convolve,
    convolve_halved,
    convolve_tiled,
    double,
    halve,
    leaky,
    tiled,
)
from alchemint_jax.perceive.pixels import Letterbox, batches
from alchemint_jax.programs import kept

STRIDE = 32
"""Sides of its images are multiples of this."""

# Name, inputs, outputs, and side of the kernel of each layer, in the order of darknet's files.
LAYERS = (
    ("1", 3, 16, 3),
    ("2", 16, 32, 3),
    ("3", 32, 64, 3),
    ("4", 64, 128, 3),
    ("5", 128, 256, 3),
    ("6", 256, 512, 3),
    ("7", 512, 1024, 3),
    ("neck", 1024, 256, 1),
    ("coarse", 256, 512, 3),
    ("coarse_out", 512, 255, 1),
    ("up", 256, 128, 1),
    ("fine", 384, 256, 3),
    ("fine_out", 256, 255, 1),
)
_TILED = ("4", "5", "6", "7", "coarse", "fine")
_COARSE = ((81, 82), (135, 169), (344, 319))
_FINE = ((23, 27), (37, 58), (81, 82))


def yolo(
    layers: Mapping[str, Layer | Tiled], images: UInt8[Array, "b h w 3"]
) -> tuple[Float[Array, "b n 4"], Float[Array, "b n 80"]]:
    """Boxes (left, top, right, bottom) in pixels, and how likely each one shows each kind."""

    def through(x: Array, name: str) -> Array:
        layer = layers[name]
        return convolve_tiled(x, layer) if isinstance(layer, Tiled) else convolve(x, layer)

    first = layers["1"]
    assert isinstance(first, Layer)
    x = leaky(convolve_halved(images.astype(jnp.float32) / 255, first))
    for name in "2345":
        kept = leaky(through(x, name))
        x = halve(kept)
    x = leaky(through(x, "6"))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "SAME")
    neck = leaky(through(leaky(through(x, "7")), "neck"))
    coarse = through(leaky(through(neck, "coarse")), "coarse_out")
    up = double(leaky(through(neck, "up")))
    fine = leaky(through(jnp.concatenate([up, kept], -1), "fine"))
    outputs = (coarse, _COARSE, STRIDE), (through(fine, "fine_out"), _FINE, STRIDE // 2)
    boxes, scores = zip(*(_decode(*output) for output in outputs), strict=True)
    return jnp.concatenate(boxes, 1), jnp.concatenate(scores, 1)


def _decode(
    grid: Float[Array, "b rows columns 255"], anchors: Sequence[tuple[int, int]], stride: int
) -> tuple[Float[Array, "b n 4"], Float[Array, "b n 80"]]:
    """A cell says where in it a box is centred, and how much larger than an anchor it is."""
    b, rows, columns, _ = grid.shape
    grid = grid.reshape(b, rows, columns, len(anchors), 85)
    y, x = jnp.mgrid[:rows, :columns]
    cells = jnp.stack([x, y], -1)[None, :, :, None].astype(jnp.float32)
    centre = (jax.nn.sigmoid(grid[..., :2]) + cells) * stride
    half = jnp.exp(grid[..., 2:4]) * jnp.array(anchors, jnp.float32)[None, None, None] / 2
    scores = jax.nn.sigmoid(grid[..., 4:5]) * jax.nn.sigmoid(grid[..., 5:])
    boxes = jnp.concatenate([centre - half, centre + half], -1)
    return boxes.reshape(b, -1, 4), scores.reshape(b, -1, 80)


_run = kept(jax.jit(yolo))


def load_yolo() -> dict[str, Layer | Tiled]:
    """The layers, those with many channels in tiles."""
    found = load_layers("yolov3_tiny.safetensors")
    return {name: tiled(one) if name in _TILED else one for name, one in found.items()}


@dataclasses.dataclass(frozen=True)
class YoloDetector:
    """A `Detector` of the 80 kinds of COCO, which knows no other word.

    Frames are shrunk on the host, so that one program serves all videos of an aspect ratio; the
    persistent cache of JAX keeps it.

    Attributes:
        threshold: the least score of what is found. It is low: who follows things through a video
            can use weak detections between strong ones, and those who do not can leave them out.
        overlap: of two boxes of one kind whose intersection over union is larger, the more likely
            one is kept.
        side: the longer side of what the network sees, in pixels, a multiple of 32. It was trained
            at 320 to 608; more finds smaller things, and takes longer.
        batch: frames that the network sees at once. A few are faster on a CPU than one by one; what
            is left over is seen one by one, which is faster than repeating some of it.
    """

    threshold: int | float = 0.1
    overlap: int | float = 0.45
    side: int = 416
    batch: int = 1

    def __post_init__(self) -> None:
        if self.side < STRIDE or self.side % STRIDE:
            raise ConfigError(f"side: {self.side} is no multiple of {STRIDE}")
        if self.batch < 1:
            raise ConfigError(f"batch: {self.batch} frames; at least one is needed")

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer | Tiled]:
        """Its weights, read when the first frame is seen: who only says how it looks needs none."""
        return load_yolo()

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The 80 kinds of COCO."""
        return COCO

    def detect(self, video: UInt8[np.ndarray, "f h w 3"], words: Sequence[str]) -> list[Detections]:
        """See `Detector.detect`. Words are compared without regard to case."""
        asked = [number for number, word in enumerate(words) if word.lower() in COCO]
        kinds = [COCO.index(words[number].lower()) for number in asked]
        size = video.shape[1], video.shape[2]
        frame = Letterbox.fit(*size, self.side, STRIDE)
        found = []
        count = len(video) if asked else 0
        whole = count - count % self.batch
        for part in (*batches(range(whole), self.batch), *batches(range(whole, count), 1)):
            images = np.stack([frame.put(video[index]) for index in part])
            boxes, scores = map(np.asarray, _run(self.layers, images))
            for there, likely in zip(boxes, scores[..., kinds], strict=True):
                box, kind = np.nonzero(likely >= self.threshold)
                rows = frame.boxes(there[box]), likely[box, kind], np.array(asked)[kind]
                found.append(select(*rows, size, self.threshold, self.overlap))
        return found or [Detections.none() for _ in video]
