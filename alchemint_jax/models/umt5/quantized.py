"""The encoder with 8-bit weights: a quarter of the memory, the same interface.

Every matrix is stored as int8 with one float32 scale per output channel, every row of the
embedding with one of its own; norms and bias tables, which are small, stay float32. Only weights
are rounded, never activations (as in LLM.int8(), Dettmers et al. 2022, without its outlier part).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from alchemint_jax.models.umt5.model import Block, RMSNorm, UMT5Encoder, relative_buckets

INT8, SCALE = "int8", "scale"


def quantize_leaf(path: str, leaf: np.ndarray | jax.Array) -> PyTree:
    """One parameter of `UMT5Encoder` as `Int8UMT5Encoder` keeps it, in host memory.

    A loader that calls this for one leaf at a time never holds more than one of them in float32.

    Args:
        path: of the parameter, keys joined with dots ("blocks.ffn.up.kernel").
        leaf: its values, float32 or bfloat16.

    Returns:
        `{"int8": int8 as the leaf, "scale": float32, 1 on the axis summed over}` with
        `int8 * scale` within half a scale of `leaf`; or `leaf` in float32, where it stays so.
    """
    axis = _summed_axis(path)
    if axis is None:
        return np.asarray(leaf, np.float32)
    array = np.asarray(leaf)
    values, scales = np.empty(array.shape, np.int8), []
    # In parts, since the float32 temporaries of a whole leaf would be several times its size.
    parts = min(len(array), 64)
    for part, into in zip(np.array_split(array, parts), np.array_split(values, parts), strict=True):
        part = part.astype(np.float32)
        largest = np.abs(part).max(axis=axis, keepdims=True)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        into[...] = np.rint(part / scale)
        scales.append(scale)
    return {INT8: values, SCALE: np.concatenate(scales)}


def quantize(params: PyTree) -> PyTree:
    """All parameters of a `UMT5Encoder` through `quantize_leaf`."""
    return jax.tree_util.tree_map_with_path(lambda path, x: quantize_leaf(_dotted(path), x), params)


def dequantize(tree: PyTree) -> PyTree:
    """The float32 parameters that a quantized tree, or one layer of it, stands for."""

    def is_pair(x: object) -> bool:
        return isinstance(x, Mapping) and x.keys() == {INT8, SCALE}

    def values(x: PyTree) -> PyTree:
        return x[INT8].astype(jnp.float32) * x[SCALE] if is_pair(x) else x

    return jax.tree.map(values, tree, is_leaf=is_pair)


class Int8UMT5Encoder(UMT5Encoder):
    """`UMT5Encoder` on the parameters that `quantize` makes; it has no initialisation of its own.

    Weights become float32 inside the loop over layers: one layer of them at a time.
    """

    def __call__(
        self, ids: Int[Array | np.ndarray, "b l"], mask: Bool[Array | np.ndarray, "b l"]
    ) -> Float[Array, "b l d"]:
        """As `UMT5Encoder`."""
        c, params, mask = self.config, self.variables["params"], jnp.asarray(mask)
        rows = jax.tree.map(
            lambda x: jnp.take(x, jnp.asarray(ids), axis=0, mode="clip"), params["embedding"]
        )
        buckets = jnp.asarray(relative_buckets(ids.shape[1], c.n_buckets, c.max_distance))
        block, norm = Block(c, parent=None), RMSNorm(c.eps, parent=None)

        def layer(x: jax.Array, weights: PyTree) -> tuple[jax.Array, None]:
            x, _ = block.apply({"params": dequantize(weights)}, x, mask, buckets)
            return x, None

        x, _ = jax.lax.scan(layer, dequantize(rows).astype(self.dtype), params["blocks"])
        return cast(jax.Array, norm.apply({"params": params["norm"]}, x))

    @nn.nowrap
    def abstract_params(self) -> PyTree:
        """Shapes of the quantized parameters."""

        def stored(path: tuple, leaf: jax.ShapeDtypeStruct) -> PyTree:
            axis = _summed_axis(_dotted(path))
            if axis is None:
                return leaf
            scale = list(leaf.shape)
            scale[axis] = 1
            return {
                INT8: jax.ShapeDtypeStruct(leaf.shape, jnp.int8),
                SCALE: jax.ShapeDtypeStruct(tuple(scale), jnp.float32),
            }

        return jax.tree_util.tree_map_with_path(stored, UMT5Encoder(self.config).abstract_params())


def _dotted(path: tuple) -> str:
    return ".".join(str(p.key) for p in path)


def _summed_axis(path: str) -> int | None:
    """The axis that a matrix product sums over and one scale covers; None: stay in float32."""
    if path == "embedding":
        return -1
    return -2 if path.endswith(".kernel") else None
