"""Videos as players show them: upright, on white, at a constant rate. Nothing here needs JAX."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from alchemint_jax.errors import DataError

_MOST_SLOTS = 100  # for every frame there is; more come of times that are damaged


def read_video(
    path: str | os.PathLike[str],
) -> tuple[UInt8[np.ndarray, "f h w 3"], float]:
    """Read all frames of a video, and its frames per second.

    The turns and flips that the file asks for are applied, and transparency becomes white. Where
    frames are not evenly spaced, as those of phones and of recorded screens often are, they are
    brought to the average rate: each is what is on screen in the middle of its time. Time begins
    with the first frame. Raises `DataError`.
    """
    import av  # a quarter of a second that only videos should cost
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    try:
        with av.open(os.fspath(path)) as container:
            streams = [s for s in container.streams.video if not is_cover(s)]
            if not streams:
                raise DataError(f"{path} holds no video")
            stream = streams[0]
            frames: list[np.ndarray] = []
            times: list[Fraction | None] = []
            size = None
            for frame in container.decode(stream):
                # A stream may change its size on the way; what is read keeps the first.
                size = size or (frame.width, frame.height)
                frames.append(as_shown(frame, *size, reformatter=reformatter))
                base = frame.time_base
                times.append(None if frame.pts is None or not base else frame.pts * base)
            fps = stream.average_rate or stream.guessed_rate
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or error
        raise DataError(
            f"cannot read the video {path}: {reason}; it is damaged, cut short, or no video"
        ) from error
    if not frames or not fps:
        raise DataError(f"cannot read the video {path}: it holds no frames")
    order = np.arange(len(frames))
    known = [time for time in times if time is not None]
    if len(known) == len(frames):
        order = constant_rate(np.array([float(time - known[0]) for time in known]), float(fps))
    if len(order) > _MOST_SLOTS * len(frames):
        raise DataError(
            f"cannot read the video {path}: its {len(frames)} frames are said to last "
            f"{len(order) / fps:.0f} seconds; write it again, for example with ffmpeg"
        )
    return np.stack([frames[i] for i in order]), float(fps)


def constant_rate(times: Float[np.ndarray, f], fps: float) -> Int[np.ndarray, f2]:
    """Which frame is on screen in the middle of each of the slots of 1 / fps seconds.

    Frames that are at most half a slot from where they belong stay as they are: file formats round
    times, some to milliseconds. The last frame is taken to stay for one slot.

    Args:
        times: when each frame is shown, in seconds from the first.
        fps: slots per second.
    """
    places = times * fps
    if np.all(np.abs(places - np.arange(len(times))) <= 0.5):
        return np.arange(len(times))
    order = np.argsort(places, kind="stable")
    slots = max(1, round(places[order[-1]] + 1))
    shown = np.searchsorted(places[order], np.arange(slots) + 0.5, side="right") - 1
    return order[np.maximum(shown, 0)]


def is_cover(stream: Any) -> bool:
    """Whether a stream is the picture on the cover of a piece of music."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def as_shown(
    frame: Any, width: int, height: int, *, area: bool = False, reformatter: Any = None
) -> np.ndarray:
    """RGB of a decoded frame, as it is to be shown.

    Args:
        frame: of PyAV.
        width: of the result, before the frame is turned.
        height: likewise.
        area: a faster way to make it smaller.
        reformatter: a `VideoReformatter` of PyAV that frames of one stream share. One for each
            frame, with threads of its own, takes longer than the work itself.
    """
    from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

    alpha = any(component.is_alpha for component in frame.format.components)
    image = (
        (reformatter or VideoReformatter())
        .reformat(
            frame,
            width,
            height,
            "rgba" if alpha else "rgb24",
            # Frames that do not say are BT.601, as swscale and most players assume.
            src_colorspace=Colorspace.ITU709 if frame.colorspace == 1 else None,
            interpolation=Interpolation.AREA if area else None,
        )
        .to_ndarray()
    )
    if alpha:
        cover = image[..., 3:].astype(np.uint16)
        image = ((image[..., :3] * cover + 255 * (255 - cover) + 127) // 255).astype(np.uint8)
    return _upright(image, _display_matrix(frame))


def is_turned(frame: Any) -> bool:
    """Whether a decoded frame is to be turned or flipped before it is shown."""
    a, b, _, c, d = _display_matrix(frame)[:5]
    return not (a > 0 and d > 0 and b == c == 0)


def _display_matrix(frame: Any) -> tuple[int, ...]:
    """What turns a frame as it is to be shown: 3 x 3, fixed point, by rows."""
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    identity = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    return identity if data is None else tuple(np.frombuffer(bytes(data), np.int32).tolist())


def _upright(image: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """A frame turned by quarters and flipped: (x, y) is shown at (a x + c y, b x + d y)."""
    a, b, _, c, d = matrix[:5]
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    if a < 0:
        image = image[:, ::-1]
    return image[::-1] if d < 0 else image
