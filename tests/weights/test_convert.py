"""`alchemint convert`: a whole model in another format, all of it or nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alchemint_jax import cli, weights
from alchemint_jax.errors import WeightsError
from alchemint_jax.weights import files

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens"
PARTS = {
    "transformer": GOLDENS / "dit" / "small" / "transformer",
    "vae": GOLDENS / "vae" / "small" / "vae",
    "text_encoder": GOLDENS / "umt5",
}


@pytest.fixture
def model(tmp_path):
    """A directory as those called *-Diffusers, of small networks that other libraries wrote."""
    root = tmp_path / "model"
    for name, folder in PARTS.items():
        (root / name).mkdir(parents=True)
        for file in folder.iterdir():
            if file.is_file() and file.name != "io.safetensors":
                shutil.copy(file, root / name)
    (root / "tokenizer").mkdir()
    (root / "tokenizer" / "tokenizer.json").write_text("{}")
    (root / "scheduler").mkdir()
    scheduler = "scheduler/scheduler_config.json"
    for name in ("model_index.json", scheduler):
        shutil.copy(GOLDENS / "pipeline" / "t2v" / name, root / name)
    (root / "README.md").write_text("a model")
    return root


def _tensors(folder):
    found: dict = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def _assert_same(folder, other, dtype=None):
    a, b = _tensors(folder), _tensors(other)
    assert a.keys() == b.keys()
    for name, x in a.items():
        wanted = b[name].astype(dtype or b[name].dtype)
        assert (x.dtype, x.shape) == (wanted.dtype, wanted.shape), name
        assert x.tobytes() == wanted.tobytes(), name


def test_there_and_back_changes_no_bit(model, tmp_path):
    steps = [tmp_path / name for name in ("ours", "back")]
    parts = weights.convert(model, steps[0], "alchemint")
    assert parts == ["transformer", "vae", "text_encoder"]
    for part in parts:
        assert {p.name for p in (steps[0] / part).iterdir()} == {"config.json", "model.safetensors"}
    weights.convert(steps[0], steps[1], "wan-diffusers")
    for part in parts:
        _assert_same(steps[1] / part, model / part)
    for name in ("tokenizer/tokenizer.json", "scheduler/scheduler_config.json", "model_index.json"):
        assert (steps[1] / name).read_bytes() == (model / name).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_through_the_original_names(model, tmp_path):
    """Only the transformer has such a format; it lies where Wan's repositories have it."""
    assert weights.convert(model, tmp_path / "wan", "wan") == ["transformer"]
    assert {p.name for p in (tmp_path / "wan").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    weights.convert(tmp_path / "wan", tmp_path / "back")
    _assert_same(tmp_path / "back" / "transformer", model / "transformer")


def test_every_tensor_keeps_its_dtype(model, tmp_path):
    """Networks in half precision keep some tensors in single."""
    file = model / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    half = {n: x.astype(ml_dtypes.bfloat16) if x.ndim > 1 else x for n, x in tensors.items()}
    save_file(half, file)
    weights.convert(model, tmp_path / "same")
    _assert_same(tmp_path / "same" / "text_encoder", model / "text_encoder")


@pytest.mark.parametrize("format", ["wan-diffusers", "alchemint"])
def test_another_dtype(model, tmp_path, format):
    weights.convert(model, tmp_path / "half", format, dtype="bfloat16")
    for part in PARTS:
        found = _tensors(tmp_path / "half" / part)
        assert {x.dtype for x in found.values()} == {np.dtype(ml_dtypes.bfloat16)}
    if format == "wan-diffusers":
        _assert_same(
            tmp_path / "half" / "transformer", model / "transformer", dtype=ml_dtypes.bfloat16
        )


def test_large_networks_are_split(model, tmp_path):
    weights.convert(model, tmp_path / "parts", max_shard=50_000)
    assert len(list((tmp_path / "parts" / "transformer").glob("*.safetensors"))) > 3
    _assert_same(tmp_path / "parts" / "transformer", model / "transformer")
    weights.load(tmp_path / "parts", "transformer")


def test_the_bundled_model(tmp_path):
    """It has what Wan has no names for; the settings come along."""
    parts = weights.convert("sprites", tmp_path / "wan")
    assert {p.name for p in (tmp_path / "wan").iterdir()} == {
        *parts, "pipeline.json", "model_index.json"
    }  # fmt: skip
    module, params = weights.load(tmp_path / "wan", "transformer")
    theirs, wanted = weights.load("sprites", "transformer")
    assert module.config.scheme == theirs.config.scheme and module.config.slots == 3
    np.testing.assert_array_equal(params["subjects"]["index"], wanted["subjects"]["index"])
    index = json.loads((tmp_path / "wan" / "model_index.json").read_text())
    assert index["transformer"] == ["diffusers", "WanTransformer3DModel"]


# ------------------------------------------------------------------------------- the command


def _run(capsys, *args):
    status = cli.main(["convert", *map(str, args)])
    return status, *capsys.readouterr()


def test_the_command(model, tmp_path, capsys):
    (model / "controlnet").mkdir()
    save_file({"x": np.ones(1, np.float32)}, model / "controlnet" / "model.safetensors")
    to = tmp_path / "ours"
    status, out, err = _run(capsys, "--from", model, "--to", to, "--format", "alchemint")
    assert (status, out) == (0, f"{to}: transformer, vae, text_encoder\n")
    assert "warning: controlnet/ was not converted" in err and "converting (MB)" in err
    status, _, err = _run(capsys, "--from", to, "--to", tmp_path / "wan", "--format", "wan")
    assert status == 0
    assert "text_encoder/ was not converted" in err and "vae/ was not converted" in err


def test_a_bundled_model_by_its_name(tmp_path, capsys):
    to = tmp_path / "pictures"
    status, out, _ = _run(capsys, "--from", "sprites/pictures", "--to", to, "--format", "alchemint")
    assert (status, out) == (0, f"{to}: transformer, text_encoder\n")


def test_a_single_file_of_something_else(tmp_path, capsys):
    status, _, err = _run(capsys, "--from", tmp_path / "x.safetensors", "--to", tmp_path / "y")
    assert status == 2 and "x.safetensors: neither" in err
    save_file({"decoder.conv1.weight": np.ones((2, 2), np.float32)}, tmp_path / "x.safetensors")
    status, _, err = _run(capsys, "--from", tmp_path / "x.safetensors", "--to", tmp_path / "y")
    assert status == 2 and "does not hold a transformer of Wan " in err
    assert not (tmp_path / "y").exists()


# ------------------------------------------------------------------------- all of it or nothing


def test_nothing_is_overwritten(model, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    status, _, err = _run(capsys, "--from", model, "--to", tmp_path / "full")
    assert status == 2 and "exists already; give a new directory" in err
    assert not list((tmp_path / "full").iterdir())


@pytest.mark.parametrize("part", ["transformer", "text_encoder"])
def test_a_damaged_part_leaves_nothing(model, tmp_path, part):
    file = next((model / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(WeightsError, match="truncated"):
        weights.convert(model, tmp_path / "new")
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch):
    stored, left = files._stored, iter([True] * 40)

    def fail(*args):
        if next(left, False):
            return stored(*args)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_stored", fail)
    with pytest.raises(WeightsError, match="No space left"):
        weights.convert(model, tmp_path / "new")
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "onnx"}, "'onnx' is not one of alchemint, wan-diffusers, wan"),
        ({"dtype": "int8"}, "'int8' is not one of"),
    ],
)
def test_options_that_do_not_exist(model, tmp_path, options, message):
    with pytest.raises(WeightsError, match=message):
        weights.convert(model, tmp_path / "new", **options)


def test_a_model_of_pickles(tmp_path):
    (tmp_path / "model" / "vae").mkdir(parents=True)
    (tmp_path / "model" / "vae" / "Wan2.1_VAE.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsError, match=r"holds no vae.*VAE\.pth.*-Diffusers"):
        weights.convert(tmp_path / "model", tmp_path / "new")
    assert weights.left_out(tmp_path / "model", "alchemint") == []
    (tmp_path / "model" / "models_t5.pth").touch()
    assert weights.left_out(tmp_path / "model", "alchemint") == ["models_t5.pth"]
