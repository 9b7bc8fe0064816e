"""The one road for parameters: any box of a tensor alone, and for a process its devices' share."""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import alchemint_jax
from alchemint_jax import sharding, weights
from alchemint_jax.models.dit import VARIANTS, DiT, DiTConfig
from alchemint_jax.weights import files, placing, store, tensors, wan
from alchemint_jax.weights.layouts.moves import CONV, COPY, LINEAR, patches, reshaped
from alchemint_jax.weights.tensors import Row, Stacked, in_memory, whole, within

pytestmark = pytest.mark.slow

PACKAGE = Path(alchemint_jax.__file__).parent
CONFIG = DiTConfig(
    dim=16, n_heads=2, n_layers=2, ffn_dim=32, in_channels=4, out_channels=4, text_dim=8, freq_dim=8
)


class Device:
    """One that is not there, for meshes that no test has."""

    def __init__(self, number):
        self.id, self.process_index, self.platform, self.client = number, 0, "cpu", None
        self.device_kind = "none"


def mesh_of(count):
    devices = np.array([Device(i) for i in range(count)], object).reshape(1, count, 1, 1)
    return Mesh(devices, sharding.MESH_AXES, axis_types=(AxisType.Auto,) * 4)


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def boxes(shape):
    """The whole, and some boxes in it."""
    rng = np.random.default_rng(0)
    yield whole(shape)
    for _ in range(5):
        ends = [sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in shape]
        yield tuple(map(tuple, ends))


# ---------------------------------------------------------------------------- boxes of tensors


