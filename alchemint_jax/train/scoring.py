"""When a run is scored, what is written of it, and which checkpoint is the best."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Mapping
from typing import Any

import jax

from alchemint_jax.errors import NonFiniteError
from alchemint_jax.evaluate.curve import render_curves
from alchemint_jax.train.checkpoint import Checkpoints
from alchemint_jax.train.evaluation import PREFIX, Evaluator
from alchemint_jax.train.hosts import alone, gathered, to_host
from alchemint_jax.train.metrics import MetricWriter
from alchemint_jax.train.state import State, everything

BEST = "best.json"


@dataclasses.dataclass(frozen=True)
class Best:
    """The best evaluation of a run, as best.json has it.

    Attributes:
        step: whose checkpoint is kept.
        value: of the figure.
        asked: `EvaluateConfig.asked` of the evaluation.
    """

    step: int
    value: float
    asked: Mapping[str, Any]

    def text(self) -> str:
        """The file."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, text: str | None) -> Best | None:
        """What a file says; None where there is none, or it is damaged."""
        try:
            found = json.loads(text or "")
            return cls(int(found["step"]), float(found["value"]), dict(found["asked"]))
        except (KeyError, TypeError, ValueError):
            return None


class Scoring:
    """The evaluations of one run. All processes call its methods alike.

    Args:
        evaluator: what scores weights.
        writer: of the run.
        checkpoints: of the run, of which the best one is kept.
        title: of the page of curves.
    """

    def __init__(
        self, evaluator: Evaluator, writer: MetricWriter, checkpoints: Checkpoints, title: str
    ) -> None:
        self._evaluator, self._writer, self._checkpoints = evaluator, writer, checkpoints
        self._title = title
        self._best: Best | None = None  # the first process alone knows it

    def due(self, step: int, last: int) -> bool:
        """Whether a step is to be scored."""
        every = self._evaluator.config.every
        return step > 0 and (step == last or step % every == 0)

    def begin(self, start: int, state: State, last: int) -> None:
        """Goes on where an earlier process stopped, also if that was in an evaluation.

        Its best counts if the checkpoint is there and the score is one of the same boards.
        """
        found = Best.read(self._writer.read_text(BEST))
        usable = found is not None and found.asked == self._evaluator.config.asked
        told = gathered(found.step if found and usable else None)[0]
        if told is not None and told <= start and told in self._checkpoints.steps():
            self._best, self._checkpoints.best = found, told
        if self.due(start, last) and gathered(not self._scored(start))[0]:
            self.score(start, state)

    def _scored(self, step: int) -> bool:
        lines = (line for line in self._writer.lines() if line["step"] == step)
        return any(name.startswith(PREFIX) for line in lines for name in line)

    def score(self, step: int, state: State) -> float:
        """Scores the averaged weights, each process a share of the boards by itself.

        Returns:
            The seconds that it took.
        """
        evaluator, began = self._evaluator, time.monotonic()
        weights = everything(state, "ema")
        if jax.process_count() > 1:
            weights = jax.device_put(to_host(weights), jax.local_devices()[0])
        with alone():
            own = evaluator.share(weights, jax.process_index(), jax.process_count())
        del weights
        shares = gathered(own)
        figures = dict.fromkeys(evaluator.titles, float("nan"))
        if jax.process_index() == 0:
            try:
                figures = evaluator.figures(shares)
            except NonFiniteError as error:  # of weights that are finite, and may yet improve
                warnings.warn(f"no scores of step {step}: {error}", stacklevel=2)
        self._keep(step, figures[evaluator.config.best])
        # After the best: a step that has these lines is not scored again.
        self._writer.write(step, {f"{PREFIX}{k}": v for k, v in figures.items()})
        if jax.process_index() == 0:
            curves = evaluator.curves(self._writer.lines())
            by = evaluator.titles[evaluator.config.best]
            page = render_curves(curves, self._title, self._checkpoints.best, by)
            self._writer.write_text("evaluation.html", page)
        return time.monotonic() - began

    def _keep(self, step: int, value: float) -> None:
        """Makes the checkpoint of a step the one that stays, if its score is the best."""
        before = None if self._best is None else self._best.value
        # The first process decides for all: others may add the same numbers in another order.
        if gathered(self._evaluator.better(value, before))[0]:
            self._checkpoints.wait()  # what is called the best is whole
            self._checkpoints.best = step
            self._best = Best(step, value, self._evaluator.config.asked)
            self._writer.write_text(BEST, self._best.text())
