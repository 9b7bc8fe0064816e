"""Drawn pictures in which networks that were trained on photographs find something."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = ["clock", "stop sign"]


def blank(height=180, width=240):
    """Sky above grass."""
    share = np.linspace(0, 1, height)[:, None, None]
    colors = np.array([120, 170, 230]) * (1 - share) + np.array([90, 140, 70]) * share
    return np.repeat(colors.astype(np.uint8), width, 1)


def draw(word, x, y, radius, picture=None):
    """The picture with a sign in it; the box around that is (x, y) -+ radius."""
    image = Image.fromarray(blank() if picture is None else picture)
    (_clock if word == "clock" else _stop_sign)(ImageDraw.Draw(image), x, y, radius)
    return np.asarray(image)


def _stop_sign(on, x, y, radius):
    pole = radius * 0.08
    on.rectangle((x - pole, y, x + pole, y + 2.2 * radius), fill=(130, 130, 130))
    for share, color in ((1.08, "white"), (1.0, (190, 20, 30))):
        angles = [math.pi / 8 + side * math.pi / 4 for side in range(8)]
        reach = radius * share
        on.polygon([(x + reach * math.cos(a), y + reach * math.sin(a)) for a in angles], fill=color)
    font = ImageFont.load_default(size=radius * 0.66)
    on.text((x, y), "STOP", fill="white", font=font, anchor="mm")


def _clock(on, x, y, radius):
    for share, color in ((1.0, (40, 40, 40)), (0.9, "white")):
        reach = radius * share
        on.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)

    def hand(angle, start, end, width):
        turn = math.cos(angle), math.sin(angle)
        ends = [(x + radius * r * turn[0], y + radius * r * turn[1]) for r in (start, end)]
        on.line([*ends[0], *ends[1]], fill="black", width=max(1, round(radius * width)))

    for hour in range(12):
        hand(hour * math.pi / 6, 0.72, 0.85, 0.06)
    hand(-0.6, 0, 0.5, 0.08)
    hand(-1.7, 0, 0.7, 0.06)
