"""What to ask a model for, asking it, and scoring what it shows.

A `Case` is one clip to render; `score` is a pure function of cases and videos, so that a dataset's
own clips can be scored as a perfect model would be. Measuring uses the sprites tracker: boards of
other worlds are refused.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import images, timebase
from alchemint_jax.data.sprites import World, sample_clip
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.evaluate import metrics, tracker
from alchemint_jax.progress import Progress
from alchemint_jax.storyboard import Limits, Storyboard

WORLD = World()
FIRST_SEED = 2**32
"""Benchmark clips are drawn from seeds `FIRST_SEED + seed`; training uses small ones, so no clip is
shared."""
MAX_PROMPT = 111
"""Bytes of a caption that models of this world read: the loader's 112 tokens, less the last."""
COUNTS = (1, 2, 2, 1, 3)
"""Number of subjects of successive sprites cases."""
MEASURES = {
    "t_iou": "t-IOU",
    "t_l2": "t-L2",
    "frame_iou": "frame IoU",
    "presence": "presence rate",
    "absence": "absence rate",
    "detected": "detected",
    "identity": "identity",
    **{f"recall_{at}": f"R@{at}" for at in metrics.RECALLS},
}

FrameIntervals = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One clip to ask a model for, and when each of its r subjects should be on screen."""

    id: str
    prompt: str
    words: tuple[str, ...]
    references: UInt8[np.ndarray, "r h w 3"]
    intervals: tuple[FrameIntervals, ...]
    """Per subject, pixel frames, half-open."""
    n_frames: int = World.frames
    fps: float = World.fps


def sprites_cases(limit: int = 128, seed: int = 0, world: World = WORLD) -> list[Case]:
    """The sprites benchmark: clips of the world that no training seed draws, with one to three
    subjects.
    """
    cases: list[Case] = []
    counts = itertools.cycle(COUNTS)
    count = next(counts)
    for index in itertools.count():
        if len(cases) >= limit:
            return cases
        clip = sample_clip(index, seed=FIRST_SEED + seed, world=world, subjects=count)
        if not all(subject.intervals for subject in clip.subjects):
            continue  # a subject that never shows enough of itself asks for nothing
        cases.append(
            Case(
                id=f"sprites-{seed}-{index:05d}",
                prompt=_shortened(clip.caption),
                words=tuple(subject.word for subject in clip.subjects),
                references=np.stack([subject.references[0] for subject in clip.subjects]),
                intervals=tuple(subject.intervals for subject in clip.subjects),
                n_frames=world.frames,
                fps=world.fps,
            )
        )
        count = next(counts)
    raise AssertionError("unreachable")


def _shortened(caption: str) -> str:
    """Without its background where it would be cut off in mid-word."""
    if len(caption.encode()) <= MAX_PROMPT:
        return caption
    return re.sub(r" on an? \w+ background$", "", caption)


def read_benchmark(
    path: str | os.PathLike[str], limit: int | None = None, world: World = WORLD
) -> list[Case]:
    """Cases of a JSON Lines file: one storyboard per line, an optional "id", pictures relative to
    the file.

    Raises DataError naming file and line for anything that cannot be asked for or measured.
    """
    path = Path(path)
    limits = Limits(
        max_subjects=world.max_subjects,
        max_frames=world.frames,
        min_frames=world.frames,
        fps=(world.fps,),
        sizes=((world.size, world.size),),
    )
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold other line ends
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: cannot read this benchmark: {reason}") from error
    cases: list[Case] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and (limit is None or len(cases) < limit):
            where = f"{path}:{number}"
            cases.append(_read_case(line, where, path.parent, limits, world.view_size))
    if not cases:
        raise DataError(f"{path}: holds no storyboards; write one JSON object per line")
    twice = [case.id for i, case in enumerate(cases) if case.id in {c.id for c in cases[:i]}]
    if twice:
        raise DataError(f"{path}: the id {twice[0]!r} is given twice; ids must differ")
    return cases


def _read_case(line: str, where: str, base: Path, limits: Limits, view_size: int) -> Case:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # endless digits or brackets
        raise DataError(f"{where}: not JSON that can be read: {error}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: expected a storyboard ({{...}}) on each line")
    name = fields.pop("id", None)
    try:
        board = Storyboard.from_dict(fields, base=base, source=where).validate_for(limits)
    except StoryboardError as error:
        raise DataError(str(error)) from error
    if not board.subjects:
        raise DataError(f"{where}: subjects: there are none, so there is nothing to measure")
    if board.negative_prompt:
        raise DataError(f"{where}: negative_prompt: benchmarks are rendered without; remove it")
    assert board.fps is not None  # filled in by validate_for
    n_frames = timebase.frames_for(board.duration, board.fps)
    references = []
    for i, subject in enumerate(board.subjects):
        reference = images.load_reference(subject.image, (view_size, view_size))
        try:
            tracker.kind_of(reference)
        except DataError as error:
            raise DataError(f"{where}: subjects[{i}].image: {subject.image}: {error}") from error
        references.append(reference)
    return Case(
        id=where if name is None else str(name),
        prompt=board.prompt,
        words=tuple(subject.word for subject in board.subjects),
        references=np.stack(references),
        intervals=tuple(
            timebase.seconds_to_frames(s.appears, board.fps, n_frames, duration=board.duration)
            for s in board.subjects
        ),
        n_frames=n_frames,
        fps=float(board.fps),
    )


def score(
    cases: Sequence[Case], videos: Sequence[np.ndarray] | np.ndarray, resamples: int = 2000
) -> dict[str, Any]:
    """Measures videos (uint8 [f h w 3] per case) against what was asked for. Plain values, ready
    for JSON.

    Means are over subjects; intervals of confidence (95%) resample whole clips. A subject that is
    never seen counts: t-IOU 0, t-L2 1, identity wrong. Raises DataError for a video of another
    length than its case.
    """
    if len(cases) != len(videos):
        raise DataError(f"{len(cases)} cases but {len(videos)} videos")
    rows = [row for case, video in zip(cases, videos, strict=True) for row in _rows(case, video)]
    asked = [row["asked"] for row in rows]
    durations = [row["n_frames"] for row in rows]
    unit = [[(s / n, e / n) for s, e in spans] for spans, n in zip(asked, durations, strict=True)]
    return {
        "clips": len(cases),
        "subjects": len(rows),
        "overall": summarise(rows, resamples),
        "baselines": {
            "always_present": metrics.always_present(unit),
            "middle_half": metrics.constant(unit, (0.25, 0.75)),
        },
        "correlation": correlations(rows),
        "groups": {name: summarise(part, resamples) for name, part in _groups(rows)},
        "rows": rows,
    }


def _rows(case: Case, video: np.ndarray) -> Iterator[dict[str, Any]]:
    if len(video) != case.n_frames:
        raise DataError(
            f"case {case.id}: the video has {len(video)} frames, asked for were {case.n_frames}"
        )
    sightings = tracker.track(video, list(case.references))
    kinds = [sighting.asked for sighting in sightings]
    similar = any(
        a.shape == b.shape or a.color == b.color for a, b in itertools.combinations(kinds, 2)
    )
    for i, (sighting, asked) in enumerate(zip(sightings, case.intervals, strict=True)):
        true = metrics.presence(asked, case.n_frames)
        iou = metrics.t_iou(sighting.intervals, asked)
        yield {
            "case": case.id,
            "subject": i,
            "subjects": len(kinds),
            "similar": similar,
            "word": case.words[i],
            "n_frames": case.n_frames,
            "asked": [list(span) for span in asked],
            "shown": [list(span) for span in sighting.intervals],
            "asked_look": " ".join(reversed(sighting.asked)),
            "seen_look": " ".join(reversed(sighting.seen)) if sighting.seen else None,
            "t_iou": iou,
            "t_l2": metrics.t_l2(sighting.intervals, asked, case.n_frames),
            "frame_iou": metrics.frame_iou(sighting.presence, true),
            "presence": metrics.presence_rate(sighting.presence, true),
            "absence": metrics.absence_rate(sighting.presence, true),
            "detected": float(bool(sighting.intervals)),
            "identity": float(sighting.identity),
            **{f"recall_{at}": float(iou >= at) for at in metrics.RECALLS},
        }


def _groups(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for count in sorted({row["subjects"] for row in rows}):
        yield (
            f"{count} subject{'s' * (count > 1)}",
            [row for row in rows if row["subjects"] == count],
        )
    several = [row for row in rows if row["subjects"] > 1]
    yield "similar subjects", [row for row in several if row["similar"]]
    yield "dissimilar subjects", [row for row in several if not row["similar"]]
    yield "one interval", [row for row in rows if len(row["asked"]) == 1]
    yield "several intervals", [row for row in rows if len(row["asked"]) > 1]


def correlations(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How the moments and lengths shown follow those asked for, over single intervals seen."""
    timed = [row for row in rows if row["shown"] and len(row["asked"]) == 1]
    pairs = [(metrics.span(row["asked"]), metrics.span(row["shown"])) for row in timed]
    ends = np.array(pairs, np.float64).reshape(-1, 2, 2)  # [row, asked or shown, start or end]
    mid, length = ends.mean(-1), ends[..., 1] - ends[..., 0]
    return {
        "midpoint": metrics.correlation(mid[:, 0], mid[:, 1]),
        "length": metrics.correlation(length[:, 0], length[:, 1]),
        "subjects": len(timed),
    }


