r"""Does what an event describes happen, and when: boards on which subjects turn another colour.

    python -m alchemint_jax.evaluate.events --model runs/sprites_events/export \
        --limit 32 --steps 8 --out runs/sprites_events.json \
        --figure runs/sprites_events.svg

The boards are of `World.eventful`, from seeds that no training draws. The tracker is shown the
subject of an event in the colour that it turns to, which no subject of the board has, and says in
which frames it sees that. Two variants of every board are the baselines: without what its events
say, and with their times exchanged. All see the same noise.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import arguments, media, results, weights
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate import metrics, scores
from alchemint_jax.evaluate.benchmark import check_model, fingerprints, render
from alchemint_jax.evaluate.figure import forest
from alchemint_jax.evaluate.study import difference
from alchemint_jax.events import FrameEvent
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.worlds.sprites import tracker
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, Case, clip_case
from alchemint_jax.worlds.sprites.events import EventTruth
from alchemint_jax.worlds.sprites.world import Look, World, draw_references, sample_clip

WORLD = World.eventful()
MEASURES = {
    "event": "event's frames",
    "followed": "share followed",
    "shape": "shape kept",
}
"""Titles by figure: overlap (IoU) of the frames in the event's colour with those of the event;
whether it is a half at least; whether what is seen in that colour has the subject's shape."""


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """A case, and what its events do."""

    case: Case
    events: tuple[EventTruth, ...]
    looks: tuple[Look, ...]


def boards(limit: int, seed: int) -> list[Board]:
    """The first `limit` clips of the world that have an event."""
    found: list[Board] = []
    index = 0
    while len(found) < limit:
        clip = sample_clip(index, FIRST_SEED + seed, WORLD)
        if clip.events and all(subject.intervals for subject in clip.subjects):
            case = clip_case(f"events-{seed}-{index:05d}", clip, WORLD)
            looks = tuple(subject.look for subject in clip.subjects)
            found.append(Board(case, clip.events, looks))
        index += 1
    return found


def exchanged(events: Sequence[FrameEvent], n_frames: int) -> tuple[FrameEvent, ...]:
    """Events at one another's times; one that is alone, at the far end of the clip."""
    if len(events) != 1:
        times = [span for _, span in events]
        texts = [text for text, _ in events]
        return tuple(zip(texts, [*times[1:], *times[:1]], strict=True))
    text, (start, end) = events[0]
    early = start > n_frames - end
    return ((text, (0, end - start) if early else (n_frames - end + start, n_frames)),)


VARIANTS: dict[str, Callable[[Case], tuple[FrameEvent, ...]]] = {
    "events": lambda case: case.events,
    "without": lambda case: (),
    "exchanged": lambda case: exchanged(case.events, case.n_frames),
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
        seen = tracker.track(video, [*case.references, *turned])[len(case.words) :]
        for number, (event, sighting) in enumerate(zip(board.events, seen, strict=True)):
            iou = metrics.frame_iou(
                sighting.presence, metrics.presence([event.during], case.n_frames)
            )
            rows.append(
                {
                    "seed": seed,
                    "case": case.id,
                    "subject": number,
                    "text": event.text,
                    "asked": [list(event.during)],
                    "shown": [list(span) for span in sighting.intervals],
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
    rows = {}
    for name, change in VARIANTS.items():
        print(name, file=sys.stderr, flush=True)
        cases = [dataclasses.replace(board.case, events=change(board.case)) for board in found]
        rows[name] = score(found, render(draw, cases, seed=seed, **settings), seed)
    return {
        "boards": len(found),
        "events": len(rows["events"]),
        "variants": {name: summarise(own) for name, own in rows.items()},
        "differences": {
            name: {figure: difference(rows["events"], own, figure) for figure in MEASURES}
            for name, own in rows.items()
            if name != "events"
        },
        "rows": rows,
    }


def draw_figure(found: dict[str, Any]) -> str:
    """The figures of all variants, one panel each, as SVG."""
    panels = {
        title: {name: own[figure] for name, own in found["variants"].items()}
        for figure, title in MEASURES.items()
    }
    title = f"{found['events']} events on {found['boards']} boards, 95 % intervals over boards"
    return forest({"events of a board": panels}, title, baseline="events")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure whether a model follows events.")
    parser.add_argument("--model", default="sprites/events")
    count = arguments.whole(1)
    parser.add_argument("--limit", type=count, default=32, help="boards")
    parser.add_argument("--seed", type=arguments.seed, default=7, help="of boards and noise")
    parser.add_argument("--steps", type=count, help="sampling steps; default: the model's own")
    parser.add_argument("--batch", type=count, default=16, help="boards rendered at a time")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--figure", type=Path, help="an SVG to write")
    args = parser.parse_args(argv)
    prepare_jax()
    try:
        for path in filter(None, (args.out, args.figure)):
            media.check_writable(path)
        kept = [("a part of --model:", path) for path in weights.parts(args.model)]
        check_outputs([("--out", args.out), ("--figure", args.figure)], kept)
        pipe = Pipeline.load(args.model)
        if not pipe.limits.events:
            raise ConfigError(f"--model {args.model}: has no events")
        found = boards(args.limit, args.seed)
        check_model(pipe, [board.case for board in found])
        plan = pipe.settings.plan(args.steps, None, None)
        result = {
            "model": args.model,
            "weights": fingerprints(args.model),
            "seed": args.seed,
            "batch": args.batch,
            **dataclasses.asdict(plan),
            **measure(
                functools.partial(pipe.render, solver=plan.solver),
                found,
                seed=args.seed,
                steps=plan.steps,
                guidance=plan.guidance,
                batch=args.batch,
                slots=pipe.limits.max_subjects,
            ),
        }
        results.write_json(args.out, result)
        if args.figure:
            media.write_bytes(args.figure, draw_figure(result).encode())
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    for name, summary in result["variants"].items():
        shown = (f"{MEASURES[m]} {summary[m]['mean']:.3f}" for m in MEASURES)
        print(f"{name:<10}", *shown, sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
