#!/usr/bin/env bash
# Surprise: VideoFrame.reformat of PyAV (and to_ndarray, to_image and to_rgb with it) makes a new
#   swscale context, with a new pool of threads, for every frame. So it takes one and a half to two
#   times the processor time of one shared VideoReformatter to scale 1280 x 720 frames: to the same pixels.
# Guess: frames of one stream share what scales them, as all have one size and one format.
# Versions: av 18.1.0 (its wheel's FFmpeg), Python 3.11.
# Source: VideoFrame.reformat in av/video/frame.py, which asks self.reformatter; av/video/reformatter.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import statistics
import time

import av
import numpy as np

rng = np.random.default_rng(0)
planes = [rng.integers(0, 256, (1080, 1280), np.uint8) for _ in range(8)]
print("av", av.__version__, "ffmpeg", av.ffmpeg_version_info)


def own(frame, width, height):
    return frame.reformat(width, height, "rgb24").to_ndarray()


def used(scale, width, height):
    frames = [av.VideoFrame.from_ndarray(p, "yuv420p") for p in planes * 5]  # as if just decoded
    began = time.process_time()
    made = [scale(frame, width, height) for frame in frames]
    return time.process_time() - began, made


shared = av.video.reformatter.VideoReformatter()


def with_shared(frame, width, height):
    return shared.reformat(frame, width, height, "rgb24").to_ndarray()


for width, height in ((96, 54), (640, 360)):
    ratios = []
    for _ in range(9):
        (a, one), (b, other) = (used(f, width, height) for f in (own, with_shared))
        assert all(np.array_equal(x, y) for x, y in zip(one, other))
        ratios.append(a / b)
    ratio = statistics.median(ratios)
    print(f"to {width} x {height}: {ratio:.1f} times the processor time of a shared one")
    assert ratio > 1.25, "this has changed"
PY
