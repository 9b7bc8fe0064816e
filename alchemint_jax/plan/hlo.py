"""Reading the text of a compiled program: its computations, and how often each of them runs.

The text is XLA's own (`Compiled.as_text()`). Nothing but the text tells how a program that was
compiled for another machine communicates.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

BYTES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4,
    "s64": 8, "u64": 8, "f8e4m3fn": 1, "f8e5m2": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8,
    "c64": 8, "c128": 16,
}  # fmt: skip


class Instruction(NamedTuple):
    """One line: the type of its result, its operation, and everything after the operation."""

    name: str
    type: str
    op: str
    rest: str


Computations = dict[str, list[Instruction]]

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_NAME = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = ")
_OP = re.compile(r"([a-z][a-z0-9\-]*)\(")
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\]")
_CALLS = re.compile(
    r"\b(calls|body|condition|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CONSTANT = re.compile(r"^(\d+)\)")


def parse(text: str) -> tuple[Computations, str]:
    """All computations by name, and the name of the entry."""
    found: Computations = {}
    entry, current = "", None
    for line in text.splitlines():
        if current is None:
            head = _HEAD.match(line)
            if head:
                current = found.setdefault(head[2], [])
                entry = head[2] if head[1] else entry
        elif line.startswith("}") and not line.startswith("}}"):  # which ends a kernel's metadata
            current = None
        elif name := _NAME.match(line):
            current.append(_instruction(name[1], line[name.end() :]))
    return found, entry


def _instruction(name: str, rest: str) -> Instruction:
    """Splits `TYPE op(operands), attributes`; a tuple's type is itself in parentheses."""
    if rest.startswith("("):
        end = _closing(rest)
    else:
        end = rest.find(" ")
    op = _OP.search(rest, end)
    if op is None:
        return Instruction(name, rest[: end + 1], "", "")
    return Instruction(name, rest[: end + 1], op[1], rest[op.end() :])


def _closing(text: str) -> int:
    """Where the parenthesis closes that opens the text."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place
    return len(text)


def array_sizes(type_text: str) -> list[float]:
    """Bytes of each array of a type; tokens and the like have none."""
    return [
        float(BYTES[kind]) * math.prod(int(n) for n in shape.split(",") if n)
        for kind, shape in _ARRAY.findall(type_text)
        if kind in BYTES
    ]


def runs(computations: Computations, entry: str) -> dict[str, float]:
    """How often each computation runs in one run of the program.

    A loop's body counts as often as the loop goes round, where XLA or the loop's condition (a
    counter against a constant) says so, else once. Branches count as if all were taken.
    """
    counts: dict[str, float] = dict.fromkeys(computations, 0.0)

    def visit(name: str, times: float) -> None:
        if name not in computations:
            return
        counts[name] += times
        for instruction in computations[name]:
            called = dict(_CALLS.findall(instruction.rest))
            for branches in _BRANCHES.findall(instruction.rest):
                called |= {b: b.strip().lstrip("%") for b in branches.split(",")}
            trips = _trips(instruction, called, computations) if instruction.op == "while" else 1
            for role, callee in called.items():
                # What a reduction applies to pairs of numbers is no part of the program's course.
                if role != "to_apply" or instruction.op == "call":
                    visit(callee, times * trips)

    visit(entry, 1.0)
    return counts


def _trips(loop: Instruction, called: dict[str, str], computations: Computations) -> int:
    if known := _TRIPS.search(loop.rest):
        return int(known[1])
    limits = [
        int(constant[1])
        for instruction in computations.get(called.get("condition", ""), [])
        if instruction.op == "constant" and (constant := _CONSTANT.match(instruction.rest))
    ]
    return max(limits, default=1)
