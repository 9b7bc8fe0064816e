"""What the guides say is enough to add something: each example is short, and works."""

from __future__ import annotations

import itertools
from pathlib import Path

import jax
import numpy as np
import pytest
from additions import rolling_balls
from additions.color_detector import ColorDetector, seen
from additions.start_rope import StartRope
from contracts import check_detector
from docstring_examples import run_example
from PIL import Image
from pool_encoder import PoolEncoder

from alchemint_jax import cli, rotary
from alchemint_jax.data import LoaderConfig, encode, latent_loader, open_encoded, open_split
from alchemint_jax.perceive import Detector
from alchemint_jax.scene import Spans
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task
from alchemint_jax.weights import config_from_dict, config_to_dict

ROOT = Path(__file__).parents[2]
FREQS = rotary.axis_frequencies(48, theta_t=20)


@pytest.fixture
def added(monkeypatch):
    """The two lines that the guide adds to alchemint_jax/rotary/__init__.py."""
    monkeypatch.setattr(rotary, "StartRope", StartRope, raising=False)
    monkeypatch.setitem(rotary.SCHEMES, "StartRope", StartRope)


def test_additions_are_short_and_shown_by_their_guides():
    paths = sorted((ROOT / "tests" / "docs" / "additions").glob("*.py"))
    guides = [path.read_text() for path in (ROOT / "docs" / "guides").glob("*.md")]
    assert len(paths) == 4
    for path in paths:
        assert len(path.read_text().splitlines()) < 60
        assert any(str(path.relative_to(ROOT)) in guide for guide in guides), path.name


def test_a_scheme_is_a_scheme_and_its_example_runs(added):
    assert isinstance(StartRope(), rotary.Scheme)
    run_example(StartRope)
    asked = np.array([[[3, 7], [1, 0]], [[1, 0], [1, 0]]], np.float32)  # the second is absent
    gains = np.asarray(jax.jit(lambda rows: StartRope().gains(rows, 9, FREQS))(asked))
    assert gains.shape == (2, 24) and np.isfinite(gains).all()
    np.testing.assert_array_equal(gains[1, : len(FREQS.t)], 0)
    assert StartRope().gains(asked[:, :0], 9, FREQS).shape == (2, 24)


def test_a_config_and_a_saved_model_can_name_a_scheme(added):
    config = load_config(f"{ROOT / 'configs' / 'sprites_schemes.py'}:WeRope")
    with config.unlocked():
        config.model.scheme = dict(name="StartRope", delay=1.0)
    model = build_task(config).model
    assert model.scheme == StartRope(delay=1.0)
    assert config_from_dict(type(model), config_to_dict(model)) == model


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    """The dataset of the guide, on disk."""
    folder = tmp_path_factory.mktemp("balls")
    rolling_balls.write(folder)
    return folder


def run(*words):
    assert cli.main([*map(str, words)]) == 0


def test_a_dataset_is_looked_at_encoded_and_loaded(balls, tmp_path, monkeypatch):
    run("data", "sheet", "--data", balls, "--out", tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    dark = (sheet == 40).all(-1).sum(0) > 32  # columns that hold frames of 32 rows and more
    assert dark.sum() >= 11 * 45  # eleven of them, 48 wide, none of which hides another

    monkeypatch.setattr(encode, "_vae_encoder", lambda directory, tiles: PoolEncoder())
    latents = tmp_path / "latents"
    run("data", "encode", "--data", balls, "--vae", "sprites", "--out", latents)
    (batch,) = itertools.islice(latent_loader(latents, "train", LoaderConfig(4)), 1)
    assert batch["latents"].shape == (4, 3, 4, 6, 3) and batch["used"].any(1).all()
    assert len(open_encoded(latents, "validation")) == 2


def test_the_clips_of_a_dataset_show_what_they_say_and_splits_share_none(balls):
    splits = [open_split(balls, split) for split in ("train", "validation")]
    videos = [[split[i]["video"] for i in range(len(split))] for split in splits]
    assert len({video.tobytes() for split in videos for video in split}) == 8 + 2
    for index, video in enumerate(videos[0]):
        scene, drawn = rolling_balls.draw(0, index)
        np.testing.assert_array_equal(video, drawn)
        for subject in scene.subjects:
            color = rolling_balls.COLORS[subject.word.split()[0]]
            assert Spans.where((video == color).all(-1).any((1, 2))) == subject.spans


def test_a_detector_keeps_the_contract_and_finds_intervals():
    detector = ColorDetector(rolling_balls.COLORS)
    assert isinstance(detector, Detector)
    for index in range(8):
        scene, video = rolling_balls.draw(0, index)
        words = [subject.word for subject in scene.subjects]
        check_detector(detector, video, [*words, "a car"])
        assert seen(detector, video, [*words, "a car"]) == [
            *(subject.spans for subject in scene.subjects),
            (),
        ]