def summarise(rows: list[dict[str, Any]], resamples: int = 2000) -> dict[str, Any]:
    """Mean of each measure over subjects, with the 95 % interval that resamples clips.

    `rows` are those of `score`, or of a report, where what is not known is None.
    """
    clips = [row["case"] for row in rows]
    summary: dict[str, Any] = {"clips": len(set(clips)), "subjects": len(rows)}
    for name in MEASURES:
        values = np.array([row[name] for row in rows], np.float64)
        known = values[np.isfinite(values)]
        low, high = metrics.bootstrap_ci(values, clips, resamples)
        summary[name] = {
            "mean": float(known.mean()) if known.size else float("nan"),
            "low": low,
            "high": high,
        }
    return summary


def render(
    draw: Callable[..., np.ndarray],
    cases: Sequence[Case],
    *,
    seed: int = 0,
    steps: int | None = None,
    batch: int = 8,
    guidance: Any = None,
    slots: int = World.max_subjects,
    progress: bool = True,
) -> UInt8[np.ndarray, "b f h w 3"]:
    """Renders all cases with `Pipeline.render`, `batch` at a time; unused slots hold a white
    picture and no time.

    All batches have one size, so that a compiled sampler is used again; batch i is drawn from `seed
    + i`.
    """
    videos: list[np.ndarray] = []
    with Progress(len(cases), "rendering", quiet=not progress) as bar:
        for number, start in enumerate(range(0, len(cases), batch)):
            part = list(cases[start : start + batch])
            filler = [part[-1]] * (min(batch, len(cases)) - len(part))
            padded = [_slots(case, slots) for case in part + filler]
            prompts, references, words, intervals = zip(*padded, strict=True)
            drawn = draw(
                list(prompts),
                np.stack(references),
                list(words),
                list(intervals),
                seed=seed + number,
                steps=steps,
                guidance=guidance,
                frames=cases[0].n_frames,
            )
            videos.extend(np.asarray(drawn)[: len(part)])
            bar.update(len(videos))
    return np.stack(videos)


