"""Asking a model for all cases of a benchmark, and reporting how well it did."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import weights
from alchemint_jax.data.encode import fingerprint
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.scores import score
from alchemint_jax.progress import Progress
from alchemint_jax.storyboard import Event, Storyboard
from alchemint_jax.worlds.sprites.cases import Case, read_benchmark, sprites_cases
from alchemint_jax.worlds.sprites.world import World


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
            events = [case.events for case in part + filler]
            drawn = draw(
                list(prompts),
                np.stack(references),
                list(words),
                list(intervals),
                seed=seed + number,
                steps=steps,
                guidance=guidance,
                frames=cases[0].n_frames,
                **({"events": events} if any(events) else {}),
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
    the model's own where they are None; of `guidance`, a `Guidance` or some of its weights by name,
    those that are not given. Returns the report without its rows.

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
    check_model(pipe, cases)
    plan = pipe.settings.plan(steps, guidance, solver)
    weighed = fingerprints(model)
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
            "weights": weighed,
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


def fingerprints(model: str) -> dict[str, str]:
    """SHA-256 of the weights of each part of a model: two models of one name may differ."""
    folder = weights.locate(model)
    folders = {name: weights.component_folder(folder, name) for name in weights.COMPONENTS}
    return {
        name: fingerprint(part)
        for name, part in folders.items()
        if part.name == name and part.is_dir()
    }


def check_model(pipe: Any, cases: Sequence[Case]) -> None:
    """Refuses cases that the model cannot render, before any of them is."""
    for case in cases:
        if len(case.words) > pipe.limits.max_subjects:
            raise DataError(
                f"{case.id}: subjects: {len(case.words)} are too many; this model can do: "
                f"{pipe.limits.describe()}"
            )
        duration = (case.n_frames - 1) / case.fps
        size = (World.size, World.size)
        said = tuple(Event(text, (s / case.fps, e / case.fps)) for text, (s, e) in case.events)
        asked = Storyboard(
            case.prompt, duration, events=said, fps=case.fps, size=size, source=case.id
        )
        asked.validate_for(pipe.limits)
        words = {f"subjects[{i}].word": word for i, word in enumerate(case.words)}
        texts = {f"events[{i}].text": text for i, (text, _) in enumerate(case.events)}
        pipe.check_lengths({"prompt": case.prompt}, words, case.id, texts)
