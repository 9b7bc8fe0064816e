"""The curves on the pages of the encodings, drawn from the library's own functions.

    python docs/_site/curves.py out/curves      # the same pictures, as files

The clip is that of the bundled sprites model: 9 latent frames, heads of 48, temporal theta 20.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from alchemint_jax import rotary
from alchemint_jax.ops.separable import separation
from alchemint_jax.rotary.retro import smoothed_scales
from alchemint_jax.sampling.control import Inbetween, Relay, When
from alchemint_jax.sampling.control.inbetween import Places
from alchemint_jax.sampling.control.relay import relay_penalty
from alchemint_jax.scene import Clock, Scene

FRAMES = 9
FREQS = rotary.axis_frequencies(head_dim=48, theta_t=20)
ASKED = ((3, 4), (1, 6), (6, 8))
BAND, LINE, OTHER = "#fde68a", "#1d4ed8", "#dc2626"


def pictures() -> Iterator[tuple[str, bytes]]:
    """Name and SVG of every picture."""
    for name, draw in PICTURES.items():
        figure = Figure(figsize=(7.5, 2.4), layout="constrained")
        draw(figure)
        file = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
            figure.savefig(file, format="svg", metadata={"Date": None})
        yield name, file.getvalue()


def _profile(scheme: rotary.Scheme, interval: tuple[int, int]) -> np.ndarray:
    """Attention over latent frames at the key norm of plain RoPE."""
    gains = np.asarray(scheme.gains(np.array([interval], np.float32), FRAMES, FREQS))
    temporal = gains[: len(FREQS.t)]
    norm = np.sqrt(np.mean(np.abs(temporal) ** 2))
    return np.asarray(rotary.kernel(temporal / norm, FRAMES, FREQS))


def _profiles(**schemes: rotary.Scheme) -> Callable[[Figure], None]:
    """Panels, one for each interval asked for; the first scheme is the one that the page is on."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, len(ASKED), sharey=True)
        for axis, (start, end) in zip(axes, ASKED, strict=True):
            axis.axvspan(start - 0.5, end + 0.5, color=BAND, zorder=0)
            axis.axhline(0, color="#9ca3af", linewidth=0.8)
            styles = ({"color": LINE, "marker": "o"}, {"color": OTHER, "linestyle": "--"})
            for (name, scheme), style in zip(schemes.items(), styles, strict=False):
                curve = _profile(scheme, (start, end))
                axis.plot(curve, markersize=3, linewidth=1.3, label=name, **style)
            axis.set_title(f"latent frames {start} to {end}", fontsize=9)
        if len(schemes) > 1:
            axes[0].legend(fontsize=7)
        _label(axes[0], "latent frame", "attention profile")

    return draw