def _slots(
    case: Case, slots: int
) -> tuple[str, np.ndarray, list[str], list[list[tuple[int, int]]]]:
    empty = slots - len(case.words)
    if empty < 0:
        raise DataError(f"case {case.id}: {len(case.words)} subjects, but the model takes {slots}")
    white = np.full((empty, *case.references.shape[1:]), 255, np.uint8)
    times = [list(spans) for spans in case.intervals] + [[] for _ in range(empty)]
    return (
        case.prompt,
        np.concatenate([case.references, white]),
        [*case.words, *[""] * empty],
        times,
    )


def run_benchmark(
    model: str,
    benchmark: str = "sprites",
    out: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    batch: int = 8,
    guidance: Any = None,
    progress: bool = True,
    solver: str | None = None,
) -> dict[str, Any]:
    """Renders a benchmark ("sprites" or a .jsonl file) with a model, scores it, and writes
    report.json and .html.

    `limit` keeps the first so many cases; None is all of a file, and 128 of the sprites, which have
    no end. `seed` draws both the sprites cases and the noise. `steps`, `guidance` and `solver` are
    the model's own where they are None. Returns the report without its rows.

    Raises DataError, StoryboardError or WeightsError for a file, or a model, that cannot be used,
    and ConfigError for a solver that there is not.
    """
    from alchemint_jax.evaluate.report import save_report
    from alchemint_jax.sampling.pipeline import Pipeline

    if benchmark == "sprites":
        limit = 128 if limit is None else limit
        cases = sprites_cases(limit, seed)
    else:
        cases = read_benchmark(benchmark, limit)
    pipe = Pipeline.load(model)
    _check_model(pipe, cases)
    plan = pipe.settings.plan(steps, guidance, solver)
    began = time.perf_counter()
    videos = render(
        functools.partial(pipe.render, solver=plan.solver),
        cases,
        seed=seed,
        steps=plan.steps,
        batch=batch,
        guidance=plan.guidance,
        slots=pipe.limits.max_subjects,
        progress=progress,
    )
    seconds = time.perf_counter() - began
    report = {
        "settings": {
            "model": str(model),
            "benchmark": str(benchmark),
            "limit": "none" if limit is None else limit,
            "seed": seed,
            "steps": plan.steps,
            "solver": plan.solver,
            "batch": batch,
            "guidance": dataclasses.asdict(plan.guidance),
            "t_l2": "root mean square over start and end, as a fraction of the duration",
            "seconds_per_clip": seconds / len(cases),
        },
        **score(cases, videos),
    }
    if out is not None:
        save_report(report, videos, cases, out)
    return {key: value for key, value in report.items() if key != "rows"}


def _check_model(pipe: Any, cases: Sequence[Case]) -> None:
    """Refuses cases that the model cannot render, before any of them is."""
    for case in cases:
        if len(case.words) > pipe.limits.max_subjects:
            raise DataError(
                f"{case.id}: subjects: {len(case.words)} are too many; this model can do: "
                f"{pipe.limits.describe()}"
            )
        duration = (case.n_frames - 1) / case.fps
        size = (WORLD.size, WORLD.size)
        asked = Storyboard(case.prompt, duration, fps=case.fps, size=size, source=case.id)
        asked.validate_for(pipe.limits)
        words = {f"subjects[{i}].word": word for i, word in enumerate(case.words)}
        pipe.check_lengths({"prompt": case.prompt}, words, case.id)
