"""Images: opened with care, brought to sRGB on white, fitted to a model's size.

Every image that a user gives is opened here, so that all of them are read alike.
"""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from alchemint_jax.color import to_srgb
from alchemint_jax.errors import StoryboardError
from alchemint_jax.signatures import mistaken

MAX_PIXELS = 64 * 2**20  # 64 megapixels: 8192 x 8192
MAX_BYTES = 512 * 2**20
# Raster formats only. Pillow hands some others (EPS) to external programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_reference(
    path: str | os.PathLike[str], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """The image at ``path``, as large as fits in ``size`` = (height, width), centred on white.

    Camera orientation is applied, colours become sRGB (see `color`), transparency becomes white,
    the aspect ratio is kept, and of an animation the first frame is taken.

    Raises:
        StoryboardError: the image cannot be used; the message begins with its path.
    """
    return np.array(_on_white(_open(Path(path))[0], size))


def fit_references(
    images: UInt8[np.ndarray, "*batch h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "*batch h2 w2 3"]:
    """Images that are in memory, brought to ``size`` = (height, width) as `load_reference` does.

    Those of that size are returned as they are.
    """
    if images.shape[-3:-1] == size:
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    fitted = np.empty((len(flat), *size, 3), np.uint8)
    for out, image in zip(fitted, flat, strict=True):
        out[:] = np.asarray(_on_white(Image.fromarray(image), size))
    return fitted.reshape(*images.shape[:-3], *size, 3)


def load_keyframe(
    source: str | os.PathLike[str] | UInt8[np.ndarray, "_ _ 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """An image, in memory or at a path, as a whole frame of ``size`` = (height, width).

    It is read as references are, and scaled to cover the frame, its aspect ratio kept; what stands
    out is cut off evenly.

    Raises:
        StoryboardError: the image cannot be used; the message begins with its path.
    """
    height, width = size
    if isinstance(source, np.ndarray):
        image = Image.fromarray(source)
    else:
        image = _open(Path(source))[0]
    return np.array(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))


def load_fitted(
    source: str | os.PathLike[str] | UInt8[np.ndarray, "_ _ 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """An image, in memory or at a path, as large as fits in ``size`` = (height, width).

    It is read as references are, and nothing is added around it; sides are rounded down.

    Raises:
        StoryboardError: the image cannot be used; the message begins with its path.
    """
    image = Image.fromarray(source) if isinstance(source, np.ndarray) else _open(Path(source))[0]
    height, width = size
    ratio = image.width / image.height
    if ratio > width / height:
        fitted = (width, max(1, int(width / ratio)))
    else:
        fitted = (max(1, int(height * ratio)), height)
    return np.array(image.resize(fitted, Image.Resampling.LANCZOS))


def load_picture(path: str | os.PathLike[str], side: int) -> UInt8[np.ndarray, "h w 3"]:
    """An image as a whole, no longer than ``side`` pixels; it is read as references are.

    Raises:
        StoryboardError: the image cannot be used; the message begins with its path.
    """
    image = _open(Path(path))[0]
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image)


def _on_white(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    scale = min(height / image.height, width / image.width)
    fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new("RGB", (width, height), "white")
    corner = ((width - fitted[0]) // 2, (height - fitted[1]) // 2)
    canvas.paste(image.resize(fitted, Image.Resampling.LANCZOS), corner)
    return canvas


def check_image(path: str | os.PathLike[str]) -> str | None:
    """Decode an image; what the user should know about its colours, as a sentence, or None.

    Raises:
        StoryboardError: it cannot be used; the message begins with its path.
    """
    remark = _open(Path(path))[1]
    return f"{path}: {remark}; save it as sRGB if its colours come out wrong" if remark else None


def _open(path: Path) -> tuple[Image.Image, str | None]:
    """Decode to an upright sRGB image on white; and what is odd about its colours."""
    try:
        # Path.stat follows links and fails on loops; a pipe or a device could block for ever.
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise StoryboardError(f"{path}: is a folder, not a picture")
        if not stat.S_ISREG(info.st_mode):
            raise StoryboardError(f"{path}: is not a regular file")
        if info.st_size == 0:
            raise StoryboardError(f"{path}: is an empty file, not a picture")
        if info.st_size > MAX_BYTES:
            raise StoryboardError(f"{path}: is larger than {MAX_BYTES >> 20} MiB")
        with path.open("rb") as file:
            return _decode(path, file)
    except StoryboardError:
        raise
    except OSError as error:
        raise StoryboardError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character
        raise StoryboardError(f"{str(path)!r}: {error}") from error


def _decode(path: Path, file: IO[bytes]) -> tuple[Image.Image, str | None]:
    too_large = f"{path}: is larger than {MAX_PIXELS >> 20} megapixels; make it smaller"
    readable = ", ".join(name.lower() for name in FORMATS)
    with warnings.catch_warnings():
        # Pillow warns about odd metadata, which says nothing about the pixels, and about size,
        # which is checked here from the header, before anything is decoded.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise StoryboardError(too_large) from error
        except Exception as error:  # decoders let all kinds escape on damaged files
            what = mistaken(path, "a picture", text=True) or (
                f"is damaged, or no picture of a known kind ({readable})"
            )
            raise StoryboardError(f"{path}: {what}") from error
        if image.width * image.height > MAX_PIXELS:
            raise StoryboardError(f"{too_large} (it is {image.width} x {image.height})")
        try:
            image.load()
            flat, remark = _flatten(image)
        except Exception as error:  # the same while pixels are decoded
            raise StoryboardError(
                f"{path}: is damaged or truncated; it cannot be decoded ({error})"
            ) from error
        try:
            # After load: the TIFF decoder turns its image itself, and drops the tag.
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        except Exception:  # unreadable metadata; the pixels are good
            orientation = 1
    turn = _UPRIGHT.get(orientation)
    return (flat if turn is None else flat.transpose(turn)), remark


def _flatten(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Any mode to sRGB on white."""
    info, alpha = image.info, None
    deep = image.mode.startswith("I") or image.mode == "F"
    grey = deep or image.mode in ("1", "L", "LA", "La")
    if deep:
        if "transparency" in info:  # one value of all; it means nothing once they are scaled
            opaque = np.asarray(image) != info["transparency"]
            alpha = Image.fromarray(opaque.astype(np.uint8) * 255)
        flat = _to_8_bits(image)
    elif image.has_transparency_data:  # of any kind: a palette or one colour may have it too
        rgba = image.convert("RGBA")
        flat, alpha = rgba.convert("RGB"), rgba.getchannel("A")
    elif image.mode in ("L", "CMYK", "LAB"):
        flat = image
    else:
        flat = image.convert("RGB")
    rgb, remark = to_srgb(flat, info, grey)
    if alpha is not None:
        white = Image.new("RGBA", rgb.size, "white")
        rgb.putalpha(alpha)
        rgb = Image.alpha_composite(white, rgb).convert("RGB")
    return rgb, remark


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or float, scaled to 8 bits (Pillow itself would clip at 255)."""
    values = np.asarray(image, np.float32)
    largest = float(values.max(initial=0.0))
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        white = 65535.0
    elif largest <= 1.0 and image.mode == "F":
        white = 1.0
    else:  # the format does not say: the smallest usual range that holds the values
        white = next((top for top in (255.0, 65535.0) if largest <= top), largest)
    scaled = np.nan_to_num(values / white * 255.0, nan=0.0, posinf=255.0, neginf=0.0)
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
