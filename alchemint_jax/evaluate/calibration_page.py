"""The page of a calibration: what was put in and what is measured of it, fault by fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.evaluate.pages import known, page

WIDE, TALL = 240, 150
TRUTH = {
    "t_iou": "t-IOU",
    "frame_iou": "frame IoU",
    "presence": "presence rate",
    "absence": "absence rate",
    "detected": "detected",
    "identity": "identity",
    "likeness": "likeness",
}
"""The figures of clips without a fault, and their titles."""
CURVES = ("t_iou", "presence", "absence")
"""Those that are drawn over a threshold."""
ABOUT = {
    "late": "Everything is late; each boundary, in seconds.",
    "gap": "A subject is gone for a while; the seconds that are missing.",
    "always": "A subject is always there; the seconds that nobody asked for.",
    "never": "A subject never appears; the share of those that are seen all the same.",
    "wrong subject": "Somebody else's picture is asked for; the share of those that are taken for "
    "the right one.",
    "faded": "A subject is faded; the share of its frames in which it is seen, by its opacity.",
    "half out": "A subject is partly out of the picture; the share of its frames in which it is "
    "seen, by the share of it that is outside.",
}
"""What each fault is, and what is measured of it."""
Point = tuple[float | int, float | int]
Points = Sequence[Point]


@dataclasses.dataclass(frozen=True)
class Panel:
    """A chart.

    Attributes:
        title: of it.
        about: what it shows, a sentence.
        x: what is to the right.
        lines: points by name, in the order of x.
        low: where both axes begin, as (x, y).
        high: where they end.
        diagonal: whether what is right lies on the diagonal.
        verdict: what was found, words.
    """

    title: str
    about: str
    x: str
    lines: Mapping[str, Points]
    low: Point
    high: Point
    diagonal: bool = False
    verdict: str = ""

    def at(self, point: Point) -> tuple[float, float]:
        """Where a point is, in pixels."""
        shares = [
            (value - low) / ((high - low) or 1.0)
            for value, low, high in zip(point, self.low, self.high, strict=True)
        ]
        return WIDE * shares[0], TALL * (1 - shares[1])

    def drawn(self, name: str) -> str:
        """A line for SVG."""
        return " ".join("{:.1f},{:.1f}".format(*self.at(point)) for point in self.lines[name])


def render_calibration(report: Mapping[str, Any]) -> str:
    """The page of what `calibrate` returns, as text; it needs nothing else."""
    second = report.get("second", {})
    first, other = _names(report)
    return page(
        "calibration.html",
        report=report,
        settings=", ".join(f"{name} {value}" for name, value in report["settings"].items()),
        judges={first: report, **({other: second} if second else {})},
        truth=TRUTH,
        faults=[_fault(name, one, second, report) for name, one in report["faults"].items()],
        thresholds=[
            _threshold(name, {float(at): one for at, one in lines.items()})
            for name, lines in report["thresholds"].items()
        ],
        wide=WIDE,
        tall=TALL,
    )


def _names(report: Mapping[str, Any]) -> tuple[str, str]:
    """What both judges are called."""
    settings = report["settings"]
    first, second = settings.get("tracker", "the tracker"), settings.get("second", "the second one")
    return str(first), str(second) if second != first else f"{second}, the second one"


def _fault(
    name: str, one: Mapping[str, Any], second: Mapping[str, Any], report: Mapping[str, Any]
) -> Panel:
    seen = one["figure"] == "presence"  # its amount is no time, and no share of what is measured
    mine, theirs = _names(report)
    lines = {mine: _points(one["curve"], seen)}
    if other := second.get("faults", {}).get(name):
        lines[theirs] = _points(other["curve"], seen)
    every = np.array([point for points in lines.values() for point in points]).reshape(-1, 2)
    unit = ", s" if one["unit"] == "s" else ""
    if seen:
        low, high, x = (0.0, 0.0), (1.0, 1.0), "opacity" if name == "faded" else "share outside"
    else:
        top = max(1e-9, float(every.max(initial=0.0)))
        bottom = min(0.0, float(every.min(initial=0.0)))
        low, high, x = (bottom, bottom), (top, top), f"put in{unit}"
        if one["unit"] != "s":
            low, high = (0.0, 0.0), (1.0, 1.0)
    return Panel(name, ABOUT[name], x, lines, low, high, not seen, _verdict(one))


def _points(curve: Mapping[str, Mapping[str, Any]], by_amount: bool) -> Points:
    found = [
        (float(amount) if by_amount else one["inserted"], one["measured"])
        for amount, one in curve.items()
    ]
    return sorted(point for point in found if all(map(known, point)))


def _verdict(one: Mapping[str, Any]) -> str:
    parts = []
    unit = " s" if one["unit"] == "s" else ""
    for name, form in (("slope", "{:.3f}"), ("bias", "{:+.3f}" + unit)):
        if one[name] is not None and known(one[name]["mean"]):
            parts.append(f"{name} {form.format(one[name]['mean'])}")
    if one.get("half") is not None:
        parts.append(f"seen in half of the frames at {one['half']:.2f}")
    if one["lost"]:
        parts.append(f"not measured: {one['lost']}")
    outside = [amount for amount, fine in one["within"].items() if not fine]
    parts.append(f"not within bounds: {', '.join(outside)}" if outside else "within bounds")
    return "; ".join(parts)


def _threshold(name: str, by: Mapping[float, Mapping[str, Any]]) -> Panel:
    lines = {
        TRUTH[figure]: [
            (at, by[at][figure]["mean"]) for at in sorted(by) if known(by[at][figure]["mean"])
        ]
        for figure in CURVES
    }
    about = "Figures of the clips as they are, with other values of this threshold."
    return Panel(name, about, "value", lines, (min(by), 0.0), (max(by), 1.0))
