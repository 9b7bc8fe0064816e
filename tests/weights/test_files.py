"""Tensors in safetensors files: what is read and written, in parts, and files that are damaged."""

from __future__ import annotations

import json
import tracemalloc

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alchemint_jax.errors import NonFiniteError, WeightsError
from alchemint_jax.weights import files, placing, signs, tensors
from alchemint_jax.weights.tensors import Tensor, in_memory

DTYPES = {
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F64": np.float64,
}


def _arrays(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"none": (0, 3), "a": (5, 3), "b.c": (7,), "d": (), "e": (2, 3, 4)}
    return {name: np.asarray(rng.standard_normal(s), np.float32) for name, s in shapes.items()}


def _write(folder, arrays, **options):
    tensors = {name: in_memory(x) for name, x in arrays.items()}
    files.write(folder, "model", tensors, {"config.json": "{}"}, **options)


def _read(folder):
    found = files.open_files(files.find(folder))
    return {name: tensor.read() for name, tensor in found.items()}


def _assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        assert (found[name].dtype, found[name].shape) == (x.dtype, x.shape), name
        assert found[name].tobytes() == x.tobytes(), name


@pytest.fixture(params=[None, 40], ids=["whole", "rows"])
def part(request, monkeypatch):
    """With 40 bytes to hold at once, tensors are read and written in several steps."""
    if request.param:
        monkeypatch.setattr(tensors, "PART", request.param)


# ---------------------------------------------------------------------------- writing, reading


@pytest.mark.parametrize(
    ("name", "kind"),
    # JAX has no float64 here.
    [(name, np.asarray) for name in DTYPES] + [(n, jnp.asarray) for n in ("F32", "F16", "BF16")],
)
def test_bytes_survive(tmp_path, part, name, kind):
    arrays = {k: v.astype(DTYPES[name]) for k, v in _arrays().items()}
    _write(tmp_path / "x", {k: kind(v) for k, v in arrays.items()})
    _assert_same(_read(tmp_path / "x"), arrays)
    _assert_same(load_file(tmp_path / "x" / "model.safetensors"), arrays)


def test_strides_do_not_matter(tmp_path, part):
    arrays = {name: x.copy(order="F") for name, x in _arrays().items()}
    _write(tmp_path / "x", arrays)
    _assert_same(_read(tmp_path / "x"), _arrays())


def test_several_files_have_an_index_that_says_where_everything_is(tmp_path):
    arrays = _arrays()
    _write(tmp_path / "x", arrays, max_shard=70)
    index = json.loads((tmp_path / "x" / "model.safetensors.index.json").read_text())
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert sorted(p.name for p in (tmp_path / "x").glob("*.safetensors")) == names
    assert index["metadata"] == {"total_size": sum(x.nbytes for x in arrays.values())}
    assert index["weight_map"].keys() == arrays.keys()
    for name, file in index["weight_map"].items():
        assert name in load_file(tmp_path / "x" / file)
    _assert_same(_read(tmp_path / "x"), arrays)


def test_a_tensor_larger_than_a_file_has_one_of_its_own(tmp_path):
    _write(tmp_path / "x", _arrays(), max_shard=1)
    assert len(list((tmp_path / "x").glob("*.safetensors"))) == 5
    _assert_same(_read(tmp_path / "x"), _arrays())


@pytest.mark.parametrize(("before", "after"), [(70, 10**9), (10**9, 70), (70, 100)])
def test_what_was_there_before_is_replaced(tmp_path, before, after):
    _write(tmp_path / "x", _arrays(0), max_shard=before)
    (tmp_path / "x" / "README.md").write_text("kept")
    _write(tmp_path / "x", _arrays(1), max_shard=after)
    _assert_same(_read(tmp_path / "x"), _arrays(1))
    _write(tmp_path / "y", _arrays(1), max_shard=after)
    names = {p.name for p in (tmp_path / "x").iterdir()}
    assert names == {p.name for p in (tmp_path / "y").iterdir()} | {"README.md"}


def test_files_of_others_stay(tmp_path):
    """A LoRA, say, is written beside others, or beside a network."""
    others = ("x-0100.safetensors", "x2.safetensors", "model.safetensors", "x.safetensors.bak")
    for name in others:
        (tmp_path / name).write_text("kept")
    files.write(tmp_path, "x", {"a": in_memory(np.ones(3, np.float32))}, {})
    assert {p.name for p in tmp_path.iterdir()} == {*others, "x.safetensors"}


def test_values_beyond_the_dtype_are_refused(tmp_path, part):
    arrays = {"a": np.asarray([[1.0], [7e4]], np.float32), "b": np.asarray([np.inf], np.float32)}
    for dtype, message in (
        ("F16", "a does not fit float16.*7e"),
        ("BF16", "b holds 1 infinite"),
    ):
        with pytest.raises(NonFiniteError, match=message):
            _write(tmp_path / "x", arrays, dtype=dtype)
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


# --------------------------------------------------------------------------------- on devices


class _Layers(Tensor):
    """A tensor that is one tensor per layer elsewhere, and how often each was read."""

    def __init__(self, rows):
        super().__init__(rows.shape, "F32", (1, *rows.shape[1:]))
        self.array, self.count = rows, [0] * len(rows)

    def load(self, box):
        (start, stop), *_ = box
        assert stop == start + 1
        self.count[start] += 1
        return self.array[tuple(slice(*bounds) for bounds in box)]


