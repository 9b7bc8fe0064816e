"""Models in Wan's diffusers format, from their directory to frames, without torch.

The goldens are tiny pipelines that diffusers made, saved and ran (tests/parity/make_goldens.py).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file

from alchemint_jax import cli
from alchemint_jax.errors import ConfigError, StoryboardError, WeightsError
from alchemint_jax.models.lora import LoraConfig, init_lora
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.scene import Clock, Scene, Storyboard
from alchemint_jax.weights.lora import save_lora

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "pipeline"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def t2v():
    return Pipeline.load(GOLDENS / "t2v")


def render(pipe, io, **changes):
    options = dict(
        steps=10,
        guidance=Guidance(text=5.0, image=0.0, both=0.0),
        negative_prompt="ein Hund",
        noise=io["noise"],
    )
    scene = Scene(
        "clip",
        "a red disc glides past &amp; a cat",
        Clock(16.0, 9, 4),
        keyframes=io.get("pictures", ()),
        size=(32, 48),
    )
    return pipe.render([scene], **options | changes)


@pytest.mark.parametrize("name", ["t2v", "flf2v"])
def test_frames_equal_those_of_diffusers(name):
    io = load_file(GOLDENS / name / "io.safetensors")
    found = render(Pipeline.load(GOLDENS / name), io)
    # Ours are whole numbers: within half a level, and 1e-3 of the range besides.
    assert np.abs(found / 255.0 - io["frames"]).max() <= 0.5 / 255 + 1e-3
    assert io["frames"].std() > 0.1


def test_another_prompt_gives_other_frames(t2v):
    io = load_file(GOLDENS / "t2v" / "io.safetensors")
    found = render(t2v, io, negative_prompt="eine Katze")
    assert np.abs(found / 255.0 - io["frames"]).max() > 0.02


def test_8_bit_text_changes_little():
    io = load_file(GOLDENS / "t2v" / "io.safetensors")
    found = render(Pipeline.load(GOLDENS / "t2v", int8_text=True), io)
    difference = np.abs(found / 255.0 - io["frames"])
    assert difference.max() > 0 and difference.mean() < 0.01


def test_a_prompt_seen_before_needs_no_text_encoder(tmp_path):
    shutil.copytree(GOLDENS / "t2v", tmp_path / "model")
    io = load_file(GOLDENS / "t2v" / "io.safetensors")
    pipe = Pipeline.load(tmp_path / "model")
    first = render(pipe, io)
    (tmp_path / "model" / "text_encoder" / "model.safetensors").unlink()
    np.testing.assert_array_equal(render(pipe, io), first)
    with pytest.raises(WeightsError, match="text_encoder"):
        render(pipe, io, negative_prompt="never seen")


def test_scheduler_and_sizes_are_those_of_the_model(t2v):
    assert (t2v.settings.solver, t2v.settings.grid) == ("unipc", "diffusers-unipc")
    assert t2v.settings.shift == 3.0
    board = Storyboard.from_dict({"prompt": "a cat", "duration": 1.0})
    assert board.validate_for(t2v.limits).size == (480, 832)
    fits = Storyboard.from_dict({"prompt": "a cat", "duration": 1.0, "size": [32, 48]})
    assert fits.validate_for(t2v.limits).fps == 16.0
    for change, message in (
        ({"size": [32, 40]}, "any multiple of 16"),
        ({"size": [1024, 1024]}, "up to 921600 pixels"),
        ({"duration": 6.0}, "5 to 81 frames"),
        ({"fps": 24}, "fps 16"),
    ):
        board = Storyboard.from_dict({"prompt": "a cat", "duration": 1.0} | change)
        with pytest.raises(StoryboardError, match=message):
            board.validate_for(t2v.limits)


def test_a_strange_scheduler_is_named(tmp_path):
    shutil.copytree(GOLDENS / "t2v", tmp_path / "model")
    file = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({"_class_name": "DDIMScheduler"}))
    index = tmp_path / "model" / "model_index.json"
    announced = {"scheduler": ["diffusers", "DDIMScheduler"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | announced))
    with pytest.raises(WeightsError, match="scheduler_config.json.*DDIMScheduler.*UniPC"):
        Pipeline.load(tmp_path / "model")


def test_a_pair_of_experts_is_refused(tmp_path):
    shutil.copytree(GOLDENS / "t2v", tmp_path / "model")
    shutil.copytree(GOLDENS / "t2v" / "transformer", tmp_path / "model" / "transformer_2")
    with pytest.raises(WeightsError, match="transformer_2.*Wan2.2"):
        Pipeline.load(tmp_path / "model")


def test_a_lora_counts_as_strongly_as_said(t2v, tmp_path):
    io = load_file(GOLDENS / "t2v" / "io.safetensors")
    module, params = t2v.models.dit, t2v.models.dit_params
    lora = init_lora(jax.random.key(0), params, LoraConfig(rank=2))
    lora = jax.tree.map(lambda x: x + 0.05, lora)
    file = save_lora(tmp_path / "lora.safetensors", module.config, lora)
    plain, none, half = (
        render(Pipeline.load(GOLDENS / "t2v", loras=loras), io).astype(int)
        for loras in ({}, {file: 0.0}, {file: 0.5})
    )
    np.testing.assert_array_equal(plain, none)
    assert np.abs(plain - half).max() > 5


def test_half_precision_is_held_where_it_is_computed(t2v, tmp_path):
    io = load_file(GOLDENS / "t2v" / "io.safetensors")
    lora = init_lora(jax.random.key(0), t2v.models.dit_params, LoraConfig(rank=2))
    file = save_lora(tmp_path / "lora.safetensors", t2v.models.dit.config, lora)  # changes nothing
    half, merged = (
        Pipeline.load(GOLDENS / "t2v", dtype="bfloat16", loras=loras) for loras in ({}, {file: 1.0})
    )
    leaves = jax.tree_util.tree_leaves_with_path(half.models.dit_params)
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        matrix = name.endswith("kernel") and not name.startswith("time/")
        assert leaf.dtype == (jnp.bfloat16 if matrix else jnp.float32), name
    jax.tree.map(np.testing.assert_array_equal, half.models.dit_params, merged.models.dit_params)
    error = render(half, io) / 255.0 - io["frames"]
    assert np.abs(error).max() > 1e-3 and np.sqrt(np.mean(error**2)) < 0.05 * io["frames"].std()
    assert {x.dtype for x in jax.tree.leaves(t2v.models.dit_params)} == {jnp.dtype(jnp.float32)}
    with pytest.raises(ConfigError, match="dtype is 'float16'.*bfloat16"):
        Pipeline.load(GOLDENS / "t2v", dtype="float16")


def test_generate_from_the_command_line(tmp_path, capsys):
    Image.fromarray(np.zeros((50, 70, 3), np.uint8)).save(tmp_path / "a.png")
    board = {"prompt": "a cat", "duration": 0.5, "size": [32, 48], "first_frame": "a.png"}
    (tmp_path / "board.yaml").write_text(yaml.safe_dump(board | {"last_frame": "a.png"}))
    out = tmp_path / "v.mp4"
    words = ["generate", str(tmp_path / "board.yaml"), "--out", str(out), "--steps", "1"]
    assert cli.main([*words, "--model", str(GOLDENS / "flf2v")]) == 0
    assert out.stat().st_size > 0
    assert cli.main([*words, "--model", str(GOLDENS / "t2v")]) == 2
    assert "first_frame: cannot be given" in capsys.readouterr().err


def test_guidance_of_an_evaluation_is_beside_the_models_own(t2v, tmp_path, capsys):
    """The directory has no pipeline.json, in which other models say what theirs is."""
    assert t2v.settings.plan(guidance={"text": 2.0}).guidance == Guidance(text=2.0, both=5.0)
    words = ["evaluate", "--model", str(GOLDENS / "t2v"), "--out", str(tmp_path / "report")]
    assert cli.main([*words, "--limit", "1", "--guidance-both", "2"]) == 2
    assert "this model can do: up to 0 subjects" in capsys.readouterr().err


def test_round_trip_through_our_own_format(tmp_path):
    io = load_file(GOLDENS / "t2v" / "io.safetensors")
    ours, back = str(tmp_path / "ours"), str(tmp_path / "back")
    assert (
        cli.main(["convert", "--from", str(GOLDENS / "t2v"), "--to", ours, "--format", "alchemint"])
        == 0
    )
    assert cli.main(["convert", "--from", ours, "--to", back]) == 0
    for file in sorted(GOLDENS.glob("t2v/*/*.safetensors")):
        before, after = load_file(file), load_file(Path(back) / file.relative_to(GOLDENS / "t2v"))
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            assert tensor.dtype == after[name].dtype
            np.testing.assert_array_equal(tensor, after[name])
    first = render(Pipeline.load(GOLDENS / "t2v"), io)
    np.testing.assert_array_equal(render(Pipeline.load(ours), io), first)
    assert cli.main(["convert", "--from", ours, "--to", back]) == 2  # it exists
