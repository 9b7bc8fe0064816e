"""Videos and pictures on disk, and the contact sheet that shows what appears when.

Files are written whole or not at all: the bytes go to a temporary sibling which then takes the
name. Nothing here needs JAX.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import secrets
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from alchemint_jax.errors import AlchemintError
from alchemint_jax.lettering import cut_to, fitted, shortened
from alchemint_jax.places import local
from alchemint_jax.reading import read_video as read_video
from alchemint_jax.scene.scene import Scene, Subject
from alchemint_jax.scene.spans import Spans

AnyPath = str | os.PathLike[str]

# ------------------------------------------------------------------------------------- writing


def check_writable(path: AnyPath, suffixes: Sequence[str] = ()) -> Path:
    """Make sure a file can be written at `path`, before hours are spent on its contents.

    The folder must exist, or be missing with an existing parent (it is then made on writing): a
    longer missing path is more likely a typing error. `suffixes`, such as ``[".mp4"]``, are the
    endings allowed. Nothing is left behind. Raises `AlchemintError`.
    """
    path = local(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise AlchemintError(f"cannot write {path}: the name must end in {' or '.join(suffixes)}")
    try:
        if path.is_dir():
            raise AlchemintError(f"cannot write {path}: it is a folder; name a file inside it")
        if path.exists() and not path.is_file():
            raise AlchemintError(f"cannot write {path}: it is not an ordinary file")
        if path.exists() and not os.access(path, os.W_OK):
            raise AlchemintError(f"cannot write {path}: the file is read-only; choose another name")
        folder = path.absolute().parent
        _probe(_existing_folder(path, folder, folder.parent))
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def check_folder(path: AnyPath) -> Path:
    """Make sure files can be written into the folder `path`, or that it can be made.

    Folders above it that are missing can be made too: a command that makes a folder makes them.
    Nothing is left behind. Raises `AlchemintError`.
    """
    path = local(path)
    try:
        if path.exists() and not path.is_dir():
            raise AlchemintError(f"cannot write into {path}: it is a file, not a folder")
        _probe(_existing_folder(path, path, *path.absolute().parents))
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _existing_folder(path: Path, *candidates: Path) -> Path:
    """The first of `candidates` that is there."""
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
        if candidate.exists():
            raise AlchemintError(f"cannot write {path}: {candidate} is a file, not a folder")
    raise AlchemintError(
        f"cannot write {path}: the folder {candidates[-1]} does not exist; "
        "create it or correct the path"
    )


def _probe(folder: Path) -> None:
    """Create and remove a file: permissions alone do not tell (read-only disks, quotas, root)."""
    probe = _temporary(folder)
    with open(probe, "xb"):
        pass
    probe.unlink(missing_ok=True)  # another run may have taken it for what a killed one left


def _temporary(folder: Path) -> Path:
    return folder / f".{secrets.token_hex(6)}.tmp"


def _cannot_write(path: Path, error: OSError) -> AlchemintError:
    return AlchemintError(
        f"cannot write {path}: {error.strerror or error}; "
        "choose another place, or free space and check permissions there"
    )


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write a file whole or not at all; its folder is made if the folder's parent exists.

    Raises `AlchemintError`, leaving an earlier file at `path` as it was.
    """
    path = check_writable(path)
    temporary = None
    try:
        target = Path(os.path.realpath(path))  # a link keeps pointing where it pointed
        target.parent.mkdir(exist_ok=True)
        temporary = _temporary(target.parent)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_png(
    path: AnyPath, image: Image.Image | UInt8[np.ndarray, "h w 3"], quick: bool = False
) -> None:
    """Write a picture as PNG, whole or not at all. Raises `AlchemintError`.

    `quick` takes a fraction of the time, for a file that is a little larger.
    """
    check_writable(path, [".png"])
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=not quick, compress_level=3)
    write_bytes(path, buffer.getvalue())


# -------------------------------------------------------------------------------------- videos


