"""How much moves, and when: the accuracy of movements, and whether anything moves at all.

Optical flow is a function of two grey frames; the one that comes with the extra [metrics] is
Farneback's, as OpenCV has it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.quality.fidelity import Video

Grey = UInt8[np.ndarray, "h w"]
Flow = Callable[[Grey, Grey], Float32[np.ndarray, "h w 2"]]
"""By how many pixels each point of a frame moves to the right and down until the next frame."""
Number = int | float

_FASTEST = 0.05  # the share of a frame that must move


def load_farneback() -> Flow:
    """Farneback's dense optical flow with the settings of TempoControl's evaluation.

    Returns:
        A function of two grey pictures, uint8 [h w], that gives how many pixels to the right and
        down everything moves from the first to the second, float32 [h w 2].

    Raises:
        ConfigError: OpenCV, of the extra `[metrics]`, is not installed.

    Examples:
        >>> import importlib.util
        >>> if importlib.util.find_spec("cv2"):
        ...     grey = np.zeros((64, 64), np.uint8)
        ...     moved = al.evaluate.quality.load_farneback()(grey, grey)
        ...     assert moved.shape == (64, 64, 2) and not moved.any()

    Source:
        Farneback, "Two-Frame Motion Estimation Based on Polynomial Expansion", 2003; the settings
        are those of the code of TempoControl, arXiv 2510.02226.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            f"optical flow needs OpenCV ({error}); install it with "
            "pip install 'alchemint-jax[metrics]'"
        ) from error

    def farneback(before: Grey, after: Grey) -> Float32[np.ndarray, "h w 2"]:
        # Pyramid of 3 levels that halve; window 15; 3 iterations; polynomials of 5 pixels, 1.2.
        start = np.zeros((*before.shape, 2), np.float32)
        return np.asarray(
            cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 15, 3, 5, 1.2, 0)
        )

    return farneback


def speeds(video: Video, step: int, flow: Flow) -> Iterator[Float32[np.ndarray, "h w"]]:
    """How many pixels each point moves between every `step`-th frame and the next such frame."""
    grey = (np.asarray(Image.fromarray(frame).convert("L")) for frame in video[::step])
    for before, after in itertools.pairwise(grey):
        yield np.linalg.norm(flow(before, after), axis=-1)


def busiest_second(video: Video, fps: Number, flow: Flow) -> int | None:
    """The second, counted from 0, in which most moves.

    About four frames of each second are compared, and a pair belongs to the second of its first
    frame. What is left after the last whole second belongs to that one.

    Args:
        video: uint8 `[f, h, w, 3]`.
        fps: its frames per second.
        flow: optical flow, such as that of `load_farneback`.

    Returns:
        The second with the largest mean speed, the first of several; None if nothing moves at all,
        or there are fewer than two frames to compare.

    Raises:
        ValueError: `fps` is NaN.

    Examples:
        >>> def brightening(before, after):  # in place of an optical flow
        ...     return np.full((*before.shape, 2), after.mean() - before.mean(), np.float32)
        >>> shades = [0] * 8 + [10, 20, 30, 40] + [40] * 4
        >>> video = np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in shades])
        >>> al.evaluate.quality.busiest_second(video, 4, brightening)
        2

    Source:
        TempoControl, arXiv 2510.02226, and its code, which has five seconds of 16 frames.
    """
    rate = max(1, int(fps))
    step = max(rate // 4, 1)
    count = max(1, len(video) // rate)
    found: list[list[float]] = [[] for _ in range(count)]
    for number, speed in enumerate(speeds(video, step, flow)):
        found[min(number * step // rate, count - 1)].append(float(speed.mean()))
    means = [float(np.mean(some)) if some else 0.0 for some in found]
    return int(np.argmax(means)) if max(means) > 0 else None


def movement_accuracy(video: Video, fps: Number, second: int, flow: Flow) -> float:
    """Whether most moves in the second that was asked for.

    A video in which nothing moves is wrong. The code of the paper finds the first second in it,
    and so right wherever that was asked for.

    Args:
        video: uint8 `[f, h, w, 3]`.
        fps: its frames per second.
        second: that of the movement, counted from 0.
        flow: optical flow, such as that of `load_farneback`.

    Returns:
        1 or 0. The mean over videos is the accuracy.

    Raises:
        TypeError: `flow` is no function.

    Examples:
        >>> still = np.zeros((8, 4, 4, 3), np.uint8)
        >>> none = lambda before, after: np.zeros((*before.shape, 2), np.float32)
        >>> al.evaluate.quality.movement_accuracy(still, 4, 0, none)
        0.0

    Source:
        The movement accuracy of TempoControl, arXiv 2510.02226, and its code.
    """
    return float(busiest_second(video, fps, flow) == second)


def dynamic_degree(video: Video, fps: Number, flow: Flow) -> float:
    """Whether something moves fast in a quarter of the video.

    About eight frames of each second are compared. Something moves fast if the fastest twentieth of
    the pixels moves by more than 6 pixels on average, in a frame whose shorter side has 256.

    VBench estimates optical flow with RAFT, a network. Farneback's finds less of what moves far
    between two frames, so fewer videos count as dynamic, and the two do not compare.

    Args:
        video: uint8 `[f, h, w, 3]`.
        fps: its frames per second.
        flow: optical flow, such as that of `load_farneback`.

    Returns:
        1 or 0; NaN for fewer than two frames to compare. The mean over videos is the degree.

    Raises:
        TypeError: `flow` is no function.

    Examples:
        >>> video = np.zeros((9, 256, 256, 3), np.uint8)
        >>> fast = lambda before, after: np.full((*before.shape, 2), 5, np.float32)  # 7.07 pixels
        >>> al.evaluate.quality.dynamic_degree(video, 8, fast)
        1.0

    Source:
        VBench, arXiv 2311.17982, and its code, in which the quarter may round to no pair at all; it
        is one at least here.
    """
    step = max(1, round(fps / 8))
    bound = 6 * max(1.0, 8 / fps) * min(video.shape[1:3]) / 256
    fast = [_fastest(speed) > bound for speed in speeds(video, step, flow)]
    needed = max(1, round((len(fast) + 1) / 4))
    return float(sum(fast) >= needed) if fast else float("nan")


def _fastest(speed: Float32[np.ndarray, "h w"]) -> float:
    count = max(1, int(speed.size * _FASTEST))
    return float(np.partition(speed.ravel(), -count)[-count:].mean())
