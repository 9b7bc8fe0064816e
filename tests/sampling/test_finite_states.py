"""What networks make of finite weights may still overflow: said by name, and nothing is written."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file, save_file

from alchemint_jax import cli
from alchemint_jax.errors import NonFiniteError
from alchemint_jax.sampling import Pipeline
from alchemint_jax.sampling.sample import decode
from alchemint_jax.sampling.text_cache import TextCache
from alchemint_jax.scene import Clock, Scene

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "pipeline"


@pytest.fixture(autouse=True)
def cache(tmp_path, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def flf2v():
    return Pipeline.load(GOLDENS / "flf2v")


def render(pipe):
    given = np.zeros((2, 32, 48, 3), np.uint8)
    scene = Scene("clip", "a cat", Clock(16.0, 5, 4), keyframes=given, size=(32, 48))
    return pipe.render([scene], steps=1)


def spoil(params, at, value=np.nan):
    """The parameters with `value` throughout the first leaf whose path holds `at`."""
    left = [True]

    def change(path, x):
        if at in jax.tree_util.keystr(path, simple=True, separator=".") and left:
            left.clear()
            return np.full_like(x, value)
        return x

    changed = jax.tree_util.tree_map_with_path(change, params)
    assert not left
    return changed


@pytest.mark.parametrize(
    ("part", "at", "says"),
    [
        ("dit_params", "head.kernel", "the transformer gave latents"),
        ("vae_params", "encoder", "the autoencoder gave latents of the given frames"),
        ("vae_params", "decoder.conv_out.kernel", "the autoencoder gave frames"),
        ("tower", "", "the image encoder gave states of the given frames"),
        ("text", "norm.scale", "the text encoder gave states"),
    ],
)
def test_the_network_is_named(flf2v, cache, part, at, says):
    """Infinity in the last layer is what would be clipped to a colour."""
    models, texts, tower = flf2v.models, flf2v.texts, flf2v.image_encoder
    if part == "text":
        params = spoil(texts.params(), at)
        texts = dataclasses.replace(texts, params=lambda: params, cache=TextCache("spoiled"))
    elif part == "tower":
        tower = (tower[0], spoil(tower[1], at))
    else:
        value = np.inf if "out" in at else np.nan
        models = models._replace(**{part: spoil(getattr(models, part), at, value)})
    pipe = dataclasses.replace(flf2v, models=models, texts=texts, image_encoder=tower)
    with pytest.raises(NonFiniteError, match=f"{says}.* that are not finite"):
        render(pipe)
    assert not list(cache.rglob("*.safetensors"))


def test_finite_latents_are_decoded_and_others_are_not(flf2v):
    z = jnp.zeros((2, 2, 4, 6, 16))
    assert decode(flf2v.models, z).shape == (2, 5, 32, 48, 3)
    z = z.at[1, 0, 0, 0, 0].set(jnp.inf)
    with pytest.raises(NonFiniteError, match="the transformer gave latents"):
        decode(flf2v.models, z)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_in_the_cache_count_only_if_finite(tmp_path, value):
    """Earlier versions kept whatever an encoder gave."""
    cache = TextCache("an encoder", tmp_path / "prompts")
    ids, mask = np.array([[5, 1, 0]], np.int32), np.array([[True, True, False]])
    states = np.ones((1, 3, 4), np.float32)
    spoiled = np.where(mask[..., None], value, states).astype(np.float32)
    with pytest.raises(NonFiniteError, match="the text encoder gave states"):
        cache.states(ids, mask, lambda *_: spoiled)
    assert not cache.directory.exists()
    key = cache._key(ids[0], mask[0])
    cache._write({key: spoiled[0, :2]})
    assert cache._read(key, 2) is None
    found = cache.states(ids, mask, lambda *_: states)
    assert cache._read(key, 2) is not None and np.isfinite(found).all()


@pytest.mark.parametrize(
    ("part", "options"), [("image_encoder", []), ("text_encoder", ["--int8-text"])]
)
def test_generate_writes_nothing(capsys, part, options):
    shutil.copytree(GOLDENS / "flf2v", "model")
    (file,) = Path("model", part).glob("*.safetensors")
    tensors = load_file(file)
    name = max(tensors)
    tensors[name].flat[0] = np.nan
    save_file(tensors, file)
    Image.new("RGB", (48, 32)).save("a.png")
    board = {"prompt": "a cat", "duration": 0.3, "size": [32, 48]}
    Path("board.yaml").write_text(
        yaml.safe_dump(board | {"first_frame": "a.png", "last_frame": "a.png"})
    )
    before = set(os.listdir())
    words = ["generate", "board.yaml", "--out", "v.mp4", "--model", "model", "--steps", "1"]
    assert cli.main([*words, *options]) == 2
    assert f"{file}: tensor {name} holds 1 NaN" in capsys.readouterr().err
    assert set(os.listdir()) == before
