r"""Ways to say when, on a model that never knew time: its figures, and what each way costs.

    python -m studies.timing_methods --limit 128 --steps 5 --batch 16 \
        --out runs/timing_methods.json --figure runs/timing_methods.svg

The model is sprites/untimed, which draws as the bundled one does and knows no time (see
configs/sprites_untimed.py); `--model` takes any whose scheme is NoInterval. No way trains anything,
and all of a block see the same boards and the same noise: with pictures of the subjects, and with
words alone, where pictures and word tags are emptied, as guidance empties them. Boards of words
alone are those whose prompt names the colour of each subject. Their events are what the prompt says
of each subject, while that is on screen. Costs are CPU time of a batch, against the same batch
without any control.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.rotary import NoInterval
from alchemint_jax.sampling.control import (
    Control,
    Gating,
    Relay,
    TempoControl,
    Together,
    TSAttn,
)
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.clock import WAN_STRIDE
from alchemint_jax.scene.scene import Event, Scene
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.tracker import SpritesTracker
from studies import variants
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
GATING = Gating(edge=3.0, lift=2.0)
"""Chosen on other boards, those of seed 101: subjects come and go in what the model learned from,
and it would leave some of them out without the lift."""
TEMPO = TempoControl(steps=(0, 0.2), iterations=4, rate=0.02, magnitude=0.3, entropy=0.1)
"""Few rounds of large steps: the model makes five steps, and its clips have nine latent frames."""
PLAIN = "no control"
MOST = "the most that whole latent frames allow"


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to say when: a control, or who tells the events."""

    control: Control | None = None
    events: Relay | TSAttn | None = None


WAYS = {
    PLAIN: Way(),
    "gating": Way(GATING),
    "TempoControl": Way(TEMPO),
    "gating, TempoControl": Way(Together((GATING, TEMPO))),
    "events, relay": Way(events=Relay()),
    "events, TS-Attn": Way(events=TSAttn()),
}
GIVEN = {
    "pictures": (PLAIN, "gating", "gating, TempoControl"),
    "words alone": (PLAIN, "gating", "TempoControl", "events, relay", "events, TS-Attn"),
}
"""The ways that are measured, by what the model is given."""
SHARE = 2
"""Words alone are tried on so many times fewer boards."""


def worded(limit: int, seed: int) -> list[Scene]:
    """The first cases of a seed whose prompt names the colour of each subject.

    Others cannot be drawn from words.
    """
    found: list[Scene] = []
    for many in (4 * limit * 2**i for i in itertools.count()):
        found = [c for c in sprites_cases(many, seed) if all(" " in s.word for s in c.subjects)]
        if len(found) >= limit:
            break
    return found[:limit]


def eventful(case: Scene) -> Scene:
    """The case whose prompt is told as events: of each subject, while that is on screen."""
    texts = re.split(r" while | and |, ", case.caption)
    spans = (subject.spans for subject in case.subjects)
    events = tuple(Event(text, own) for text, own in zip(texts, spans, strict=True))
    return dataclasses.replace(case, caption="", events=events)


class WordsAlone(Pipeline):
    """A pipeline whose pictures and word tags are empty, as guidance empties them."""

    def conditions(
        self,
        scenes: Sequence[Scene],
        negative_prompt: str | None = None,
        slots: int | None = None,
    ) -> Conditions:
        """See `Pipeline.conditions`."""
        given = super().conditions(scenes, negative_prompt, slots)
        return given._replace(
            references=jnp.zeros_like(given.references), tags=jnp.zeros_like(given.tags)
        )


def without_pictures(pipe: Pipeline) -> WordsAlone:
    """The same model, given words alone."""
    return WordsAlone(*(getattr(pipe, field.name) for field in dataclasses.fields(pipe)))


def measure(
    pipe: Pipeline, cases: Sequence[Scene], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each method, and of each less those without any control, board by board.

    `seed` draws the noise, and `settings` are those of `benchmark.render`.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, Sequence[float]] = {}
    words = worded(-(-len(cases) // SHARE), seed)
    for given, names in GIVEN.items():
        whole = given == "pictures"
        own = pipe if whole else without_pictures(pipe)
        boards = list(cases if whole else words)
        for name in names:
            key, way = f"{given}: {name}", WAYS[name]
            print(key, file=sys.stderr, flush=True)
            chosen = dataclasses.replace(own, relay=way.events)
            asked = [eventful(case) for case in boards] if way.events else boards
            taken: list[float] = []

            def draw(
                scenes: Any, *, way: Way = way, pipe: Any = chosen, taken: list = taken, **more: Any
            ) -> Any:
                began = time.process_time()
                found = pipe.render(scenes, control=way.control, **more)
                taken.append(time.process_time() - began)
                return found

            videos = render(draw, asked, seed=seed, **settings)
            found = scores.score(boards, videos, TRACKER)["rows"]
            rows[key] = [row | {"seed": seed, "accuracy": frames_right(row)} for row in found]
            seconds[key] = taken
    return figures(rows, seconds)


def figures(
    rows: Mapping[str, list[dict[str, Any]]], seconds: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """What is said of the rows of each method, and of the CPU seconds of its batches."""
    return {
        "methods": {name: repr(way) for name, way in WAYS.items() if way != Way()},
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
    """CPU time against that without control: of all batches together, the least and the largest.

    The first batch, which is compiled, is left out if there are others.
    """
    own, plain = (np.array(seconds[name]) for name in (key, base(key)))
    first = 1 if len(own) > 1 else 0
    ratios = own[first:] / plain[first:]
    mean = own[first:].sum() / plain[first:].sum()
    return {"mean": float(mean), "low": float(ratios.min()), "high": float(ratios.max())}


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


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """All methods and figures, with pictures and with words alone, as SVG."""
    unknown = dict.fromkeys(("mean", "low", "high"))
    blocks = {
        given: [
            Panel(
                TITLES[figure],
                axis,
                {
                    name: found["variants"].get(f"{given}: {name}", {figure: unknown})[figure]
                    for name in WAYS
                },
            )
            for figure, axis in SHOWN.items()
        ]
        for given in GIVEN
    }
    title = f"{found['limit']} boards in {found['steps']} steps of a model that never knew time"
    return forest(blocks, title, baseline=PLAIN)


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Scene]:
    if not pipe.limits.max_subjects:
        raise ConfigError("takes no references")
    if not isinstance(pipe.models.dit.config.scheme, NoInterval):
        raise ConfigError("knows time; give a model whose scheme is NoInterval")
    return sprites_cases(limit, seed)


STUDY = variants.Study(
    description="Measure ways to say when, on a model that never knew time.",
    model="sprites/untimed",
    limit=128,
    boards=_boards,
    case=lambda case: case,
    measure=measure,
    shown={name: TITLES[name] for name in SHOWN},
    draw=draw_figure,
    whole=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    return variants.main(STUDY, argv)


if __name__ == "__main__":
    sys.exit(main())