def write_video(
    path: AnyPath,
    frames: UInt8[np.ndarray, "f h w 3"],
    fps: int | float,
    upscale: int = 1,
    preset: str = "medium",
) -> None:
    """Write RGB frames as H.264 in mp4 (yuv420p, which every player reads), visually lossless.

    `upscale` repeats every pixel that many times in both directions: small videos keep their
    colours, which are stored at half resolution. Odd sizes gain a copy of their last row or
    column, as the format needs even ones. `preset` is x264's: faster ones look a little worse.
    Raises `AlchemintError`, leaving no partial file.
    """
    check_writable(path, [".mp4"])
    if len(frames) == 0:
        raise AlchemintError(f"cannot write {path}: there are no frames")
    if not (math.isfinite(fps) and fps > 0):
        raise AlchemintError(f"cannot write {path}: fps must be positive and finite, got {fps}")
    if upscale < 1:
        raise AlchemintError(f"cannot write {path}: upscale must be at least 1, got {upscale}")
    write_bytes(path, encode_mp4(frames, fps, upscale, preset))


SAME_BYTES = "cpu-independent=1"
"""Without it x264 may write other bytes for the same frames, even twice in one process."""


def encode_mp4(
    frames: UInt8[np.ndarray, "f h w 3"],
    fps: Fraction | int | float,
    upscale: int = 1,
    preset: str = "medium",
) -> bytes:
    """The bytes of the file that `write_video` writes."""
    import av  # a quarter of a second that only videos should cost
    from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

    reformatter = VideoReformatter()  # one for all frames: it is slow to make
    height, width = (upscale * size for size in frames.shape[1:3])
    buffer = io.BytesIO()  # encoded video is small next to the frames already in memory
    with av.open(buffer, "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1001)
        options = {"crf": "12", "preset": preset, "x264-params": SAME_BYTES}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        # Untagged video is shown in whichever of two colour spaces the player prefers.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in frames:
            frame = frame.repeat(upscale, axis=0).repeat(upscale, axis=1)
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            image = av.VideoFrame.from_ndarray(frame, format="rgb24")
            image = reformatter.reformat(image, format="yuv420p", dst_colorspace=Colorspace.ITU709)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return buffer.getvalue()


# ------------------------------------------------------------------------------- contact sheet

Color = tuple[int, int, int]

# Okabe and Ito's palette (2008), which colour-blind readers can tell apart.
PALETTE: tuple[Color, ...] = (
    (213, 94, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
_INK, _SOFT, _FAINT, _PAPER = (32, 36, 42), (112, 118, 128), (226, 229, 233), (255, 255, 255)
_CELL, _GAP, _MARGIN = 152, 10, 28  # pixels: largest side of a frame, between frames, around all
_ROW, _THUMB, _TALL, _THIN = 64, 46, 30, 10  # pixels: a subject's row, its picture, the two bars


def contact_sheet(
    frames: UInt8[np.ndarray, "f h w 3"],
    scene: Scene,
    measured: Sequence[Spans] | None = None,
    colors: Sequence[Color] | None = None,
    asked: str = "asked for",
) -> Image.Image:
    """Draw a strip of frames and, on the same time axis, when each subject was asked for.

    `measured` holds, for each subject of the scene, the frames in which it was seen, and
    `colors` its RGB colour; `asked` is what the legend calls the scene's own intervals. The
    middle of every frame of the strip stands at its time, so what a column shows can be read
    off the bars below it. Each event has a row of its own, below the subjects'. Letters that no
    font here has are left out, which the sheet then says; a subject that would have none left
    is "subject" and its place in the scene, from 0.
    Returns an RGB picture about 1500 pixels wide. Raises `ValueError` if the lists disagree.
    """
    clock, title = dataclasses.replace(scene.clock, frames=len(frames)), scene.caption
    names = [subject.word for subject in scene.subjects]
    asked_rows = [clock.seconds(subject.spans) for subject in scene.subjects]
    seen = [Spans()] * len(names) if measured is None else measured
    measured_rows = [clock.seconds(spans) for spans in seen]
    events = [(event.text, span) for event in scene.events for span in clock.seconds(event.spans)]
    tints = list(colors) if colors is not None else [PALETTE[i % 6] for i in range(len(names))]
    if not len(names) == len(measured_rows) == len(tints):
        raise ValueError("measured and colors must have one entry for each subject")

    count = len(frames)
    seconds = clock.duration or clock.second(1)
    columns = sheet_columns(count)
    scale = _CELL / max(frames.shape[1:3])
    cell_h, cell_w = (max(1, round(scale * size)) for size in frames.shape[1:3])
    small = ImageFont.load_default(size=16)
    lettered = [fitted(name, 20, f"subject {i}") for i, name in enumerate(names)]
    labels = [(shortened(name), font) for name, font, _ in lettered]
    spoken = [fitted(said, 16, f"event {i}") for i, (said, _) in enumerate(events)]
    title, big, whole = fitted(title[:500], 22)
    whole = whole and all(complete for _, _, complete in (*lettered, *spoken))
    label_w = _THUMB + 14 + max([font.getlength(name) for name, font in labels], default=0)
    left = _MARGIN + round(max(label_w + 24 - cell_w / 2, 0)) + cell_w // 2  # x of time zero
    length = (len(columns) - 1) * (cell_w + _GAP) or cell_w
    right = left + length
    strip_y = _MARGIN + (38 if title else 0)
    rows_y = strip_y + cell_h + 46
    axis_y = rows_y + _ROW * (len(names) + len(events)) + 6
    size = (right + cell_w // 2 + _MARGIN, axis_y + 34 + 44)

    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)

    def at(second: int | float) -> int | float:
        return left + length * min(max(second / seconds, 0.0), 1.0)

    if title:
        start = left - cell_w // 2
        draw.text((start, _MARGIN - 6), cut_to(title, big, size[0] - _MARGIN - start), _INK, big)
    for index in columns:
        x = round(at(clock.second(index)))
        draw.line([(x, strip_y + cell_h + 30), (x, axis_y)], _FAINT, 1)
        sheet.paste(_resized(frames[index], (cell_w, cell_h)), (x - cell_w // 2, strip_y))
        stamp = f"{clock.second(index):.2f}".rstrip("0").rstrip(".") + " s"
        draw.text((x, strip_y + cell_h + 8), stamp, _SOFT, small, anchor="ma")

    for row, ((label, font), tint) in enumerate(zip(labels, tints, strict=True)):
        middle = rows_y + _ROW * row + _ROW // 2
        if row:
            draw.line([(_MARGIN, middle - _ROW // 2), (right, middle - _ROW // 2)], _FAINT, 1)
        _thumbnail(sheet, scene.subjects[row], tint, (_MARGIN, middle - _THUMB // 2))
        draw.text((_MARGIN + _THUMB + 14, middle), label, _INK, font, anchor="lm")
        for start, end in asked_rows[row]:
            _bar(sheet, at(start), at(end), middle, _TALL, _mix(tint, 0.34))
        for start, end in measured_rows[row]:
            _bar(sheet, at(start), at(end), middle, _THIN, _mix(tint, 1.0))

    for row, ((_, (start, end)), (said, font, _)) in enumerate(
        zip(events, spoken, strict=True), len(names)
    ):
        middle = rows_y + _ROW * row + _ROW // 2
        _bar(sheet, at(start), at(end), middle, _TALL, _mix(_SOFT, 0.25))
        said = cut_to(said, font, right - left)
        half = font.getlength(said) / 2
        centre = min(max((at(start) + at(end)) / 2, left + half), max(right - half, left + half))
        draw.text((centre, middle), said, _INK, font, anchor="mm")

    for cut in scene.cuts:
        x = round(at(clock.second(cut - 0.5)))
        draw.line([(x, strip_y + cell_h + 30), (x, axis_y)], _INK, 2)

    draw.line([(left, axis_y), (right, axis_y)], _SOFT, 2)
    step = _tick(seconds)
    for tick in range(int(seconds / step + 1e-6) + 1):
        x = round(at(tick * step))
        draw.line([(x, axis_y), (x, axis_y + 7)], _SOFT, 2)
        draw.text((x, axis_y + 11), f"{tick * step:g} s", _SOFT, small, anchor="ma")
    _legend(sheet, right, size[1] - 26, asked, measured is not None, small)
    if not whole:
        note = "No font here has all letters of these texts: see the storyboard."
        draw.text((_MARGIN, size[1] - 26), note, _SOFT, small, anchor="lm")
    return sheet


def sheet_columns(count: int) -> list[int]:
    """Between 8 and 11 evenly spaced frames, preferring a number that divides the clip exactly."""
    exact = [n for n in (9, 11, 10, 8) if (count - 1) % (n - 1) == 0]
    n = min(count, exact[0] if exact else 9)
    return [round(i * (count - 1) / max(n - 1, 1)) for i in range(n)]


def _tick(seconds: int | float) -> float:
    """A round step that gives at most nine ticks."""
    power = 10.0 ** math.floor(math.log10(seconds / 8))
    return next(power * k for k in (1, 2, 5, 10) if seconds / (power * k) <= 8.001)


def _mix(color: Color, weight: float) -> Color:
    r, g, b = (round(weight * ink + (1 - weight) * 255) for ink in color)
    return (r, g, b)


def _resized(frame: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Enlarge small frames by whole pixels first, so that they stay sharp and even."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    whole = math.ceil(max(size[0] / image.width, 1))
    if whole > 1:
        image = image.resize((image.width * whole, image.height * whole), Image.Resampling.NEAREST)
    return image.resize(size, Image.Resampling.LANCZOS)


def _thumbnail(sheet: Image.Image, subject: Subject, tint: Color, at: tuple[int, int]) -> None:
    x, y = at
    draw = ImageDraw.Draw(sheet)
    draw.rectangle([x - 3, y - 3, x + _THUMB + 2, y + _THUMB + 2], outline=tint, width=2)
    if len(subject.pictures) == 0:
        draw.rectangle([x, y, x + _THUMB - 1, y + _THUMB - 1], fill=_mix(tint, 0.34))
        return
    square = Image.fromarray(subject.picture((2 * _THUMB, 2 * _THUMB)))
    sheet.paste(square.resize((_THUMB, _THUMB), Image.Resampling.LANCZOS), at)


def _bar(
    sheet: Image.Image, start: int | float, end: int | float, middle: int, thick: int, color: Color
) -> None:
    """A rounded bar; drawn four times as large and reduced, as Pillow does not smooth edges."""
    x, width = round(start), max(round(end) - round(start), 2)
    mask = Image.new("L", (4 * width, 4 * thick), 0)
    radius = min(4 * 6, 2 * thick, 2 * width)
    box = [0, 0, 4 * width - 1, 4 * thick - 1]
    ImageDraw.Draw(mask).rounded_rectangle(box, radius, fill=255)
    mask = mask.resize((width, thick), Image.Resampling.BOX)
    sheet.paste(color, (x, middle - thick // 2), mask)


def _legend(
    sheet: Image.Image,
    right: int,
    y: int,
    asked: str,
    measured: bool,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    draw = ImageDraw.Draw(sheet)
    entries = [(asked, _TALL - 12, _mix(_SOFT, 0.4))]
    if measured:
        entries.append(("measured", _THIN, _SOFT))
    for label, thick, color in reversed(entries):
        start = right - round(font.getlength(label))
        draw.text((start, y), label, _SOFT, font, anchor="lm")
        _bar(sheet, start - 46, start - 10, y, thick, color)
        right = start - 70
