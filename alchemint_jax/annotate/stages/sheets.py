"""A contact sheet of each scene: frames with boxes, and when everyone is on screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from alchemint_jax import media
from alchemint_jax.annotate.rows import Row, clock_of
from alchemint_jax.annotate.stages.detect import scene_frames
from alchemint_jax.annotate.stages.pictures import box_at
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Spans

FOLDER = "sheets"
_SIDE = 304  # pixels, of the frames that are drawn on


def sheet(row: Row, base: Path, out: Path) -> Row:
    """Writes DIR/sheets/ID.png."""
    wanted = media.sheet_columns(row["frames"])
    frames: np.ndarray | None = None
    for number, image in scene_frames(row, base, wanted, _SIDE):
        if frames is None:  # memory is taken only for the frames that are written
            frames = np.zeros((row["frames"], *image.shape), np.uint8)
        frames[number] = _boxed(image, row, number)
    assert frames is not None  # a scene has frames
    picture = media.contact_sheet(frames, scene_of(row, out), colors=colors(row), asked="on screen")
    (out / FOLDER).mkdir(exist_ok=True)
    media.write_png(out / FOLDER / f"{row['id']}.png", picture, quick=True)
    return {**row, "sheet": f"{FOLDER}/{row['id']}.png"}


def scene_of(row: Row, out: Path) -> Scene:
    """The scene that a row says."""
    subjects = tuple(
        Subject(
            subject["word"],
            Spans(subject["frames"]),
            tuple(out / p["file"] for p in subject["pictures"] if p["kind"] == "segment")
            or tuple(out / p["file"] for p in subject["pictures"]),
        )
        for subject in row["subjects"]
    )
    events = tuple(Event(event["text"], Spans(event["frames"])) for event in row["events"])
    return Scene(row["id"], row["caption"], clock_of(row), subjects, events)


def colors(row: Row) -> list[media.Color]:
    """A colour for each subject."""
    return [media.PALETTE[i % len(media.PALETTE)] for i in range(len(row["subjects"]))]


def _boxed(image: np.ndarray, row: Row, frame: int) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(picture)
    scale = image.shape[1] / row["size"][1]
    for subject, color in zip(row["subjects"], colors(row), strict=True):
        if (box := box_at(subject, frame)) is not None:
            left, top, right, bottom = (scale * x for x in box)
            draw.rectangle(
                (left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=3
            )
    return np.asarray(picture)
