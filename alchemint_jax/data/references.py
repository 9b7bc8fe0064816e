"""Which pictures of a subject are its references in a window, and how they are varied.

A picture that was taken from the window itself shows the subject just as the window does, and a
model that sees it learns to copy it. So pictures from outside come first (AlcheMinT, 3.4), those
of other scenes among them (Kaleido's cross-pairs), and what was used is written down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from alchemint_jax.errors import ConfigError

OUTSIDE, INSIDE = "outside", "inside"
_EDGE = 0.004  # of the canvas's smaller side: how softly a subject stands out from a ground


@runtime_checkable
class AnyPicture(Protocol):
    """A picture of a subject; see `timed_clips.Picture`."""

    @property
    def subject(self) -> int: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def frame(self) -> int: ...  # noqa: D102
    def pixels(self) -> UInt8[np.ndarray, "h w 4"]: ...  # noqa: D102


@dataclass(frozen=True)
class Variation:
    """How far a picture is changed, at most; each amount is drawn for each picture.

    What comes out is like the pictures that people ask with. So a whole subject is there, and one
    with a ground of its own is not turned or zoomed: it is as large as fits, as a photograph is.

    Attributes:
        flip: share of pictures that are mirrored.
        zoom: sizes, where 1 is as large as fits. What is larger is cut off at the border.
        rotate: degrees, either way.
        blur: standard deviation of a Gaussian, as a share of the canvas's smaller side.
        light: brightness, contrast and saturation are scaled by 1 - light to 1 + light.
        hue: turns of the colour circle, either way.
    """

    flip: float = 0.5
    zoom: tuple[float, float] = (0.5, 1.0)
    rotate: float = 10.0
    blur: float = 0.004
    light: float = 0.2
    hue: float = 0.03

    def __post_init__(self) -> None:
        low, high = self.zoom
        if not 0 < low <= high:
            raise ConfigError(f"zoom is {self.zoom}; it must be two positive numbers in order")
        if not (0 <= self.flip <= 1 and 0 <= self.light < 1 and 0 <= self.hue <= 0.5):
            raise ConfigError("flip must be from 0 to 1, light below 1, hue at most 0.5")
        if self.rotate < 0 or self.blur < 0:
            raise ConfigError("rotate and blur must be positive, or 0")


def choose(
    pictures: Sequence[AnyPicture],
    window: tuple[int, int],
    count: int,
    kinds: dict[str, float],
    cross: float,
    random: np.random.Generator | None,
) -> tuple[list[AnyPicture], str]:
    """So many pictures of a subject for a window, and where they are from.

    Kinds are drawn by their weights among those there are, and so are pictures of a kind; one may
    come twice. Pictures from the window are used only where there are no others.

    Args:
        pictures: of this subject.
        window: frames [start, end) of the scene that no picture should be of, and perhaps more
            than the scene has.
        count: how many are wanted.
        kinds: weights, by kind; what has none is not used, but for cross-pairs.
        cross: share of cross-pairs, where there are any.
        random: draws them; None takes the first ones in their order, whatever they are.

    Returns:
        The pictures, none where there are none that may be used; and "outside" or "inside".
    """
    start, end = window
    outside = [one for one in pictures if one.frame < 0 or not start <= one.frame < end]
    pool, source = (outside, OUTSIDE) if outside else (list(pictures), INSIDE)
    if random is None:
        return [pool[i % len(pool)] for i in range(count)] if pool else [], source
    pairs = [one for one in pool if one.kind == "cross"]
    rest = [one for one in pool if kinds.get(one.kind, 0) > 0 and one.kind != "cross"]
    chosen = []
    for _ in range(count if pairs or rest else 0):
        if pairs and (not rest or random.random() < cross):
            chosen.append(pairs[random.integers(len(pairs))])
            continue
        there = sorted({one.kind for one in rest})
        weights = np.array([kinds[kind] for kind in there])
        kind = there[random.choice(len(there), p=weights / weights.sum())]
        same = [one for one in rest if one.kind == kind]
        chosen.append(same[random.integers(len(same))])
    return chosen, source


def is_cut_out(rgba: UInt8[np.ndarray, "h w 4"]) -> bool:
    """Whether a picture shows a subject alone, with nothing around it."""
    return bool((rgba[..., 3] == 0).any())


def plain(rgba: UInt8[np.ndarray, "h w 4"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A picture as generation sees it: as large as fits, centred on white."""
    height, width = rgba.shape[:2]
    return _paste(Image.fromarray(rgba), min(size[0] / height, size[1] / width), size)


