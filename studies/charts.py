"""Charts of means with their 95 % intervals, and what all charts of the studies share.

A chart is drawn by matplotlib into an SVG that is the same, to the byte, whenever the same version
draws the same numbers. The place of every axis is fixed in inches, so that marks lie where they
are, to a fraction of a point, in other versions and with other fonts as well.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

Estimate = Mapping[str, Any]
"""`mean`, `low` and `high`; None or NaN where it is not known."""

INK, QUIET, RULE = "#1f2937", "#4b5563", "#e5e7eb"
# Of Okabe and Ito: people who see fewer colours tell them apart, too.
BLUE, ORANGE, GREEN, PURPLE, YELLOW = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#F0E442"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE]),
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small files, and words that can be found
    "svg.hashsalt": "alchemint_jax",
}
DIGIT = 5.1
"""Points that a digit of a tick's label is wide."""


@dataclass(frozen=True)
class Panel:
    """What one axis shows.

    Attributes:
        title: above it.
        label: what the axis measures, and in which unit.
        estimates: by arm in `forest`, by the value of the setting in `curves`.
    """

    title: str
    label: str
    estimates: Mapping[Any, Estimate]


class Canvas:
    """A figure whose axes are placed in inches from its top left corner."""

    def __init__(self, width: float | int, height: float | int, title: str = "") -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        if title:
            self.text(0.12, 0.22, title, fontsize=11, fontweight="bold", va="center")

    def axes(
        self, left: float | int, top: float | int, width: float | int, height: float | int
    ) -> Axes:
        """New axes there."""
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(place)

    def text(self, left: float | int, top: float | int, text: str, **how: Any) -> None:
        """Text whose place is that of its left end."""
        self.figure.text(left / self.width, 1 - top / self.height, text, **how)

    def legend(self, handles: Sequence[Any], left: float | int, bottom: float | int) -> None:
        """One line of a legend."""
        place = (left / self.width, bottom / self.height)
        self.figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=place, ncols=len(handles)
        )


def style() -> Any:
    """The context in which charts are drawn and written."""
    return matplotlib.rc_context(STYLE)


