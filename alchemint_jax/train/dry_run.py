"""A whole training job looked at before anything is rented: `alchemint train ... --dry-run`.

It needs neither the accelerators nor the weights: shapes, shardings and the traced step of any mesh
come from CPU devices that are only pretended. It does what a run does first, on the same code, and
writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from flax.errors import FlaxError
from jax.sharding import Mesh
from ml_collections import ConfigDict

from alchemint_jax import places, sharding, weights
from alchemint_jax.data.encoded import check_encoder, check_text_encoder
from alchemint_jax.data.share import Share
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.train.checkpoint import run_place
from alchemint_jax.train.config import load_config
from alchemint_jax.train.evaluation import Evaluator
from alchemint_jax.train.loop import TrainConfig
from alchemint_jax.train.run import build_job, build_mesh, check_workdir
from alchemint_jax.train.state import StatePlan, plan_state
from alchemint_jax.train.step import jit_train_step

GIB = 2**30
_PARTS = {
    "params": "weights",
    "ema": "their average",
    "opt": "optimizer",
    "frozen": "frozen weights",
}


@dataclasses.dataclass(frozen=True)
class Report:
    """What a job would do.

    Attributes:
        lines: what was found, a subject and what is said of it.
        problems: what would end it; empty if it can start.
    """

    lines: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"{subject:<12}{text}".rstrip() for subject, text in self.lines)


def command(args: argparse.Namespace) -> int:
    """What `alchemint train --dry-run` does; the report goes to standard output.

    Raises:
        ConfigError: with all that would end the run.
    """
    pretend(args.devices)
    processes = args.processes or 1
    report = dry_run(args.config, args.workdir, args.overrides, args.devices, processes)
    print(report)
    if report.problems:
        raise ConfigError("\n  ".join(["this job cannot run:", *report.problems]))
    words = ["alchemint", "train", "--config", args.config, "--workdir", args.workdir]
    print(f"{'would run':<12}{shlex.join([*words, *(f'--config.{o}' for o in args.overrides)])}")
    return 0


def pretend(devices: int) -> None:
    """Has JAX show this many CPU devices; only before it has looked for any.

    Raises:
        ConfigError: it is too late, and there are fewer.
    """
    try:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError as error:
        if len(jax.devices()) < devices:
            raise ConfigError(
                f"{len(jax.devices())} devices are in use already, so {devices} cannot be "
                "simulated; run this in a process of its own"
            ) from error


def dry_run(
    path: Path | str,
    workdir: Path | str,
    overrides: list[str] | tuple[str, ...] = (),
    devices: int = 1,
    processes: int = 1,
) -> Report:
    """Looks at the job that `run_config` would run on so many devices and processes.

    Data and weights that are not on this machine are not checked, and the report says so.

    Raises:
        ConfigError: the config itself cannot be read, or there are not so many devices (see
            `pretend`); all else is in the report.
    """
    if len(jax.devices()) < devices:
        raise ConfigError(f"there are {len(jax.devices())} devices, not {devices}")
    config = load_config(path, overrides)
    task, train = build_job(config, path)
    checks = _Checks()
    what = f"{path}: {config.task}, {train.total_steps} steps, seed {train.seed}"
    checks.say("config", what)
    mesh = None
    share = Share(0, (0,), processes)
    with checks.noting():
        if devices % processes:
            raise ConfigError(
                f"{_many(devices, 'device')} cannot be shared by {_many(processes, 'process')}; "
                "every process has the same number"
            )
        mesh = build_mesh(config, jax.devices()[:devices])
        share = Share(0, *sharding.batch_parts(mesh, 0, processes))
        sizes = " ".join(f"{name}={size}" for name, size in mesh.shape.items())
        checks.say("mesh", f"{sizes} ({_many(devices, 'device')}, {_many(processes, 'process')})")
    with checks.noting():
        _batch(checks, mesh, share, task.loader.batch_size, processes, train)
    plan = None
    if mesh is not None:
        with checks.noting(), sharding.use_mesh(mesh):
            plan = plan_state(task, train.optimizer, mesh)
            _state(checks, plan)
    with checks.noting():
        _weights(checks, config, task)
    with checks.noting():
        _evaluation(checks, config, task, train)
    batch = None
    with checks.noting():
        batch = _data(checks, config, task)
    if plan is not None and batch is not None and not checks.problems:
        with checks.noting(), sharding.use_mesh(plan.mesh):
            _step(checks, plan, train, batch, share)
    with checks.noting():
        _workdir(checks, workdir)
        check_workdir(workdir, config)
    return Report(tuple(checks.lines), tuple(checks.problems))


class _Checks:
    """Goes on after a problem: all of them are worth knowing."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.problems: list[str] = []

    def say(self, subject: str, text: str) -> None:
        self.lines.append((subject, text))

    def noting(self) -> _Noting:
        return _Noting(self.problems)


