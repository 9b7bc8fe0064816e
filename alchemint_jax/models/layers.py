"""The parameters, the dense layer and the norms that every model here is built from.

`Linear` is the only place where a matrix product meets its sharding names, so a mesh is described
once, by the logical axes: "embed", "mlp", "heads", "vocab", "layers", "text" or None.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from alchemint_jax import programs

Axis = str | None


def logical(init: Callable[..., Any], axes: tuple[Axis, ...]) -> Callable[..., Any]:
    """`init` whose parameters carry the logical `axes`; `self.param` gives the bare array."""
    return nn.with_logical_partitioning(init, axes)


def parameter(
    module: nn.Module, name: str, init: Callable[..., Any], shape: tuple[int, ...], *dtype: Any
) -> Any:
    """`module.param`; of a parameter that is there, the shape is compared and `init` is not traced.

    Flax would trace it to learn its shape whenever a module is applied: much of the time that it
    takes to trace a network. What is there may be an array of NumPy.

    Raises:
        flax.errors.ScopeParamShapeError: the parameter has another shape.
    """
    if module.is_initializing() or not module.has_variable("params", name):
        return module.param(name, init, shape, *dtype)
    value = nn.meta.unbox(module.get_variable("params", name))
    if jnp.shape(value) != shape:
        where = "/" + "/".join(module.path)
        raise flax.errors.ScopeParamShapeError(name, where, jnp.shape(value), shape)
    return value


class Linear(nn.Module):
    """`y = x @ kernel + bias` over the last axis, `[..., in] -> [..., features]`.

    Parameters are float32 masters ("kernel" [in, features], "bias" [features]); they are cast to
    the dtype of `x`, so the caller's activations alone decide the precision of the product.
    Where the caller gives a collection "lora" with "a" [in, r] and "b" [r, features] for this
    layer, `x @ a @ b` is added.

    Attributes:
        features: width of the output.
        axes: logical names of the kernel's two axes (in, out); the bias carries the second.
        use_bias: whether to add a bias, initialised by `bias_init`.
        kernel_init: initialiser of the kernel.
        bias_init: initialiser of the bias.
    """

    features: int
    axes: tuple[Axis, Axis] = ("embed", "mlp")
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array | np.ndarray, "*batch i"]) -> Float[Array, "*batch o"]:
        """Apply the layer in `x`'s dtype."""
        x = jnp.asarray(x)
        kernel = parameter(
            self,
            "kernel",
            logical(self.kernel_init, self.axes),
            (x.shape[-1], self.features),
            jnp.float32,
        )
        flat = rows(x)
        y = flat @ kernel.astype(x.dtype)
        if self.has_variable("lora", "a"):  # see models.lora: the sum of both is never formed
            a: jax.Array = self.get_variable("lora", "a")
            b: jax.Array = self.get_variable("lora", "b")
            y = y + flat @ a.astype(x.dtype) @ b.astype(x.dtype)
        if self.use_bias:
            bias = parameter(
                self,
                "bias",
                logical(self.bias_init, (self.axes[1],)),
                (self.features,),
                jnp.float32,
            )
            # Broadcast by hand: the tests forbid implicit rank promotion.
            y = y + jnp.broadcast_to(bias.astype(x.dtype), y.shape)
        return y.reshape(*x.shape[:-1], self.features)


def rows(x: jax.Array) -> jax.Array:
    """All leading axes as one, where that moves nothing: XLA's gradients on CPUs are faster so.

    Sums of products are many times slower beside an axis of length one. A sequence that is split
    over the mesh is left alone: merging it with the batch would gather it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    split = not mesh.empty and mesh.shape.get("context", 1) > 1
    return x if split or x.ndim < 3 else x.reshape(-1, x.shape[-1])


def rms_norm(
    x: Float[Array | np.ndarray, "*batch d"],
    scale: Float[Array | np.ndarray, " d"] | None = None,
    eps: float = 1e-6,
) -> Float[Array, "*batch d"]:
    """`x / sqrt(mean(x^2) + eps) * scale` over the last axis, in float32; returns `x`'s dtype."""
    x = jnp.asarray(x)
    y = rows(x).astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    if scale is not None:
        y = y * jnp.broadcast_to(jnp.asarray(scale, jnp.float32), y.shape)
    return y.astype(x.dtype).reshape(x.shape)


def layer_norm(
    x: Float[Array | np.ndarray, "*batch d"],
    scale: Float[Array | np.ndarray, " d"] | None = None,
    bias: Float[Array | np.ndarray, " d"] | None = None,
    eps: float = 1e-6,
) -> Float[Array, "*batch d"]:
    """`(x - mean) / sqrt(var + eps) * scale + bias` over the last axis, in float32.

    Returns `x`'s dtype. The variance is the biased one, taken about the mean (two passes), which
    stays accurate when the mean is large.
    """
    x = jnp.asarray(x)
    y = rows(x).astype(jnp.float32)
    y = y - jnp.mean(y, axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    if scale is not None:
        y = y * jnp.broadcast_to(jnp.asarray(scale, jnp.float32), y.shape)
    if bias is not None:
        y = y + jnp.broadcast_to(jnp.asarray(bias, jnp.float32), y.shape)
    return y.astype(x.dtype).reshape(x.shape)


class LayerNorm(nn.Module):
    """`layer_norm` with a learnt scale and bias, float32 parameters.

    Attributes:
        eps: added to the variance.
    """

    eps: float

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """Normalise over the last axis, in float32; returns `x`'s dtype."""
        scale = parameter(self, "scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        bias = parameter(self, "bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        return layer_norm(x, scale, bias, self.eps)


def unboxed(tree: PyTree) -> PyTree:
    """Take off the boxes that carry logical axis names, leaving the arrays or shapes in them.

    Unlike `flax.linen.unbox` it never adds a sharding constraint, so it works on shapes as well.
    """
    return jax.tree.map(lambda p: p.value if _is_box(p) else p, tree, is_leaf=_is_box)


def _is_box(leaf: object) -> bool:
    return isinstance(leaf, nn.meta.AxisMetadata)


@functools.partial(jax.jit, static_argnums=0)
def init_params(module: nn.Module, key: jax.Array, *inputs, **kwargs) -> PyTree:
    """The parameters of `module.init`, in boxes with their logical axes.

    A process traces a module once, however often its parameters are planned and made.
    """
    return module.init(key, *inputs, **kwargs)["params"]


def abstract_params(module: nn.Module, *inputs, **kwargs) -> PyTree:
    """The parameters `module.init` would make for `inputs`, as bare `jax.ShapeDtypeStruct`s.

    Nothing is computed or allocated; `inputs` may be `jax.ShapeDtypeStruct`s themselves. A process
    traces a module once, or never where it is known on disk (see `programs`): that takes a second
    for each of Wan's networks.
    """
    leaves, structure = jax.tree.flatten((inputs, kwargs))
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    return jax.tree.map(lambda leaf: leaf, _abstract_params(module, structure, shapes))


@functools.lru_cache(maxsize=64)
def _abstract_params(
    module: nn.Module, structure: jax.tree_util.PyTreeDef, shapes: tuple[jax.ShapeDtypeStruct, ...]
) -> PyTree:
    inputs, kwargs = jax.tree.unflatten(structure, shapes)

    def trace() -> PyTree:
        boxed = jax.eval_shape(
            lambda args, named: init_params(module, jax.random.key(0), *args, **named),
            inputs,
            kwargs,
        )
        return unboxed(boxed)

    return programs.kept_shapes(trace, module, str(structure), shapes)
