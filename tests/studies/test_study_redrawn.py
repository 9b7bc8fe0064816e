"""The start that favours no place: what knows places is drawn afresh, and all else is kept."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax import weights
from alchemint_jax.errors import WeightsError
from alchemint_jax.weights.tensors import in_memory
from studies import redrawn as study


def read(folder, component):
    _, tensors = weights.open_component(folder, component)
    return {name: np.asarray(tensor.read()) for name, tensor in tensors.items()}


def test_queries_and_keys_of_self_attention_alone_are_others(tmp_path):
    assert study.main(["--model", "sprites/pictures", "--out", str(tmp_path / "start")]) == 0
    before = read(weights.locate("sprites/pictures"), "transformer")
    after = read(tmp_path / "start", "transformer")
    assert after.keys() == before.keys()
    placed = {name for name in after if name.split("blocks.")[-1].startswith(study.PLACED)}
    assert len(placed) == 6  # kernels, biases and norms of both
    for name, value in after.items():
        assert value.shape == before[name].shape
        assert np.array_equal(value, before[name]) == (name not in placed), name
    for part in "qk":
        kernel = after[f"blocks.self_attn.{part}.kernel"]
        bound = np.sqrt(6 / (144 + 144))
        assert 0.95 * bound < kernel.max() <= bound and abs(kernel.mean()) < 0.01 * bound
        assert not np.array_equal(kernel[0], kernel[1])  # layers differ
        assert not after[f"blocks.self_attn.{part}.bias"].any()
        assert (after[f"blocks.self_attn.norm_{part}"] == 1).all()
    texts = read(tmp_path / "start", "text_encoder")
    for name, value in read(weights.locate("sprites/pictures"), "text_encoder").items():
        np.testing.assert_array_equal(texts[name], value)


def test_a_seed_is_a_start():
    tensors = {
        "blocks.self_attn.q.kernel": in_memory(np.zeros((2, 8, 4), np.float32)),
        "blocks.cross_attn.q.kernel": in_memory(np.ones((2, 8, 4), np.float32)),
    }

    def drawn(seed):
        return {name: tensor.read() for name, tensor in study.redraw(tensors, seed).items()}

    one, same, other = drawn(0), drawn(0), drawn(1)
    name, kept = tensors
    np.testing.assert_array_equal(one[name], same[name])
    assert np.abs(one[name] - other[name]).max() > 0.1
    assert (one[kept] == 1).all()


def test_a_model_without_such_attention_is_refused():
    with pytest.raises(WeightsError, match="no self-attention"):
        study.redraw({"blocks.cross_attn.q.kernel": in_memory(np.zeros(3, np.float32))}, 0)
