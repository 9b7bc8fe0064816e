#!/usr/bin/env bash
# Surprise: frames that PyAV converts from yuv420p to rgb24 (to_ndarray(format="rgb24"), to_image) are
#   a level too dark in the mean (half a level where they are grey); and ACCURATE_RND, asked for by
#   itself, makes them two levels too dark. With FULL_CHR_H_INT beside it they are right, at several
#   times the time.
# Guess: the errors of rounding have a mean of zero, and a flag that is named after accurate rounding
#   makes them smaller.
# Versions: av 18.1.0 (its wheel's FFmpeg, libswscale 9.5.102), numpy 2.4.6, Python 3.11, x86-64.
# Source: BT.709's formula in float64, from the very planes that swscale is given. Luma stays within 16
#   to 235 and colour is weak enough that nothing is clipped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

print("av", av.__version__, "ffmpeg", av.ffmpeg_version_info, "libswscale", av.library_versions["libswscale"])
rng = np.random.default_rng(0)
WIDTH, HEIGHT = 640, 360


def less_the_formula(spread, flags):
    """Mean of what swscale makes, less what BT.709 says, by channel."""
    luma = rng.integers(100, 156, (HEIGHT, WIDTH), np.uint8)
    # In cells of 40 pixels: how chroma is interpolated does not matter inside.
    chroma = rng.integers(128 - spread, 129 + spread, (2, HEIGHT // 40, WIDTH // 40), np.uint8)
    chroma = chroma.repeat(20, 1).repeat(20, 2)
    planes = np.concatenate([luma.ravel(), chroma.ravel()]).reshape(HEIGHT * 3 // 2, WIDTH)
    frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
    frame.colorspace, frame.color_range = Colorspace.ITU709, 1
    given = {} if flags is None else {"interpolation": flags}
    got = VideoReformatter().reformat(frame, format="rgb24", src_colorspace=Colorspace.ITU709, **given)
    got = got.to_ndarray().astype(np.float64)
    y = (luma - 16.0) * 255 / 219
    u, v = ((c.repeat(2, 0).repeat(2, 1) - 128.0) * 255 / 224 for c in chroma)
    wanted = np.stack([y + 1.5748 * v, y - 0.187324 * u - 0.468124 * v, y + 1.8556 * u], axis=-1)
    assert 0 < wanted.min() and wanted.max() < 255
    rows, columns = ((np.arange(n) % 40 > 3) & (np.arange(n) % 40 < 36) for n in (HEIGHT, WIDTH))
    return (got - wanted)[np.outer(rows, columns)].mean(0)


BILINEAR, ACCURATE, FULL = (
    Interpolation.BILINEAR,
    Interpolation.ACCURATE_RND,
    Interpolation.FULL_CHR_H_INT,
)
found = {}
for name, flags in {
    "default": None,
    "BILINEAR | ACCURATE_RND": BILINEAR | ACCURATE,
    "BILINEAR | ACCURATE_RND | FULL_CHR_H_INT": BILINEAR | ACCURATE | FULL,
}.items():
    found[name] = less_the_formula(24, flags)
    print(f"{name}: {found[name].round(2)} of red, green, blue; grey {less_the_formula(0, flags).round(2)}")
default, accurate, full = (np.abs(x).mean() for x in found.values())
assert 0.7 < default < 1.6 and 1.5 < accurate < 2.5 and full < 0.1, found
assert max(x.max() for x in list(found.values())[:2]) < -0.5
print("as said above")
PY
