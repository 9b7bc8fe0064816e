"""The convolutions against XLA's own 3D convolution."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streaming import check_streams

from alchemint_jax.ops.conv import (
    causal_conv3d,
    conv2d,
    conv3d_valid,
    merge_frames,
    split_frames,
    upsampled_conv2d,
)

pytestmark = pytest.mark.slow


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("channels", [6, 18])
@pytest.mark.parametrize("frames", [3, 4, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 1, 1), (1, 1, 1)])
def test_conv3d_is_xlas(kernel, stride, frames, channels):
    x, w, bias = (
        *(_normal(0, 2, frames, 5, 4, 3), _normal(1, *kernel, 3, channels)),
        _normal(2, channels),
    )
    spatial = [(kernel[1] // 2, kernel[1] // 2), (kernel[2] // 2, kernel[2] // 2)]

    @jax.jit
    def both(x, w, bias):
        expected = jax.lax.conv_general_dilated(
            x, w, (stride, 1, 1), [(0, 0), *spatial], dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
        )
        return conv3d_valid(x, w, bias, stride), expected

    y, expected = (np.asarray(one) for one in both(x, w, bias))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected + bias.reshape(1, 1, 1, 1, -1), atol=2e-5)


def test_conv2d_is_xlas_frame_by_frame():
    x, w, bias = _normal(0, 2, 3, 6, 6, 3), _normal(1, 3, 3, 3, 5), _normal(2, 5)
    y = np.asarray(jax.jit(lambda *given: conv2d(*given, 2, ((0, 1), (0, 1))))(x, w, bias))
    for f in range(3):
        expected = jax.lax.conv_general_dilated(
            x[:, f], w, (2, 2), ((0, 1), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        expected = np.asarray(expected) + bias.reshape(1, 1, 1, -1)
        np.testing.assert_allclose(y[:, f], expected, atol=2e-5)


def test_convolutions_keep_the_type_of_their_input():
    x = jax.ShapeDtypeStruct((1, 3, 4, 4, 2), jnp.bfloat16)
    w, bias = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((3, 3, 3, 2, 2), (2,)))
    assert jax.eval_shape(conv3d_valid, x, w, bias).dtype == jnp.bfloat16
    flat = jax.eval_shape(lambda x, w, bias: conv2d(x, w[0], bias), x, w, bias)
    assert flat.dtype == jnp.bfloat16


def test_upsampled_convolution_is_that_of_repeated_pixels():
    x, w, bias = _normal(0, 1, 2, 3, 2, 4), _normal(1, 3, 3, 4, 5), _normal(2, 5)
    repeated = x.repeat(2, axis=2).repeat(2, axis=3)
    expected = np.asarray(jax.jit(conv2d)(repeated, w, bias))
    y = np.asarray(jax.jit(upsampled_conv2d)(x, w, bias))
    assert y.shape == expected.shape == (1, 2, 6, 4, 5)
    np.testing.assert_allclose(y, expected, atol=2e-5)


def test_no_convolution_of_doubling_pads_its_even_window_itself():
    """XLA's CPU back end has slow loops for the gradient of such a one by its weights."""
    x, w = _normal(0, 1, 2, 6, 6, 4), _normal(1, 3, 3, 4, 4)
    forward = str(jax.make_jaxpr(upsampled_conv2d)(x, w))
    found = re.findall(r"padding=(\(.*?\)\))", forward)
    assert forward.count("conv_general_dilated") == len(found) > 0
    assert all(not set(one) & set("123456789") for one in found), found


@pytest.mark.parametrize(
    ("function", "widen"), [(causal_conv3d, 1), (merge_frames, 1), (split_frames, 2)]
)
def test_functions_of_time_stream(function, widen):
    kernel, bias = _normal(1, 3, 1, 1, 2, 2 * widen), _normal(2, 2 * widen)
    step = jax.jit(lambda x, before: function(x, jnp.asarray(kernel), jnp.asarray(bias), before))
    check_streams(step, _normal(0, 1, 7, 1, 1, 2))