@dataclasses.dataclass(frozen=True)
class _Noting:
    problems: list[str]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        # The first two and Flax's are what models raise for shapes that do not fit.
        if not isinstance(error, TypeError | ValueError | FlaxError | OSError):
            return False
        known = isinstance(error, AlchemintError)
        first = str(error) if known else str(error).strip().partition("\n")[0]
        self.problems.append(first if known else f"{type(error).__name__}: {first}")
        return True


def _batch(
    checks: _Checks,
    mesh: Mesh | None,
    share: Share,
    size: int,
    processes: int,
    train: TrainConfig,
) -> None:
    # Not `share.batch`: what does not divide is told with what to change, below.
    whole, parts = size * share.of // len(share.parts), train.optimizer.accumulate
    text = f"{whole} in all, {size} for each process"
    if parts > 1:
        text += f", split into {parts} parts"
    if mesh is not None:
        ways = share.of
        if size % len(share.parts):
            raise ConfigError(
                f"a batch of {whole} ({_many(processes, 'process')} of {size}) cannot be "
                f"split over data x fsdp = {ways} devices; change loader.batch_size or the mesh"
            )
        if (whole // ways) % parts:
            raise ConfigError(
                f"{whole // ways} examples of a device cannot be split into {parts} parts; "
                "change loader.batch_size or train.optimizer.accumulate"
            )
        text += f"; {whole // ways} for each of {ways} parts of the mesh"
    checks.say("batch", text)


def _state(checks: _Checks, plan: StatePlan) -> None:
    """Shapes and bytes, of everything that lives as long as the run."""

    def count(tree: Any) -> int:
        return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))

    def gib(tree: Any, of_device: bool) -> float:
        total = 0
        for x in jax.tree.leaves(tree):
            shape = x.sharding.shard_shape(x.shape) if of_device else x.shape
            total += math.prod(shape) * x.dtype.itemsize
        return total / GIB

    state = plan.abstract
    moving, frozen = count(state["params"]), count(state.get("frozen", {}))
    checks.say("state", f"{moving / 1e6:.1f} M parameters move, {frozen / 1e6:.1f} M are frozen")
    for name, called in _PARTS.items():
        if name in state:
            tree = state[name]
            sizes = f"{gib(tree, True):.3f} GiB of {gib(tree, False):.3f} GiB on each device"
            checks.say("", f"{called}: {sizes}")
    whole = gib([x for x in jax.tree.leaves(state) if x.sharding.is_fully_replicated], True)
    if plan.mesh.shape["fsdp"] * plan.mesh.shape["tensor"] > 1 and whole > 0.1 * gib(state, True):
        sizes = f"{plan.mesh.shape['fsdp']} and {plan.mesh.shape['tensor']}"
        checks.say(
            "", f"whole on every device, not divided by fsdp and tensor {sizes}: {whole:.3f} GiB"
        )
    gradients = gib(state["params"], True)
    checks.say(
        "",
        f"together {gib(state, True):.3f} GiB on each device, with gradients "
        f"{gib(state, True) + gradients:.3f} GiB; activations are not in it: see `alchemint plan`",
    )


