"""Boards as other systems take them, in the formats of `alchemint benchmark export`."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from alchemint_jax.evaluate.boards import EXPORTS, Options, export_boards
from alchemint_jax.scene.limits import KEYFRAMES
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.boards import to_yaml, zipped
from alchemint_jax.studio.checking import storyboard
from alchemint_jax.studio.drafts import Draft, with_pictures

_OURS = ("yaml", "zip")
FORMATS = (*_OURS, *EXPORTS)
_LINE = ("prompt", "duration", "fps", "size", "subjects", "events", *KEYFRAMES)

_LEFT_OUT = {
    "keyframes": "keyframes between the first and the last frame are left out",
    "cuts": "cuts between shots are left out",
}


class File(NamedTuple):
    """What is downloaded."""

    name: str
    content: bytes
    remarks: tuple[str, ...] = ()


def export(draft: Draft, name: str, pictures: Path) -> File:
    """A board in a format: a file, or a zip of several.

    A seed and a negative prompt are of rendering, and in none of the formats of others.

    Args:
        draft: the board.
        name: of the format, one of `FORMATS`.
        pictures: the folder of its pictures.

    Raises:
        Refused: there is no such format.
        AlchemintError: the board makes no sense, or does not fit the format.
    """
    if name == "yaml":
        return File("board.yaml", to_yaml(draft, "pictures/").encode())
    if name == "zip":
        return File("board.zip", zipped(draft, pictures))
    if name not in EXPORTS:
        raise Refused(f"there is no such format; known: {', '.join(FORMATS)}", 404)
    storyboard(draft, pictures)  # its errors name fields, not lines of a file
    kept = with_pictures({k: draft[k] for k in _LINE if k in draft}, lambda n: str(pictures / n))
    line = {"id": "board", **kept}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "boards.jsonl"
        source.write_text(json.dumps(line), "utf-8")
        made = export_boards(source, name, Path(folder) / "out", Options())
        files = sorted(path for path in made.folder.rglob("*") if path.is_file())
        remarks = (*made.remarks, *(text for field, text in _LEFT_OUT.items() if draft.get(field)))
        if len(files) == 1:
            return File(files[0].name, files[0].read_bytes(), remarks)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for path in files:
                file.write(path, path.relative_to(made.folder).as_posix())
    return File(f"board-{name}.zip", buffer.getvalue(), remarks)
