"""Arrays are read from pickles without running them."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from alchemint_jax.errors import WeightsError
from alchemint_jax.evaluate.quality.pickled import read_arrays


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_are_what_they_were(protocol):
    tree = {
        "params": {
            "Conv_0": {
                "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
                "bias": np.float64([1.5, -2]),
            },
            "steps": np.array(7, np.int64),
            "turned": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
            "none": np.zeros((0, 3), np.float16),
            "network order": np.array([1, 256], ">i4"),
        }
    }
    found = read_arrays(pickle.dumps(tree, protocol), "weights.ckpt")
    assert set(found) == {
        *("params/Conv_0/kernel", "params/Conv_0/bias", "params/steps"),
        *("params/turned", "params/none", "params/network order"),
    }
    for name, array in found.items():
        expected = tree
        for part in name.split("/"):
            expected = expected[part]
        assert array.dtype == expected.dtype and array.shape == expected.shape
        np.testing.assert_array_equal(array, expected)


class Evil:
    def __init__(self, what, *arguments):
        self.what, self.arguments = what, arguments

    def __reduce__(self):
        return self.what, self.arguments


def test_nothing_is_called(tmp_path):
    marked = tmp_path / "marked"
    harm = pickle.dumps({"a": Evil(os.mkdir, str(marked))}, 4)
    pickle.loads(harm)
    assert marked.exists()  # so it does harm
    marked.rmdir()
    with pytest.raises(WeightsError, match="w.ckpt: calls posix mkdir|w.ckpt: calls nt mkdir"):
        read_arrays(harm, "w.ckpt")
    assert not marked.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": "text"}, "a is no array"),
        ("text", "the file is no array"),
        ({"a": [1, 2]}, "holds EMPTY_LIST"),
        ({"a": Evil(getattr, np.ones(1), "data")}, "calls builtins getattr"),
        ({"a": np.array(["text"])}, "calls numpy dtype"),
        ({"a": np.array([None])}, "calls numpy dtype"),
        ({"a": np.float32(1)}, "calls numpy"),
    ],
)
def test_anything_else_is_refused(content, message):
    with pytest.raises(WeightsError, match=f"w.ckpt: {message}.*not read"):
        read_arrays(pickle.dumps(content, 4), "w.ckpt")


def test_a_class_may_not_pass_for_an_array():
    data = pickle.dumps({"a": np.ones(2)}, 3).replace(b"cnumpy\nndarray", b"cbuiltins\nset")
    assert b"builtins" in data
    with pytest.raises(WeightsError, match="calls numpy"):
        read_arrays(data, "w.ckpt")


def test_a_dictionary_that_holds_itself_ends():
    loop = {}
    loop["a"] = loop
    with pytest.raises(WeightsError, match="w.ckpt: a is no array"):
        read_arrays(pickle.dumps(loop, 4), "w.ckpt")


def test_what_is_damaged_is_said_to_be():
    whole = pickle.dumps({"a": np.arange(100.0)}, 4)
    for length in range(0, len(whole), 7):
        with pytest.raises(WeightsError, match="w.ckpt"):
            read_arrays(whole[:length], "w.ckpt")
    wrong = pickle.dumps({"a": np.arange(3.0)}, 3).replace(b"K\x03\x85", b"K\x04\x85")
    with pytest.raises(WeightsError, match="3 numbers for an array of"):
        read_arrays(wrong, "w.ckpt")
