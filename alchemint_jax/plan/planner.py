"""Planning: from what was asked for to a compiled step and its plan."""

from __future__ import annotations

import dataclasses
from typing import Any

from jax.sharding import Mesh

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.plan import steps, told
from alchemint_jax.plan.compile import compile_step
from alchemint_jax.plan.estimate import Plan, make_plan
from alchemint_jax.plan.experts import with_second_expert
from alchemint_jax.plan.gpus import seen_as
from alchemint_jax.plan.steps import Step, Work
from alchemint_jax.plan.targets import Target, parse_target, topology_devices
from alchemint_jax.sampling.control import Control
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.optimizer import OptimizerConfig
from alchemint_jax.train.run import build_task


@dataclasses.dataclass(frozen=True)
class Request:
    """What to plan; None leaves it to the config.

    Attributes:
        config: file of a config, perhaps with `:ARGUMENT`.
        target: a name for `parse_target`.
        overrides: of the config, `field.subfield=value`.
        mesh: sizes by axis; axes that are left out are 1, or what remains (-1).
        size: height and width in pixels.
        frames: pixel frames of a clip.
        references: subjects of a clip.
        events: dense captions of a clip; two, where the model has events or a control tells some.
        batch: clips of a step, and of what: "all", each "chip" or each "device". By default one
            per device, for each of the parts that the batch is split into.
        step: "train" or "sample".
        remat: the policy of layers; "auto" is the fastest that fits.
        accumulate: parts that a batch is split into.
        control: that sampling runs under.
        cache: file of a step cache, which says what passes of a video are skipped.
    """

    config: str
    target: str
    overrides: tuple[str, ...] = ()
    mesh: dict[str, int] | None = None
    size: tuple[int, int] | None = None
    frames: int | None = None
    references: int | None = None
    events: int | None = None
    batch: tuple[int, str] | None = None
    step: str = "train"
    remat: str | None = None
    accumulate: int | None = None
    control: Control | None = None
    cache: str | None = None


@dataclasses.dataclass(frozen=True)
class Setup:
    """A request with everything decided but the mesh."""

    request: Request
    target: Target
    devices: list[Any]
    task: Any
    optimizer: OptimizerConfig
    mesh: dict[str, int]
    work: Work


def prepare(request: Request) -> Setup:
    """Reads the config and names the devices.

    Raises:
        ConfigError: naming file and field, or option.
    """
    config = load_config(request.config, request.overrides)
    try:
        try:
            task, train = build_task(config), build_train(config)
        except (AttributeError, KeyError, TypeError) as error:
            problem = str(error).strip("\"'")
            raise ConfigError(f"a field is missing, or of another kind: {problem}") from error
        if not isinstance(task, steps.DiTTask):
            raise ConfigError("only configs of the transformer (task 'dit') can be planned")
        task = steps.resized(task, request.size)
        if request.remat is not None:
            task = with_remat(task, request.remat)
    except ConfigError as error:
        raise ConfigError(f"{request.config}: {error}") from error
    if request.step != "train":
        task = with_remat(task, "none")  # there is no backward pass
    optimizer = train.optimizer
    if request.accumulate is not None:
        optimizer = dataclasses.replace(optimizer, accumulate=request.accumulate)
    training = request.step == "train"
    target = parse_target(request.target)
    devices = topology_devices(target)
    count, per = request.batch or (optimizer.accumulate if training else 1, "device")
    many = {"all": 1, "chip": target.chips, "device": len(devices)}[per]
    references = task.model.slots if request.references is None else request.references
    if references > task.model.slots:
        task = dataclasses.replace(task, model=dataclasses.replace(task.model, slots=references))
    tells = told.tells(request.control)
    events = told.EVENTS if tells else steps.default_events(task)
    events = events if request.events is None else request.events
    work = Work(
        size=task.sampling.size,
        frames=request.frames or task.sampling.max_frames,
        references=references,
        batch=count * many,
        events=0 if tells else events,
        told=events if tells else 0,
    )
    mesh = request.mesh if request.mesh is not None else dict(config.get("mesh", {}))
    return Setup(request, target, devices, task, optimizer, mesh, work)


def with_remat(task: Any, policy: str) -> Any:
    """The task with another policy of its layers."""
    return dataclasses.replace(task, model=dataclasses.replace(task.model, remat=policy))


def trace(setup: Setup, mesh: Mesh) -> Step:
    """The step that the setup asks for, on a mesh."""
    request = setup.request
    with seen_as(setup.target):
        if request.step == "sample":
            return steps.sample_step(setup.task, setup.work, mesh, request.control, request.cache)
        return steps.train_step(setup.task, setup.optimizer, setup.work, mesh)


def complete(mesh: dict[str, int]) -> dict[str, int]:
    """All axes of a mesh, of which one may be -1: that of the weights where nothing is said."""
    named = {name: mesh.get(name, 1) for name in sharding.MESH_AXES}
    if "fsdp" not in mesh and -1 not in named.values():
        named["fsdp"] = -1
    return named


def plan_setup(setup: Setup) -> Plan:
    """Compiles what is decided already, and says what it needs."""
    mesh = sharding.make_mesh(**complete(setup.mesh), devices=setup.devices)
    step = trace(setup, mesh)
    program = compile_step(step.traced)
    devices = list(mesh.devices.flat)
    plan = make_plan(describe(setup, mesh), step, program, setup.target, devices)
    if setup.request.step == "sample" and setup.task.sampling.boundary is not None:
        return with_second_expert(plan, step.kinds["weights"])
    return plan


def describe(setup: Setup, mesh: Mesh) -> dict[str, Any]:
    """What a plan is of, in JSON's types."""
    work = setup.work
    sizes = ",".join(f"{name}={size}" for name, size in mesh.shape.items() if size > 1)
    return {
        "config": setup.request.config,
        "overrides": list(setup.request.overrides),
        "target": setup.target.name,
        "step": setup.request.step,
        "size": f"{work.size[0]}x{work.size[1]}",
        "frames": work.frames,
        "references": work.references,
        **({"events": work.events} if setup.task.model.events else {}),
        **({"events": work.told} if work.told else {}),
        "batch": work.batch,
        "mesh": sizes or "one device",
        "remat": setup.task.model.remat,
        "accumulate": setup.optimizer.accumulate,
        **({"control": repr(setup.request.control)} if setup.request.control else {}),
        **({"cache": setup.request.cache} if setup.request.cache else {}),
    }
