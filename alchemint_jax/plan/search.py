"""Finding mesh, remat policy and micro-batches: guessed from sizes first, then compiled.

`model.remat` "auto" is such a search, of the policy alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.remat import AUTO, POLICIES, guessed_bytes
from alchemint_jax.plan import steps
from alchemint_jax.plan.estimate import Plan
from alchemint_jax.plan.flops import Sequence, dit_flops
from alchemint_jax.plan.planner import (
    Request,
    Setup,
    complete,
    plan_setup,
    prepare,
    with_remat,
)
from alchemint_jax.plan.targets import GIB

PASSES = {"none": 3.0, "dots": 3.2, "attention": 3.9, "full": 4.0, "offload": 4.25}
"""By remat policy, passes through the layers that a step makes (a backward pass is two). What goes
to the host and back counts as a quarter of a pass, so that it is tried where nothing else fits."""

# Guesses may be this much too high or low before a candidate is not even tried.
_SLACK = 1.25
_COMPILES = 6


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to run a step, and what it should need per device.

    Attributes:
        mesh: sizes by axis.
        remat: policy of the layers.
        accumulate: parts that a batch is split into.
        memory: bytes, guessed.
        seconds: guessed.
    """

    mesh: dict[str, int]
    remat: str
    accumulate: int
    memory: float
    seconds: float

    def __str__(self) -> str:
        sizes = ",".join(f"{name}={size}" for name, size in self.mesh.items() if size > 1)
        return f"mesh {sizes or 'one device'}, remat {self.remat}, micro-batches {self.accumulate}"


def plan(request: Request, say: Callable[[str], None] = lambda line: None) -> Plan:
    """Compiles what the request asks for, and says what it needs.

    Where `remat` is "auto" it is the fastest policy that fits the target on this mesh.

    Args:
        request: what to plan.
        say: takes a line on each policy that is tried.

    Raises:
        ConfigError: what is asked for makes no sense, or cannot be compiled here.
    """
    setup = prepare(request)
    if setup.task.model.remat != AUTO:
        return plan_setup(setup)
    mesh = dict(sharding.make_mesh(**complete(setup.mesh), devices=setup.devices).shape)
    sizes, parts = _Sizes.of(setup), setup.optimizer.accumulate
    found = [guess(sizes, mesh, policy, parts) for policy in POLICIES]
    return _fastest(setup, found, say, len(found), near=1.0)


def search(request: Request, say: Callable[[str], None]) -> Plan:
    """The fastest plan that fits, of those that are worth compiling.

    Args:
        request: what to plan; its mesh, remat policy and micro-batches are not looked at.
        say: takes a line on each candidate.

    Raises:
        ConfigError: nothing can be tried, for example since no mesh can split the batch.
    """
    setup = prepare(request)
    return _fastest(setup, list(candidates(setup)), say, _COMPILES, near=1.05)


def _fastest(
    setup: Setup,
    found: list[Candidate],
    say: Callable[[str], None],
    compiles: int,
    near: float,
) -> Plan:
    """The fastest plan that fits, of some candidates.

    They are compiled from the one that should be fastest on, until one fits and all others should
    take more than `near` times as long. What each compilation shows corrects the guesses of memory
    of its remat policy. The last one is for the candidate that should be smallest, if nothing
    fitted. At most `compiles` are compiled.
    """
    found = sorted(found, key=lambda c: (c.seconds, c.memory))
    if not found:
        raise ConfigError(
            f"no mesh of {len(setup.devices)} devices can split a batch of {setup.work.batch}; "
            "change --batch"
        )
    available = setup.target.chip.hbm / setup.target.chip.devices
    smallest = min(found, key=lambda c: c.memory)
    likely = [c for c in found if c.memory <= _SLACK * available] or [smallest]
    best: Plan | None = None
    tried: list[dict[str, Any]] = []
    ratio: dict[str, float] = {}
    fastest = math.inf
    while len(tried) < compiles:
        likely = [
            c
            for c in likely
            if c.seconds <= near * fastest and c.memory * ratio.get(c.remat, 0.0) <= available
        ]
        names = [t["candidate"] for t in tried]
        nothing = best is None or not best.fits
        if nothing and tried and (len(tried) == compiles - 1 or not likely):
            likely = [smallest] if str(smallest) not in names else []
        if not likely:
            break
        candidate = likely.pop(0)
        plan = plan_setup(_with(setup, candidate))
        tried.append(
            {
                "candidate": str(candidate),
                "fits": plan.fits,
                "peak_gib": round(plan.peak / GIB, 2),
                "seconds": float(f"{plan.serial_seconds:.4g}"),
            }
        )
        state = "fits" if plan.fits else "does not fit"
        say(
            f"{candidate}: {state}, peak {plan.peak / GIB:.1f} GiB (guessed "
            f"{candidate.memory / GIB:.1f}), step {plan.serial_seconds:.3g} s "
            f"(guessed {candidate.seconds:.3g}); compiled in {plan.compile_seconds:.0f} s"
        )
        if plan.fits:
            fastest = min(fastest, candidate.seconds)
        ratio[candidate.remat] = plan.peak / candidate.memory
        if best is None or _better(plan, best):
            best = plan
    assert best is not None  # the first candidate is always compiled
    return dataclasses.replace(best, what={**best.what, "tried": tried})


