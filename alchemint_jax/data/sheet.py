"""A picture of a dataset for human eyes: frames, references, captions and the true intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from alchemint_jax import media
from alchemint_jax.data import clips, references
from alchemint_jax.data.sources import AnyClip, open_clips
from alchemint_jax.errors import DataError
from alchemint_jax.lettering import cut_to, fitted
from alchemint_jax.scene.scene import Event, Scene

COLUMNS = 11
LARGEST = 128
"""Pixels, the longer side of a frame that is drawn; smaller ones are drawn as they are."""
_MARGIN, _GAP, _TEXT, _BAR, _BAR_GAP, _EVENT = 24, 4, 24, 10, 4, 18
_WORD = 24  # pixels between two references, so that their words have room
_INK, _FAINT, _TRACK = (24, 26, 31), (122, 128, 138), (232, 235, 240)
# Told apart by people with the usual colour-blindnesses too (Okabe and Ito 2008).
_BARS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))


def write_sheet(
    data_dir: Path | str, out_png: Path | str, rows: int = 12, split: str = "train"
) -> Path:
    """Draws the first `rows` clips of a dataset, of one shape or of any (see `data.sources`).

    Each row shows the caption, 11 frames evenly spaced over the clip, under them a bar for every
    subject that covers exactly the frames it is on screen, one for every event with its text, a
    line at every cut, and at the right a reference of every subject, framed in the colour of its
    bar. Raises DataError if there is no such dataset.
    """
    source = open_clips(data_dir, split)
    if rows < 1:
        raise DataError(f"a sheet needs at least one row, got {rows}")
    drawn = [_row(source[i]) for i in range(min(rows, len(source)))]
    title = f"{clips.name(data_dir)}, {split}, {len(source)} clips"
    height = sum(row.height for row in drawn) + _MARGIN * (len(drawn) + 1) + _TEXT
    width = max([row.width for row in drawn], default=480) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(sheet).text((_MARGIN, 14), title, fill=_FAINT, font=_font(14))
    top = _MARGIN + _TEXT
    for row in drawn:
        sheet.paste(row, (_MARGIN, top))
        top += row.height + _MARGIN
    out = Path(out_png)
    media.write_png(out, sheet)
    return out


def _row(clip: AnyClip) -> Image.Image:
    scene = clip.scene()  # no autoencoder has seen it yet
    frames, (height, width) = _frames(clip, scene)
    pictures = _pictures(clip, scene, (height, width))
    strip = COLUMNS * (width + _GAP)
    pitch = width + _WORD
    left = strip + 4 * _GAP + (pitch - width) // 2
    bars = len(scene.subjects) * (_BAR + _BAR_GAP)
    below = max(bars + (_EVENT if scene.events else 0), 18)
    size = (left + max(1, len(pictures)) * pitch, _TEXT + height + 8 + below)
    row = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(row)
    caption, font, _ = fitted(scene.caption, 15, scene.id)
    note = f"{scene.id}   {scene.clock.duration:g} s at {scene.clock.fps:g} fps"
    room = strip - draw.textlength(note, font=_font(12)) - 3 * _GAP
    draw.text((0, 0), cut_to(caption, font, room), fill=_INK, font=font)
    draw.text((strip, 3), note, fill=_FAINT, font=_font(12), anchor="ra")
    for column, frame in enumerate(frames):
        row.paste(Image.fromarray(frame), (column * (width + _GAP) + _GAP // 2, _TEXT))
    for slot, (subject, picture) in enumerate(zip(scene.subjects, pictures, strict=True)):
        color = _BARS[slot % len(_BARS)]
        top = _TEXT + height + 8 + slot * (_BAR + _BAR_GAP)
        draw.rectangle((0, top, strip - 1, top + _BAR - 1), fill=_TRACK)
        for a, b in subject.spans:
            start, end = _across((a, b), scene, strip)
            draw.rectangle((start, top, end, top + _BAR - 1), fill=color)
        at = left + slot * pitch
        if picture is not None:
            row.paste(Image.fromarray(picture), (at, _TEXT))
        draw.rectangle((at - 1, _TEXT - 1, at + width, _TEXT + height), outline=color, width=2)
        word, font, _ = fitted(subject.word, 12, f"subject {slot}")
        word = cut_to(word, font, pitch - _GAP)
        draw.text((at + width / 2, _TEXT + height + 5), word, fill=color, font=font, anchor="ma")
    for number, event in enumerate(scene.events):
        _event(draw, event, number, scene, strip, _TEXT + height + 8 + bars)
    for cut in scene.cuts:
        x, _ = _across((cut, cut), scene, strip)
        draw.line((x, _TEXT + height + 4, x, size[1]), fill=_INK)
    return row


def _frames(clip: AnyClip, scene: Scene) -> tuple[list[UInt8[np.ndarray, "h w 3"]], Sequence[int]]:
    """The middle frame of the stretch of time that each column covers, and their size."""
    assert scene.size is not None
    count = scene.clock.frames
    scale = min(1.0, LARGEST / max(scene.size))
    size = (max(1, round(scene.size[0] * scale)), max(1, round(scene.size[1] * scale)))
    wanted = [int((column + 0.5) * count / COLUMNS) for column in range(COLUMNS)]
    return [next(iter(clip.frames(frame, frame + 1, size))) for frame in wanted], size


def _pictures(
    clip: AnyClip, scene: Scene, size: tuple[int, int]
) -> list[UInt8[np.ndarray, "h w 3"] | None]:
    """One of each subject, of it alone where there is such a picture; None where there is none."""
    found: list[Any] = []
    for number in range(len(scene.subjects)):
        own = [one for one in clip.pictures if one.subject == number]
        own.sort(key=lambda one: one.kind != "segment")
        found.append(references.plain(own[0].pixels(), size) if own else None)
    return found


def _across(span: tuple[int, int], scene: Scene, strip: int) -> tuple[float, float]:
    """Where the bar of these frames begins and ends: time runs evenly over the strip."""
    start, end = (frame / scene.clock.frames * strip for frame in span)
    return start, max(start, end - 1)


def _event(
    draw: ImageDraw.ImageDraw, event: Event, number: int, scene: Scene, strip: int, top: int
) -> None:
    for span in event.spans:
        start, end = _across(span, scene, strip)
        draw.rectangle((start, top, end, top + _EVENT - 3), fill=_TRACK)
        text, font, _ = fitted(event.text, 11, f"event {number}")
        text = cut_to(text, font, strip)
        half = font.getlength(text) / 2
        middle = min(max((start + end) / 2, half), strip - half)
        draw.text((middle, top + 1), text, fill=_INK, font=font, anchor="ma")


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
