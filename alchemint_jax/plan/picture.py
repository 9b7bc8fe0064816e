"""Plans as pictures: memory per device by kind against what there is, and what takes a step's time.

Drawn with Pillow, from plans as `report.Plan.as_dict` gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from alchemint_jax.lettering import fitted

INK, QUIET, RULE, PAPER, ALARM = "#1f2937", "#6b7280", "#d1d5db", "#ffffff", "#b91c1c"
KINDS = {
    "weights": "#1d4ed8",
    "frozen weights": "#93c5fd",
    "average": "#0e7490",
    "moments": "#7c3aed",
    "gradients": "#c026d3",
    "activations": "#f59e0b",
    "batch": "#84cc16",
}
TIMES = {"compute": "#1d4ed8", "memory": "#0e7490", "collectives": "#f59e0b"}
LABEL, BAR, GAP, ROW, TOP, MARGIN = 560, 520, 60, 46, 110, 24


def draw(plans: Sequence[Mapping[str, Any]]) -> Image.Image:
    """One row for each plan: a stacked bar of memory, and bars of time.

    Memory is drawn as a share of what the device has (the line), times in seconds of the slowest
    row's step.
    """
    width = 2 * MARGIN + LABEL + 2 * BAR + GAP
    picture = Image.new("RGB", (width, TOP + ROW * len(plans) + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    share = max([1.0, *(plan["peak_gib"] / plan["available_gib"] for plan in plans)])
    share = min(share, 2.0)
    longest = max(max(plan["seconds"].values()) for plan in plans) or 1.0
    left, right = MARGIN + LABEL, MARGIN + LABEL + BAR + GAP
    full = left + BAR / share
    _text(pen, (left, MARGIN - 8), "memory per device; the line is all there is", INK, 17)
    _legend(pen, left, KINDS)
    _text(pen, (right, MARGIN - 8), f"least time, 0 to {longest:.3g} s", INK, 17)
    _legend(pen, right, TIMES)
    for row, plan in enumerate(plans):
        top = TOP + ROW * row
        _text(pen, (MARGIN, top + 2), _title(plan), INK, 15)
        _text(pen, (MARGIN, top + 21), _work(plan), QUIET, 13)
        _memory(pen, plan, (left, top), BAR / share)
        for i, (name, color) in enumerate(TIMES.items()):
            end = right + BAR * plan["seconds"][name] / longest
            pen.rectangle((right, top + 3 + 11 * i, max(end, right + 1), top + 11 + 11 * i), color)
    pen.line((full, TOP - 6, full, TOP + ROW * len(plans)), INK, 2)
    return picture


def _title(plan: Mapping[str, Any]) -> str:
    name = str(plan["config"]).rsplit("/", 1)[-1]
    return f"{name} {plan['size']} x {plan['frames']}, {plan['references']} refs, {plan['target']}"


def _work(plan: Mapping[str, Any]) -> str:
    spare = plan["available_gib"] - plan["peak_gib"]
    fits = f"{spare:.1f} GiB to spare" if plan["fits"] else f"{-spare:.1f} GiB missing"
    return f"{plan['mesh']}; remat {plan['remat']}; batch {plan['batch']}; {fits}"


def _memory(
    pen: ImageDraw.ImageDraw, plan: Mapping[str, Any], corner: tuple[int, int], scale: float
) -> None:
    x, top = float(corner[0]), corner[1]
    limit = corner[0] + BAR
    for kind, color in KINDS.items():
        end = x + scale * plan["memory_gib"].get(kind, 0.0) / plan["available_gib"]
        if end > x:
            pen.rectangle((x, top + 3, min(end, limit), top + 33), color)
        x = min(end, limit)
    if not plan["fits"]:
        pen.rectangle((corner[0], top + 3, x, top + 33), outline=ALARM, width=3)


def _legend(pen: ImageDraw.ImageDraw, left: int, colors: Mapping[str, str]) -> None:
    x, y = left, MARGIN + 18
    for name, color in colors.items():
        wide = 30 + int(pen.textlength(name, font=_font(14)))
        if x + wide > left + BAR:
            x, y = left, y + 22
        pen.rectangle((x, y + 2, x + 14, y + 16), color)
        _text(pen, (x + 20, y), name, QUIET, 14)
        x += wide + 10


def _text(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, color: str, size: int
) -> None:
    shown, font, _ = fitted(text, size)
    pen.text(place, shown, fill=color, font=font)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)