def varied(
    rgba: UInt8[np.ndarray, "h w 4"],
    size: tuple[int, int],
    how: Variation,
    random: np.random.Generator,
    ground: UInt8[np.ndarray, "h2 w2 3"] | None = None,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A picture in another pose, size and light, in the middle of a canvas.

    The middle, since the place in a reference must say nothing about that in the clip. The canvas
    is white, or a ground, on which the edge of the subject is soft.
    """
    # Every draw happens, whatever the picture: an example depends on its generator alone.
    draws = random.random(8)

    def between(number: int, low: float, high: float) -> float:
        return low + (high - low) * float(draws[number])

    image = Image.fromarray(rgba)
    image = image.crop(image.getchannel("A").getbbox() or (0, 0, *image.size))
    if draws[0] < how.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = _recolored(
        image,
        [between(number, 1 - how.light, 1 + how.light) for number in (1, 2, 3)],
        between(4, -how.hue, how.hue),
    )
    alone = is_cut_out(rgba)
    if alone:
        # Premultiplied, so that colours of what is transparent do not bleed in.
        degrees = between(5, -how.rotate, how.rotate)
        turned = image.convert("RGBa").rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        image = turned.convert("RGBA")
        image = image.crop(image.getchannel("A").getbbox() or (0, 0, *image.size))
    scale = min(size[0] / image.height, size[1] / image.width)
    if alone:
        scale *= math.exp(between(6, math.log(how.zoom[0]), math.log(how.zoom[1])))
    return _paste(image, scale, size, between(7, 0.0, how.blur) * min(size), ground)


def _recolored(image: Image.Image, light: Sequence[float], hue: float) -> Image.Image:
    alpha, rgb = image.getchannel("A"), image.convert("RGB")
    for enhance, factor in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), light, strict=True
    ):
        rgb = enhance(rgb).enhance(factor)
    if turn := round(hue * 256):
        h, s, v = rgb.convert("HSV").split()
        h = Image.fromarray((np.asarray(h).astype(int) + turn).astype(np.uint8))
        rgb = Image.merge("HSV", (h, s, v)).convert("RGB")
    rgb.putalpha(alpha)
    return rgb


def _paste(
    image: Image.Image,
    scale: float,
    size: tuple[int, int],
    blur: float = 0.0,
    ground: UInt8[np.ndarray, "h w 3"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Scaled, in the middle of a canvas, white or a ground; what stands out is cut off."""
    wanted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(wanted, Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (size[1], size[0]), "white")
    if ground is not None:
        canvas.paste(Image.fromarray(ground))
        image.putalpha(_softened(image.getchannel("A"), _EDGE * min(size)))
    at = ((size[1] - image.width) // 2, (size[0] - image.height) // 2)
    clear = Image.new("RGBA", canvas.size, (255, 255, 255, 0))
    clear.paste(image, at)
    flat = Image.alpha_composite(canvas, clear).convert("RGB")
    return np.asarray(flat.filter(ImageFilter.GaussianBlur(blur)) if blur > 0 else flat)


def _softened(alpha: Image.Image, width: float) -> Image.Image:
    """A mask that fades towards its edge from inside: outside, colours are not the subject's."""
    wide = alpha.filter(ImageFilter.GaussianBlur(width))
    return ImageChops.multiply(alpha, wide.point([max(0, 2 * value - 255) for value in range(256)]))
