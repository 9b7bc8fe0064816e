"""The frames of a video file: which there are, when each is shown, and any of them, in order.

A video of a changing rate is brought to its average rate, as `reading.read_video` does: frame i of
a timeline is what is on screen in the middle of its time. Frames are decoded one after the other
and dropped again, so memory is that of a few frames, however long the file is; those of a short
file are kept until another one is read.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import reading
from alchemint_jax.errors import DataError

_KEPT = 400_000_000  # bytes of all frames of a video that are kept: 9 s of 1280 x 720
_MOST_SLOTS = 100  # for every frame there is; more come of times that are damaged


@dataclass(frozen=True, eq=False)
class Timeline:
    """When the frames of a file are shown.

    Attributes:
        fps: frames per second.
        stamps: int64 [f], the time stamp of the file's frame that each frame of the timeline is;
            not its number where the rate changes, for some are repeated and others left out.
        keys: time stamps of key frames, sorted: decoding can start there.
        size: height and width as shown.
        even: whether each frame of the file is there once, in order.
        counted: whether stamps are numbers of frames, because the file has no times.
        codec: such as "h264".
        pixels: such as "yuv420p".
        held: bytes of a decoded frame.
        turned: whether the file asks for a turn or a flip.
        remarks: what is odd about it, sentences.
    """

    fps: float
    stamps: np.ndarray
    keys: np.ndarray
    size: tuple[int, int]
    even: bool
    counted: bool
    codec: str
    pixels: str
    held: int
    turned: bool
    remarks: tuple[str, ...] = ()


def timeline(path: str | os.PathLike[str]) -> Timeline:
    """Reads the times of all frames, and decodes the first one.

    Raises:
        DataError: it is no video, or damaged.
    """
    path = os.fspath(path)
    try:
        info = os.stat(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    if info.st_size == 0:
        raise DataError("is an empty file")
    return _timeline(path, info.st_size, info.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _timeline(path: str, size: int, changed: int) -> Timeline:
    import av  # a quarter of a second that only videos should cost

    try:
        with av.open(path) as container:
            stream = _stream(container)
            stamps, keys, counted = _stamps(container, stream)
            shape, turned, pixels, held = _first(path)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            said, codec, base = stream.frames, stream.codec_context.name, stream.time_base
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"cannot be decoded: {error.strerror or error}") from error
    order = np.arange(len(stamps))
    if not counted:
        times = (stamps - stamps[0]) * float(base)
        order = reading.constant_rate(times, float(rate))
    if len(order) > _MOST_SLOTS * len(stamps):
        raise DataError(f"its {len(stamps)} frames are said to last {len(order)} frames")
    even = len(order) == len(stamps) and bool((order == np.arange(len(stamps))).all())
    remarks = []
    if said and len(stamps) < said - 1:
        remarks.append(f"is cut short: {len(stamps)} of {said} frames can be read")
    if not even:
        remarks.append(f"has a changing rate: brought to {float(rate):.6g} frames per second")
    return Timeline(
        fps=float(rate),
        stamps=stamps[order],
        keys=keys,
        size=shape,
        even=even,
        counted=counted,
        codec=codec,
        pixels=pixels,
        held=held,
        turned=turned,
        remarks=tuple(remarks),
    )


def _stream(container: Any) -> Any:
    streams = [s for s in container.streams.video if not reading.is_cover(s)]
    if not streams:
        raise DataError("holds no video")
    stream = streams[0]
    if stream.codec_context is None:
        raise DataError("its video is of a kind that cannot be decoded here")
    # One thread: many are slower for clips of this length, and can wait for each other for ever.
    stream.thread_type = "NONE"
    return stream


def _stamps(container: Any, stream: Any) -> tuple[np.ndarray, np.ndarray, bool]:
    """Times of all frames, and of key frames, from packets alone where these have them."""
    import av

    shown, keys, known = [], [], True
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard or packet.is_corrupt:
                continue
            known &= packet.pts is not None
            shown.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    except av.FFmpegError:
        if not shown:
            raise
        # The rest is damaged; what came before it can be read.
    if not shown:
        raise DataError("holds no frames")
    if known and len(set(shown)) == len(shown):
        return np.sort(np.array(shown, np.int64)), np.sort(np.array(keys, np.int64)), False
    with av.open(container.name) as again:
        count = sum(1 for _ in _decoded(again, _stream(again)))
    if not count:
        raise DataError("holds no frames that can be decoded")
    return np.arange(count), np.zeros(1, np.int64), True


def _first(path: str) -> tuple[tuple[int, int], bool, str, int]:
    """Size as shown, whether frames are turned, the format of their pixels, and their bytes."""
    import av

    with av.open(path) as container:
        for frame in _decoded(container, _stream(container)):
            height, width = reading.as_shown(frame, frame.width, frame.height).shape[:2]
            turned = reading.is_turned(frame)
            held = sum(plane.buffer_size for plane in frame.planes)
            return (height, width), turned, frame.format.name, held
    raise DataError("holds no frames that can be decoded")


def _decoded(container: Any, stream: Any, needed: Collection[int] | None = None) -> Iterator[Any]:
    """Decoded frames; what is damaged is left out.

    Where some are `needed`, by their time stamps, those that are neither needed nor referred to by
    others are left out, too: often every second one.
    """
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        if needed is not None:
            there = packet.pts is None or packet.pts in needed
            stream.codec_context.skip_frame = "DEFAULT" if there else "NONREF"
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


def fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) scaled down so that the longer one is at most `side`; 0 leaves them."""
    scale = min(1.0, side / max(size)) if side else 1.0
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def frames(
    path: str | os.PathLike[str],
    wanted: Iterable[int],
    side: int = 0,
) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
    """Frames of a timeline by number, decoded in order; each wanted number comes once.

    A frame that is damaged comes as one before it.

    Args:
        path: the file.
        wanted: numbers of frames.
        side: longest side to which frames are scaled down; 0 leaves them as they are.

    Raises:
        DataError: it cannot be decoded, or nothing can be from there on.
    """
    scale = scaler(side)
    made: tuple[Any, np.ndarray] | None = None
    for number, frame in decoded(path, wanted):
        if made is None or made[0] is not frame:
            made = (frame, scale(frame))
        yield number, made[1]


