r"""Does what an event describes happen, and when: boards on which subjects turn another colour.

    python -m studies.events --model runs/sprites_events/export \
        --limit 32 --steps 8 --batch 8 --out runs/sprites_events.json \
        --figure runs/sprites_events.svg

The boards are of `World.eventful`, from seeds that no training draws. The tracker is shown the
subject of an event in the colour that it turns to, which no subject of the board has, and says in
which frames it sees that. Two variants of every board are the baselines: without what its events
say, and with their times exchanged. All see the same noise.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import metrics, paired, scores
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Event, Scene
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites import tracker
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, named
from alchemint_jax.worlds.sprites.events import EventTruth
from alchemint_jax.worlds.sprites.world import Look, World, draw_references, sample_clip
from studies import turns, variants
from studies.charts import Panel, forest

WORLD = World.eventful()
MEASURES = {"event": "event's frames", "followed": "share followed", "shape": "shape kept"}
"""Titles by figure: overlap (IoU) of the frames in the event's colour with those of the event;
whether it is a half at least; whether what is seen in that colour has the subject's shape."""
AXES = {
    "event": "IoU of frames; 1 is best",
    "followed": "share of events; 1 is best",
    "shape": "share of events; 1 is best",
}
"""Labels of their axes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """A case, and what its events do."""

    case: Scene
    events: tuple[EventTruth, ...]
    looks: tuple[Look, ...]


def boards(limit: int, seed: int) -> list[Board]:
    """The first `limit` clips of the world that have an event."""
    found: list[Board] = []
    index = 0
    while len(found) < limit:
        clip = sample_clip(index, FIRST_SEED + seed, WORLD)
        if clip.events and all(subject.spans for subject in clip.scene.subjects):
            case = named(f"events-{seed}-{index:05d}", clip.scene)
            found.append(Board(case, clip.events, clip.looks))
        index += 1
    return found


def exchanged(events: Sequence[Event], n_frames: int) -> tuple[Event, ...]:
    """Events at one another's times; one that is alone, at the far end of the clip."""
    if len(events) != 1:
        times = [event.spans for event in events]
        later = [*times[1:], *times[:1]]
        return tuple(Event(event.text, spans) for event, spans in zip(events, later, strict=True))
    ((start, end),) = events[0].spans
    early = start > n_frames - end
    away = (0, end - start) if early else (n_frames - end + start, n_frames)
    return (Event(events[0].text, Spans([away])),)


Change = Callable[[Scene], tuple[Event, ...]]
WITHOUT = "without"
VARIANTS: dict[str, Change] = {
    "events": lambda case: case.events,
    WITHOUT: lambda case: (),
    "exchanged": lambda case: exchanged(case.events, int(case.clock.frames)),
}
"""What becomes of the events of a board; the prompt says nothing of them."""


def score(
    found: Sequence[Board], videos: Sequence[np.ndarray] | np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """One row for every event, measured at the times that the board asks for."""
    rows = []
    for board, video in zip(found, videos, strict=True):
        case = board.case
        turned = [_recolored(board, event) for event in board.events]
        pictures = [np.asarray(subject.pictures[0]) for subject in case.subjects]
        seen = tracker.track(video, [*pictures, *turned])[len(pictures) :]
        for number, (event, sighting) in enumerate(zip(board.events, seen, strict=True)):
            iou = metrics.frame_iou(
                sighting.presence, metrics.presence([event.during], case.clock.frames)
            )
            rows.append(
                {
                    "seed": seed,
                    "case": case.id,
                    "subject": number,
                    "text": event.text,
                    "asked": [list(event.during)],
                    "shown": [list(span) for span in sighting.spans],
                    "event": iou,
                    "followed": float(iou >= 0.5),
                    "shape": float(sighting.identity),
                }
            )
    return rows


def _recolored(board: Board, event: EventTruth) -> np.ndarray:
    """A reference picture of the subject of an event, in the event's colour."""
    look = dataclasses.replace(board.looks[event.subject], color=event.color)
    return draw_references(np.random.default_rng(0), look, WORLD)[0]


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over events, with 95 % intervals that resample boards."""
    cases = [row["case"] for row in rows]
    return {
        name: scores.estimate(np.array([row[name] for row in rows], np.float64), cases)
        for name in MEASURES
    }


def measure(
    draw: Callable[..., np.ndarray], found: Sequence[Board], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each variant, and of the events less each other variant, event by event.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`.
    """

    def told(change: Change, scenes: Sequence[Scene], **more: Any) -> np.ndarray:
        return draw([dataclasses.replace(case, events=change(case)) for case in scenes], **more)

    ways = {name: functools.partial(told, change) for name, change in VARIANTS.items()}
    cases = [board.case for board in found]
    videos, seconds = turns.drawn_in_turns(ways, cases, seed=seed, **settings)
    rows = {name: score(found, own, seed) for name, own in videos.items()}
    return {
        "boards": len(found),
        "events": len(rows["events"]),
        "variants": {name: summarise(own) for name, own in rows.items()},
        "differences": {
            name: {figure: paired.difference(rows["events"], own, figure) for figure in MEASURES}
            for name, own in rows.items()
            if name != "events"
        },
        "cost": {name: turns.cost(own, seconds[WITHOUT]) for name, own in seconds.items()},
        "cpu_seconds": seconds,
        "rows": rows,
    }


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """The figures of all variants, one panel each, as SVG."""
    panels = [
        Panel(title, AXES[name], {v: own[name] for v, own in found["variants"].items()})
        for name, title in MEASURES.items()
    ]
    title = f"{found['events']} events on {found['boards']} boards"
    return forest({"boards rendered with": panels}, title, baseline="events")


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Board]:
    if not pipe.limits.events:
        raise ConfigError("has no events")
    return boards(limit, seed)


STUDY = variants.Study(
    description="Measure whether a model follows events.",
    model="sprites/events",
    limit=32,
    boards=_boards,
    case=lambda board: board.case,
    measure=measure,
    shown=MEASURES,
    draw=draw_figure,
)
main = functools.partial(variants.main, STUDY)
"""The command line of this module."""


if __name__ == "__main__":
    sys.exit(main())