def _better(new: Plan, old: Plan) -> bool:
    if new.fits != old.fits:
        return new.fits
    return new.serial_seconds < old.serial_seconds if new.fits else new.peak < old.peak


def _with(setup: Setup, candidate: Candidate) -> Setup:
    return dataclasses.replace(
        setup,
        mesh=candidate.mesh,
        task=with_remat(setup.task, candidate.remat),
        optimizer=dataclasses.replace(setup.optimizer, accumulate=candidate.accumulate),
    )


def candidates(setup: Setup) -> Iterator[Candidate]:
    """All ways to run the step that can be compiled, with guesses."""
    cfg, batch = setup.task.model, setup.work.batch
    training = setup.request.step == "train"
    policies = list(POLICIES) if training else ["none"]
    sizes = _Sizes.of(setup)
    for mesh in meshes(len(setup.devices)):
        parts = mesh["data"] * mesh["fsdp"]
        if batch % parts or cfg.n_heads % mesh["tensor"] or mesh["tensor"] > 8:
            continue
        if mesh["context"] > 16:
            continue
        whole = batch // parts
        micro = [n for n in (1, 2, 4, 8, 16, 32) if whole % n == 0] if training else [1]
        for accumulate in micro:
            for remat in policies:
                yield guess(sizes, mesh, remat, accumulate)


def meshes(devices: int) -> Iterator[dict[str, int]]:
    """All meshes of so many devices."""
    divisors = [n for n in range(1, devices + 1) if devices % n == 0]
    for tensor in divisors:
        for context in (n for n in divisors if devices % (n * tensor) == 0):
            rest = devices // (tensor * context)
            for fsdp in (n for n in divisors if rest % n == 0):
                axes = (rest // fsdp, fsdp, context, tensor)
                yield dict(zip(sharding.MESH_AXES, axes, strict=True))


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """What guesses are made from: bytes of the state, of all weights, of a layer; and work."""

    setup: Setup
    tokens: Sequence
    state: float
    weights: float
    trained: float

    @staticmethod
    def of(setup: Setup) -> _Sizes:
        """Traces nothing but the parameters' shapes."""
        task = steps.planned(setup.task)
        params = sharding.unbox(
            jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)))
        )
        weights = trained = 0.0
        for path, x in jax.tree_util.tree_leaves_with_path(params):
            size = float(math.prod(x.shape) * x.dtype.itemsize)
            weights += size
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            trained += size if task.label(name) != steps.FROZEN else 0.0
        training = setup.request.step == "train"
        # Trained: weights, average, two moments and gradients.
        state = weights + 4 * trained if training else weights
        tokens = steps.sequence(setup.task, setup.work)
        return _Sizes(setup, tokens, state, weights, trained if training else 0.0)


def guess(sizes: _Sizes, mesh: dict[str, int], remat: str, accumulate: int) -> Candidate:
    """Memory and time of a step, from sizes alone."""
    setup, chip = sizes.setup, sizes.setup.target.chip
    cfg, training = setup.task.model, setup.request.step == "train"
    per_chip = chip.devices
    split = math.prod(mesh[axis] for axis in weight_axes())
    samples = setup.work.batch / (mesh["data"] * mesh["fsdp"] * accumulate)
    if not training:
        samples *= len(setup.task.sampling.guidance.branches())
    here = samples * sizes.tokens.total / mesh["context"]
    act = 2 if setup.task.compute == "bfloat16" else 4
    layer = sizes.weights / cfg.n_layers / mesh["tensor"]
    memory = sizes.state / split + 2 * layer
    memory += guessed_bytes(
        remat if training else "offload",  # which keeps nothing
        here,
        cfg.dim,
        cfg.ffn_dim / mesh["tensor"],
        cfg.n_layers,
        act,
    )
    if training:
        memory += sizes.trained / split if accumulate > 1 else 0.0

    flops = setup.work.batch * dit_flops(cfg, sizes.tokens, setup.task.lora).forward
    flops *= PASSES[remat] if training else len(setup.task.sampling.guidance.branches())
    compute = flops / (setup.target.chips * chip.flops)
    link = chip.link * (2 if chip.kind == "tpu" else 1)
    if chip.kind == "cuda" and setup.target.shape[0] > 1:
        # Outer axes leave the node as soon as the inner ones fill it.
        inner = mesh["context"] * mesh["tensor"]
        link = chip.network if mesh["fsdp"] * inner > setup.target.shape[1] else link
    gathered = sizes.weights / 2 / mesh["tensor"]
    shards = split // mesh["tensor"]
    sent = (3 if training else 1) * accumulate * gathered * (1 - 1 / shards)
    if training:
        sent += 2 * sizes.trained / split * (1 - 1 / mesh["data"])
    activations = here * act * cfg.dim * cfg.n_layers * accumulate * (3 if training else 1)
    sent += 4 * activations * 2 * (1 - 1 / mesh["tensor"])
    sent += 4 * activations * (1 - 1 / mesh["context"])
    return Candidate(mesh, remat, accumulate, memory, compute + per_chip * sent / link)


def weight_axes() -> list[str]:
    """Axes of the mesh that large weights are split over."""
    return [axis for name in ("embed", "mlp") for axis in jax.tree.leaves(sharding.RULES[name])]
