"""Hard cuts are found, also those that colour alone shows; flashes, noise and fades are none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from contracts import check_shot_finder

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive.shots import ContentShots

RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)


def plain(color, frames=12):
    return np.broadcast_to(np.array(color, np.uint8), (frames, 36, 64, 3))


def scene(seed, frames=12, speed=1.0, noise=10):
    """Blobs of colours that move over a background, with the noise of a camera."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:36, :64].astype(float)
    video = np.empty((frames, 36, 64, 3))
    video[:] = random.uniform(40, 200, 3) + 30 * np.sin(x / random.uniform(4, 20))[..., None]
    for _ in range(5):
        (left, top), (right, down) = random.uniform((0, 0), (64, 36)), random.normal(0, speed, 2)
        color = random.uniform(0, 255, 3)
        for number, frame in enumerate(video):
            away = np.hypot(x - left - right * number, y - top - down * number)
            frame[away < 8] = color
    video += random.normal(0, noise, video.shape)
    return np.clip(video, 0, 255).astype(np.uint8)


def test_it_keeps_the_contract():
    check_shot_finder(ContentShots(), [scene(0, 30), scene(1, 14), scene(2, 20)])
    check_shot_finder(ContentShots(), [plain(c) for c in (RED, GREEN, BLUE, RED)])


@pytest.mark.parametrize("shots", range(2, 5))
def test_short_shots_are_found_unless_what_follows_is_as_before(shots):
    colors = itertools.islice(itertools.cycle((RED, GREEN, BLUE)), shots)
    video = np.concatenate([plain(c, 3) for c in colors])
    found = ContentShots(reach=3).find(video)
    assert found == tuple((3 * i, 3 * i + 3) for i in range(shots))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_flash_is_no_cut(length):
    video = scene(3, 40).astype(int)
    video[20 : 20 + length] += 120
    assert ContentShots().find(np.clip(video, 0, 255).astype(np.uint8)) == ((0, 40),)
    # One that lasts is a shot.
    video[20 : 20 + length] -= 120
    video[20:32] += 120
    assert len(ContentShots().find(np.clip(video, 0, 255).astype(np.uint8))) == 3


def test_a_slow_fade_and_fast_motion_are_no_cuts():
    a, b = scene(4, 48, noise=3), scene(5, 48, noise=3)
    share = np.linspace(0, 1, 48)[:, None, None, None]
    fade = (a * (1 - share) + b * share).astype(np.uint8)
    assert ContentShots().find(fade) == ((0, 48),)
    fast = np.stack([np.roll(scene(6, 1)[0], 9 * shift, axis=1) for shift in range(30)])
    assert ContentShots(threshold=5).find(fast) == ((0, 30),)


def test_cuts_come_out_while_frames_go_in():
    given = 0

    def frames():
        nonlocal given
        for frame in np.concatenate([scene(0, 20), scene(1, 400)]):
            given += 1
            yield frame

    finder = ContentShots(reach=4)
    assert next(finder.cuts(frames())) == 20
    assert given == 24


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="reach: 0"):
        ContentShots(reach=0)
