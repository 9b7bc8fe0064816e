"""Pictures of subjects in another pose or light, which an image-to-image model has made elsewhere.

A file FOLDER/SCENE/NUMBER-FRAME.png, with anything between FRAME and the dot, is a variant of the
picture DIR/pictures/SCENE/NUMBER-FRAME-segment.png.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from alchemint_jax.annotate.rows import Row, digest
from alchemint_jax.annotate.settings import Redux
from alchemint_jax.annotate.stages.pictures import FOLDER, write_picture
from alchemint_jax.errors import AlchemintError, ConfigError

KIND = "redux"
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def contents(settings: Redux) -> str:
    """What tells a folder of variants from what it was before; empty where there is none.

    Raises:
        ConfigError: there is no such folder.
    """
    if not settings.folder:
        return ""
    folder = Path(settings.folder)
    if not folder.is_dir():
        raise ConfigError(f"redux.folder: {folder}: there is no such folder")
    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in _FORMATS)
    sizes = [(path.relative_to(folder).as_posix(), path.stat()) for path in found]
    return digest([[name, info.st_size, info.st_mtime_ns] for name, info in sizes])


def redux(row: Row, out: Path, settings: Redux) -> Row:
    """Adds the variants of each picture of a subject alone; copies of them are written below `out`.

    They count as taken from the frame of that picture. Files that are of no picture are a remark.

    Raises:
        AlchemintError: a file is no picture.
    """
    if not settings.folder:
        return row
    folder = Path(settings.folder) / row["id"]
    left = sorted(path for path in folder.glob("*") if path.suffix.lower() in _FORMATS)
    subjects = []
    for subject in row["subjects"]:
        made = []
        for picture in subject["pictures"]:
            if picture["kind"] != "segment":
                continue
            stem = Path(picture["file"]).stem.removesuffix("-segment")
            for count, path in enumerate([one for one in left if _is_of(one, stem)]):
                left.remove(path)
                pixels = _read(path, settings.side)
                file = f"{FOLDER}/{row['id']}/{stem}-{KIND}{count}.png"
                write_picture(out / file, pixels)
                made.append({**picture, "file": file, "kind": KIND, "size": [*pixels.shape[:2]]})
        subjects.append({**subject, "pictures": subject["pictures"] + made})
    remarks = [f"redux.folder: {row['id']}/{path.name} is of no picture" for path in left]
    return {**row, "subjects": subjects, "remarks": row["remarks"] + remarks}


def _is_of(path: Path, stem: str) -> bool:
    """Whether a file is a variant: a number that goes on is another frame."""
    rest = path.stem.removeprefix(stem)
    return path.stem.startswith(stem) and not rest[:1].isdigit()


def _read(path: Path, side: int) -> np.ndarray:
    try:
        with Image.open(path, formats=[_FORMATS[path.suffix.lower()]]) as image:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
            return np.asarray(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise AlchemintError(f"{os.fspath(path)}: is no picture ({error})") from error
