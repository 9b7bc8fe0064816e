"""MAGREF: the canvas, its mask and what the networks are given, each made a second time here."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from alchemint_jax import cli, weights
from alchemint_jax.errors import ConfigError, StoryboardError, WeightsError
from alchemint_jax.models.clip import preprocess
from alchemint_jax.models.dit import DiT
from alchemint_jax.sampling import Guidance, Pipeline, pipeline
from alchemint_jax.sampling.canvas import Canvas, boxes, compose
from alchemint_jax.sampling.control import Gating, Moment
from alchemint_jax.sampling.fitting import fitted
from alchemint_jax.sampling.keyframes import _encode_video, _see
from alchemint_jax.sampling.kinds import KINDS
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Clock, Scene, Spans, Subject

pytestmark = pytest.mark.slow

BASE = Path(__file__).parents[1] / "goldens" / "pipeline" / "flf2v"
SIZE = (32, 48)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def pictures(count=3):
    rng = np.random.default_rng(0)
    sizes = [(20, 50), (44, 30), (16, 16), (9, 70)][:count]
    return [rng.integers(0, 255, (*size, 3), np.uint8) for size in sizes]


def scene(count=3, absent=None):
    subjects = [
        Subject(f"word{i}", Spans([] if i == absent else [(0, 9)]), picture[None])
        for i, picture in enumerate(pictures(count))
    ]
    caption = "word0 and word1 and word2"
    return Scene("clip", caption, Clock(16.0, 9, 4), tuple(subjects), size=SIZE)


# ------------------------------------------------------------------------------------- the canvas


@pytest.mark.parametrize(
    ("count", "cells"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 6), (7, 8), (8, 8)]
)
def test_cells_are_those_of_the_smallest_grid(count, cells):
    found = boxes(count, (480, 832))
    assert len(found) == cells
    painted = np.zeros((480, 832), int)
    for top, left, bottom, right in found:
        painted[top:bottom, left:right] += 1
    assert (painted == 1).all()  # each pixel is in one cell
    if cells == 3:
        assert [right - left for _, left, _, right in found] == [277, 277, 278]
    if cells == 8:
        assert found[1] == (0, 208, 240, 416) and found[4] == (240, 0, 480, 208)


def test_the_canvas_is_the_authors():
    """Three columns of 16 x 32 pixels; a picture as wide or as high as its cell, in its middle."""
    canvas = compose(pictures(), SIZE)
    wanted, covered = np.full((*SIZE, 3), 255, np.uint8), np.zeros(SIZE, bool)
    for column, picture in enumerate(pictures()):
        height, width, _ = picture.shape
        if width / height > 16 / 32:
            new_width, new_height = 16, int(16 / (width / height))
        else:
            new_width, new_height = int(32 * (width / height)), 32
        resized = Image.fromarray(picture).resize((new_width, new_height), Image.Resampling.LANCZOS)
        # The authors pad the picture to its cell: on the left and above it by half, rounded down.
        left, top = 16 * column + (16 - new_width) // 2, (32 - new_height) // 2
        wanted[top : top + new_height, left : left + new_width] = np.asarray(resized)
        covered[top : top + new_height, left : left + new_width] = True
    np.testing.assert_array_equal(canvas.picture, wanted)
    np.testing.assert_array_equal(canvas.covered, covered)
    cells = canvas.cells(8)
    for i, j in np.ndindex(4, 6):
        assert cells[i, j] == covered[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].any()
    assert 0 < cells.sum() < cells.size


def test_subjects_that_are_never_there_are_not_on_it():
    found = Canvas.of(scene(absent=1), SIZE)
    first, _, last = pictures()
    np.testing.assert_array_equal(found.picture, compose([first, last], SIZE).picture)
    with pytest.raises(StoryboardError, match="clip: subjects: this model draws from pictures"):
        Canvas.of(dataclasses.replace(scene(), subjects=()), SIZE)


def test_clip_sees_the_whole_canvas_as_the_authors_squeeze_it():
    """PyTorch's bicubic interpolation, one sample at a time: of four taps, within the image."""

    def kernel(x, a=-0.75):
        x = abs(x)
        if x <= 1:
            return ((a + 2) * x - (a + 3)) * x * x + 1
        return ((x - 5) * x + 8) * x * a - 4 * a if x < 2 else 0.0

    def along(values, size):
        out = []
        for i in range(size):
            place = (i + 0.5) * len(values) / size - 0.5
            base = math.floor(place)
            taps = [(base + k, kernel(place - base - k)) for k in range(-1, 3)]
            out.append(sum(w * values[min(max(at, 0), len(values) - 1)] for at, w in taps))
        return np.stack(out)

    image = np.random.default_rng(1).integers(0, 256, (20, 33, 3), np.uint8)
    rows = along(image.astype(np.float64) / 255, 14)
    wanted = (along(rows.swapaxes(0, 1), 14).swapaxes(0, 1) - MEAN) / STD
    np.testing.assert_allclose(preprocess(image, 14, whole=True), wanted, atol=1e-6)
    assert np.abs(preprocess(image, 14) - wanted).max() > 0.1  # a cut from the middle


