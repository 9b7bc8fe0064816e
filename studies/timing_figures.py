"""What is said of ways to say when: figures of each, less those without control, and costs.

Keys of all mappings are `given: way`, where `given` is what the model is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from alchemint_jax.evaluate import paired, scores
from alchemint_jax.sampling.control import Control, Relay, TSAttn
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.clock import WAN_STRIDE
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites.tracker import SpritesTracker
from studies import turns
from studies.charts import Panel, forest

TRACKER = SpritesTracker()
MEASURES = scores.measures(TRACKER) | {"accuracy": "frames right"}
TITLES = MEASURES | {"cost": "cost"}
SHOWN = {
    "t_iou": "1 is best",
    "accuracy": "share of frames; 1 is best",
    "presence": "share of frames; 1 is best",
    "absence": "share of frames; 1 is best",
    "identity": "share of subjects; 1 is best",
    "cost": "time of a batch / without control",
}
"""Labels of axes by figure."""
PLAIN = "no control"
MOST = "the most that whole latent frames allow"


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to say when: a control, or who tells the events."""

    control: Control | None = None
    events: Relay | TSAttn | None = None


def drawn(
    given: str,
    ways: Mapping[str, Way],
    pipe: Pipeline,
    boards: Sequence[Scene],
    told: Callable[[Scene, Relay | TSAttn], Scene] = lambda case, _: case,
    *,
    seed: int,
    **settings: Any,
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[float]]]:
    """The rows of each way, and the CPU seconds of its batches.

    Args:
        given: what the model is given.
        ways: by name.
        pipe: the model.
        boards: what is asked for.
        told: makes a board that has events of one that has not, for who tells them.
        seed: of the noise.
        settings: of `benchmark.render`.
    """

    def draw(way: Way, scenes: Sequence[Scene], **more: Any) -> np.ndarray:
        chosen = dataclasses.replace(pipe, relay=way.events)
        asked = [told(case, way.events) for case in scenes] if way.events else scenes
        return chosen.render(asked, control=way.control, **more)

    draws = {f"{given}: {name}": partial(draw, way) for name, way in ways.items()}
    videos, seconds = turns.drawn_in_turns(draws, boards, seed=seed, **settings)
    rows = {}
    for key, own in videos.items():
        found = scores.score(boards, own, TRACKER)["rows"]
        rows[key] = [row | {"seed": seed, "accuracy": frames_right(row)} for row in found]
    return rows, seconds


def figures(
    ways: Mapping[str, Way],
    rows: Mapping[str, list[dict[str, Any]]],
    seconds: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """What is said of the rows of each method, and of the CPU seconds of its batches."""
    return {
        "methods": {name: repr(way) for name, way in ways.items() if way != Way()},
        "variants": {
            key: scores.summarise(own, MEASURES) | {"cost": cost(seconds, key)}
            for key, own in rows.items()
        },
        "differences": {
            key: {
                figure: paired.difference(own, rows[base(key)], figure)
                for figure in SHOWN
                if figure != "cost"
            }
            for key, own in rows.items()
            if key != base(key)
        },
        "several": several(rows),
        "cpu_seconds": seconds,
    }


def several(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Frame IoU of subjects of several intervals, and the most that whole latent frames allow."""
    found: dict[str, Any] = {}
    most: dict[str, Any] = {}
    for key, own in rows.items():
        part = [row for row in own if len(row["asked"]) > 1]
        if part:
            cases = [row["case"] for row in part]
            given = key.partition(": ")[0]
            found[key] = scores.estimate(np.array([row["frame_iou"] for row in part]), cases)
            most[f"{given}: {MOST}"] = scores.estimate(np.array(list(map(at_most, part))), cases)
    return found | most


def at_most(row: Mapping[str, Any], stride: int = WAN_STRIDE) -> float:
    """The best frame IoU where a subject is in all pixel frames of a latent frame, or in none.

    The latent frames of the best choice are those with the largest shares.
    """
    asked = np.zeros(row["n_frames"], bool)
    for start, end in row["asked"]:
        asked[start:end] = True
    first = [0, *range(1, len(asked), stride)]
    sizes = np.diff([*first, len(asked)])
    inside = np.add.reduceat(asked, first, dtype=int)
    order = np.argsort(-inside / sizes, kind="stable")
    hit, shown = np.cumsum(inside[order]), np.cumsum(sizes[order])
    return float((hit / (asked.sum() + shown - hit)).max())


def base(key: str) -> str:
    """The same without control."""
    return f"{key.partition(': ')[0]}: {PLAIN}"


def cost(seconds: Mapping[str, Sequence[float]], key: str) -> dict[str, float]:
    """See `turns.cost`; against the same without control."""
    return turns.cost(seconds[key], seconds[base(key)])


def frames_right(row: Mapping[str, Any]) -> float:
    """The share of frames in which a subject is seen where it was asked for, and only there."""
    asked, shown = (np.zeros(row["n_frames"], bool) for _ in range(2))
    for frames, spans in ((asked, row["asked"]), (shown, row["shown"])):
        for start, end in spans:
            frames[start:end] = True
    return float((asked == shown).mean())


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each method, with gains over the same without control."""
    lines = ["| | " + " | ".join(TITLES[name] for name in SHOWN) + " |"]
    lines.append("|---|" + "---:|" * len(SHOWN))
    for key, summary in found["variants"].items():
        cells = ["{mean:.2f} ({low:.2f} to {high:.2f})".format(**summary[name]) for name in SHOWN]
        lines.append(f"| {key} | {' | '.join(cells)} |")
        if gaps := found["differences"].get(key):
            cells = ["{mean:+.2f} ({low:+.2f} to {high:+.2f})".format(**x) for x in gaps.values()]
            lines.append(f"| {key}: gain | {' | '.join(cells)} | |")
    return "\n".join(lines) + "\n"


def several_table(found: Mapping[str, Any]) -> str:
    """Markdown: frame IoU of subjects of several intervals."""
    lines = ["| several intervals | frame IoU |", "|---|---:|"]
    for key, cell in found["several"].items():
        lines.append("| {} | {mean:.2f} ({low:.2f} to {high:.2f}) |".format(key, **cell))
    return "\n".join(lines) + "\n"


def draw_figure(ways: Mapping[str, Way], found: Mapping[str, Any], model: str) -> bytes:
    """All ways and figures, as SVG; `model` says which one."""
    unknown = dict.fromkeys(("mean", "low", "high"))
    givens = dict.fromkeys(key.partition(": ")[0] for key in found["variants"])
    blocks = {
        given: [
            Panel(
                TITLES[figure],
                axis,
                {
                    name: found["variants"].get(f"{given}: {name}", {figure: unknown})[figure]
                    for name in ways
                },
            )
            for figure, axis in SHOWN.items()
        ]
        for given in givens
    }
    title = f"{found['limit']} boards in {found['steps']} steps of {model}"
    return forest(blocks, title, baseline=PLAIN)
