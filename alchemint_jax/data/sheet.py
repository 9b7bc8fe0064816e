"""A picture of a dataset for human eyes: frames, references, captions and the true intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alchemint_jax import media
from alchemint_jax.errors import DataError
from alchemint_jax.lettering import fitted
from alchemint_jax.worlds.sprites.builder import open_split

COLUMNS = 11
_MARGIN, _GAP, _TEXT, _BAR, _BAR_GAP, _EVENT = 24, 4, 24, 10, 4, 18
_INK, _FAINT, _TRACK = (24, 26, 31), (122, 128, 138), (232, 235, 240)
# Told apart by people with the usual colour-blindnesses too (Okabe and Ito 2008).
_BARS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))


def write_sheet(
    data_dir: Path | str, out_png: Path | str, rows: int = 12, split: str = "train"
) -> Path:
    """Draws the first `rows` clips of a dataset written by `write_sprites` as a PNG.

    Each row shows the caption, 11 frames evenly spaced over the clip, under them a bar for every
    subject that covers exactly the frames it is on screen, one for every event with its text, and
    at the right a reference of every subject, framed in the colour of its bar. Raises DataError if
    there is no such dataset.
    """
    source = open_split(data_dir, split)
    if rows < 1:
        raise DataError(f"a sheet needs at least one row, got {rows}")
    drawn = [_row(source[i]) for i in range(min(rows, len(source)))]
    title = f"timed_sprites, {split}, {len(source)} clips"
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
    video, references = example["video"], example["references"]
    frames, size = video.shape[0], video.shape[1]
    count, slots = int(example["n_subjects"]), len(references)
    strip = COLUMNS * (size + _GAP)
    pitch = size + 24  # of the references, wide enough for their words
    left = strip + 4 * _GAP + (pitch - size) // 2
    times = example.get("event_intervals", np.zeros((0, 2), np.int32))
    events = [(text, *span) for text, span in zip(example.get("events", []), times, strict=True)]
    events = [(text, start, end) for text, start, end in events if end > start]
    bars = count * (_BAR + _BAR_GAP)
    below = max(bars + (_EVENT if events else 0), 18)
    row = Image.new("RGB", (left + slots * pitch, _TEXT + size + 8 + below), "white")
    draw = ImageDraw.Draw(row)
    caption, font, _ = fitted(example["caption"], 15, f"clip {int(example['index'])}")
    draw.text((0, 0), caption, fill=_INK, font=font)
    index, fps = int(example["index"]), float(example["fps"])
    note = f"clip {index}   {(frames - 1) / fps:g} s at {fps:g} fps"
    draw.text((strip, 3), note, fill=_FAINT, font=_font(12), anchor="ra")

    # Time runs evenly over the strip; a column shows the middle frame of the stretch it covers.
    for column in range(COLUMNS):
        frame = int((column + 0.5) * frames / COLUMNS)
        row.paste(Image.fromarray(video[frame]), (column * (size + _GAP) + _GAP // 2, _TEXT))
    for slot in range(count):
        color = _BARS[slot % len(_BARS)]
        top = _TEXT + size + 8 + slot * (_BAR + _BAR_GAP)
        draw.rectangle((0, top, strip - 1, top + _BAR - 1), fill=_TRACK)
        for start, end in example["intervals"][slot]:
            if end > start:
                box = (start / frames * strip, top, end / frames * strip - 1, top + _BAR - 1)
                draw.rectangle(box, fill=color)
        at = left + slot * pitch
        row.paste(Image.fromarray(references[slot, 0]), (at, _TEXT))
        draw.rectangle((at - 1, _TEXT - 1, at + size, _TEXT + size), outline=color, width=2)
        word, font, _ = fitted(example["words"][slot], 12, f"subject {slot}")
        draw.text((at + size / 2, _TEXT + size + 5), word, fill=color, font=font, anchor="ma")
    for number, (text, start, end) in enumerate(events):
        at, until = (frame / frames * strip for frame in (start, end))
        top = _TEXT + size + 8 + bars
        draw.rectangle((at, top, until - 1, top + _EVENT - 3), fill=_TRACK)
        text, font, _ = fitted(text, 11, f"event {number}")
        draw.text(((at + until) / 2, top + 1), text, fill=_INK, font=font, anchor="ma")
    return row


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
