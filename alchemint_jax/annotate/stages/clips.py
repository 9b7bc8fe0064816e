"""A video file of each scene: copied where its source is H.264 already, or encoded again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media, reading
from alchemint_jax.annotate import timeline
from alchemint_jax.annotate.rows import Row
from alchemint_jax.annotate.settings import Clips
from alchemint_jax.errors import DataError

FOLDER = "clips"
_ITU709 = 1  # numbers of FFmpeg: of a matrix of colours ...
_UNSAID, _MPEG = 0, 1  # ... and of ranges of brightness
_ODD = 2  # sizes of H.264 with colours at half resolution are multiples of this


def clip(row: Row, base: Path, out: Path, settings: Clips) -> Row:
    """Writes DIR/clips/ID.mp4, whole or not at all; none where there is nobody to keep."""
    if not row["subjects"]:
        return row
    path = out / FOLDER / f"{row['id']}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.mp4")
    try:
        if is_copied(row, settings):
            _copy(base / row["source"], temporary)
        else:
            _encode(row, base, temporary, settings)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return {**row, "clip": f"{FOLDER}/{path.name}"}


def is_copied(row: Row, settings: Clips) -> bool:
    """Whether the packets of the source are those of the clip: nothing about it changes."""
    return bool(
        row["whole"]
        and row["even"]
        and not row["turned"]
        and row["codec"] == "h264"
        and row["pixels"] in ("yuv420p", "yuvj420p")
        and not (settings.side and min(row["size"]) > settings.side)
        and not any(size % _ODD for size in row["size"])
        and not row["remarks"]
    )


def _copy(source: Path, path: Path) -> None:
    import av

    try:
        with av.open(str(source)) as read, av.open(str(path), "w", format="mp4") as write:
            stream = read.streams.video[0]
            made = write.add_stream_from_template(stream)
            first: int | None = None
            for packet in read.demux(stream):
                if packet.dts is None:
                    continue
                first = packet.dts if first is None else first
                packet.stream = made
                write.mux(packet)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"cannot be copied: {error.strerror or error}") from error


def _encode(row: Row, base: Path, path: Path, settings: Clips) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    height, width = _size(row["size"], settings.side)
    try:
        with av.open(str(path), "w", format="mp4") as container:
            options = {"crf": str(settings.quality), "preset": settings.preset, "threads": "1"}
            options["x264-params"] = ":".join(filter(None, [media.SAME_BYTES, settings.x264]))
            stream: Any = container.add_stream("libx264", rate=_rate(row), options=options)
            stream.width, stream.height = width + width % _ODD, height + height % _ODD
            stream.pix_fmt = "yuv420p"
            stream.codec_context.colorspace = Colorspace.ITU709
            stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
            stream.codec_context.color_range = ColorRange.MPEG
            for image in _images(row, base, (height, width)):
                container.mux(stream.encode(image))
            container.mux(stream.encode())
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"cannot be written: {error.strerror or error}") from error


def _images(row: Row, base: Path, size: tuple[int, int]) -> Iterator[Any]:
    """The frames of a scene as they are encoded: those of its source, if they may stay as they are.

    The way through RGB and back takes as long as all else about a frame, and its colours are not
    quite the same.
    """
    import av
    from av.video.frame import PictureType
    from av.video.reformatter import Colorspace, VideoReformatter

    scale, reformatter = timeline.scaler(max(size)), VideoReformatter()  # one: it is slow to make
    odd = ((0, size[0] % _ODD), (0, size[1] % _ODD), (0, 0))
    numbers = range(row["start_frame"], row["start_frame"] + row["frames"])
    for number, frame in timeline.decoded(base / row["source"], numbers):
        if _may_stay(frame, size):
            frame.pict_type = PictureType.NONE  # the encoder says what refers to what
            frame.pts, frame.time_base = number - numbers.start, 1 / _rate(row)
            yield frame
            continue
        padded = np.pad(scale(frame), odd, mode="edge")
        image = av.VideoFrame.from_ndarray(padded, format="rgb24")
        image = reformatter.reformat(image, format="yuv420p", dst_colorspace=Colorspace.ITU709)
        image.pts, image.time_base = number - numbers.start, 1 / _rate(row)
        yield image


def _may_stay(frame: Any, size: tuple[int, int]) -> bool:
    """Whether a decoded frame is of the size, the format and the colours that a clip has."""
    return bool(
        (frame.height, frame.width) == size
        and not any(side % _ODD for side in size)
        and frame.format.name == "yuv420p"
        and frame.colorspace == _ITU709
        and frame.color_range in (_UNSAID, _MPEG)
        and not frame.interlaced_frame
        and not reading.is_turned(frame)
    )


def _rate(row: Row) -> Fraction:
    return Fraction(row["fps"]).limit_denominator(1001)


def _size(size: list[int], side: int) -> tuple[int, int]:
    """Height and width of the clip."""
    height, width = size
    if not side or min(size) <= side:
        return height, width
    longest = round(max(size) * side / min(size))
    return timeline.fitted((height, width), longest)
