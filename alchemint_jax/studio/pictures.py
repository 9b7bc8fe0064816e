"""Pictures that are dropped on the page: bounded, decoded, and kept as PNG by what they show."""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from alchemint_jax import images, media
from alchemint_jax.errors import StoryboardError
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.drafts import PICTURE

MAX_BYTES = 32 * 2**20
MAX_COUNT = 4000
SIDE = 2048  # pixels, the longer one: no model takes more of a picture, or of a keyframe
_one_at_a_time = threading.Lock()  # a large picture takes much memory while it is decoded


class Kept(NamedTuple):
    """A picture of the workspace."""

    name: str
    width: int
    height: int


def keep(folder: Path, data: bytes) -> Kept:
    """Keeps a picture of any known kind; pixels that are there already are not kept twice.

    Args:
        folder: of pictures.
        data: of the file, as it was uploaded.

    Raises:
        Refused: it is no picture, it is too large, or there are too many.
    """
    if not data:
        raise Refused("the picture is an empty file")
    upload = folder / f".{secrets.token_hex(6)}.tmp"
    with _one_at_a_time:
        try:
            upload.write_bytes(data)
            pixels = images.load_picture(upload, SIDE)
        except StoryboardError as error:
            raise Refused(str(error).replace(str(upload), "the picture")) from None
        finally:
            upload.unlink(missing_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    name = f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:24]}.png"
    if not (folder / name).is_file():
        if sum(1 for _ in folder.iterdir()) >= MAX_COUNT:
            raise Refused(f"there are {MAX_COUNT} pictures in {folder}; remove some of them", 409)
        media.write_bytes(folder / name, buffer.getvalue())
    height, width = pixels.shape[:2]
    return Kept(name, width, height)


def found(folder: Path, name: str) -> Path:
    """The file of a picture.

    Raises:
        Refused: there is none of that name.
    """
    if not PICTURE.fullmatch(name) or not (folder / name).is_file():
        raise Refused(f"there is no picture {name[:40]!r} in the workspace", 404)
    return folder / name
