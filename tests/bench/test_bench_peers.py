"""Whole videos beside another library's: what is compared, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alchemint_jax import cli
from alchemint_jax.bench import command, peers
from alchemint_jax.bench.peers import Peer, agree, as_text
from alchemint_jax.errors import ConfigError
from alchemint_jax.sampling import Guidance, settings


@dataclasses.dataclass(frozen=True)
class Stub:
    """A model that shows its noise, and says what it was asked for."""

    settings: settings.Settings
    told: list[Any]
    low: Any = None
    fps: float = 16.0

    @property
    def models(self):
        vae = SimpleNamespace(config=SimpleNamespace(spatial_stride=8, z_dim=3))
        return SimpleNamespace(low=self.low, vae=vae)

    @property
    def limits(self):
        return SimpleNamespace(max_frames=9, stride=4)

    def check(self, scene):
        self.told.append(scene)

    def render(self, scenes, steps, noise, negative_prompt):
        assert negative_prompt == "" and steps == 2
        return np.stack([shown(noise[0])])


def shown(noise):
    """Frames of as many pixels as there are cells."""
    return (noise.repeat(3, 0).clip(-2, 2) * 60 + 125).astype(np.uint8)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder that says what it is, and what was asked of the model in it."""
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))
    (tmp_path / "transformer").mkdir()
    told: list[Any] = []
    own = settings.Settings(size=(16, 24), steps=5, shift=3.0, guidance=Guidance(both=6.0))
    monkeypatch.setattr(peers.Pipeline, "load", lambda *args, **kwargs: Stub(own, told))
    return tmp_path, told


def another(change, asked):
    """A library that makes the same frames, some of them changed; and what it was asked for."""

    def load(given, ours):
        asked.append((given, ours))
        frames = shown(given.noise)
        first = int(frames[0, 0, 0, 0])
        frames[0, 0, 0, 0] = first + change if first < 128 else first - change
        return lambda: frames

    return Peer("other", (), load, {"solver": "euler", "steps": 7})


def test_both_make_the_same_video_and_the_times_are_taken_in_turn(model):
    folder, told = model
    asked: list[Any] = []
    found = peers.run(another(0, asked), str(folder), "a cat", steps=2, repeats=3)
    ((given, ours),) = asked
    assert (given.size, given.frames, given.steps) == ((16, 24), 9, 2)
    assert (given.scale, given.shift, given.noise.shape) == (6.0, 3.0, (3, 2, 3, 3))
    assert ours.settings.solver == "euler" and told[0].caption == "a cat"
    assert found["same"] and found["agreement"] == {"most": 0.0, "psnr": None}
    assert all(len(side["seconds"]["all"]) == 3 for side in found["sides"].values())
    text = as_text(json.loads(json.dumps(found)))
    assert "16x24 x 9 frames, 2 steps of euler, guidance 6" in text and "the same" in text


def test_frames_that_differ_are_told(model, monkeypatch, capsys):
    folder, _ = model
    monkeypatch.setattr(command, "_look_for", lambda vs, packages: None)
    monkeypatch.setattr(command, "_peer", lambda vs: another(100, []))
    words = ["bench", "--vs", "diffusers", "--model", str(folder), "--steps", "2"]
    out = folder / "found.json"
    assert cli.main([*words, "--repeats", "1", "--out", str(out)]) == 1
    assert "NOT the same" in capsys.readouterr().out
    assert json.loads(out.read_text())["agreement"]["most"] == 100
    monkeypatch.setattr(command, "_peer", lambda vs: another(0, []))
    assert cli.main([*words, "--repeats", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True


def test_agreement_by_hand():
    one = np.zeros((1, 2, 2, 3), np.uint8)
    other = one.copy()
    other[0, 0, 0, 0] = 6  # mean square 36 / 12
    assert agree(one, other) == {"most": 6.0, "psnr": pytest.approx(10 * np.log10(255**2 / 3))}
    with pytest.raises(ConfigError, match="made"):
        agree(one, one[:, :1])


def test_other_models_are_refused(model, monkeypatch):
    folder, told = model
    pair = Stub(settings.Settings(size=(16, 24)), told, low={})
    monkeypatch.setattr(peers.Pipeline, "load", lambda *args, **kwargs: pair)
    with pytest.raises(ConfigError, match="two experts"):
        peers.run(another(0, []), str(folder), "a cat")
    (folder / "model_index.json").write_text('{"_class_name": "WanImageToVideoPipeline"}')
    with pytest.raises(ConfigError, match="names WanImageToVideoPipeline"):
        peers.run(another(0, []), str(folder), "a cat")
    (folder / "model_index.json").unlink()
    with pytest.raises(ConfigError, match="names None"):
        peers.run(another(0, []), str(folder), "a cat")
