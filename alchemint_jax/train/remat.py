"""What layers keep for the backward pass, where a config leaves it to the devices ("auto").

Every policy gives the same numbers, but for the order in which products are summed; the fastest
whose memory the devices have is the one that runs. It is found before the first step: a guess from
sizes takes what must fit and passes over what cannot, and only what lies between is compiled, for
these very devices. All processes take the same. The choice is told, and kept in each checkpoint: a
run that goes on under the same conditions goes on with it, and compiles nothing to find it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax

from alchemint_jax import sharding
from alchemint_jax.compilation import refused
from alchemint_jax.errors import listed
from alchemint_jax.train.hosts import gathered
from alchemint_jax.train.optimizer import OptimizerConfig
from alchemint_jax.train.state import StatePlan
from alchemint_jax.train.step import jit_train_step

GIB = 2**30
NOTE = "remat"
"""Name of the choice among what a checkpoint says."""

# Parts of the memory: a guess below the first is believed, one above the second is not tried, and
# of what is compiled so much may be needed, since batches and the allocator's gaps take the rest.
_SURE, _SLACK, _ROOM = 0.5, 1.25, 0.95


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to run a step.

    Attributes:
        name: of its policy.
        task: that runs so.
        guess: bytes of activations on each device.
    """

    name: str
    task: Any
    guess: float


@dataclasses.dataclass(frozen=True)
class Ways:
    """What there is to choose from.

    Attributes:
        batch: shapes of the largest batch, of all devices together.
        ways: the fastest first; each needs less memory than the one before it.
        compute: dtype of the activations.
    """

    batch: Mapping[str, jax.ShapeDtypeStruct]
    ways: tuple[Way, ...]
    compute: str


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        policy: its name.
        where: devices, mesh, dtype and largest batch that it was chosen for.
        why: in words.
    """

    policy: str
    where: str
    why: str

    def note(self) -> dict[str, str]:
        """What a checkpoint says of it."""
        return {"policy": self.policy, "where": self.where}


def settled(
    plan: StatePlan,
    config: OptimizerConfig,
    found: Ways | None,
    kept: Mapping[str, str] | None = None,
    available: float | int | None = None,
) -> tuple[StatePlan, Choice | None]:
    """The plan with a task whose policy is decided; and the choice, if there was any to make.

    All processes must call it, inside `sharding.use_mesh(plan.mesh)`.

    Args:
        plan: of the state.
        config: of the step.
        found: what there is to choose from, the task's `ways`; None for a task that has none.
        kept: the note of a checkpoint, whose choice stays where it was made for the same.
        available: bytes of each device; by default what the devices say.
    """
    if found is None:
        return plan, None
    where = _where(plan, config, found)
    by_name = {way.name: way for way in found.ways}
    if kept and kept.get("where") == where and kept.get("policy") in by_name:
        way, why = by_name[kept["policy"]], "as before"
    else:
        memory = float(min(gathered(available or memory_of_devices(plan))))
        way, why = _fastest(plan, config, found, memory)
    return dataclasses.replace(plan, task=way.task), Choice(way.name, where, why)


def _fastest(
    plan: StatePlan, config: OptimizerConfig, found: Ways, available: float | int
) -> tuple[Way, str]:
    """The first way that fits, else the last; and why it is that."""
    *ways, last = found.ways
    state, of = sharding.shard_bytes(plan.abstract), f"of {available / GIB:.3g} GiB"
    state += sharding.shard_bytes(plan.abstract["params"])  # gradients
    over: list[str] = []
    for way in ways:
        guess = state + way.guess
        if guess <= _SURE * available:
            return way, _because(f"guessed {guess / GIB:.3g} {of}", over)
        if guess > _SLACK * available:
            over.append(f"{way.name} (guessed {guess / GIB:.3g} GiB)")
            continue
        peak = max(gathered(_peak(plan, config, found.batch, way)))
        if peak <= _ROOM * available:
            return way, _because(f"compiled, {peak / GIB:.3g} {of}", over)
        over.append(f"{way.name} (compiled, {peak / GIB:.3g} GiB)")
    guess = state + last.guess
    return last, _because(f"guessed {guess / GIB:.3g} {of}", over)


def _because(why: str, over: list[str]) -> str:
    return f"{why}; too large: {', '.join(over)}" if over else why


def _peak(
    plan: StatePlan, config: OptimizerConfig, batch: Mapping[str, jax.ShapeDtypeStruct], way: Way
) -> float:
    """Bytes of a device at the peak of a step, from the compiler."""
    place = sharding.replicated(plan.mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=place)
    step: Any = jit_train_step(dataclasses.replace(plan, task=way.task), config)
    try:
        compiled = step.lower(plan.abstract, batch, key).compile()
    except jax.errors.JaxRuntimeError as error:
        if (found := refused(str(error))) is None:
            raise
        return found[0]
    return float(compiled.memory_analysis().peak_memory_in_bytes)


def memory_of_devices(plan: StatePlan) -> float:
    """Bytes that each device of this process can have.

    Devices that do not say (CPUs) share the memory of the machine.
    """
    found = []
    for device in plan.mesh.local_devices:
        said = (device.memory_stats() or {}).get("bytes_limit")
        shared = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found.append(float(said or shared / len(jax.local_devices())))
    return min(found)


def _where(plan: StatePlan, config: OptimizerConfig, found: Ways) -> str:
    mesh = plan.mesh
    sizes = " ".join(f"{name}={size}" for name, size in mesh.shape.items() if size > 1)
    kinds = sorted({device.device_kind for device in mesh.devices.flat})
    shapes = (f"{name} {'x'.join(map(str, x.shape))}" for name, x in sorted(found.batch.items()))
    return (
        f"{mesh.size} x {' and '.join(listed(kinds))}, mesh {sizes or 'of one device'}, "
        f"{config.accumulate} parts, {found.compute}, {', '.join(shapes)}"
    )