@pytest.mark.parametrize(
    ("mesh", "spec"),
    [
        ((8,), (None, "a")),
        ((8,), ("a",)),
        ((2, 4), ("a", "b")),
        ((4, 2), (None, None, "b")),  # held four times
        ((2, 4), (None, ("a", "b"))),
        ((8,), ()),
    ],
)
def test_every_tensor_is_read_once_onto_a_mesh(mesh, spec):
    axes = ("a", "b")[: len(mesh)]
    devices = jax.make_mesh(mesh, axes, axis_types=(jax.sharding.AxisType.Auto,) * len(mesh))
    sharding = jax.sharding.NamedSharding(devices, jax.sharding.PartitionSpec(*spec))
    rows = np.random.default_rng(0).standard_normal((8, 16, 2)).astype(np.float32)
    tensor = _Layers(rows)
    array = placing.place(tensor, jax.ShapeDtypeStruct(rows.shape, jnp.float32, sharding=sharding))
    assert array.sharding == sharding and tensor.count == [1] * 8
    np.testing.assert_array_equal(array, rows)
    np.testing.assert_array_equal(jax.jit(lambda x: x + 1, donate_argnums=0)(array), rows + 1)


def test_dtype_is_that_of_the_target():
    rows = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    array = placing.place(_Layers(rows), jax.ShapeDtypeStruct(rows.shape, jnp.bfloat16))
    assert array.dtype == jnp.bfloat16
    np.testing.assert_array_equal(array, rows.astype(ml_dtypes.bfloat16))


def test_donated_parameters_do_not_overwrite_anything(tmp_path):
    """They lie in memory that NumPy has allocated."""
    rows = np.ones((4, 1000), np.float32)
    array = placing.place(_Layers(rows), jax.ShapeDtypeStruct(rows.shape, jnp.float32))
    step = jax.jit(lambda x: 2 * x, donate_argnums=0)
    for _ in range(3):
        array = step(array)
    np.testing.assert_array_equal(array, 8 * rows)
    np.testing.assert_array_equal(rows, 1)


def test_memory_is_that_of_the_parameters(tmp_path, monkeypatch):
    """Reading and writing need no second copy, neither of all parameters nor of a large one."""
    monkeypatch.setattr(tensors, "PART", 2**18)
    big = {"big": np.ones((1000, 1000), np.float32), "small": np.ones((10, 10), np.float32)}
    size = sum(x.nbytes for x in big.values())
    tracemalloc.start()
    try:
        _write(tmp_path / "x", big)
        assert tracemalloc.get_traced_memory()[1] < 0.3 * size
        del big
        tracemalloc.reset_peak()
        found = files.open_files(files.find(tmp_path / "x"))
        targets = {k: jax.ShapeDtypeStruct(t.shape, jnp.float32) for k, t in found.items()}
        before = tracemalloc.get_traced_memory()[0]
        arrays = {name: placing.place(found[name], leaf) for name, leaf in targets.items()}
        peak = tracemalloc.get_traced_memory()[1] - before
        assert size < peak < 1.15 * size  # JAX holds these arrays, not copies
        assert all((np.asarray(x) == 1).all() for x in arrays.values())
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------ damaged files


@pytest.fixture
def sharded(tmp_path):
    _write(tmp_path, _arrays(), max_shard=70)
    return tmp_path


def _index(folder, change):
    file = folder / "model.safetensors.index.json"
    values = json.loads(file.read_text())
    change(values["weight_map"])
    file.write_text(json.dumps(values))


def test_a_missing_part_is_named(sharded):
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(WeightsError, match="model-00002-of-00003.*missing: fetch all 3 parts"):
        files.find(sharded)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b.safetensors", "..", ""])
def test_an_index_cannot_point_elsewhere(sharded, name):
    (sharded.parent / "x").write_bytes(b"")
    _index(sharded, lambda weight_map: weight_map.update(a=name))
    with pytest.raises(WeightsError, match="index.json names .*does not lie beside it"):
        files.find(sharded)


@pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'])
def test_a_damaged_index(sharded, text):
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsError, match=r"index\.json is damaged"):
        files.find(sharded)


def test_a_pickle_as_a_part(sharded):
    (sharded / "part.bin").write_bytes(b"\x80\x04.")
    _index(sharded, lambda weight_map: weight_map.update(a="part.bin"))
    with pytest.raises(WeightsError, match="never loaded"):
        files.open_files(files.find(sharded))


def test_a_tensor_in_two_parts(sharded):
    file = sharded / "model-00001-of-00003.safetensors"
    save_file(load_file(sharded / "model-00002-of-00003.safetensors"), file)
    with pytest.raises(WeightsError, match="and so does a file before it"):
        files.open_files(files.find(sharded))


def test_a_truncated_part(sharded):
    file = sharded / "model-00003-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="00003-of-00003.*truncated"):
        files.open_files(files.find(sharded))


def test_a_file_by_another_name_is_shown(tmp_path):
    save_file(_arrays(), tmp_path / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(WeightsError, match=r"holds diffusion_pytorch_model\.fp16.*rename"):
        files.find(tmp_path)


def test_eight_bit_weights_are_named(tmp_path):
    header = {"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"\0\0")
    found = files.open_files([file])
    with pytest.raises(WeightsError, match="a F8_E4M3\n8-bit weights are not read: fetch the edit"):
        files.compare(file, {"a": (2,)}, found, signs.hint({"a": (2,)}, found))
