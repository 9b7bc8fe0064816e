"""Arrays in a pickle, without unpickling: nothing that the file names is imported or called.

A pickle is a program, and running it runs whatever its author wrote. This reads that program as
text (`pickletools`) and follows only what builds dictionaries of NumPy arrays; it stops with an
error at anything else.
"""

from __future__ import annotations

import math
import pickletools
from typing import Any

import numpy as np

from alchemint_jax.errors import WeightsError

# The names that a pickled array refers to; they stand for the two classes below.
_RECONSTRUCT = {
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
}
_ARRAY_CLASS, _DTYPE_CLASS = "numpy ndarray", "numpy dtype"
_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(str):
    """Something of a module, which is not imported."""


class _Mark:
    """Where a group begins on the stack."""


class _Dtype:
    def __init__(self, kind: str) -> None:
        self.kind, self.order = kind, "<"


class _Array:
    values: np.ndarray | None = None


def read_arrays(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays of nested dictionaries, by the path to each: "params/conv/kernel".

    Args:
        data: the whole pickle.
        where: what to call it in errors.

    Raises:
        WeightsError: it holds anything but dictionaries of arrays of numbers, or is damaged.
    """
    try:
        found = _run(data)
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}; it is not read") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{where}: is damaged, or no pickle: {error}") from error
    flat: dict[str, np.ndarray] = {}
    left: list[tuple[str, Any]] = [("", found)]
    entered: set[int] = set()
    while left:
        name, value = left.pop()
        if isinstance(value, dict) and id(value) not in entered:  # one may hold itself
            entered.add(id(value))
            left += [(f"{name}/{key}".lstrip("/"), item) for key, item in value.items()]
        elif isinstance(value, _Array) and value.values is not None:
            flat[name] = value.values
        else:
            raise WeightsError(f"{where}: {name or 'the file':.80} is no array; it is not read")
    return flat


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def group() -> list[Any]:
        at = max(i for i, item in enumerate(stack) if isinstance(item, _Mark))
        items = stack[at + 1 :]
        del stack[at:]
        return items

    for op, arg, _ in pickletools.genops(data):
        name = op.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(arg)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_Mark())
        elif name == "TUPLE":
            stack.append(tuple(group()))
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else int(arg)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg or 0)])
        elif name == "GLOBAL":
            stack.append(_Name(arg))
        elif name == "STACK_GLOBAL":
            item = stack.pop()
            stack.append(_Name(f"{stack.pop()} {item}"))
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif name == "SETITEMS":
            items = group()
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_made(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            _fill(stack[-1], state)
        else:
            raise WeightsError(f"holds {name}, which no array needs")
    raise WeightsError("has no end")


def _made(what: Any, arguments: tuple[Any, ...]) -> _Array | _Dtype:
    """An array or a kind of number to be filled; nothing else is made."""
    if isinstance(what, _Name):
        if what in _RECONSTRUCT and arguments[0] == _ARRAY_CLASS:
            return _Array()
        if what == _DTYPE_CLASS and arguments[0] in _KINDS:
            return _Dtype(arguments[0])
    raise WeightsError(f"calls {what!s:.80}, which no array needs")


def _fill(item: Any, state: tuple[Any, ...]) -> None:
    if isinstance(item, _Dtype):
        if state[1] not in ("<", ">", "|"):
            raise WeightsError(f"has numbers in the order {state[1]!r}")
        item.order = state[1]
    elif isinstance(item, _Array):
        _, shape, dtype, fortran, data = state
        values = np.frombuffer(data, np.dtype(dtype.order + dtype.kind))
        if len(values) != math.prod(shape):
            raise WeightsError(f"has {len(values)} numbers for an array of {shape}")
        item.values = values.reshape(shape, order="F" if fortran else "C")
    else:
        raise WeightsError("fills what is no array")
