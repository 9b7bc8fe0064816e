"""Perceivers by name: the embedded ones, and objects in modules of users."""

from __future__ import annotations

import dataclasses
import sys
from types import ModuleType

import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive import Detector, Embedder, Segmenter, ShotFinder
from alchemint_jax.perceive.choose import load_perceivers
from alchemint_jax.perceive.shots import ContentShots

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
    ],
)
def test_what_is_none_is_refused(module, kind, name, message):
    with pytest.raises(ConfigError, match=message):
        load_perceivers(**{kind: name})


def test_a_frozen_set_of_perceivers_has_fields_that_are_seen():
    perceivers = load_perceivers()
    text = repr(dataclasses.replace(perceivers.detector, threshold=0.125))
    assert "threshold=0.125" in text and "kernel" not in text
    assert np.isfinite(perceivers.embedder.layers["stem"].kernel).all()
