"""Frames of a video that is in memory: a stretch of them, one after the other, at any size.

The video is one that we wrote (`media.write_video`): H.264 in mp4, frames evenly spaced. Decoding
starts at the key frame before the stretch and ends with it, so that memory is that of few frames.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.errors import DataError
from alchemint_jax.reading import as_shown


def frames(
    video: bytes, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames [start, stop) of a video, each as it is decoded.

    Args:
        video: the bytes of a file.
        start: number of the first one.
        stop: number of the one after the last; None is the end.
        size: (height, width) to which frames are scaled; None leaves them as they are.

    Raises:
        DataError: it is no video, or it ends before `stop`.
    """
    import av  # a quarter of a second that only videos should cost
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    expected = start
    try:
        with av.open(io.BytesIO(video), "r") as container:
            if not container.streams.video:
                raise DataError("there is no video")
            stream = container.streams.video[0]
            rate, base, first = stream.average_rate, stream.time_base, stream.start_time or 0
            if not rate or not base:
                raise DataError("the video does not say how fast its frames go")
            # One thread is faster than many for clips of this length, and cannot deadlock.
            stream.thread_type = "NONE"
            if start:
                # To the key frame before it, from the middle of its time: times are rounded.
                container.seek(int((start + 0.5) / rate / base) + first, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise DataError("a frame does not say when it is shown")
                number = round((frame.pts - first) * base * rate)
                if number < start:
                    continue
                if stop is not None and number >= stop:
                    break
                if number != expected:
                    raise DataError(f"frame {expected} is missing")
                expected += 1
                height, width = size or (frame.height, frame.width)
                yield as_shown(frame, width, height, reformatter=reformatter)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"the video cannot be decoded: {error}") from error
    if stop is not None and expected != stop:
        raise DataError(f"the video ends at frame {expected}, not at {stop}")