# -------------------------------------------------------------------------------------- the model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image-to-video transformer of one picture, as a file that is called after the kind."""
    root = tmp_path_factory.mktemp("magref")
    config = weights.load(BASE, "transformer")[0].config
    sizes = dict(dim=128, n_heads=1, n_layers=1, ffn_dim=32)  # Wan's names are for heads of 128
    config = dataclasses.replace(config, image_positions=0, **sizes)
    rng = np.random.default_rng(0)
    shapes = DiT(config).abstract_params()
    params = jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), shapes)
    weights.save(root / "wan", "transformer", config, params, format="wan")
    (whole,) = (root / "wan").rglob("*.safetensors")
    whole.rename(root / "MAGREF_fp16.safetensors")
    for name, picture in zip("abc", pictures(), strict=True):
        Image.fromarray(picture).save(root / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def pipe(folder):
    return Pipeline.load(BASE, transformer=folder / "MAGREF_fp16.safetensors")


def test_settings_are_those_of_the_authors_script(pipe):
    found = KINDS["magref"].settings(Settings(), 5120)
    assert (found.solver, found.shift, found.steps) == ("unipc", 3.0, 40)
    assert found.guidance == Guidance(text=0, image=0, both=5)
    assert found.negative_prompt.startswith("镜头晃动，色调艳丽，")
    assert (pipe.limits.max_subjects, pipe.limits.keyframes, pipe.canvas) == (8, 0, True)


def test_the_networks_are_given_the_canvas(pipe):
    given = pipe.conditions([scene()])
    canvas = compose(pictures(), SIZE)
    assert given.references.shape[:2] == (1, 0) and given.words.shape[1] == 3
    mask, latents = np.split(np.asarray(given.condition[0]), [4], axis=-1)
    np.testing.assert_array_equal(mask[0], np.repeat(canvas.cells(8)[..., None], 4, -1))
    assert not mask[1:].any()
    video = np.zeros((1, 9, *SIZE, 3), np.float32)  # grey
    video[0, 0] = canvas.picture / 127.5 - 1
    encoded = _encode_video(pipe.models.vae_params, jnp.asarray(video), vae=pipe.models.vae)
    np.testing.assert_allclose(latents, encoded[0], atol=2e-5)
    tower, tower_params = pipe.image_encoder
    side = tower.config.image_size
    seen = preprocess(canvas.picture, side, whole=True)[None]
    states = _see(tower_params, jnp.asarray(seen), tower=tower)
    np.testing.assert_allclose(given.image, states, atol=2e-5)


def test_words_alone_are_gated(pipe):
    control = fitted(pipe, Gating())
    assert control.edge is None  # the model knows no time
    late = dataclasses.replace(scene().subjects[0], spans=Spans([(5, 9)]))
    given = pipe.conditions([dataclasses.replace(scene(), subjects=(late, *scene().subjects[1:]))])
    counts = (jnp.int32(0), jnp.int32(2), jnp.float32(1))
    moment = Moment(*counts, given, 1, lambda *_: None)
    bias = control(moment, jnp.zeros((1, 3, 4, 6, 16))).bias
    with pytest.raises(ConfigError, match="words is False"):
        Gating(words=False)(moment, jnp.zeros((1, 3, 4, 6, 16)))
    assert bias.subjects is None
    own = np.asarray(given.words[0, 0])
    assert (np.asarray(bias.words[0, :2])[:, own] == -30).all()
    assert not np.asarray(bias.words[0])[:, ~own].any() and not bias.words[0, 2].any()


def test_other_transformers_are_refused(folder):
    with pytest.raises(WeightsError, match="continue one picture, and this one is not"):
        Pipeline.load(BASE, kind="magref")
    config = weights.load(BASE, "transformer")[0].config
    with pytest.raises(WeightsError, match="here: models of this kind are image-to-video"):
        KINDS["magref"].config(dataclasses.replace(config, image_dim=0), "here")


def test_from_the_command_line(folder, tmp_path, capsys, monkeypatch):
    """Up to the loop, which is that of other models."""
    subjects = [
        f"{{word: {name}, image: {folder / name}.png, appears: [[0, 0.5]]}}" for name in "abc"
    ]
    file = tmp_path / "board.yaml"
    plain = "prompt: a and b and c, duration: 0.5, size: [32, 48]"
    file.write_text(f"{{{plain}, subjects: [{', '.join(subjects)}]}}")
    asked = []

    def loop(models, conditions, start, *rest):
        asked.append(conditions)
        return start

    frames = np.zeros((1, 9, *SIZE, 3), np.uint8)
    monkeypatch.setattr(pipeline, "sample_latents", loop)
    monkeypatch.setattr(pipeline, "decode", lambda models, latents: frames)
    words = ["generate", str(file), "--model", str(BASE), "--steps", "1"]
    words += ["--out", str(tmp_path / "v.mp4")]
    words += ["--transformer", str(folder / "MAGREF_fp16.safetensors")]
    assert cli.main(words) == 0
    assert asked[0].condition[0, 0, ..., 0].any() and asked[0].image.shape[0] == 1
    file.write_text(f"{{{plain}}}")
    assert cli.main(words) == 2
    assert "draws from pictures of subjects; give at least one" in capsys.readouterr().err
