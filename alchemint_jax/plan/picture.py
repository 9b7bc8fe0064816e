"""Plans as pictures: memory per device by kind against what there is, and what takes a step's time.

Drawn by matplotlib, which is no dependency of the package: `check_drawing` says so.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from alchemint_jax.errors import AlchemintError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, RULE, ALARM = "#1f2937", "#4b5563", "#e5e7eb", "#b91c1c"
# People who see fewer colours tell neighbours apart by how light they are (Okabe and Ito).
KINDS = {
    "weights": "#0072B2",
    "second expert": "#4B4B8F",
    "frozen weights": "#56B4E9",
    "average": "#004166",
    "moments": "#CC79A7",
    "gradients": "#8C2D04",
    "activations": "#E69F00",
    "batch": "#009E73",
}
TIMES = {"compute": "#0072B2", "memory": "#009E73", "collectives": "#E69F00"}
MOST = 2.0  # times the memory of a device: what is longer is cut off
LABEL, BAR, GAP, ROW, TOP, BOTTOM = 4.6, 4.4, 0.4, 0.42, 0.95, 0.55  # inches
DPI = 110
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "xtick.color": QUIET,
    "legend.frameon": False,
}


def check_drawing() -> None:
    """Raises AlchemintError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise AlchemintError(
            "a picture of a plan is drawn by matplotlib, which is not installed; "
            "pip install 'alchemint-jax[studies]', or leave --picture out"
        )


def draw(plans: Sequence[Mapping[str, Any]]) -> Image.Image:
    """One row for each plan, as `Plan.as_dict` gives it: a stacked bar of memory, and bars of time.

    Memory is drawn as a share of what the device has, times in seconds.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide, tall = LABEL + 2 * BAR + 2 * GAP, TOP + ROW * len(plans) + BOTTOM
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(wide, tall), dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        height, bottom = ROW * len(plans) / tall, BOTTOM / tall
        left, right = LABEL / wide, (LABEL + BAR + GAP) / wide
        memory = figure.add_axes((left, bottom, BAR / wide, height))
        times = figure.add_axes((right, bottom, BAR / wide, height))
        for axes in (memory, times):
            axes.set_ylim(len(plans) - 0.5, -0.5)
            axes.set_yticks([])
            axes.grid(axis="x")
        for row, plan in enumerate(plans):
            y = 1 - (TOP + ROW * (row + 0.5)) / tall
            figure.text(0.1 / wide, y + 0.02 / tall, _title(plan), weight="bold", va="bottom")
            figure.text(0.1 / wide, y - 0.02 / tall, _work(plan), fontsize=8, color=QUIET, va="top")
            _memory(memory, row, plan)
            for i, (name, color) in enumerate(TIMES.items()):
                times.barh(row + 0.26 * (i - 1), plan["seconds"][name], 0.24, color=color)
        _finish(memory, "memory at the peak, as a share of what a device has", KINDS, 4)
        memory.axvline(1, color=INK, lw=1.5)
        memory.set_xlim(0, min(MOST, max(1.02, memory.get_xlim()[1])))
        memory.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        _finish(times, "least time of a step, in seconds", TIMES, 3)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    # A picture of a few flat colours, and of their edges: a palette keeps its file small.
    return Image.fromarray(pixels).quantize(64, dither=Image.Dither.NONE)


def _title(plan: Mapping[str, Any]) -> str:
    name = str(plan["config"]).rsplit("/", 1)[-1]
    more = " sampling" if plan.get("step") == "sample" else ""
    more += " gated" if plan.get("control") else ""
    more += " with texts" if "cached_text=False" in plan.get("overrides", ()) else ""
    size = f"{plan['size']} x {plan['frames']}"
    return f"{name}{more} {size}, {plan['references']} refs, {plan['target']}"


def _work(plan: Mapping[str, Any]) -> str:
    spare = plan["available_gib"] - plan["peak_gib"]
    fits = f"{spare:.1f} GiB to spare" if plan["fits"] else f"{-spare:.1f} GiB missing"
    return f"{plan['mesh']}; remat {plan['remat']}; batch {plan['batch']}; {fits}"


def _memory(axes: Axes, row: int, plan: Mapping[str, Any]) -> None:
    end = 0.0
    for kind, color in KINDS.items():
        share = plan["memory_gib"].get(kind, 0.0) / plan["available_gib"]
        axes.barh(row, share, 0.72, left=end, color=color)
        end += share
    if not plan["fits"]:
        axes.barh(row, end, 0.72, facecolor="none", edgecolor=ALARM, lw=2)


def _finish(axes: Axes, label: str, colors: Mapping[str, str], columns: int) -> None:
    from matplotlib.patches import Patch

    axes.set_xlabel(label)
    axes.xaxis.set_label_position("top")
    axes.xaxis.label.set(color=INK, weight="bold")
    axes.legend(
        handles=[Patch(color=color, label=name) for name, color in colors.items()],
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        borderaxespad=1.6,
        ncols=columns,
        columnspacing=1,
        handlelength=1,
    )