def _weights(checks: _Checks, config: ConfigDict, task: Any) -> None:
    """Of the models that the run reads: whether they fit, from their headers alone."""
    for field in ("init_from", "vae", "teacher"):
        name = config.get(field)
        if name is None:
            continue
        read = [name, config.get("transformer")] if field == "init_from" else [name]
        if far := [one for one in read if one and not _is_here(one)]:
            checks.say(field, f"{far[0]} is not on this machine: not checked")
        elif field == "vae":  # read to export
            folder = weights.locate(name)
            weights.check_part(folder, "vae")
            weights.read_config(folder, "vae")
            checks.say(field, f"{name}: has an autoencoder")
            if Path(config.data).exists() and config.task != "distill":
                check_encoder(config.data, name)
        elif field == "teacher":
            weights.check_part(weights.locate(name), "transformer")
            checks.say(field, f"{name}: has a transformer")
        else:
            task.pretrained()
            checks.say(field, f"{name}: fits the config")
            if config.get("cached_text") and Path(config.data).exists():
                check_text_encoder(config.data, name)


def _is_here(model: str) -> bool:
    return model in weights.BUNDLED or os.path.exists(os.path.expanduser(model))


def _evaluation(checks: _Checks, config: ConfigDict, task: Any, train: TrainConfig) -> None:
    """That the boards are there, and that the model can render them."""
    scored = train.evaluate
    if scored is None or not scored.every:
        return
    for name in filter(None, (config.get("init_from"), config.get("vae"))):
        if not _is_here(name):
            checks.say("evaluation", f"{name} is not on this machine: not checked")
            return
    boards = len(Evaluator(task, scored).cases)
    what = f"{boards} boards of {scored.benchmark} every {scored.every} steps"
    checks.say("evaluation", f"{what}; the best checkpoint by {scored.best} is kept")


def _data(checks: _Checks, config: ConfigDict, task: Any) -> Any:
    """A batch of the shapes that a process would see, or None without data."""
    if not Path(config.data).exists():
        checks.say("data", f"{config.data} is not on this machine: not checked, step not traced")
        return None
    loader = dataclasses.replace(task.loader, num_workers=0, buffer=1)  # one is all that is read
    batch = next(iter(dataclasses.replace(task, loader=loader).train_data()))
    shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in batch.items())
    checks.say("data", f"{config.data}: {shapes}")
    return batch


def _step(checks: _Checks, plan: StatePlan, train: TrainConfig, batch: Any, share: Share) -> None:
    """Traces the step with the batches of all processes, as it would be compiled.

    What is further made of it is the business of the accelerators, which are not there.
    """
    place = sharding.batch_sharding(plan.mesh)
    whole = {
        name: jax.ShapeDtypeStruct((share.batch(len(x)), *x.shape[1:]), x.dtype, sharding=place)
        for name, x in batch.items()
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    step: Any = jit_train_step(plan, train.optimizer)  # its type says less than it can do
    step.trace(plan.abstract, whole, key)
    checks.say("step", "traced and sharded for this mesh, with batches of these shapes")


def _workdir(checks: _Checks, workdir: Path | str) -> None:
    """That it can be written, and where the run would start."""
    folder = run_place(workdir)
    if places.is_address(folder):
        checks.say("workdir", f"{folder} is in a bucket: not checked")
        return
    for path in (folder, folder / "checkpoints"):
        there = next(p for p in _upwards(path.absolute()) if p.exists())
        if not there.is_dir():
            raise ConfigError(f"{there} is a file; choose another --workdir")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(f"{there} cannot be written; choose another --workdir")
    saved = [int(p.name) for p in folder.glob("checkpoints/*") if p.name.isdigit()]
    begin = f"goes on from step {max(saved)}" if saved else "starts at step 0"
    checks.say("workdir", f"{folder.absolute()} can be written; {begin}")


def _upwards(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


def _many(count: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{'' if count == 1 else plural}"