def _rope(figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    times = np.linspace(0, FRAMES - 1, 200)
    for pair in (0, 3, 7):
        left.plot(times, np.cos(times * FREQS.t[pair]), label=f"pair {pair}")
    left.legend(fontsize=7)
    _label(left, "latent frame", "Re e(t; f)")
    for place, color in ((2, LINE), (6, OTHER)):
        curve = rotary.kernel(rotary.rotation(place, FREQS.t), FRAMES, FREQS)
        right.plot(np.asarray(curve), "o-", markersize=3, color=color, label=f"a token at {place}")
    right.legend(fontsize=7)
    _label(right, "latent frame", "attention profile")


def _rrope(figure: Figure) -> None:
    (axis,) = figure.subplots(1, 1, squeeze=False)[0]
    height, width = 8, 12
    axis.add_patch(Rectangle((0, 0), width, height, facecolor=BAND, edgecolor="#6b7280"))
    axis.text(width / 2, height / 2, "video", ha="center", va="center")
    layout = rotary.ReferenceLayout.r_rope(2)
    # With `stagger` each reference has a place of its own; without, all share the first one.
    for row, column in layout.starts((height, width), 1):
        axis.add_patch(Rectangle((column, row), width, height, facecolor="#bfdbfe", edgecolor=LINE))
        axis.text(
            column + width / 2, row + height / 2, "references\nat times 0, 1, ...",
            ha="center", va="center", fontsize=8,
        )  # fmt: skip
    axis.set(xlim=(-1, 2 * width + 1), ylim=(2 * height + 1, -1), aspect="equal")
    _label(axis, "column of the patch grid", "row")


def _rerope(figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    events = np.array([[0, 1.5], [1.5, 8]], np.float32)
    times = np.asarray(rotary.rerope_times(events, FRAMES, length=8))
    left.plot(times, "o-", markersize=3, color=LINE)
    for start, end in events:
        left.axvspan(start, end, color=BAND, alpha=0.5, ec="#6b7280")
    _label(left, "latent frame", "warped time")
    queries = np.asarray(rotary.rerope_query_gains(events, FRAMES, FREQS))[:, : len(FREQS.t)]
    keys = np.asarray(rotary.rerope_key_gains(events, FREQS))[:, : len(FREQS.t)]
    scores = np.mean(np.real(keys[:, None] * queries.conj()[None]), axis=-1)
    for number, (score, color) in enumerate(zip(scores, (LINE, OTHER), strict=True), 1):
        right.plot(score, "o-", markersize=3, color=color, label=f"event {number}")
    right.legend(fontsize=7)
    _label(right, "latent frame", "profile of its caption")


def _retro(figure: Figure) -> None:
    (axis,) = figure.subplots(1, 1, squeeze=False)[0]
    axis.plot(rotary.retro_scales(21, edge_share=0.1), "o-", markersize=3, color=LINE)
    axis.axhline(1, color="#9ca3af", linewidth=0.8)
    _label(axis, "latent frame", "scale s")


def _inbetween(figure: Figure) -> None:
    """Strength of the bias and scale of time, for a clip's two ends and with a third keyframe."""
    control, n = Inbetween(), 21
    left, right = figure.subplots(1, 2)
    for given, color in (((0, 20), LINE), ((0, 13, 20), OTHER)):
        places = Places.of(np.isin(np.arange(n), given)[None])
        beta = places.weights(control.near, control.far)[0]
        scale = smoothed_scales(places.near(control.reach), control.edge, control.middle)[0]
        label = f"keyframes at {', '.join(map(str, given))}"
        for axis, curve in ((left, beta), (right, scale)):
            axis.plot(np.asarray(curve), "o-", markersize=3, color=color, label=label)
    right.legend(fontsize=7, loc="upper center")
    right.axhline(1, color="#9ca3af", linewidth=0.8)
    _label(left, "latent frame", "strength of the bias")
    _label(right, "latent frame", "scale s")


def _relay(figure: Figure) -> None:
    """The share of their weight that events keep: by the tail, and of two that overlap."""
    left, right = figure.subplots(1, 2, sharey=True)

    def kept(event: tuple[float, float], tail: float) -> np.ndarray:
        given = np.array(event, np.float32).reshape(1, 1, 1, 2)
        return np.exp(-np.asarray(relay_penalty(given, 21, tail, Relay().least))[0, 0])

    for tail, color in ((1.0, OTHER), (2.0, LINE), (4.0, "#6b7280")):
        left.plot(kept((8, 12), tail), "o-", markersize=3, color=color, label=f"tail {tail:g}")
    for event, color in (((2, 11), LINE), ((8, 16), OTHER)):
        label = f"event from {event[0]} to {event[1]}"
        right.plot(kept(event, Relay().tail), "o-", markersize=3, color=color, label=label)
    for axis in (left, right):
        axis.legend(fontsize=7)
        axis.set_xlabel("latent frame", fontsize=8)
    left.set_ylabel("share of its weight", fontsize=8)


def _tempo(figure: Figure) -> None:
    """Curves of words over latent frames, as seconds and as points say them."""
    (axis,) = figure.subplots(1, 1, squeeze=False)[0]
    clock = Clock(fps=16.0, frames=81, stride=4)
    scene = Scene("clip", "", clock, size=(480, 832))
    words = (
        ("0.5-2,3-4", When("star", seconds=((0.5, 2), (3, 4))), LINE),
        ("0:0,1.5:1,4:0", When("disc", curve=((0, 0), (1.5, 1), (4, 0))), OTHER),
    )
    for label, word, color in words:
        axis.plot(word.over(scene, clock), "o-", markersize=3, color=color, label=label)
    axis.axhline(0.7, color="#9ca3af", linewidth=0.8, linestyle="--", label="threshold")
    axis.legend(fontsize=7)
    _label(axis, "latent frame, of 81 frames at 16 a second", "curve m")


def _ts_attn(figure: Figure) -> None:
    """Logits of one query in a region, and its bias while the first of two events happens."""
    (axis,) = figure.subplots(1, 1, squeeze=False)[0]
    logits = np.array([0.2, 1.4, -0.3, 0.5, 1.0, 0.1, 0.8, -0.2, 1.2, 0.4, 0.9, -0.1], np.float32)
    first, second = (np.isin(np.arange(12) // 4, at).astype(np.float32) for at in (1, 2))
    bias = np.asarray(separation(logits, first, second))
    place = np.arange(12)
    axis.bar(place - 0.2, logits, 0.4, color="#9ca3af", label="logits")
    axis.bar(place + 0.2, bias, 0.4, color=LINE, label="bias")
    axis.axhline(0, color="#6b7280", linewidth=0.8)
    for start, name in ((-0.5, "prompt"), (3.5, "event that happens now"), (7.5, "other event")):
        axis.axvline(start, color="#e5e7eb", linewidth=0.8)
        axis.text(start + 0.1, 1.9, name, fontsize=7)
    axis.set(xlim=(-0.5, 11.5), ylim=(-2.2, 2.3))
    axis.legend(fontsize=7, loc="lower left")
    _label(axis, "token of the text", "logit")


def _label(axis: Axes, x: str, y: str) -> None:
    axis.set_xlabel(x, fontsize=8)
    axis.set_ylabel(y, fontsize=8)


PICTURES: dict[str, Callable[[Figure], None]] = {
    "rope": _rope,
    "midrope": _profiles(MidRope=rotary.MidRope()),
    "werope": _profiles(mirror=rotary.WeRope(), printed=rotary.WeRope(right="printed")),
    "sincrope": _profiles(SincRope=rotary.SincRope()),
    "fittedrope": _profiles(FittedRope=rotary.FittedRope(), SincRope=rotary.SincRope()),
    "nointerval": _profiles(NoInterval=rotary.NoInterval()),
    "rrope": _rrope,
    "rerope": _rerope,
    "retro": _retro,
    "inbetween": _inbetween,
    "relay": _relay,
    "tempo": _tempo,
    "ts_attn": _ts_attn,
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in pictures():
        (folder / f"{name}.svg").write_bytes(svg)
