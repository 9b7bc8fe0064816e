"""Clips that are drawn and written as `timed_clips`: a square crosses, and comes and goes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from alchemint_jax.data.timed_clips import Picture, TimedClip
from alchemint_jax.media import encode_mp4

COLORS = {"red square": (220, 40, 40), "blue square": (40, 60, 220)}


def png(color, size=12, height=16, width=12):
    """A square of `size` in the middle of a transparent picture."""
    rgba = np.zeros((height, width, 4), np.uint8)
    top, left = (height - size) // 2, (width - size) // 2
    rgba[top : top + size, left : left + size] = (*color, 255)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return buffer.getvalue()


def drawn(spans, frames=25, size=(48, 64), name="drawn", pictures=None, fps=8):
    """A clip in which squares are on screen in the given frames, and the frames themselves.

    `pictures` are (subject, kind, frame); by default each has one of its first frame.
    """
    video = np.full((frames, *size, 3), 235, np.uint8)
    words = list(COLORS)[: len(spans)]
    for place, (word, rows) in enumerate(zip(words, spans, strict=True)):
        for start, end in rows:
            for frame in range(start, end):
                top, left = 6 + 20 * place, 2 * frame % (size[1] - 14)
                video[frame, top : top + 14, left : left + 14] = COLORS[word]
    line = {
        "id": name,
        "source": f"{name}.mp4",
        "fps": float(fps),
        "frames": frames,
        "size": list(size),
        "caption": " and ".join(f"a {word}" for word in words),
        "subjects": [
            {"word": word, "frames": rows, "appears": [[s / fps, e / fps] for s, e in rows]}
            for word, rows in zip(words, spans, strict=True)
        ],
        "events": [{"text": "it moves", "during": [0.5, 1.0]}],
        "dropped": [],
        "status": "ok",
    }
    if pictures is None:
        pictures = [(i, "segment", rows[0][0]) for i, rows in enumerate(spans)]
    kept = [Picture(png(COLORS[words[i]]), i, kind, frame) for i, kind, frame in pictures]
    return TimedClip(line, encode_mp4(video, fps), tuple(kept)), video
