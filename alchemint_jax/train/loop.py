"""The training loop. A run that is killed and started again ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError, TrainingError
from alchemint_jax.progress import Progress
from alchemint_jax.train.checkpoint import Checkpoints, local_folder
from alchemint_jax.train.metrics import MetricWriter
from alchemint_jax.train.optimizer import OptimizerConfig
from alchemint_jax.train.state import State, StatePlan, everything, plan_state
from alchemint_jax.train.step import GUARDED, Metrics, jit_train_step, jit_validation_step
from alchemint_jax.train.task import Task


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long to train and what to do on the way; 0 turns a periodic action off.

    Attributes:
        seed: of the parameters and of all randomness in the steps.
        keep: number of checkpoints kept.
        sample_fps: frames per second of sample videos.
    """

    total_steps: int
    seed: int = 0
    log_every: int = 50
    validate_every: int = 1000
    sample_every: int = 5000
    checkpoint_every: int = 500
    keep: int = 3
    sample_fps: float = 8.0
    optimizer: OptimizerConfig = OptimizerConfig()

    def __post_init__(self) -> None:
        for name in ("log_every", "validate_every", "sample_every", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"train: {name} must be >= 0 (0 turns it off)")
        if self.total_steps < 1 or self.keep < 1:
            raise ConfigError("train: total_steps and keep must be at least 1")


@dataclasses.dataclass(frozen=True)
class FitResult:
    """The state a run ended with.

    Attributes:
        interrupted: a signal ended it early; start it again to go on from ``step``.
        signal: the first signal that asked to stop, if this process caught it itself.
    """

    state: State
    step: int
    interrupted: bool
    signal: int | None = None


def fit(
    task: Task, config: TrainConfig, workdir: Path | str, *, mesh: Mesh | None = None
) -> FitResult:
    """Trains, resuming from ``workdir`` if it has a checkpoint.

    Writes ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/``, ``samples/`` and, at the end,
    ``export/``. SIGTERM, or SIGINT once, finishes the step, saves and returns.

    The mesh has all devices on its data axis by default.

    Raises:
        TrainingError: if the loss or the weights stop being finite, or the data ends.
    """
    workdir = local_folder(workdir)
    mesh = sharding.make_mesh() if mesh is None else mesh
    _parse_grain_flags()
    # What cannot start is found before anything is written.
    data = iter(task.train_data())
    with sharding.use_mesh(mesh):
        plan = plan_state(task, config.optimizer, mesh)
        with Checkpoints(workdir / "checkpoints", config.keep) as checkpoints:
            result = _Run(task, config, workdir, plan, checkpoints).train(data)
            checkpoints.wait()
        if not result.interrupted:
            weights = _to_host(everything(result.state, "ema"))
            if jax.process_index() == 0:
                task.export(weights, workdir / "export")
    return result


