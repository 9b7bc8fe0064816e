"""Comparing what is written with what was written before, on a CPU that may be another one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def assert_alike(found: Any, expected: Any, rel: float = 1e-5, abs: float = 1e-6) -> None:
    """Nested values of JSON that differ, at most, in their last digits.

    `rel` is ten times what rounding to six significant digits makes of two neighbours.
    """
    one, other = dict(_leaves(found)), dict(_leaves(expected))
    assert one.keys() == other.keys()
    for path, value in other.items():
        if isinstance(value, float):
            value = pytest.approx(value, rel=rel, abs=abs, nan_ok=True)
        assert one[path] == value, path


def assert_texts_alike(found: str, expected: str, decimals: int) -> None:
    """Texts that differ, at most, by one in the last of the decimals of their numbers.

    Where a figure lies between two roundings, another machine may take the other one.
    """
    assert NUMBER.sub("#", found) == NUMBER.sub("#", expected)
    bound = 1.01 * 10.0**-decimals
    numbers = (list(map(float, NUMBER.findall(text))) for text in (found, expected))
    assert next(numbers) == pytest.approx(next(numbers), rel=0, abs=bound)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}")]
    if isinstance(value, list | tuple):
        rows = [leaf for i, item in enumerate(value) for leaf in _leaves(item, f"{path}[{i}]")]
        return [(f"{path}[]", len(value)), *rows]
    return [(path, value)]
