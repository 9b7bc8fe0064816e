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
from alchemint_jax.data.encoded import fingerprint
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.cases import Benchmark
from alchemint_jax.evaluate.quality.reporting import less_is_better, of_videos
from alchemint_jax.evaluate.scores import T_L2, score
from alchemint_jax.progress import Progress
from alchemint_jax.scene.scene import Scene


def render(
    draw: Callable[..., np.ndarray],
    cases: Sequence[Scene],
    *,
    seed: int = 0,
    steps: int | None = None,
    batch: int = 8,
    guidance: Any = None,
    progress: bool = True,
) -> UInt8[np.ndarray, "b f h w 3"]:
    """Renders all cases with `Pipeline.render`, `batch` at a time.

    All batches have one size, so that a compiled sampler is used again; batch i is drawn from `seed
    + i`.
    """
    videos: list[np.ndarray] = []
    with Progress(len(cases), "rendering", quiet=not progress) as bar:
        for number, start in enumerate(range(0, len(cases), batch)):
            part = list(cases[start : start + batch])
            filler = [part[-1]] * (min(batch, len(cases)) - len(part))
            drawn = draw(part + filler, seed=seed + number, steps=steps, guidance=guidance)
            videos.extend(np.asarray(drawn)[: len(part)])
            bar.update(len(videos))
    return np.stack(videos)


def run_benchmark(
    model: str,
    benchmark: Benchmark,
    out: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    batch: int = 8,
    guidance: Any = None,
    progress: bool = True,
    solver: str | None = None,
    control: Any = None,
    judge: Callable[[], Any] | None = None,
    relay: Any = None,
    clean_keyframes: bool = False,
    cache: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Renders a benchmark with a model, scores it, and writes a report.

    Args:
        model: a bundled model by name, or a folder.
        benchmark: its cases, and who measures.
        out: the folder of report.json, report.html and videos/; None writes nothing.
        limit: how many cases, from the first; None is the benchmark's own number.
        seed: draws both the cases and the noise.
        steps: of the solver; the model's own number where it is None.
        batch: cases rendered at a time.
        guidance: a `Guidance`, or some of its weights by name; the model's own are kept for the
            others, and for all of them where it is None.
        progress: whether to say how far it is.
        solver: "euler" or "unipc"; the model's own where it is None.
        control: as in `Pipeline.render`.
        judge: loads who measures whole videos; None leaves those figures out.
        relay: as in `Pipeline.load`.
        clean_keyframes: as in `Pipeline.load`.
        cache: as in `Pipeline.load`.

    Returns:
        The figures of the report, without its rows and titles.

    Raises:
        DataError, StoryboardError, WeightsError: a case, or the model, cannot be used.
        ConfigError: there is no such solver, or the model cannot have this control.

    Examples:
        >>> from types import SimpleNamespace
        >>> from alchemint_jax.evaluate.cases import StoryboardFile
        >>> def track(video, case):  # sees everybody all the time
        ...     seen = np.ones(len(video), bool)
        ...     return [al.evaluate.Sighting(seen, one.word, one.word) for one in case.subjects]
        >>> tracker = SimpleNamespace(
        ...     measures={}, notes={}, check=lambda image: None, track=track
        ... )
        >>> board = al.Storyboard.load("examples/two_subjects.yaml")
        >>> boards = StoryboardFile("mine", tracker, (("a", board),))
        >>> model = al.weights.BUNDLED[0]
        >>> report = al.evaluate.run_benchmark(model, boards, steps=4, batch=1, progress=False)
        >>> report["overall"]["presence"]["mean"]
        1.0

    Source:
        This repository.
    """
    from alchemint_jax.evaluate.html_report import save_report
    from alchemint_jax.sampling.pipeline import Pipeline

    limit = benchmark.limit if limit is None else limit
    pipe = Pipeline.load(model, relay=relay, clean_keyframes=clean_keyframes, cache=cache)
    cases = benchmark.cases(pipe, limit, seed)
    check_model(pipe, cases)
    plan = pipe.settings.plan(steps, guidance, solver)
    weighed = fingerprints(model)
    began = time.perf_counter()
    videos = render(
        functools.partial(pipe.render, solver=plan.solver, control=control),
        cases,
        seed=seed,
        steps=plan.steps,
        batch=batch,
        guidance=plan.weights,
        progress=progress,
    )
    seconds = time.perf_counter() - began
    report = {
        "settings": {
            "model": str(model),
            "weights": weighed,
            "benchmark": benchmark.name,
            "limit": "none" if limit is None else limit,
            "seed": seed,
            "steps": plan.steps,
            "solver": plan.solver,
            "batch": batch,
            "guidance": dataclasses.asdict(plan.guidance),
            **(
                {"guidance_low": dataclasses.asdict(plan.guidance_low)} if plan.guidance_low else {}
            ),
            **({"control": repr(control)} if control else {}),
            **({"relay": repr(relay)} if relay else {}),
            **({"clean_keyframes": True} if clean_keyframes else {}),
            **({"cache": str(cache)} if cache else {}),
            "t_l2": T_L2,
            "seconds_per_clip": seconds / len(cases),
        },
        **score(cases, videos, benchmark.tracker),
    }
    if judge is not None:
        from alchemint_jax.evaluate.quality.per_video import figures

        judges = judge()
        with Progress(len(cases), "judging", quiet=not progress) as bar:
            rows = []
            for case, video in zip(cases, videos, strict=True):
                rows.append({"case": case.id, **figures(video, case, judges)})
                bar.update(len(rows))
        report |= (of_whole := of_videos(rows))
        report["less_is_better"] = less_is_better(report["less_is_better"], of_whole)
    if out is not None:
        save_report(report, videos, cases, out)
    kept = ("rows", "measures", "notes", "videos", "video_measures", "less_is_better")
    return {key: report[key] for key in report if key not in kept}


def fingerprints(model: str) -> dict[str, str]:
    """SHA-256 of the weights of each part of a model: two models of one name may differ."""
    folder = weights.locate(model)
    folders = {name: weights.component_folder(folder, name) for name in weights.COMPONENTS}
    return {
        name: fingerprint(part)
        for name, part in folders.items()
        if part.name == name and part.is_dir()
    }


def check_model(pipe: Any, cases: Sequence[Scene]) -> None:
    """Refuses cases that the model cannot render, or not together, before any of them is."""
    if not cases:
        raise DataError("the benchmark has no cases")
    forms = {(case.clock, case.size) for case in cases}
    if len(forms) > 1:
        raise DataError(
            f"{cases[0].id}: the cases of a benchmark must have one length, one fps and one size, "
            f"but there are {len(forms)} kinds of them"
        )
    for case in cases:
        pipe.check(case)
