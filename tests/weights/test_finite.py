"""Weights that are no numbers are refused where they are read, and never written."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alchemint_jax import cli, weights
from alchemint_jax.errors import NonFiniteError
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.weights import files, finite, placing
from alchemint_jax.weights.tensors import in_memory

KINDS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
CONFIG = UMT5Config(vocab=11, dim=8, n_heads=2, head_dim=4, ffn_dim=12, n_layers=2)
PART = "text_encoder"


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_counts(kind):
    top = float(ml_dtypes.finfo(kind).max)
    good = np.array([[0.0, -0.0, 1.0], [-top, top, float(ml_dtypes.finfo(kind).tiny)]], kind)
    assert finite.is_finite(good) and finite.is_finite(good.T)
    assert finite.is_finite(good[:0]) and finite.is_finite(np.asarray(good[0, 0]))
    for bad in (np.nan, -np.nan, np.inf, -np.inf):
        assert not finite.is_finite(np.asarray(bad, kind))
        for place in np.ndindex(good.shape):
            x = good.copy()
            x[place] = bad
            assert not finite.is_finite(x)


def test_all_bits_of_half_precision():
    bits = np.arange(2**16, dtype=np.uint16)
    for kind in (np.float16, ml_dtypes.bfloat16):
        wanted = np.isfinite(bits.view(kind).astype(np.float32))
        assert finite.is_finite(bits[wanted].view(kind))
        bad = bits[~wanted].view(kind)
        assert not any(finite.is_finite(x) for x in bad[::31, None])


def test_doubles_beyond_single_precision_are_refused(tmp_path):
    finite.check(np.array([3e38, -1.0]), "x")
    save_file({"a": np.array([1.0, -1e39])}, tmp_path / "x.safetensors")
    tensor = files.open_files([tmp_path / "x.safetensors"])["a"]
    with pytest.raises(NonFiniteError, match=r"x\.safetensors: tensor a holds 1e\+39"):
        tensor.read()


def test_single_precision_beyond_bfloat16_is_refused(tmp_path):
    """It is rounded to infinity."""
    save_file({"a": np.array([1.0, 3.4e38], np.float32)}, tmp_path / "x.safetensors")
    tensor = files.open_files([tmp_path / "x.safetensors"])["a"]
    placing.place(tensor, jax.ShapeDtypeStruct((2,), jnp.float32))
    with pytest.raises(NonFiniteError, match="head has values that bfloat16 cannot hold"):
        placing.place(tensor, jax.ShapeDtypeStruct((2,), jnp.bfloat16), "head")


@pytest.fixture(params=["alchemint", "wan-diffusers"])
def saved(request, tmp_path):
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda s: rng.standard_normal(s.shape).astype(np.float32),
        UMT5Encoder(CONFIG).abstract_params(),
    )
    weights.save(tmp_path / "model", PART, CONFIG, params, format=request.param)
    return tmp_path / "model"


def _poison(folder, name, value, kind=np.float32):
    file = folder / "model.safetensors"
    tensors = {n: x.astype(kind) for n, x in load_file(file).items()}
    tensors[name].flat[-1] = value
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (np.float16, np.nan, "1 NaN"),
        (ml_dtypes.bfloat16, -np.inf, "1 infinite"),
        (np.float32, np.nan, "1 NaN"),
    ],
)
def test_the_tensor_and_its_file_are_named(saved, tmp_path, kind, value, says):
    name = sorted(load_file(saved / PART / "model.safetensors"))[1]
    _poison(saved / PART, name, value, kind)
    with pytest.raises(NonFiniteError, match=rf"model\.safetensors: tensor {name} holds .*{says}"):
        weights.load(saved, PART)
    with pytest.raises(NonFiniteError, match=name):
        weights.convert(saved, tmp_path / "new")
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


def test_parts_of_a_network_and_of_a_tensor_are_looked_at(saved, monkeypatch):
    monkeypatch.setattr("alchemint_jax.weights.tensors.PART", 64)
    tensors = load_file(saved / PART / "model.safetensors")
    name = max(tensors, key=lambda n: tensors[n].size)
    whole = {n: in_memory(x) for n, x in tensors.items()}
    files.write(saved / PART, "model", whole, {}, max_shard=900)
    index = json.loads((saved / PART / "model.safetensors.index.json").read_text())
    part = saved / PART / index["weight_map"][name]
    found = load_file(part)
    found[name].flat[-1] = np.nan
    save_file(found, part)
    with pytest.raises(NonFiniteError, match=f"{part.name}: tensor {name}"):
        weights.load(saved, PART)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_none_are_saved(tmp_path, dtype):
    for value in (np.nan, np.inf):
        params = {"a": {"b": np.array([1.0, value], np.float32)}}
        with pytest.raises(NonFiniteError, match=r"parameter a\.b holds"):
            weights.save(tmp_path, PART, CONFIG, params, dtype=dtype)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_half_precision_that_overflows_is_refused_by_the_command(saved, tmp_path, capsys):
    name = sorted(load_file(saved / PART / "model.safetensors"))[1]
    _poison(saved / PART, name, 1e6)
    command = ["convert", "--from", str(saved), "--to", str(tmp_path / "new"), "--dtype"]
    assert cli.main([*command, "float16"]) == 2
    assert "does not fit float16: the largest magnitude is 1e+06" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"model"}
    assert cli.main([*command, "bfloat16"]) == 0