def svg(figure: Figure) -> bytes:
    """The figure as a file that says neither when nor by which version it was drawn."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    lines = buffer.getvalue().splitlines()
    return b"".join(line.rstrip() + b"\n" for line in lines)  # as all files of the repository


def forest(blocks: Mapping[str, Sequence[Panel]], title: str, baseline: str) -> bytes:
    """An SVG with a row for each arm, a panel for each figure, dots and lines for intervals.

    Args:
        blocks: panels by the name of what they have in common, drawn below each other; all panels
            of a block have the same arms.
        title: what all panels have in common.
        baseline: the arm whose mean is a line through the whole panel; none where it is not there.
    """
    arms = {name: list(panels[0].estimates) for name, panels in blocks.items()}
    left, wide, gap, row = 1.75, 1.5, 0.3, 0.21
    above, below, head, foot = 0.35, 0.4, 0.45, 0.5
    columns = max(map(len, blocks.values()))
    with style():
        canvas = Canvas(
            left + columns * (wide + gap),
            above + sum(head + row * len(own) + foot for own in arms.values()) + below,
            title,
        )
        top = above
        for name, panels in blocks.items():
            tall = row * len(arms[name])
            canvas.text(0.12, top + head - 0.11, name, color=QUIET, fontstyle="italic")
            first = None
            for column, panel in enumerate(panels):
                axes = canvas.axes(left + column * (wide + gap), top + head, wide, tall)
                if len({other.label for other in panels}) == 1:  # they can be compared
                    first = first or axes
                    axes.sharex(first)
                _forest(axes, panel, arms[name], baseline, name)
                axes.tick_params(labelleft=column == 0)
            top += head + tall + foot
        dot: Any = dict(marker="o", markersize=4.5, linewidth=1.4)
        handles = [Line2D([], [], color=BLUE, label="mean, and its 95 % interval", **dot)]
        if any(baseline in own for own in arms.values()):
            handles += [
                Line2D([], [], color=ORANGE, label=f"the same of {baseline}, the baseline", **dot),
                Line2D([], [], color=ORANGE, ls=":", lw=1, label="mean of the baseline"),
            ]
        canvas.legend(handles, 0.05, 0.05)
    return svg(canvas.figure)


def _forest(axes: Axes, panel: Panel, arms: list[str], baseline: str, block: str) -> None:
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.label)
    axes.set_yticks(range(len(arms)), arms)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
    axes.grid(axis="x")
    for color, group in ((BLUE, "arms"), (ORANGE, "baseline")):
        known = [
            (panel.estimates[arm], i)
            for i, arm in enumerate(arms)
            if (arm == baseline) == (group == "baseline") and _known(panel.estimates[arm])
        ]
        _marks(axes, known, color, _name(block, panel.title, group), across=True)
    if baseline in arms and _known(panel.estimates[baseline]):
        axes.axvline(panel.estimates[baseline]["mean"], color=ORANGE, ls=":", lw=1, zorder=1)
    _space_ticks(axes)


def _space_ticks(axes: Axes) -> None:
    """Up to five ticks along the axis, or as few fewer as keep their labels apart."""
    low, high = axes.get_xlim()
    points = 72 * axes.bbox.width / axes.figure.dpi / (high - low)
    for bins in (4, 3, 2):
        axes.xaxis.set_major_locator(MaxNLocator(bins, steps=[1, 2, 5, 10]))
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        labels = axes.xaxis.get_major_formatter().format_ticks(ticks)
        apart = points * np.diff(ticks).min(initial=np.inf)
        if DIGIT * max(map(len, labels), default=0) < apart:
            return


def curves(panels: Mapping[str, Sequence[Panel]], title: str) -> bytes:
    """An SVG of panels side by side: figures, one below the other, over the values of one setting.

    Args:
        panels: figures by the setting that varies.
        title: what all panels have in common.
    """
    left, wide, tall, gap, above, below = 0.75, 2.45, 1.1, 0.35, 0.5, 0.75
    rows = [panel.title for panel in next(iter(panels.values()))]
    with style():
        canvas = Canvas(
            left + len(panels) * (wide + gap), above + len(rows) * (tall + gap) + below - gap, title
        )
        for row in range(len(rows)):
            first = None
            for column, (setting, figures) in enumerate(panels.items()):
                place = left + column * (wide + gap), above + row * (tall + gap)
                axes = canvas.axes(*place, wide, tall)
                first = first or axes
                axes.sharey(first)
                _curve(axes, figures[row], _name(setting, figures[row].title))
                axes.tick_params(labelleft=column == 0)
                axes.set_ylabel(figures[row].label if column == 0 else "")
                axes.set_xlabel(setting if row == len(rows) - 1 else "")
        line = Line2D([], [], marker="o", markersize=4, lw=1.2, label="mean, and its 95 % interval")
        canvas.legend([line], left - 0.1, 0.02)
    return svg(canvas.figure)


def _curve(axes: Axes, panel: Panel, name: str) -> None:
    # Evenly spaced: such settings are doubled, not added to.
    points = sorted(panel.estimates.items())
    axes.set_xticks(range(len(points)), [f"{value:g}" for value, _ in points])
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    known = [(estimate, i) for i, (_, estimate) in enumerate(points) if _known(estimate)]
    axes.plot([i for _, i in known], [e["mean"] for e, _ in known], color=BLUE, lw=1.2)
    _marks(axes, known, BLUE, name, across=False)


def _marks(
    axes: Axes, known: Sequence[tuple[Estimate, int]], color: str, name: str, across: bool
) -> None:
    """Dots at means, lines over intervals; the group of the dots in the SVG has this name."""
    means = [estimate["mean"] for estimate, _ in known]
    ends = np.array([[abs(e["mean"] - e[end]) for e, _ in known] for end in ("low", "high")])
    places = [place for _, place in known]
    dots = axes.errorbar(
        means if across else places,
        places if across else means,
        xerr=ends if across else None,
        yerr=None if across else ends,
        fmt="o",
        markersize=4.5,
        elinewidth=1.4,
        color=color,
    )
    dots.lines[0].set_gid(name)


def _name(*parts: object) -> str:
    return "/".join(map(str, parts)).replace(" ", "_")


def _known(estimate: Estimate) -> bool:
    return all(
        estimate[key] is not None and math.isfinite(estimate[key])
        for key in ("mean", "low", "high")
    )