@pytest.fixture(params=[None, 60], ids=["whole", "tiles"])
def part(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(tensors, "PART", request.param)


MOVES = {
    "copy": (COPY, (4, 6)),
    "linear": (LINEAR, (6, 4)),
    "convolution": (CONV, (4, 3, 2, 3, 3)),
    "pictures": (CONV, (4, 3, 3, 2)),
    "scale": (reshaped((6,), (6, 1, 1, 1)), (6, 1, 1, 1)),
    "positions": (reshaped((5, 4), (1, 5, 4)), (1, 5, 4)),
    "patches": (patches((1, 2, 2), 3), (6, 3, 1, 2, 2)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_commute_with_slices(part, name):
    move, shape = MOVES[name]
    theirs = normal(*shape)
    ours = move.read(theirs)
    np.testing.assert_array_equal(move.write(ours), theirs)
    moved = move.ours(in_memory(theirs))
    back = move.foreign(moved)
    assert moved.shape == ours.shape and back.shape == move.shape(ours.shape) == shape
    for tensor, array in ((moved, ours), (back, theirs)):
        for box in boxes(array.shape):
            np.testing.assert_array_equal(tensor.read(box), array[within(box, tensor.whole)])


def test_layers_are_rows(part):
    layers = [normal(6, 4) + i for i in range(3)]
    tensor = Stacked([LINEAR.ours(in_memory(x)) for x in layers])
    array = np.stack([x.T for x in layers])
    assert tensor.order == (0, 2, 1)
    for box in boxes(array.shape):
        np.testing.assert_array_equal(tensor.read(box), array[within(box, tensor.whole)])
    np.testing.assert_array_equal(Row(tensor, 1).read(((1, 3), (2, 6))), array[1, 1:3, 2:6])
    np.testing.assert_array_equal(np.concatenate(list(tensor.rows())), array)


def test_a_number_is_placed_like_any_tensor():
    leaf = jax.ShapeDtypeStruct((), jnp.float32)
    assert float(placing.place(in_memory(np.asarray(2.5, np.float32)), leaf)) == 2.5


def test_axes_that_cannot_be_joined_are_refused():
    with pytest.raises(ValueError, match="cannot be joined"):
        reshaped((4, 5), (5, 4))


# ------------------------------------------------------------------------- what processes read


class Counted:
    """A file of `safe_open`, or a tensor of it, that counts the bytes it is asked for."""

    bytes = 0

    def __init__(self, inner):
        self.inner = inner

    def __enter__(self):
        return Counted(self.inner.__enter__())

    def __exit__(self, *error):
        self.inner.__exit__(*error)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def get_tensor(self, name):
        return self.counted(self.inner.get_tensor(name))

    def get_slice(self, name):
        return Counted(self.inner.get_slice(name))

    def __getitem__(self, index):
        return self.counted(self.inner[index])

    def counted(self, array):
        Counted.bytes += array.nbytes
        return array


@pytest.fixture
def counted(monkeypatch):
    opened = files.safe_open
    monkeypatch.setattr(files, "safe_open", lambda *args, **kw: Counted(opened(*args, **kw)))
    monkeypatch.setattr(Counted, "bytes", 0)
    return Counted


@functools.cache
def params():
    shapes = DiT(CONFIG).abstract_params()
    return jax.tree.map(lambda x: normal(*x.shape), shapes)


@functools.cache
def boxed_params(config):
    model = DiT(config)
    init = functools.partial(model.init, **model.example_inputs())
    return jax.eval_shape(init, jax.random.key(0))["params"]


def leaves_of(config, mesh):
    """The parameters as the rules of `sharding` split them, by path."""
    boxed = boxed_params(config)
    ways = flatten_dict(sharding.state_shardings(boxed, mesh), sep=".")
    return {
        path: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=ways[path])
        for path, x in flatten_dict(nn.unbox(boxed), sep=".").items()
    }


def share(found, leaves, devices):
    """Bytes in files of what these devices hold."""
    return sum(
        math.prod(tensors.extent(box)) * tensors.DTYPES[found[path].dtype].itemsize
        for path, leaf in leaves.items()
        for box in set(placing.shards(leaf.shape, leaf.sharding, devices).values())
    )


@pytest.mark.parametrize("format", ["alchemint", "wan-diffusers", "wan"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_process_reads_its_share(tmp_path, counted, format, dtype):
    weights.save(tmp_path, "transformer", CONFIG, params(), dtype, format)
    _, found = weights.open_component(tmp_path, "transformer")
    wanted = flatten_dict(params(), sep=".")
    wanted = {k: x.astype(jnp.dtype(dtype)).astype(np.float32) for k, x in wanted.items()}
    leaves = leaves_of(CONFIG, sharding.make_mesh(data=1, fsdp=4, tensor=2))
    devices = jax.devices()
    for mine in (devices[:1], devices[2:4], [devices[1], devices[6]], devices):
        counted.bytes = 0
        for path, leaf in leaves.items():
            parts = placing.shards(leaf.shape, leaf.sharding, mine)
            arrays = placing.read_boxes(found[path], parts.values(), np.float32, path)
            for box in parts.values():
                here = wanted[path][within(box, whole(leaf.shape))]
                np.testing.assert_array_equal(arrays[box], here)
        planned = sum(piece.size for piece in placing.pieces_read(found, leaves, mine))
        assert counted.bytes == planned == share(found, leaves, mine)
    counted.bytes = 0
    target = jax.tree.unflatten(jax.tree.structure(params()), leaves.values())
    for x, y in zip(
        jax.tree.leaves(store.read_params(found, target)), wanted.values(), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    assert counted.bytes == sum(tensors.size(tensor) for tensor in found.values())


@pytest.mark.parametrize(
    "count, local, original", [(8, 4, False), (64, 1, False), (64, 8, False), (64, 4, True)]
)
def test_a_process_of_a_pod_reads_its_share_of_wan_14b(count, local, original):
    """Of the shapes in the headers of its files; docs/results/weights_road.json is of holes."""
    leaves, found = _leaves_14b(count), _tensors_14b(original)
    mesh = next(iter(leaves.values())).sharding.mesh
    mine = list(mesh.devices.flat)[count // 2 : count // 2 + local]
    pieces = list(placing.pieces_read(found, leaves, mine))
    assert sum(piece.size for piece in pieces) <= 1.1 * share(found, leaves, mine)
    # Not in columns of large matrices, for which storage would read all their rows.
    named = {entry.name: entry for entry in _layout(original).entries(VARIANTS["wan2.1-14b"])}
    large = [
        (piece, named[piece.name])
        for piece in pieces
        if tensors.size(found[named[piece.name].path]) > tensors.PART
    ]
    assert sum(piece.size for piece, _ in large) > 0.95 * sum(piece.size for piece in pieces)
    for piece, entry in large:
        inner = math.prod(tensors.extent(piece.box)[1:])
        rows = entry.foreign_shape(leaves[entry.path].shape)[1:]
        assert inner == math.prod(rows) or 4 * inner >= 2**16, piece


@functools.cache
def _leaves_14b(count):
    return leaves_of(VARIANTS["wan2.1-14b"], mesh_of(count))


def _layout(original):
    return wan.ORIGINAL if original else wan.LAYOUTS["transformer"]


@functools.cache
def _tensors_14b(original):
    config, entries = VARIANTS["wan2.1-14b"], _layout(original).entries(VARIANTS["wan2.1-14b"])
    shapes = {path: leaf.shape for path, leaf in _leaves_14b(8).items()}
    found = {}
    for entry in entries:
        shape = entry.foreign_shape(shapes[entry.path])
        found[entry.name] = files.Stored(Path("x.safetensors"), entry.name, shape, "F32")
    assert config.n_layers == 40
    return wan.to_ours(Path("x"), entries, shapes, found)


# --------------------------------------------------------------------- read in long stretches


def test_columns_are_read_as_rows_and_exchanged(monkeypatch):
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    monkeypatch.setattr(placing, "PART", 1)
    for shape, spec, order in (
        ((16, 8), ("fsdp", "tensor"), (None, ("fsdp", "tensor"))),
        ((16, 8), (("data", "fsdp"), None), (None, ("data", "fsdp"))),
        ((3, 8), (None, "tensor"), (None, "tensor")),  # rows of the file as it is
        ((16, 3), ("fsdp", None), ("fsdp", None)),  # nothing else divides
    ):
        theirs = normal(*reversed(shape))
        tensor = LINEAR.ours(in_memory(theirs))
        way = NamedSharding(mesh, PartitionSpec(*spec))
        leaf = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=way)
        other = placing.read_as(tensor, leaf, jax.devices()[:2])
        assert other.spec == PartitionSpec(*order)
        array = placing.placed(tensor, leaf, other)
        assert array.sharding == way
        np.testing.assert_array_equal(array, theirs.T)
        # A process that has all the devices reads everything anyway.
        assert placing.read_as(tensor, leaf, jax.devices()) == way


# -------------------------------------------------------------------------------- no other road


def test_only_one_module_opens_files_of_parameters():
    found = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(import|from) safetensors", file.read_text(), re.MULTILINE)
    }
    # The second reads the header alone; the third keeps states of texts, no parameters; the last
    # one reads what comes with the package, and does without Flax, which takes long to import.
    others = {"weights/lora/settings.py", "sampling/text_cache.py", "perceive/embedded.py"}
    assert found == {"weights/files.py", *others}
    settings = (PACKAGE / "weights/lora/settings.py").read_text()
    assert "get_tensor" not in settings and "get_slice" not in settings


def test_only_one_function_reads_trees_of_parameters():
    """Others read tensors by themselves: LoRAs to merge them, and an encoder to round it."""
    users = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if re.search(r"import.* placing|placing import", file.read_text())
    }
    assert users == {"weights/store.py"}


def test_the_record_keeps_what_is_promised():
    file = Path(__file__).parents[2] / "docs" / "results" / "weights_road.json"
    found = json.loads(file.read_text())
    for dtype in ("F32", "BF16"):
        assert max(case["read_per_share"] for case in found[dtype]["planned"]) <= 1.1
        assert {run["devices"] for run in found[dtype]["runs"]} == {8, 64}
        for run in found[dtype]["runs"]:
            assert run["asked_per_share"] <= 1.1
            assert run["peak_per_held"] <= 1.2
