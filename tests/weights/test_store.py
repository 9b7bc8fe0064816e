"""Weights on disk: what is written comes back, and what is wrong is said."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pickle
import re
import stat

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alchemint_jax import weights
from alchemint_jax.errors import WeightsError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.weights import directories, files

pytestmark = pytest.mark.slow

CONFIG = UMT5Config(vocab=11, dim=8, n_heads=2, head_dim=4, ffn_dim=12, n_layers=2)
PART = "text_encoder"


def _params(seed=0, config=CONFIG):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: rng.standard_normal(s.shape).astype(np.float32),
        UMT5Encoder(config).abstract_params(),
    )


def _files(directory):
    return {p.relative_to(directory): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def _assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype == np.float32
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.fixture
def saved(tmp_path):
    weights.save(tmp_path, PART, CONFIG, _params())
    return tmp_path


def _edit(saved, change):
    """Rewrite the tensors on disk after `change` has edited the dict of them."""
    file = saved / PART / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def _rewrite_config(saved, **fields):
    file = saved / PART / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


# -- round trip ----------------------------------------------------------------------------------


def test_round_trip_is_bit_identical(saved):
    module, params = weights.load(saved, PART)
    assert isinstance(module, UMT5Encoder) and module.config == CONFIG
    _assert_identical(params, _params())
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(params))
    ids, mask = np.array([[4, 1, 0]], np.int32), np.array([[True, True, False]])
    assert np.isfinite(module.apply({"params": params}, ids, mask)).all()


def test_layout_and_names(saved):
    assert sorted(map(str, _files(saved))) == [f"{PART}/config.json", f"{PART}/model.safetensors"]
    config = json.loads((saved / PART / "config.json").read_text())
    assert config == {"_class": "UMT5Encoder", **dataclasses.asdict(CONFIG)}
    tensors = load_file(saved / PART / "model.safetensors")
    assert tensors["blocks.attn.q.kernel"].shape == (2, 8, 8)
    modes = {stat.S_IMODE((saved / PART / f).stat().st_mode) for f in os.listdir(saved / PART)}
    assert len(modes) == 1  # whoever may read the one may read the other


def test_boxes_jax_arrays_and_strides_are_handled(tmp_path):
    ids = np.zeros((1, 3), np.int32)
    boxed = UMT5Encoder(CONFIG).init(jax.random.key(0), ids, ids == 0)["params"]
    weights.save(tmp_path, PART, dataclasses.asdict(CONFIG), boxed)
    _assert_identical(weights.load(tmp_path, PART)[1], jax.tree.map(jnp.asarray, _unbox(boxed)))
    strided = jax.tree.map(np.asfortranarray, _params(1))
    weights.save(tmp_path, PART, CONFIG, strided)
    _assert_identical(weights.load(tmp_path, PART)[1], _params(1))


def _unbox(tree):
    return jax.tree.map(lambda b: b.value, tree, is_leaf=lambda b: hasattr(b, "names"))


@pytest.mark.parametrize(
    ("dtype", "rounded"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)]
)
def test_half_precision_storage_loads_as_float32(tmp_path, dtype, rounded):
    params = _params()
    weights.save(tmp_path, PART, CONFIG, params, dtype=dtype)
    expected = jax.tree.map(lambda x: x.astype(rounded).astype(np.float32), params)
    assert not np.array_equal(expected["embedding"], params["embedding"])
    _assert_identical(weights.load(tmp_path, PART)[1], expected)
    tensors = load_file(tmp_path / PART / "model.safetensors")
    assert {t.dtype for t in tensors.values()} == {np.dtype(rounded)}


def test_leaves_with_a_sharding_are_placed(saved):
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "fsdp"))
    target = UMT5Encoder(CONFIG).abstract_params()
    shape = target["embedding"].shape
    target["embedding"] = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)
    params = weights.read_params(weights.open_component(saved, PART)[1], target)
    assert params["embedding"].sharding == sharding
    _assert_identical(params, _params())


# -- configurations ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scheme:
    weight: float = 1.67
    kind: str = "mirror"


@dataclasses.dataclass(frozen=True)
class Model:
    sizes: tuple[int, ...]
    patch: tuple[tuple[int, int], ...] = ((1, 2), (2, 2))
    scheme: Scheme | None = Scheme()
    theta: float = 1e4
    bias: bool = True


@pytest.mark.parametrize(
    "config",
    [
        Model((1, 2)),
        Model((), (), Scheme(0.1, "printed"), 10.0, False),
        Model((3,), scheme=None, theta=0.1 + 0.2),
    ],
)
def test_configs_survive_json(config):
    values = json.loads(json.dumps(weights.config_to_dict(config)))
    assert weights.config_from_dict(Model, values, {"Scheme": Scheme}) == config


def test_nested_classes_are_stored_by_name():
    values = weights.config_to_dict(Model((np.int64(1),)))
    assert values["scheme"] == {"_class": "Scheme", "weight": 1.67, "kind": "mirror"}
    assert values["sizes"] == [1] and type(values["sizes"][0]) is int


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 3}, "no field 'depth'"),
        ({"scheme": {"_class": "os.system"}}, "unknown class 'os.system'.*Scheme"),
        ({"scheme": {"_class": "Scheme", "gamma": 1}}, "Scheme has no field 'gamma'"),
        ({"scheme": 3}, "scheme is 3"),
        ({"theta": "big"}, "theta is 'big'; expected float"),
        ({"bias": 1}, "bias is 1; expected bool"),
        ({"sizes": 4}, "sizes is 4"),
        ({"sizes": [1, "2"]}, r"sizes\[1\] is '2'; expected int"),
        ({"patch": [[1, 2, 3]]}, r"patch\[0\] is \[1, 2, 3\]; expected tuple\[int, int\]"),
        ({"theta": [1]}, r"theta is \[1\]; expected float"),
    ],
)
def test_wrong_fields_are_named(change, message):
    values = {"sizes": [1], **change}
    with pytest.raises(WeightsError, match=message):
        weights.config_from_dict(Model, values, {"Scheme": Scheme})


@pytest.mark.parametrize(("old", "new"), [(False, "none"), (True, "full"), ("dots", "dots")])
def test_a_switch_of_earlier_versions_is_read(old, new):
    assert weights.config_from_dict(DiTConfig, {"remat": old}).remat == new


def test_absent_fields():
    assert weights.config_from_dict(Model, {"sizes": [1], "theta": 1}, {}) == Model((1,), theta=1.0)
    with pytest.raises(WeightsError, match="lacks 'sizes'"):
        weights.config_from_dict(Model, {}, {})


def test_a_config_json_cannot_hold_is_refused():
    with pytest.raises(WeightsError, match="'sizes'.*ndarray"):
        weights.config_to_dict(Model(np.ones(2)))


# -- tensors that do not fit ---------------------------------------------------------------------


def test_all_misfits_are_listed_at_once(saved):
    def change(tensors):
        del tensors["embedding"]
        tensors["extra.kernel"] = np.zeros((2, 2), np.float32)
        tensors["norm.scale"] = np.zeros(3, np.float32)
        tensors["blocks.norm1.scale"] = np.zeros((2, 8), np.int32)

    _edit(saved, change)
    with pytest.raises(WeightsError) as e:
        weights.load(saved, PART)
    message = str(e.value)
    assert "model.safetensors" in message
    assert re.search(r"1 missing:\n\s+embedding \[11, 8\]", message)
    assert re.search(r"1 unexpected:\n\s+extra\.kernel \[2, 2\]", message)
    assert "norm.scale: file [3], model [8]" in message
    assert "blocks.norm1.scale I32" in message


def test_long_lists_are_cut(saved):
    extra = {f"extra.{i:03}": np.zeros(1, np.float32) for i in range(57)}
    _edit(saved, lambda tensors: tensors.update(extra))
    with pytest.raises(WeightsError, match="57 unexpected") as e:
        weights.load(saved, PART)
    assert str(e.value).count("extra.") == 20 and "and 37 more" in str(e.value)


# -- files that cannot be used -------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_truncated_tensors(saved, keep):
    file = saved / PART / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="(truncated or|empty file,) not a safetensors"):
        weights.load(saved, PART)


def test_garbage_tensors(saved):
    (saved / PART / "model.safetensors").write_bytes(b"\x93NUMPY" * 50)
    with pytest.raises(WeightsError, match="not a safetensors"):
        weights.load(saved, PART)


def test_missing_tensors(saved):
    (saved / PART / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        weights.load(saved, PART)


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


@pytest.mark.parametrize("name", ["model.bin", "diffusion.pth", "w.ckpt", "../Wan2.1_VAE.pth"])
@pytest.mark.parametrize("gone", ["model.safetensors", "config.json"])
def test_pickles_are_refused_and_never_run(saved, monkeypatch, name, gone):
    bomb = saved / "exploded"
    monkeypatch.setenv("BOMB", str(bomb))
    (saved / PART / name).write_bytes(pickle.dumps(_Bomb()))
    (saved / PART / gone).unlink()
    with pytest.raises(WeightsError, match="never loaded.*fetch the safetensors"):
        weights.load(saved, PART)
    assert not bomb.exists()


def test_a_pickle_under_the_right_name_is_garbage(saved, monkeypatch):
    bomb = saved / "exploded"
    monkeypatch.setenv("BOMB", str(bomb))
    (saved / PART / "model.safetensors").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(WeightsError, match="not a safetensors"):
        weights.load(saved, PART)
    assert not bomb.exists()


@pytest.mark.parametrize("text", [b"{", b"", b"\xff\xfe"])
def test_unreadable_config(saved, text):
    (saved / PART / "config.json").write_bytes(text)
    with pytest.raises(WeightsError, match=r"config\.json is (not valid|an empty file, not) JSON"):
        weights.load(saved, PART)


def test_config_is_a_directory(saved):
    (saved / PART / "config.json").unlink()
    (saved / PART / "config.json").mkdir()
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        weights.load(saved, PART)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"_class": "Unet"}, "must be one of DiT, VAE, TinyDecoder, UMT5Encoder"),
        ({"_class": ["DiT"]}, "must be one of"),
        ({"_class": "VAE"}, "describes a VAE, but a text_encoder is a UMT5Encoder"),
        ({"depth": 3, "width": 1}, r"config\.json: UMT5Config has no field 'depth', 'width'"),
        ({"dim": "wide"}, "dim is 'wide'; expected int"),
        ({"n_buckets": 5}, "n_buckets is 5"),
    ],
)
def test_config_of_something_else(saved, fields, message):
    _rewrite_config(saved, **fields)
    with pytest.raises(WeightsError, match=message):
        weights.load(saved, PART)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "t5"}', "not a UMT5 encoder"),
        ('{"width": 3}', "does not name a model of ours"),
        ("[1]", "does not name a model of ours"),
    ],
)
def test_config_of_another_project(saved, content, message):
    (saved / PART / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=message):
        weights.load(saved, PART)


def test_missing_component_and_unknown_names(saved, tmp_path):
    with pytest.raises(WeightsError, match="holds no vae"):
        weights.load(saved, "vae")
    with pytest.raises(WeightsError, match="unknown component 'unet'.*transformer"):
        weights.load(saved, "unet")
    with pytest.raises(WeightsError, match="float8"):
        weights.save(tmp_path, PART, CONFIG, _params(), dtype="float8")
    with pytest.raises(WeightsError, match="described by a UMT5Config, not a Model"):
        weights.save(tmp_path, PART, Model(()), _params())


@pytest.mark.parametrize(
    ("params", "dtype", "message"),
    [
        ({"a": {"b": np.ones(2, np.int32)}}, "float32", r"a\.b is int32"),
        ({"a.b": np.ones(2, np.float32)}, "float32", "contains a dot"),
        ({"a": np.array([1.0, 7e4], np.float32)}, "float16", "a does not fit float16.*7e"),
    ],
)
def test_params_that_cannot_be_stored(tmp_path, params, dtype, message):
    with pytest.raises(WeightsError, match=message):
        weights.save(tmp_path, PART, CONFIG, params, dtype=dtype)
    assert not _files(tmp_path)


# -- atomicity -----------------------------------------------------------------------------------


def _disk_full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("owner", "name"), [(files, "_stored"), (os, "fsync"), (os, "replace")])
def test_a_failed_write_destroys_nothing(saved, monkeypatch, owner, name):
    before = _files(saved)
    monkeypatch.setattr(owner, name, _disk_full)
    with pytest.raises(WeightsError, match="cannot write.*No space left"):
        weights.save(saved, PART, CONFIG, _params(1))
    monkeypatch.undo()
    assert _files(saved) == before
    assert [p.name for p in saved.iterdir()] == [PART]
    weights.save(saved, PART, CONFIG, _params(1))  # and nothing stands in the way afterwards
    _assert_identical(weights.load(saved, PART)[1], _params(1))


def test_an_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot write"):
        weights.save(tmp_path / "file", PART, CONFIG, _params())


# -- finding models ------------------------------------------------------------------------------


def test_a_file_that_is_called_like_a_bundled_model_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "sprites").touch()
    monkeypatch.chdir(tmp_path)
    assert weights.load("sprites", "vae")[0].config.z_dim == 8


def test_locate(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=r"holds none of transformer/.*weights\.save"):
        weights.locate(tmp_path)
    (tmp_path / "diffusion.pth").touch()
    with pytest.raises(WeightsError, match=r"\(diffusion\.pth\) are never loaded"):
        weights.locate(tmp_path)
    (tmp_path / "vae").mkdir()
    assert weights.locate(str(tmp_path)) == tmp_path == weights.locate(tmp_path)
    with pytest.raises(WeightsError, match=r"no model at 'sprite'.*'sprites'.*transformer/"):
        weights.locate("sprite")
    monkeypatch.setattr(directories, "__file__", str(tmp_path / "weights" / "directories.py"))
    with pytest.raises(WeightsError, match="not in this installation"):
        weights.locate("sprites")
    (tmp_path / "bundled" / "sprites").mkdir(parents=True)
    assert weights.locate("sprites") == tmp_path.resolve() / "bundled" / "sprites"
