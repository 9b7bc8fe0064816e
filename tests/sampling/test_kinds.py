"""Published models of subjects: how they are named, guided, loaded and asked."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from alchemint_jax import arguments, cli, weights
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.rotary import NoInterval, ReferenceLayout
from alchemint_jax.sampling import Guidance, Pipeline, pipeline
from alchemint_jax.sampling.kinds import KINDS, kind_of
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Storyboard

pytestmark = pytest.mark.slow

BASE = Path(__file__).parents[1] / "goldens" / "pipeline" / "t2v"
PLAIN = DiTConfig(
    dim=128, n_heads=1, n_layers=2, ffn_dim=32, in_channels=4, out_channels=4, text_dim=24,
    freq_dim=16,
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def random_params(config, seed=0):
    rng = np.random.default_rng(seed)
    shapes = DiT(config).abstract_params()
    return jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), shapes)


def test_commands_know_all_kinds():
    assert list(arguments.MODEL_KINDS) == [*KINDS, "plain"]


def test_phantoms_pictures_stay_behind_the_video_however_long_it_is():
    layout = KINDS["phantom"].layout
    assert layout.times(2, 21) == (21, 22) and layout.times(4, 31) == (31, 32, 33, 34)
    assert ReferenceLayout.r_rope(2).times(2, 21) == (0, 1)
    assert ReferenceLayout().times(2, 21) is None
    with pytest.raises(ConfigError, match="4 slot_times for 5 references"):
        layout.times(5, 21)
    with pytest.raises(ConfigError, match="after_video: does nothing without slot_times"):
        ReferenceLayout(after_video=True)


def guided(guidance, velocities):
    """`velocities` by (with text, with pictures)."""
    return sum(weight * velocities[branch] for branch, weight in guidance.branches().items())


def test_weights_of_passes_are_those_of_the_authors_formulas():
    rng = np.random.default_rng(3)
    none, pictures, text, both = rng.normal(size=(4, 7))
    velocities = {
        (False, False): none,
        (False, True): pictures,
        (True, False): text,
        (True, True): both,
    }
    chained = none + 5.0 * (pictures - none) + 7.5 * (both - pictures)
    plan = KINDS["phantom"].settings(Settings(), 1536).plan()
    np.testing.assert_allclose(guided(plan.guidance, velocities), chained, rtol=1e-12)
    assert len(plan.guidance.branches()) == 3
    plan = KINDS["kaleido"].settings(Settings(), 5120).plan()
    wanted = pictures + 6.0 * (both - pictures)
    np.testing.assert_allclose(guided(plan.guidance, velocities), wanted, rtol=1e-12)
    assert len(plan.guidance.branches()) == 2
    r = np.linspace(1, 0, 51)
    np.testing.assert_allclose(plan.levels().sigmas, 7 * r / (1 + 6 * r), atol=1e-6)


def test_settings_are_those_of_the_size():
    wan = Settings(fps=16.0, max_frames=81)
    small, large = (KINDS["phantom"].settings(wan, dim) for dim in (1536, 5120))
    assert (small.fps, small.max_frames, large.fps, large.max_frames) == (16.0, 81, 24.0, 121)
    assert small.negative_prompt.count("，") == 27
    kaleido = KINDS["kaleido"].settings(wan, 5120)
    assert kaleido.negative_prompt.count("，") == 26 and "脸部" not in kaleido.negative_prompt


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((None, "weights/Phantom-Wan-1_3B_fp16.safetensors", "sprites"), "phantom"),
        ((None, "Phantom_Wan_14B.safetensors.index.json", None), "phantom"),
        ((None, None, Path("models/Kaleido-14B-S2V")), "kaleido"),
        ((None, "x/Wan_2_1_kaleido_14B-S2V.safetensors", "Phantom"), "kaleido"),
        ((None, None, "phantom/Wan2.1-T2V-1.3B-Diffusers"), None),
        (("plain", "Phantom-Wan-1_3B_fp16.safetensors", None), None),
        (("kaleido", "Phantom-Wan-1_3B_fp16.safetensors", None), "kaleido"),
        ((None, None, "sprites"), None),
    ],
)
def test_a_kind_is_named_or_a_file_is_called_after_it(given, wanted):
    assert kind_of(*given) is (KINDS[wanted] if wanted else None)


def test_a_kind_that_is_not_there():
    with pytest.raises(ConfigError, match="no kind of model 'vace'; there are phantom, kaleido"):
        kind_of("vace")


@pytest.mark.parametrize(
    "changes", [{"image_dim": 8, "in_channels": 9}, {"slots": 2}, {"in_channels": 9}]
)
def test_other_transformers_are_refused(changes):
    with pytest.raises(WeightsError, match="here: models of this kind are text-to-video"):
        KINDS["phantom"].config(dataclasses.replace(PLAIN, **changes), "here")


# ---------------------------------------------------------------------------------- from files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Wan's own names: whole, in two parts with an index, and as a folder of diffusers'."""
    root = tmp_path_factory.mktemp("published")
    z_dim = weights.read_config(BASE, "vae")["z_dim"]
    config = dataclasses.replace(PLAIN, in_channels=z_dim, out_channels=z_dim)
    params = random_params(config)
    weights.save(root / "wan", "transformer", config, params, format="wan")
    weights.save(root / "phantom", "transformer", config, params, format="wan-diffusers")
    (whole,) = (root / "wan").rglob("*.safetensors")
    shutil.copy(whole, root / "Phantom-Wan-1_3B.safetensors")
    tensors = load_file(whole)
    names, index = sorted(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"Phantom_Wan_14B-{number:05d}-of-00002.safetensors"
        save_file({name: np.ascontiguousarray(tensors[name]) for name in part}, root / file)
        index |= dict.fromkeys(part, file)
    text = json.dumps({"metadata": {}, "weight_map": index})
    (root / "Phantom_Wan_14B.safetensors.index.json").write_text(text)
    for name, color in (("red", (200, 40, 40)), ("blue", (40, 60, 200))):
        Image.new("RGB", (30, 20), color).save(root / f"{name}.png")
    return root


@pytest.mark.parametrize("name", ["kaleido", "Phantom-Wan-1_3B"])
def test_a_model_of_ours_is_of_no_kind_whatever_its_folder_is_called(name, tmp_path):
    """It has settings of its own, which say how it is sampled."""
    (tmp_path / name).symlink_to(weights.locate("sprites"), target_is_directory=True)
    assert kind_of(None, None, tmp_path / name) is not None, "the name says nothing"
    pipe, own = Pipeline.load(tmp_path / name), Pipeline.load("sprites")
    assert (pipe.models.dit.config, pipe.settings) == (own.models.dit.config, own.settings)
    # A kind that is named is taken, and its rule does not fit the model.
    with pytest.raises(WeightsError, match="models of this kind are text-to-video"):
        Pipeline.load(tmp_path / name, kind="phantom")


def board(folder):
    subjects = [
        {"word": word, "image": str(folder / f"{word}.png"), "appears": [[0, 0.5]]}
        for word in ("red", "blue")
    ]
    return Storyboard.from_dict(
        {"prompt": "red and blue", "duration": 0.5, "size": [32, 48], "subjects": subjects}
    )


@pytest.mark.parametrize(
    "file",
    ["Phantom-Wan-1_3B.safetensors", "Phantom_Wan_14B.safetensors.index.json", "phantom"],
)
def test_every_form_of_the_files_is_the_same_model(folder, file):
    pipe = Pipeline.load(BASE, transformer=folder / file)
    config = pipe.models.dit.config
    assert (config.slots, config.reference_time, config.scheme) == (4, "video", NoInterval())
    assert pipe.settings.guidance == Guidance(text=0, image=-2.5, both=7.5)
    assert (pipe.settings.fps, pipe.limits.max_subjects) == (16.0, 4)
    wanted = random_params(dataclasses.replace(config, slots=0))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(pipe.models.dit_params), wanted)


