"""What measurements are written as: rounded, so that any machine writes them alike."""

from __future__ import annotations

import functools
import json
import operator

import numpy as np
import pytest
from alike import assert_alike, assert_texts_alike

from alchemint_jax.errors import AlchemintError
from alchemint_jax.results import plain, to_json, write_json


def test_values_become_what_json_can_hold():
    value = {1: (np.float32(0.1), float("nan"), float("-inf")), "n": np.int64(7), "b": np.True_}
    assert plain(value) == {"1": [0.1, None, None], "n": 7, "b": True}
    assert json.loads(to_json({"seed": 4_294_967_295, "rate": 1e-30})) == {
        "seed": 4_294_967_295,
        "rate": 1e-30,
    }


def test_sums_in_another_order_are_written_alike():
    values = np.random.default_rng(0).normal(0.4, 0.2, 1000)
    orders = (values, values[::-1], np.sort(values))
    sums = [functools.reduce(operator.add, order.tolist()) for order in orders]
    assert len(set(sums)) > 1
    assert len({to_json(value) for value in sums}) == 1


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "r.json"
    write_json(path, {"a": 1 / 3})
    assert path.read_text() == '{\n "a": 0.333333\n}\n'
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(AlchemintError):
        write_json(tmp_path / "no" / "r.json" / "x", {})
    assert path.read_text() == '{\n "a": 0.333333\n}\n'


def test_alike_sees_what_differs():
    old = {"a": [0.123456, None, "x"], "n": 3}
    assert_alike({"a": [0.123457, None, "x"], "n": 3}, old)
    for new in (
        {"a": [0.1235, None, "x"], "n": 3},
        {"a": [0.123456, 0.0, "x"], "n": 3},
        {"a": [0.123456, None, "y"], "n": 3},
        {"a": [0.123456, None, "x"], "n": 4},
        {"a": [0.123456, None, "x"]},
        {"a": [0.123456, None, "x", 1], "n": 3},
    ):
        with pytest.raises(AssertionError):
            assert_alike(new, old)
    assert_texts_alike("| -0.00 | 12.35", "| 0.00 | 12.34", decimals=2)
    for new in ("| 0.02 | 12.34", "| 0.00 | 12.34 |", "0.00 | 12.34"):
        with pytest.raises(AssertionError):
            assert_texts_alike(new, "| 0.00 | 12.34", decimals=2)