def scaler(side: int) -> Callable[[Any], UInt8[np.ndarray, "h w 3"]]:
    """What makes RGB of this longest side, or less, of the frames of `decoded`."""
    from av.video.reformatter import VideoReformatter

    return functools.partial(_pixels, side=side, reformatter=VideoReformatter())


def decoded(path: str | os.PathLike[str], wanted: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """As `frames`, but frames of PyAV, of which `scaler` makes RGB.

    They take half as much memory, and no time for those that are not looked at. Those of the last
    file are kept where all of them take little memory: whoever looks at a short video does so
    several times.

    Raises:
        DataError: see `frames`.
    """
    import av

    line = timeline(path)
    numbers = sorted(set(wanted))
    if not numbers:
        return
    if numbers[0] < 0 or numbers[-1] >= len(line.stamps):
        raise DataError(f"frames {numbers[0]} to {numbers[-1]} of {len(line.stamps)}")
    kept = _kept(line)
    if all(number in kept for number in numbers):
        yield from ((number, kept[number]) for number in numbers)
        return
    try:
        with av.open(os.fspath(path)) as container:
            for number, frame in _shown(container, line, numbers):
                if len(line.stamps) * line.held <= _KEPT:
                    kept[number] = frame
                yield number, frame
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"cannot be decoded: {error.strerror or error}") from error


@functools.lru_cache(maxsize=1)
def _kept(line: Timeline) -> dict[int, Any]:
    """The frames that are kept of a file, by number; there is one of the last file only."""
    return {}


def _shown(container: Any, line: Timeline, numbers: list[int]) -> Iterator[tuple[int, Any]]:
    stream = _stream(container)
    needed = None if line.counted else {int(line.stamps[number]) for number in numbers}
    place, position, count = 0, None, -1
    held: Any = None
    ahead = iter(())
    while place < len(numbers):
        target = int(line.stamps[numbers[place]])
        key = None if line.counted else _key_before(line.keys, target)
        if position is None or (key is not None and key > position):
            if key is not None and (position is not None or key > line.keys[0]):
                container.seek(key, stream=stream)
            ahead, held = _decoded(container, stream, needed), None
        # The frame at the target, or the last one before it where that one is damaged.
        following: Any = None
        frame: Any
        for frame in ahead:
            count += 1
            stamp = count if line.counted else frame.pts
            if stamp is None:
                continue
            if stamp > target and held is not None:
                following = frame
                break
            held, position = frame, stamp
            if stamp >= target:
                break
        if held is None:
            raise DataError(f"frame {numbers[place]} cannot be decoded")
        while place < len(numbers):
            yield numbers[place], held
            place += 1
            if place < len(numbers) and line.stamps[numbers[place]] != target:
                break
        if following is not None:
            ahead = _before(following, ahead)
            count -= 1


def _before(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _key_before(keys: np.ndarray, target: int) -> int | None:
    at = int(np.searchsorted(keys, target, side="right")) - 1
    return int(keys[at]) if at >= 0 else None


def _pixels(frame: Any, side: int, reformatter: Any) -> UInt8[np.ndarray, "h w 3"]:
    height, width = fitted((frame.height, frame.width), side)
    smaller = width < frame.width
    return reading.as_shown(frame, width, height, area=smaller, reformatter=reformatter)
