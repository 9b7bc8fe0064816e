"""The training loop. A run that is killed and started again ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from alchemint_jax import places, sharding
from alchemint_jax.data.share import Share
from alchemint_jax.errors import ConfigError, NonFiniteError, TrainingError
from alchemint_jax.outputs import remove_halves
from alchemint_jax.places import AnyPlace, Place
from alchemint_jax.progress import Progress
from alchemint_jax.train import remat
from alchemint_jax.train.checkpoint import Checkpoints, run_place
from alchemint_jax.train.evaluation import EvaluateConfig, Evaluator
from alchemint_jax.train.hosts import alone, to_host
from alchemint_jax.train.metrics import MetricWriter
from alchemint_jax.train.optimizer import OptimizerConfig
from alchemint_jax.train.orbax_noise import quiet_orbax
from alchemint_jax.train.scoring import Scoring
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
        evaluate: what is scored while it trains, and how often; None is nothing.
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
    evaluate: EvaluateConfig | None = None

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
    task: Task, config: TrainConfig, workdir: AnyPlace, *, mesh: Mesh | None = None
) -> FitResult:
    """Trains, resuming from ``workdir``, a folder or gs://bucket/path, if it has a checkpoint.

    Writes ``checkpoints/``, ``metrics.jsonl``, ``tensorboard/``, ``samples/`` and, at the end,
    ``export/``. SIGTERM, or SIGINT once, finishes the step, saves and returns. Where it evaluates
    it also writes ``evaluation.html``, ``best.json`` and, at the end, ``export_best/``.

    The mesh has all devices on its data axis by default. Several processes (see ``hosts.joined``)
    call this alike, with a ``workdir`` that all see; a signal to one of them has all stop after the
    same step. Another number of processes, or another mesh, may go on where they stopped.

    Raises:
        TrainingError: if the loss or the weights stop being finite, or the data ends.
    """
    place = run_place(workdir)
    places.check(place, writes=jax.process_index() == 0)
    mesh = sharding.make_mesh() if mesh is None else mesh
    _parse_grain_flags()
    share = Share(0, *sharding.batch_parts(mesh))
    task.train_data(share)  # what cannot start is found before anything is written
    scored = config.evaluate is not None and config.evaluate.every > 0
    evaluator = Evaluator(task, config.evaluate) if scored and config.evaluate else None
    with sharding.use_mesh(mesh):
        plan = plan_state(task, config.optimizer, mesh)
        with quiet_orbax(), Checkpoints(place / "checkpoints", config.keep) as checkpoints:
            result = _Run(task, config, place, plan, checkpoints, share, evaluator).train()
            checkpoints.wait()
            if not result.interrupted:
                _export(task, result.state, place / "export")
                best = checkpoints.best
                if best is not None:
                    # Beside the state that the run ended with there may be no room for another.
                    same = best == result.step
                    ema = result.state["ema"] if same else checkpoints.average(best, plan.abstract)
                    _export(task, {**result.state, "ema": ema}, place / "export_best")
    return result


def _export(task: Task, state: State, where: Place) -> None:
    """Writes the averaged weights of a state, which all processes have a part of."""
    weights = to_host(everything(state, "ema"))
    if jax.process_index() == 0:
        with alone(), places.written(where) as folder:
            remove_halves(folder)
            task.export(weights, folder)


class _Run:
    """The parts that the loop needs at every step."""

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        workdir: Place,
        plan: StatePlan,
        checkpoints: Checkpoints,
        share: Share,
        evaluator: Evaluator | None,
    ) -> None:
        self.evaluator = evaluator
        self.task, self.config, self.plan, self.checkpoints = task, config, plan, checkpoints
        self.workdir, self.share = workdir, share
        self.validation_step = jit_validation_step(plan)
        self.key = self._key(0)
        self.shapes: set[Any] = set()
        self.window: list[dict[str, float]] = []
        self.window_began = time.monotonic()

    def _key(self, stream: int) -> jax.Array:
        """Stream 0 trains; stream 1 validates, with the same keys every time."""

        def make() -> jax.Array:
            key = jax.random.key(self.config.seed)
            return jax.random.fold_in(key, 2**31 + stream) if stream else key

        # Made where it is needed: on the devices of all processes.
        return jax.jit(make, out_shardings=sharding.replicated(self.plan.mesh))()

    def train(self) -> FitResult:
        config, checkpoints = self.config, self.checkpoints
        start, examples = checkpoints.latest() or 0, 0
        notes: dict[str, Any] = {}
        if start:
            notes, examples = checkpoints.notes(start), checkpoints.examples(start)
            state = checkpoints.restore(start, self.plan.abstract)
            state |= self.plan.frozen(self.key)
        else:
            state = self.plan.init(self.key)
        data = iter(self.task.train_data(dataclasses.replace(self.share, start=examples)))
        step, stop, pending = start, False, None
        first = jax.process_index() == 0
        with (
            _stop_signal() as stopped,
            MetricWriter(self.workdir, start, active=first) as self.writer,
            Progress(config.total_steps, "training", start, quiet=not first) as self.progress,
        ):
            asked = _asked_to_stop(self.plan.mesh, stopped)
            if step < config.total_steps:
                data, plan, notes = self._settled(data, notes)
                train_step = jit_train_step(plan, config.optimizer)
            scoring = None
            if self.evaluator is not None:
                name = str(self.workdir).rstrip("/").rpartition("/")[2]
                scoring = Scoring(self.evaluator, self.writer, checkpoints, name)
                scoring.begin(start, state, config.total_steps)
            while step < config.total_steps and not stop:
                batch = self._next_batch(data, step)
                examples += len(jax.tree.leaves(batch)[0])
                with jax.transfer_guard("disallow"):
                    state, metrics = train_step(state, batch, self.key)
                # The device works on this step while the previous one is looked at.
                if pending is not None:
                    self._note(step, pending)
                step, pending = step + 1, metrics
                stop = asked()
                last = stop or step == config.total_steps
                evaluates = scoring is not None and scoring.due(step, config.total_steps)
                saves = last or evaluates or _due(step, config.checkpoint_every)
                validates = _due(step, config.validate_every)
                samples = _due(step, config.sample_every)
                if saves or validates or samples:
                    self._note(step, pending)  # raises before anything bad is saved
                    pending = None
                if saves:
                    self.writer.flush()  # a run that goes on keeps the lines before its checkpoint
                    checkpoints.save(step, state, examples, notes)
                if validates:
                    self._validate(step, state)
                if samples:
                    self._sample(step, state)
                # If it is to stop, this is the first thing to do next time.
                if scoring is not None and evaluates and not (stop and step < config.total_steps):
                    self.window_began += scoring.score(step, state)  # no part of the steps' time
        return FitResult(state, step, step < config.total_steps, stopped.signal)

    def _settled(
        self, data: Iterator[Any], notes: dict[str, Any]
    ) -> tuple[Iterator[Any], StatePlan, dict[str, Any]]:
        """What the step is to be compiled for, and the notes of it for the next checkpoints.

        It takes a batch to know their shapes: the data that are returned begin with it.
        """
        ask, plan = getattr(self.task, "ways", None), self.plan
        if ask is None or (first := next(data, None)) is None:
            return data, plan, {}
        place = sharding.batch_sharding(plan.mesh)
        shapes = {
            name: jax.ShapeDtypeStruct(
                (self.share.batch(len(x)), *np.shape(x)[1:]), x.dtype, sharding=place
            )
            for name, x in first.items()
        }
        optimizer = self.config.optimizer
        ways = ask(shapes, plan.mesh, optimizer.accumulate)
        plan, choice = remat.settled(plan, optimizer, ways, notes.get(remat.NOTE))
        data = itertools.chain([first], data)
        if choice is None:
            return data, plan, {}
        self.progress.say(f"remat {choice.policy}: {choice.why}")
        return data, plan, {remat.NOTE: choice.note()}

    def _next_batch(self, data: Iterator[Any], step: int) -> Any:
        try:
            batch = next(data)
        except StopIteration:
            raise TrainingError(
                f"the training data ended after {step} of {self.config.total_steps} steps; "
                "make it endless (grain: .repeat())"
            ) from None
        shapes = tuple(np.shape(x) for x in jax.tree.leaves(batch))
        if shapes not in self.shapes:
            self.shapes.add(shapes)
            if len(self.shapes) > 1:
                largest = "x".join(map(str, max(shapes, key=math.prod)))
                self.progress.say(f"batches of {largest}: shape {len(self.shapes)} to compile")
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
            if len(self.shapes) > 1:
                means["compiled_shapes"] = len(self.shapes)
            self.writer.write(step, means)
            self.window, self.window_began = [], now

    def _validate(self, step: int, state: State) -> None:
        """Loss of the averaged weights on fixed batches with fixed keys."""
        key, results, params = self._key(1), [], everything(state, "ema")
        for index, batch in enumerate(self.task.validation_data(self.share)):
            batch = sharding.put_batch(batch, self.plan.mesh)
            each = jax.random.fold_in(key, index)
            results.append(self.validation_step(params, batch, each))
        if results:
            host = jax.device_get(results)
            self.writer.write(
                step,
                {f"validation/{k}": float(np.mean([r[k] for r in host])) for k in host[0]},
            )

    def _sample(self, step: int, state: State) -> None:
        """Videos of the averaged weights; of several processes the first one makes them alone."""
        weights = everything(state, "ema")
        if jax.process_count() > 1:
            weights = to_host(weights)
        if jax.process_index() == 0:
            try:
                with alone():
                    videos = self.task.sample(weights)
            except NonFiniteError as error:  # of weights that are finite, and may yet improve
                warnings.warn(f"no samples of step {step}: {error}", stacklevel=2)
                return
            self.writer.write_videos(step, videos, self.config.sample_fps)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _parse_grain_flags() -> None:
    """Grain's worker processes read absl flags, which nobody parses outside absl.app.run."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _asked_to_stop(mesh: Mesh, stopped: threading.Event) -> Callable[[], bool]:
    """A function to call once in every step: whether to stop after it.

    A signal may reach one process only, or each at another step, and all must stop after the same
    one. So every step they vote. What counts is the vote of the step before: the devices have done
    it by now, and are not kept waiting for the next step.
    """
    if jax.process_count() == 1:
        return stopped.is_set
    places = NamedSharding(mesh, P(mesh.axis_names))
    any_vote = jax.jit(lambda votes: jnp.max(votes), out_shardings=sharding.replicated(mesh))

    def vote() -> jax.Array:
        mine = np.full(1, stopped.is_set(), np.int32)
        return any_vote(jax.make_array_from_callback((mesh.size,), places, lambda index: mine))

    last: jax.Array | None = None

    def asked() -> bool:
        nonlocal last
        before, last = last, vote()
        return before is not None and bool(jax.device_get(before))

    return asked


class _StopEvent(threading.Event):
    """Set by a signal, the first of which it remembers."""

    signal: int | None = None


@contextlib.contextmanager
def _stop_signal() -> Iterator[_StopEvent]:
    """An event that SIGTERM or a first SIGINT sets; a second SIGINT interrupts as usual."""
    event = _StopEvent()
    if threading.current_thread() is not threading.main_thread():
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
            # None: what was there before was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
