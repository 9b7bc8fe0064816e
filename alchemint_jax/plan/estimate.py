"""From a compiled step to a plan: does it fit, how long must it take, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from alchemint_jax.plan import collectives
from alchemint_jax.plan.attention import AttentionCost
from alchemint_jax.plan.compile import Program
from alchemint_jax.plan.flops import traced_flops
from alchemint_jax.plan.steps import Step
from alchemint_jax.plan.targets import GIB, Target, network_bandwidth
from alchemint_jax.plan.video import Video
from alchemint_jax.sharding import shard_bytes


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a step needs on a target, per device where nothing else is said.

    Attributes:
        what: config, target, mesh and the work of a step, as they were asked for.
        fits: whether it runs at all.
        memory: bytes at the peak, by kind.
        peak: bytes at the peak.
        available: bytes there are.
        host: bytes kept in the host's memory.
        model_flops: operations of a step that are needed, of all devices.
        program_flops: operations of the traced program: with what is recomputed.
        compiler_flops: the compiler's count per device, in which loops count once and kernels
            nothing; 0 where it has none.
        collectives: see `collectives.totals`.
        seconds: of a step, at least, by what takes them: compute, memory, collectives.
        tokens: video tokens of a step.
        chips: number of chips.
        compile_seconds: what the compiler took.
        video: of which a step of sampling is a part.
        attention: what its kernels take in a step of sampling, where any do.
    """

    what: dict[str, Any]
    fits: bool
    memory: dict[str, float]
    peak: float
    available: float
    host: float
    model_flops: float
    program_flops: float
    compiler_flops: float
    collectives: dict[str, dict[str, float]]
    seconds: dict[str, float]
    tokens: int
    chips: int
    peak_flops: float
    compile_seconds: float
    video: Video | None = None
    attention: AttentionCost | None = None

    @property
    def step_seconds(self) -> float:
        """Least time of a step: compute, memory and collectives all at once, at full speed."""
        return max(self.seconds.values())

    @property
    def serial_seconds(self) -> float:
        """Time of a step at full speed in which compute waits for all collectives."""
        return max(self.seconds["compute"], self.seconds["memory"]) + self.seconds["collectives"]

    @property
    def mfu(self) -> float:
        """Bound of the share of the peak that the needed operations can have."""
        return self.model_flops / (self.step_seconds * self.peak_flops * self.chips)

    def total(self, what: str) -> float:
        """Of all collectives: "payload", "sent" or "seconds", per chip and step."""
        return float(sum(entry[what] for entry in self.collectives.values()))

    def as_dict(self) -> dict[str, Any]:
        """Everything, in JSON's types; bytes and seconds."""
        return {
            **self.what,
            "fits": self.fits,
            "spare_gib": round((self.available - self.peak) / GIB, 2),
            "peak_gib": round(self.peak / GIB, 2),
            "available_gib": round(self.available / GIB, 2),
            "memory_gib": {kind: round(x / GIB, 3) for kind, x in self.memory.items()},
            "host_gib": round(self.host / GIB, 2),
            "model_flops": self.model_flops,
            "program_flops": self.program_flops,
            "compiler_flops_loops_once": self.compiler_flops,
            "collectives": {
                name: {key: float(f"{x:.4g}") for key, x in entry.items()}
                for name, entry in self.collectives.items()
            },
            "collective_payload": self.total("payload"),
            "collective_sent": self.total("sent"),
            "seconds": {name: float(f"{x:.4g}") for name, x in self.seconds.items()},
            "step_seconds": float(f"{self.step_seconds:.4g}"),
            "serial_seconds": float(f"{self.serial_seconds:.4g}"),
            "mfu_bound": round(self.mfu, 4),
            "tokens_per_second": round(self.tokens / self.step_seconds),
            "tokens": self.tokens,
            **({"video": self.video.as_dict(self.step_seconds)} if self.video else {}),
            **(
                {"attention": self.attention.as_dict(self.peak_flops * self.chips)}
                if self.attention
                else {}
            ),
            "chips": self.chips,
            "compile_seconds": round(self.compile_seconds, 1),
        }


def make_plan(
    what: dict[str, Any], step: Step, program: Program, target: Target, devices: list[Any]
) -> Plan:
    """Puts together what is known of a compiled step.

    Args:
        what: goes into the plan as it is.
        step: what was compiled.
        program: the result.
        target: for which hardware.
        devices: its devices in the mesh's order.
    """
    chip, per_chip = target.chip, target.chip.devices
    available = chip.hbm / per_chip if program.available is None else program.available
    program_flops = traced_flops(step.traced.jaxpr.jaxpr)
    found = collectives.totals(
        collectives.find(program.text),
        lambda group: network_bandwidth(target, devices, group),
        ("dcn", chip.network / per_chip),
    )
    return Plan(
        what=what,
        fits=bool(program.text) and program.peak <= available,
        memory=memory_by_kind(step, program.peak),
        peak=program.peak,
        available=float(available),
        host=program.host,
        model_flops=float(step.model_flops),
        program_flops=program_flops,
        compiler_flops=program.flops,
        collectives=found,
        seconds={
            "compute": program_flops / (target.chips * chip.flops),
            "memory": least_traffic(step) * per_chip / chip.bandwidth,
            "collectives": float(sum(entry["seconds"] for entry in found.values())),
        },
        tokens=step.tokens,
        chips=target.chips,
        peak_flops=chip.flops,
        compile_seconds=program.seconds,
        video=step.video,
        attention=step.attention,
    )


def memory_by_kind(step: Step, peak: float) -> dict[str, float]:
    """Bytes of one device at the peak, by kind.

    What is neither an argument nor a gradient is activations and other temporaries. Gradients
    are all there at the end of the backward pass; where less is left of the peak, they are that.
    """
    found = {kind: shard_bytes(tree) for kind, tree in step.kinds.items()}
    found = {kind: size for kind, size in found.items() if size}
    left = max(0.0, peak - sum(found.values()))
    gradients = min(left, shard_bytes(step.gradients))
    if gradients:
        found["gradients"] = gradients
    found["activations"] = left - gradients
    return found


def least_traffic(step: Step) -> float:
    """Bytes that a device's memory must at least move: what is given is read, what trains written.

    Activations come on top of it, so this bounds steps with little work per weight only.
    """
    read = sum(shard_bytes(tree) for tree in step.kinds.values())
    trained = ("weights", "average", "moments") if jax.tree.leaves(step.gradients) else ()
    return read + sum(shard_bytes(step.kinds[kind]) for kind in trained)