def test_a_storyboard_is_rendered_and_the_models_own_text_is_led_away_from(folder, monkeypatch):
    pipe = Pipeline.load(BASE, transformer=folder / "Phantom-Wan-1_3B.safetensors")
    asked = []

    def loop(models, conditions, start, *rest):
        asked.append(conditions)
        return start

    monkeypatch.setattr(pipeline, "sample_latents", loop)
    monkeypatch.setattr(
        pipeline, "decode", lambda models, latents: np.zeros((1, 9, 32, 48, 3), np.uint8)
    )
    said = dataclasses.replace(board(folder), negative_prompt=pipe.settings.negative_prompt)
    for one in (board(folder), said, dataclasses.replace(said, negative_prompt="blurry")):
        pipe.generate(one)
    own, same, other = (np.asarray(found.null_text) for found in asked)
    np.testing.assert_array_equal(own, same)
    assert np.abs(own - other).max() > 1e-3
    # It takes four, and was given two.
    assert asked[0].references.shape[1] == 2 and np.asarray(asked[0].used).all()


def test_from_the_command_line_to_a_video(folder, tmp_path, capsys):
    file = tmp_path / "board.json"
    picture = str(folder / "red.png")
    subject = {"word": "red", "image": picture, "appears": [[0, 0.25]]}
    file.write_text(
        json.dumps({"prompt": "red", "duration": 0.5, "size": [32, 48], "subjects": [subject]})
    )
    words = ["generate", str(file), "--model", str(BASE), "--steps", "1", "--json"]
    words += ["--out", str(tmp_path / "v.mp4"), "--gating"]
    transformer = ["--transformer", str(folder / "Phantom-Wan-1_3B.safetensors")]
    assert cli.main([*words, *transformer]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["transformer"] == transformer[1] and report["guidance"]["image"] == -2.5
    assert report["frames"] == 9 and report["gating"] is not None
    # As a plain model it has no place for the picture.
    assert cli.main([*words, *transformer, "--model-kind", "plain"]) == 2
    assert "subjects" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Phantom-Wan-1.3B.pth", "Phantom-Wan-1_3B_fp16.safetensors of Kijai"),
        ("kaleido.ckpt", "Wan_2_1_kaleido_14B-S2V_experimental_fp16.safetensors"),
        ("magref.pt", "those of MAGREF-Video/MAGREF, or a repackaged fp16 file"),
        ("nothing.safetensors", "nothing.safetensors"),
    ],
)
def test_pickles_and_missing_files_are_told_apart(tmp_path, name, says, capsys):
    if "nothing" not in name:
        (tmp_path / name).write_bytes(b"\x80\x04")
    board = tmp_path / "board.json"
    board.write_text('{"prompt": "red", "duration": 0.5}')
    words = ["generate", str(board), "--model", str(BASE), "--out", str(tmp_path / "v.mp4")]
    assert cli.main([*words, "--transformer", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
