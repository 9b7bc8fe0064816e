"""PSNR and SSIM: by hand, against figures of scikit-image, and where there is little to compare."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.quality import psnr, ssim


def pair(frames=2, height=24, width=20):
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 256, (frames, height, width, 3), np.uint8)
    noise = draw.integers(-40, 41, truth.shape)
    return np.clip(truth.astype(int) + noise, 0, 255).astype(np.uint8), truth


def test_they_are_those_of_scikit_image():
    video, truth = pair()
    # peak_signal_noise_ratio and structural_similarity (Gaussian weights) of scikit-image 0.26.
    assert psnr(video, truth) == pytest.approx((21.28342813548128 + 20.87628731952565) / 2)
    assert ssim(video, truth) == pytest.approx((0.9573547020569239 + 0.9519867101225064) / 2)


def test_they_are_what_they_are_by_hand():
    dark, light = (np.full((1, 12, 12, 3), shade, np.uint8) for shade in (100, 110))
    assert psnr(dark, light) == pytest.approx(10 * math.log10(255**2 / 100))
    c = (0.01 * 255) ** 2  # nothing varies, so what is left is the likeness of means
    assert ssim(dark, light) == pytest.approx((2 * 100 * 110 + c) / (100**2 + 110**2 + c))


def test_an_equal_frame_counts_as_100_decibels():
    video, truth = pair()
    assert psnr(truth, truth) == 100 and ssim(truth, truth) == 1
    mixed = np.stack([truth[0], video[1]])
    assert psnr(mixed, truth) == pytest.approx((100 + psnr(video[1:], truth[1:])) / 2)


@pytest.mark.parametrize("figure", [psnr, ssim])
def test_order_mirroring_and_which_is_which_do_not_matter(figure):
    video, truth = pair()
    expected = figure(video, truth)
    assert figure(truth, video) == pytest.approx(expected)
    assert figure(video[::-1], truth[::-1]) == pytest.approx(expected)
    assert figure(video[:, :, ::-1], truth[:, :, ::-1]) == pytest.approx(expected)
    assert figure(video[::-1], truth) < expected  # other frames are compared


@pytest.mark.parametrize("figure", [psnr, ssim])
def test_few_frames_and_other_sizes(figure):
    video, truth = pair()
    assert math.isnan(figure(video[:0], truth[:0]))
    assert figure(video[:1, :12, :11], truth[:1, :12, :11]) > 0
    with pytest.raises(DataError, match="2 frames of 20 x 24 pixels, and its truth 1 of 20 x 24"):
        figure(video, truth[:1])
    with pytest.raises(DataError, match="2 frames of 20 x 12 pixels, and its truth 2 of 20 x 24"):
        figure(video[:, :12], truth)


def test_ssim_needs_its_window():
    video, truth = pair(1, 10, 30)
    with pytest.raises(DataError, match="11 x 11 pixels at least; the video has 30 x 10"):
        ssim(video, truth)
