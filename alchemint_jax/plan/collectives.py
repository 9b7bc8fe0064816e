"""What a compiled program sends between chips: bytes and time by kind of collective."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np

from alchemint_jax.plan import hlo

KINDS = (
    "all-gather",
    "reduce-scatter",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation of the program.

    Attributes:
        kind: one of `KINDS`.
        size: bytes of the whole result of a gather, of what is reduced, or of what is exchanged.
        group: members of one of its groups, as the program counts devices.
        times: how often it runs in one run of the program.
        slices: whether the members are slices of a TPU, each chip of them for itself.
    """

    kind: str
    size: float
    group: tuple[int, ...]
    times: float
    slices: bool = False

    @property
    def sent(self) -> float:
        """Bytes that each chip sends in one run of the program, by the algorithm of rings."""
        n = len(self.group)
        share = {"all-reduce": 2 * (n - 1) / n, "collective-permute": 1.0}.get(
            self.kind, (n - 1) / n
        )
        return self.times * self.size * share if n > 1 else 0.0


def find(text: str) -> list[Collective]:
    """The collectives of a compiled program, from its text.

    XLA for TPU writes a reduce-scatter as a fusion named all-reduce-scatter that slices an
    all-reduce, and spreads an asynchronous collective over several computations, all of which
    name it; it counts where it starts. Between slices it lets the hosts exchange what chips send.
    """
    computations, entry = hlo.parse(text)
    counts = hlo.runs(computations, entry)
    found = []
    for name, body in computations.items():
        if not counts[name]:
            continue
        starts = any("AsyncCollectiveStart" in instruction.rest for instruction in body)
        for instruction in body:
            if instruction.op == "send" and (across := _BETWEEN_SLICES.search(instruction.rest)):
                size, members = hlo.array_sizes(instruction.type)[0], _counted(across[1])
                kind = across[2].lower().replace("_", "-")
                found.append(Collective(kind, size, members, counts[name], slices=True))
            kind = instruction.op.removesuffix("-start")
            if kind not in KINDS or ("chain_id=" in instruction.rest and not starts):
                continue
            sizes = hlo.array_sizes(instruction.type)
            group = _group(instruction.rest)
            total = sum(sizes)
            if instruction.op.endswith("-start"):
                total = _started(kind, sizes)
            if kind == "reduce-scatter":  # its result is one part
                total *= len(group)
            if kind == "all-reduce" and "all-reduce-scatter" in name:
                kind = "reduce-scatter"
            found.append(Collective(kind, total, group, counts[name]))
    return found


def _started(kind: str, sizes: list[float]) -> float:
    """Bytes of the result of an operation whose type is (operands, results, more)."""
    if kind == "all-reduce":  # its type is that of the result
        return sum(sizes)
    if kind == "collective-permute":
        return sizes[0]
    half = len(sizes) // 2
    return sum(sizes[half : 2 * half]) if half else sum(sizes)


_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))?"
    r" \{([^}]*)\}"
)
_BETWEEN_SLICES = re.compile(
    r'_xla_megascale_target="\{([\d,:]*)\}.*_xla_megascale_transfer_type="(\w+)"'
)
_PAIRS = re.compile(r"source_target_pairs=\{([\d,{}]*)\}\}")


def _group(rest: str) -> tuple[int, ...]:
    """Members of the first group, in any of the four ways in which XLA writes groups."""
    if listed := _LISTED.search(rest):
        return _numbers(listed[1])
    if iota := _IOTA.search(rest):
        ids = _iota(iota[2], iota[3]).reshape(_numbers(iota[1]))
        return tuple(ids.reshape(ids.shape[0], -1)[0].tolist())
    if mesh := _MESH.search(rest):
        axes = dict(re.findall(r"'([\w.]+)'=(\d+)", mesh[1]))
        sizes = [int(n) for n in axes.values()]
        count = str(math.prod(sizes))
        ids = _iota(mesh[2] or count, mesh[3]).reshape(sizes)
        chosen = [list(axes).index(name) for name in re.findall(r"'([\w.]+)'", mesh[4])]
        moved = np.moveaxis(ids, chosen, range(-len(chosen), 0))
        return tuple(moved.reshape(-1, math.prod(sizes[i] for i in chosen))[0].tolist())
    if pairs := _PAIRS.search(rest):
        first = pairs[1].strip("{").split("}")[0]
        return _numbers(first)
    return (0,)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _counted(text: str) -> tuple[int, ...]:
    """`1,2` or `1:3`, of which the last is meant too."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _iota(dims: str, order: str | None) -> np.ndarray:
    shape = _numbers(dims)
    ids = np.arange(math.prod(shape)).reshape(shape)
    return (ids.transpose(_numbers(order)) if order else ids).reshape(-1)


def totals(
    found: list[Collective],
    network: Callable[[list[int]], tuple[str, float]],
    between: tuple[str, float] = ("", 1.0),
) -> dict[str, dict[str, float]]:
    """By kind and network, of each chip in a step: bytes of `payload`, bytes `sent`, and more.

    These are `seconds` that sending takes, and `count` of runs. The payload is what is gathered,
    reduced or exchanged, whatever the number of members; of it a ring sends (n - 1) / n, and twice
    that to reduce for all.

    Args:
        found: see `find`.
        network: name and bytes/s of what joins a group of devices.
        between: those of what joins slices.
    """
    result: dict[str, dict[str, float]] = {}
    for item in found:
        if len(item.group) < 2:
            continue
        name, bandwidth = between if item.slices else network(list(item.group))
        entry = result.setdefault(
            f"{item.kind} {name}", {"payload": 0.0, "sent": 0.0, "seconds": 0.0, "count": 0.0}
        )
        entry["payload"] += item.times * item.size
        entry["sent"] += item.sent
        entry["seconds"] += item.sent / bandwidth
        entry["count"] += item.times
    return dict(sorted(result.items(), key=lambda pair: -pair[1]["seconds"]))
