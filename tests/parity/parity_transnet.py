"""TransNetV2 frame by frame, live against the package's own way through a whole video."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from contracts import check_shot_finder

from alchemint_jax.perceive.transnet import TransNetShots


@pytest.fixture(scope="module")
def finder():
    return TransNetShots.load()


def scene(seed, frames):
    """A texture that moves slowly, of 27 x 48 pixels: the size of the network's input."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 20, 3)).astype(np.uint8).repeat(5, 0).repeat(5, 1)
    return np.stack([coarse[:27, shift : shift + 48] for shift in np.arange(frames) // 4])


@pytest.mark.parametrize("frames", [1, 50, 51, 130])
def test_what_is_said_of_each_frame_is_what_the_package_says(finder, frames):
    video = np.concatenate([scene(0, 37), scene(1, 93)])[:frames]
    theirs, _ = finder.model.predict_frames(torch.from_numpy(video), quiet=True)
    ours = np.array(list(finder._likely(iter(video))))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
    scenes = finder.model.predictions_to_scenes(theirs.numpy(), finder.threshold)
    assert list(finder.cuts(iter(video))) == [int(start) for start, _ in scenes[1:]]


def test_it_keeps_the_contract(finder):
    check_shot_finder(finder, [scene(0, 37), scene(1, 60), scene(2, 33)])


def test_loading_leaves_the_generators_of_others_alone():
    for module, draw in ((random, random.random), (np.random, np.random.random)):
        module.seed(7)
        expected = draw()
        module.seed(7)
        TransNetShots.load()
        assert draw() == expected
    assert not torch.are_deterministic_algorithms_enabled()
