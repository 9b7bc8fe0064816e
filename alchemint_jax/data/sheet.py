"""A picture of a dataset for human eyes: frames, references, captions and the true intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alchemint_jax import media
from alchemint_jax.data import clips
from alchemint_jax.data.examples import read_scene
from alchemint_jax.errors import DataError
from alchemint_jax.lettering import fitted
from alchemint_jax.scene.clock import Clock

COLUMNS = 11
_MARGIN, _GAP, _TEXT, _BAR, _BAR_GAP, _EVENT = 24, 4, 24, 10, 4, 18
_INK, _FAINT, _TRACK = (24, 26, 31), (122, 128, 138), (232, 235, 240)
# Told apart by people with the usual colour-blindnesses too (Okabe and Ito 2008).
_BARS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))


def write_sheet(
    data_dir: Path | str, out_png: Path | str, rows: int = 12, split: str = "train"
) -> Path:
    """Draws the first `rows` clips of a dataset (see `data.clips`) as a PNG.

    Each row shows the caption, 11 frames evenly spaced over the clip, under them a bar for every
    subject that covers exactly the frames it is on screen, one for every event with its text, and
    at the right a reference of every subject, framed in the colour of its bar. Raises DataError if
    there is no such dataset.
    """
    source = clips.open_split(data_dir, split)
    if rows < 1:
        raise DataError(f"a sheet needs at least one row, got {rows}")
    drawn = [_row(source[i]) for i in range(min(rows, len(source)))]
    title = f"{clips.name(data_dir)}, {split}, {len(source)} clips"
    height = sum(row.height for row in drawn) + _MARGIN * (len(drawn) + 1) + _TEXT
    width = max(row.width for row in drawn) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(sheet).text((_MARGIN, 14), title, fill=_FAINT, font=_font(14))
    top = _MARGIN + _TEXT
    for row in drawn:
        sheet.paste(row, (_MARGIN, top))
        top += row.height + _MARGIN
    out = Path(out_png)
    media.write_png(out, sheet)
    return out


def _row(example: dict[str, Any]) -> Image.Image:
    video, slots = example["video"], len(example["references"])
    frames, height, width = video.shape[:3]
    clock = Clock(float(example["fps"]), frames, stride=1)  # no autoencoder has seen it yet
    scene = read_scene(example, clock)
    strip = COLUMNS * (width + _GAP)
    pitch = width + 24  # of the references, wide enough for their words
    left = strip + 4 * _GAP + (pitch - width) // 2
    bars = len(scene.subjects) * (_BAR + _BAR_GAP)
    below = max(bars + (_EVENT if scene.events else 0), 18)
    row = Image.new("RGB", (left + slots * pitch, _TEXT + height + 8 + below), "white")
    draw = ImageDraw.Draw(row)
    caption, font, _ = fitted(scene.caption, 15, scene.id)
    draw.text((0, 0), caption, fill=_INK, font=font)
    note = f"{scene.id}   {clock.duration:g} s at {clock.fps:g} fps"
    draw.text((strip, 3), note, fill=_FAINT, font=_font(12), anchor="ra")

    # Time runs evenly over the strip; a column shows the middle frame of the stretch it covers.
    for column in range(COLUMNS):
        frame = int((column + 0.5) * frames / COLUMNS)
        row.paste(Image.fromarray(video[frame]), (column * (width + _GAP) + _GAP // 2, _TEXT))
    for slot, subject in enumerate(scene.subjects):
        color = _BARS[slot % len(_BARS)]
        top = _TEXT + height + 8 + slot * (_BAR + _BAR_GAP)
        draw.rectangle((0, top, strip - 1, top + _BAR - 1), fill=_TRACK)
        for start, end in subject.spans:
            box = (start / frames * strip, top, end / frames * strip - 1, top + _BAR - 1)
            draw.rectangle(box, fill=color)
        at = left + slot * pitch
        picture = np.asarray(subject.pictures[0])
        if picture.shape[0] > height or picture.shape[1] > width:
            picture = subject.picture((height, width))
        row.paste(Image.fromarray(picture), (at, _TEXT))
        draw.rectangle((at - 1, _TEXT - 1, at + width, _TEXT + height), outline=color, width=2)
        word, font, _ = fitted(subject.word, 12, f"subject {slot}")
        draw.text((at + width / 2, _TEXT + height + 5), word, fill=color, font=font, anchor="ma")
    for number, event in enumerate(scene.events):
        for start, end in event.spans:
            at, until = (frame / frames * strip for frame in (start, end))
            top = _TEXT + height + 8 + bars
            draw.rectangle((at, top, until - 1, top + _EVENT - 3), fill=_TRACK)
            text, font, _ = fitted(event.text, 11, f"event {number}")
            draw.text(((at + until) / 2, top + 1), text, fill=_INK, font=font, anchor="ma")
    return row


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
