"""Arrays of random numbers that are named and shaped as published weights of metrics are."""

from __future__ import annotations

import numpy as np

ALEXNET = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


def of_lpips(seed=0):
    draw = np.random.default_rng(seed)
    found = {}
    for number, (side, inputs, outputs) in enumerate(ALEXNET):
        place = f"AlexNet_0/Conv_{number}"
        found[f"{place}/kernel"] = _kernel(draw, (side, side, inputs, outputs))
        found[f"{place}/bias"] = draw.standard_normal(outputs, np.float32) / 10
        head = draw.random((1, 1, outputs, 1), np.float32)
        found[f"NetLinLayer_{number}/Conv_0/kernel"] = head
    return found


def of_i3d(seed=0):
    draw = np.random.default_rng(seed)
    found = {}

    def unit(name, side, inputs, outputs):
        shape = (side, side, side, inputs, outputs)
        found[f"params/{name}/Conv_0/kernel"] = _kernel(draw, shape)
        found[f"params/{name}/BatchNorm_0/bias"] = draw.standard_normal(outputs, np.float32) / 10
        for part, least in (("mean", -0.1), ("var", 0.9)):
            values = least + draw.random((1, 1, 1, 1, outputs), np.float32) / 5
            found[f"batch_stats/{name}/BatchNorm_0/{part}"] = values

    unit("Conv3d_1a_7x7", 7, 3, 64)
    unit("Conv3d_2b_1x1", 1, 64, 64)
    unit("Conv3d_2c_3x3", 3, 64, 192)
    inputs = 192
    for name, (a, b, c, d, e, f) in MIXED.items():
        place = f"Mixed_{name}"
        unit(f"{place}/Branch_0/Conv3d_0a_1x1", 1, inputs, a)
        unit(f"{place}/Branch_1/Conv3d_0a_1x1", 1, inputs, b)
        unit(f"{place}/Branch_1/Conv3d_0b_3x3", 3, b, c)
        unit(f"{place}/Branch_2/Conv3d_0a_1x1", 1, inputs, d)
        unit(f"{place}/Branch_2/Conv3d_0b_3x3", 3, d, e)
        unit(f"{place}/Branch_3/Conv3d_0b_1x1", 1, inputs, f)
        inputs = a + c + e + f
    head = "params/Logits/Conv3d_0c_1x1/Conv_0"
    found[f"{head}/kernel"] = _kernel(draw, (1, 1, 1, inputs, 400))
    found[f"{head}/bias"] = draw.standard_normal(400, np.float32)
    return found


def _kernel(draw, shape):
    return draw.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[:-1])) ** 0.5)
