"""What the numbers of an image mean: its colours, as its file describes them, brought to sRGB.

Models know sRGB only. A file may describe its colours by an ICC profile, or, in a PNG, by a gamma
and the chromaticities of its primaries.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # of images, by the colour space of profiles
_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x, y of white, red, green, blue
_SRGB_GAMMA = 0.45455  # what PNG has sRGB approximated by
_D50 = np.array([0.9642, 1.0, 0.8249])  # white of profiles
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_srgb(
    image: Image.Image, info: Mapping[Any, Any], grey: bool = False
) -> tuple[Image.Image, str | None]:
    """An image in sRGB, mode RGB, and what a user should know about it, if anything.

    A profile that is broken, or of another kind of image, is ignored, as browsers do.

    Args:
        image: of mode L, RGB, CMYK or LAB, without alpha.
        info: what Pillow found in the file.
        grey: the file holds grey, whatever the mode is by now.
    """
    if image.mode == "LAB":  # says by itself what it means
        return _converted(image, ImageCms.createProfile("LAB")), None
    icc = info.get("icc_profile")
    if not icc:
        described = _described(info)
        rgb = image.convert("RGB")
        return (rgb if described is None else _converted(rgb, _opened(described))), None
    try:
        profile = _opened(icc)
        space = profile.profile.xcolor_space.strip()
        mode = _MODES.get(space, "")
        # Grey files with a profile of RGB are common, and clear; nothing else can be crossed.
        if mode != image.mode and not (grey and mode in ("L", "RGB")):
            kind = "grey" if grey else image.mode
            return image.convert("RGB"), f"its colour profile is of {space}, the picture {kind}"
        return _converted(image.convert(mode), profile), None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), "its colour profile is broken"


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _converted(image: Image.Image, profile: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # it would be None only if converted in place
    return converted


def _described(info: Mapping[Any, Any]) -> bytes | None:
    """A profile of the gamma and primaries that a PNG gives; None where they are those of sRGB."""
    if "srgb" in info:  # it is sRGB: the others only approximate that
        return None
    gamma, primaries = info.get("gamma", _SRGB_GAMMA), info.get("chromaticity", _SRGB)
    gamma_known = 0.01 <= gamma <= 100 and abs(gamma - _SRGB_GAMMA) > 0.01
    primaries_known = len(primaries) == 8 and max(map(_apart, primaries, _SRGB)) > 0.005
    if not (gamma_known or primaries_known):
        return None
    try:
        return matrix_profile(
            primaries if primaries_known else _SRGB, 1 / gamma if gamma_known else None
        )
    except (ValueError, ZeroDivisionError, np.linalg.LinAlgError, struct.error):
        return None  # primaries that are no colours


def _apart(a: float, b: float) -> float:
    return abs(a - b)


def matrix_profile(primaries: tuple[float, ...], gamma: float | int | None) -> bytes:
    """An ICC profile (version 2) of RGB with such primaries and gamma.

    Args:
        primaries: x and y of white, red, green and blue.
        gamma: exponent from values in 0..1 to light; None is the curve of sRGB.
    """
    white, *rgb = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in _pairs(primaries)]
    columns = np.stack(rgb, axis=1)
    columns = columns * np.linalg.solve(columns, white)  # they add up to white
    ratio = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ (ratio[:, None] * (_BRADFORD @ columns))
    if gamma is None:
        x = np.linspace(0, 1, 1024)
        light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        samples = np.rint(65535 * light).astype(">u2")
        curve = b"curv" + struct.pack(">II", 0, len(samples)) + samples.tobytes()
    else:
        curve = b"curv" + struct.pack(">IIH", 0, 1, min(65535, round(256 * gamma))) + b"\0\0"
    tags = {b"wtpt": _xyz(_D50)}
    for i, name in enumerate((b"r", b"g", b"b")):
        tags[name + b"XYZ"], tags[name + b"TRC"] = _xyz(adapted[:, i]), curve
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s28s", 2000, 1, 1, 0, 0, 0, b"acsp", b"")
    return (head + _xyz(_D50)[8:]).ljust(128, b"\0") + table + body


def _pairs(values: tuple[float, ...]) -> list[tuple[float, float]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(65536 * float(v)) for v in values))
