"""Scores of a run while it trains: a small benchmark, every so many steps, by averaged weights."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alchemint_jax.errors import ConfigError, NonFiniteError
from alchemint_jax.evaluate import scores
from alchemint_jax.evaluate.benchmark import check_model, render
from alchemint_jax.evaluate.curve import Curves, Point
from alchemint_jax.evaluate.reports import less_is_better
from alchemint_jax.train.task import Params, Task
from alchemint_jax.worlds import named

PREFIX = "evaluation/"
"""What figures of it begin with in metrics.jsonl."""


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What a run is scored on while it trains.

    Attributes:
        every: steps from one evaluation to the next, and the last step; 0 turns it off.
        benchmark: a world of ours, a file of storyboards, or MODULE:NAME, as of `alchemint
            evaluate`.
        tracker: who measures the clips of a file, by the names of `alchemint evaluate`.
        limit: the first so many boards.
        seed: of boards and noise.
        batch: boards rendered at a time. Each process of a job takes whole batches.
        steps: of the solver; the model's own number where it is None.
        best: the figure by which the best checkpoint is kept.
    """

    every: int = 1000
    benchmark: str = named.DEFAULT
    tracker: str | None = None
    limit: int = 16
    seed: int = 0
    batch: int = 8
    steps: int | None = None
    best: str = "t_iou"

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ConfigError("train.evaluate: every must be >= 0 (0 turns it off)")
        if min(self.limit, self.batch, 1 if self.steps is None else self.steps) < 1:
            raise ConfigError("train.evaluate: limit, batch and steps must be at least 1")
        if not 0 <= self.seed < 2**32:
            raise ConfigError("train.evaluate: seed must be from 0 to 2^32 - 1")

    @property
    def asked(self) -> dict[str, Any]:
        """What scores depend on, beside the weights: scores of another are no competitors."""
        same = ("benchmark", "tracker", "limit", "seed", "steps", "best")
        return {name: getattr(self, name) for name in same}


class Evaluator:
    """Renders the boards with the weights of a run, and scores them.

    Raises:
        ConfigError, DataError, StoryboardError, WeightsError: the task renders nothing, there is no
            such benchmark or figure, or the model cannot render it.
    """

    def __init__(self, task: Task, config: EvaluateConfig) -> None:
        if not hasattr(task, "pipeline"):
            raise ConfigError(
                f"train.evaluate: a {type(task).__name__} renders no storyboards, so it cannot be "
                "scored on them; leave train.evaluate out"
            )
        self.config, self._pipeline = config, task.pipeline
        self._sign = 1
        fields = ("train.evaluate.benchmark", "train.evaluate.tracker")
        benchmark = named.chosen(config.benchmark, config.tracker, config.limit, fields)
        self.tracker = benchmark.tracker
        self.titles = scores.measures(self.tracker)
        if config.best not in self.titles:
            known = ", ".join(self.titles)
            raise ConfigError(f"train.evaluate.best: {config.best!r} is not measured; use {known}")
        pipe = task.pipeline(None)
        self.cases = benchmark.cases(pipe, config.limit, config.seed)
        check_model(pipe, self.cases)

    def rows(self, params: Params, process: int = 0, processes: int = 1) -> list[dict[str, Any]]:
        """What the boards score that one of several processes renders, by the weights given.

        Which noise a board starts from does not depend on how many processes there are.

        Raises:
            NonFiniteError: the weights gave NaN or infinity.
        """
        pipe, config = self._pipeline(params), self.config
        found: list[dict[str, Any]] = []
        plan = pipe.settings.plan(config.steps, None, None)
        for number in range(process, math.ceil(len(self.cases) / config.batch), processes):
            part = self.cases[number * config.batch : (number + 1) * config.batch]
            videos = render(
                pipe.render,
                part,
                seed=config.seed + number,
                steps=plan.steps,
                batch=config.batch,
                guidance=plan.weights,
                progress=False,
            )
            report = scores.score(part, videos, self.tracker, resamples=1)
            self._sign = -1 if config.best in less_is_better(report) else 1
            found += report["rows"]
        return found

    def share(self, params: Params, process: int, processes: int) -> dict[str, Any]:
        """`rows`, or what was wrong with the weights, ready for JSON: weights may yet improve."""
        began = time.monotonic()
        try:
            rows = self.rows(params, process, processes)
        except NonFiniteError as error:
            return {"problem": str(error)}
        return {"rows": rows, "seconds": time.monotonic() - began}

    def figures(self, shares: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Means, and the ends of their 95 % intervals, of the shares of all processes.

        Raises:
            NonFiniteError: one of them could not render.
        """
        problems = [share["problem"] for share in shares if "problem" in share]
        if problems:
            raise NonFiniteError(problems[0])
        order = {case.id: i for i, case in enumerate(self.cases)}
        rows = [row for share in shares for row in share["rows"]]
        rows.sort(key=lambda row: (order[row["case"]], row["subject"]))
        figures: dict[str, float] = {}
        for name, estimate in scores.summarise(rows, self.titles).items():
            if name in self.titles:
                figures[name] = estimate["mean"]
                figures |= {f"{name}_{end}": estimate[end] for end in ("low", "high")}
        return figures | {"seconds": max(share["seconds"] for share in shares)}

    def better(self, value: float, than: float | None) -> bool:
        """Whether a score of `rows` is better than the best so far, if any; NaN never is."""
        return not math.isnan(value) and (than is None or self._sign * (value - than) > 0)

    def curves(self, lines: Iterable[Mapping[str, Any]]) -> Curves:
        """The points of each figure in the lines of a metrics.jsonl."""
        found: dict[str, list[Point]] = {name: [] for name in self.titles}
        for line in lines:
            for name, points in found.items():
                ends = [line.get(f"{PREFIX}{name}{end}") for end in ("", "_low", "_high")]
                if None not in ends:
                    points.append((line["step"], *ends))
        first = self.config.best
        names = [first, *(name for name in found if name != first)]
        return {self.titles[name]: found[name] for name in names if found[name]}