class _Run:
    """The parts that the loop needs at every step."""

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        workdir: Path,
        plan: StatePlan,
        checkpoints: Checkpoints,
    ) -> None:
        self.task, self.config, self.plan, self.checkpoints = task, config, plan, checkpoints
        self.workdir = workdir
        self.train_step = jit_train_step(plan, config.optimizer)
        self.validation_step = jit_validation_step(plan)
        self.key = self._key(0)
        self.window: list[dict[str, float]] = []
        self.window_began = time.monotonic()

    def _key(self, stream: int) -> jax.Array:
        """Stream 0 trains; stream 1 validates, with the same keys every time."""
        key = jax.random.key(self.config.seed)
        if stream:
            key = jax.random.fold_in(key, 2**31 + stream)
        return jax.device_put(key, sharding.replicated(self.plan.mesh))

    def train(self, data: Iterator[Any]) -> FitResult:
        config, checkpoints = self.config, self.checkpoints
        start = checkpoints.latest() or 0
        if start:
            state = checkpoints.restore(start, self.plan.abstract, data)
            state |= self.plan.frozen(self.key)
        else:
            state = self.plan.init(self.key)
        step, stop, pending = start, False, None
        first = jax.process_index() == 0
        with (
            _stop_signal() as stopped,
            MetricWriter(self.workdir, start, active=first) as self.writer,
            Progress(config.total_steps, "training", start, quiet=not first) as self.progress,
        ):
            while step < config.total_steps and not stop:
                batch = self._next_batch(data, step)
                with jax.transfer_guard("disallow"):
                    state, metrics = self.train_step(state, batch, self.key)
                # The device works on this step while the previous one is looked at.
                if pending is not None:
                    self._note(step, pending)
                step, pending = step + 1, metrics
                stop = _all_stop(stopped, step)
                last = stop or step == config.total_steps
                saves = last or _due(step, config.checkpoint_every)
                validates = _due(step, config.validate_every)
                samples = _due(step, config.sample_every)
                if saves or validates or samples:
                    self._note(step, pending)  # raises before anything bad is saved
                    pending = None
                if saves:
                    checkpoints.save(step, state, data)
                if validates:
                    self._validate(step, state)
                if samples:
                    videos = self.task.sample(everything(state, "ema"))
                    self.writer.write_videos(step, videos, config.sample_fps)
        return FitResult(state, step, step < config.total_steps, stopped.signal)

    def _next_batch(self, data: Iterator[Any], step: int) -> Any:
        try:
            batch = next(data)
        except StopIteration:
            raise TrainingError(
                f"the training data ended after {step} of {self.config.total_steps} steps; "
                "make it endless (grain: .repeat())"
            ) from None
        return sharding.put_batch(batch, self.plan.mesh)

    def _note(self, step: int, metrics: Metrics) -> None:
        """Checks the figures of a finished step, and logs them if it is time."""
        figures = {k: float(v) for k, v in jax.device_get(metrics).items()}
        bad = [name for name in GUARDED if not math.isfinite(figures[name])]
        if bad:
            self.checkpoints.wait()
            good = self.checkpoints.latest()
            where = (
                "no checkpoint was saved before it"
                if good is None
                else f"the last good checkpoint is {self.checkpoints.directory / str(good)}"
            )
            raise TrainingError(
                f"{' and '.join(bad)} became non-finite in step {step} ({where}); lower the "
                "learning rate or clip_norm, or look at the data of that step"
            )
        self.window.append(figures)
        self.progress.update(step, loss=figures["loss"])
        if step == 1 or step == self.config.total_steps or _due(step, self.config.log_every):
            now = time.monotonic()
            means = {k: float(np.mean([f[k] for f in self.window])) for k in figures}
            means["steps_per_second"] = len(self.window) / max(1e-9, now - self.window_began)
            self.writer.write(step, means)
            self.window, self.window_began = [], now

    def _validate(self, step: int, state: State) -> None:
        """Loss of the averaged weights on fixed batches with fixed keys."""
        key, results, params = self._key(1), [], everything(state, "ema")
        for index, batch in enumerate(self.task.validation_data()):
            batch = sharding.put_batch(batch, self.plan.mesh)
            each = jax.random.fold_in(key, index)
            results.append(self.validation_step(params, batch, each))
        if results:
            host = jax.device_get(results)
            self.writer.write(
                step,
                {f"validation/{k}": float(np.mean([r[k] for r in host])) for k in host[0]},
            )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _to_host(tree: Any) -> Any:
    """NumPy copies, whole on every process."""
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(tree, tiled=True)
    return jax.device_get(tree)


def _parse_grain_flags() -> None:
    """Grain's worker processes read absl flags, which nobody parses outside absl.app.run."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _all_stop(stopped: threading.Event, step: int) -> bool:
    """Whether to stop after this step; all processes agree on the step."""
    if jax.process_count() > 1:
        return multihost_utils.reached_preemption_sync_point(step)
    return stopped.is_set()


class _StopEvent(threading.Event):
    """Set by a signal, the first of which it remembers."""

    signal: int | None = None


@contextlib.contextmanager
def _stop_signal() -> Iterator[_StopEvent]:
    """An event that SIGTERM or a first SIGINT sets; a second SIGINT interrupts as usual."""
    event = _StopEvent()
    on_main_thread = threading.current_thread() is threading.main_thread()
    # With several processes JAX itself catches SIGTERM, to have them stop at the same step.
    if not on_main_thread or jax.process_count() > 1:
        yield event
        return

    def handle(number: int, frame: Any) -> None:
        del frame
        event.signal = number if event.signal is None else event.signal
        event.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
