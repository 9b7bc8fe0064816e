"""Layers are what JAX's own convolution computes, and boxes what is computed one at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from alchemint_jax.perceive.boxes import overlaps, select, suppress
from alchemint_jax.perceive.layers import (
    Layer,
    convolve,
    convolve_halved,
    convolve_tiled,
    depthwise,
    double,
    halve,
    tiled,
)
from alchemint_jax.perceive.pixels import Letterbox, grow, sample


def normal(*shape, seed=0):
    return jax.device_put(np.float32(np.random.default_rng(seed).normal(size=shape)))


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_a_depthwise_layer_is_a_grouped_convolution(side, stride, size):
    x, kernel, bias = normal(2, *size, 4), normal(side, side, 4, seed=1), normal(4, seed=2)
    expected = lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    )
    found = jax.jit(depthwise, static_argnums=2)(x, Layer(kernel, bias), stride)
    np.testing.assert_allclose(found, expected + bias[None, None, None], atol=1e-5)


def test_a_layer_of_one_pixel_is_a_matrix():
    x, layer = normal(2, 5, 4, 3), Layer(normal(1, 1, 3, 6), normal(6))
    padded = Layer(jnp.pad(layer.kernel, ((1, 1), (1, 1), (0, 0), (0, 0))), layer.bias)
    np.testing.assert_allclose(convolve(x, layer), convolve(x, padded), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (1, 2)])
def test_a_layer_in_tiles_is_the_same_layer(size):
    x, layer = normal(2, *size, 5), Layer(normal(3, 3, 5, 6, seed=1), normal(6, seed=2))
    found = jax.jit(convolve_tiled)(x, tiled(layer))
    np.testing.assert_allclose(found, convolve(x, layer), atol=2e-5)


def test_four_results_of_which_one_is_kept_are_channels():
    x, layer = normal(2, 6, 10, 3), Layer(normal(3, 3, 3, 4, seed=1), normal(4, seed=2))
    np.testing.assert_allclose(convolve_halved(x, layer), halve(convolve(x, layer)), atol=1e-5)


def test_halving_undoes_doubling():
    x = normal(1, 3, 4, 2)
    assert double(x).shape == (1, 6, 8, 2)
    np.testing.assert_array_equal(halve(double(x)), x)


def test_of_boxes_of_one_word_the_likely_ones_stay():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [-5, 0, 5, 10]], np.float32)
    scores, words = np.array([0.5, 0.9, 0.2, 0.8], np.float32), np.array([0, 0, 0, 1])
    np.testing.assert_allclose(overlaps(boxes, boxes)[0], [1, 9 / 11, 0, 1 / 3], atol=1e-6)
    assert suppress(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert suppress(boxes, scores, 0.3).tolist() == [1, 3, 2]
    assert suppress(boxes[:3], scores[:3], 0.9).tolist() == [1, 0, 2]
    found = select(boxes, scores, words, (10, 25), 0.3, 0.5)
    assert found.boxes.tolist() == [[1, 0, 11, 10], [0, 0, 5, 10]]
    assert found.words.tolist() == [0, 1]
    assert len(select(boxes + 100, scores, words, (10, 25), 0.3, 0.5).scores) == 0


@pytest.mark.parametrize("size", [(720, 1280), (1280, 720), (37, 53), (416, 416), (3, 900)])
def test_what_lies_on_the_canvas_comes_back(size):
    frame = Letterbox.fit(*size, 416, 32)
    assert max(frame.canvas) == 416 and all(side % 32 == 0 for side in frame.canvas)
    canvas = frame.put(np.full((*size, 3), 255, np.uint8))
    rows, columns = np.nonzero((canvas == 255).all(-1))
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    (found,) = frame.boxes(np.array([box], np.float32))
    np.testing.assert_allclose(found, [0, 0, size[1], size[0]], atol=1e-3)


def test_sampling_keeps_what_does_not_change():
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    np.testing.assert_array_equal(sample(picture, 6, 8), picture)
    np.testing.assert_array_equal(sample(picture.repeat(3, 0).repeat(3, 1), 6, 8), picture)


def test_boxes_grow_as_far_as_the_frame_goes():
    boxes = np.array([[10, 10, 20, 30], [0, 0, 4, 4], [np.nan] * 4, [90, 0, 99, 5]], np.float32)
    assert grow(boxes, 0.1, 50, 60) == [(9, 8, 21, 32), (0, 0, 5, 5), None, None]
