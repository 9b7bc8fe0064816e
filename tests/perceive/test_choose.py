"""Perceivers by name: the embedded ones, and objects in modules of users."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from signs import draw

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive import Detector, Embedder, Segmenter, ShotFinder, choose
from alchemint_jax.perceive.choose import Perceivers, load_perceivers
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.perceive.yolo import YoloDetector

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "perceive.md"
PROTOCOLS = {
    "detector": Detector,
    "segmenter": Segmenter,
    "embedder": Embedder,
    "shots": ShotFinder,
}


@pytest.fixture
def module(monkeypatch):
    """A module of the user's, which holds one shot finder and no detector."""
    made = ModuleType("of_a_user")
    made.finder = ContentShots(threshold=20.0)
    monkeypatch.setitem(sys.modules, "of_a_user", made)
    return made


def test_what_comes_with_the_package_needs_no_names():
    perceivers = load_perceivers()
    for field in dataclasses.fields(perceivers):
        assert isinstance(getattr(perceivers, field.name), PROTOCOLS[field.name])
    assert len(set(perceivers.detector.vocabulary)) == 80
    assert "person" in perceivers.detector.vocabulary


def test_an_object_of_the_users(module):
    assert load_perceivers(shots="of_a_user:finder").shots is module.finder


@pytest.mark.parametrize("kind", PROTOCOLS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolov9", "neither .* nor MODULE:NAME"),
        ("of_a_user:another", "another"),
        ("no_such_module:x", "cannot be imported"),
        ("of_a_user:__name__", "a str is no .*: see .* in alchemint_jax.perceive"),
        ("", "neither .* nor MODULE:NAME"),
    ],
)
def test_what_is_none_is_refused(module, kind, name, message):
    with pytest.raises(ConfigError, match=message):
        load_perceivers(**{kind: name})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("detector", "grounding-dino"),
        ("detector", "grounding-dino:of/somebody"),
        ("segmenter", "sam2"),
        ("embedder", "clip"),
        ("shots", "transnetv2"),
    ],
)
def test_without_the_extra_those_of_others_say_what_to_install(monkeypatch, kind, name):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"pip install 'alchemint-jax\[perceive\]'"):
        load_perceivers(**{kind: name})


def test_what_is_in_the_package_takes_no_checkpoint():
    with pytest.raises(ConfigError, match="yolov3-tiny:x: .* write 'yolov3-tiny' alone"):
        load_perceivers(detector="yolov3-tiny:x")


def test_what_the_guide_shows_works(tmp_path, monkeypatch, capsys):
    """With a detector that sees less, and without the other networks: they take long to compile."""
    small = Perceivers(
        YoloDetector(side=160),
        SimpleNamespace(segment=lambda video, boxes: np.ones(video.shape[:3], bool)),
        SimpleNamespace(embed=lambda images: np.ones((len(images), 1280), np.float32)),
        ContentShots(),
    )
    monkeypatch.setattr(choose, "load_perceivers", lambda: small)
    monkeypatch.chdir(tmp_path)
    picture = draw("stop sign", 175, 110, 36, draw("clock", 65, 70, 42))
    Image.fromarray(picture).save("street.png")
    blocks = re.findall("```python\n(.*?)```", GUIDE.read_text("utf-8"), re.S)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    assert printed.count("of the picture") == 2 and "clock" in printed and "stop sign" in printed
    assert names["vector"].shape == (1280,) and names["shots"] == ((0, 1),)
    assert names["starts"] == [] and len(blocks) == 2
