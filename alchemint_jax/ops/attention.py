"""Scaled dot-product attention: the one place where models attend.

Axes: b batch, n m tokens, k heads, d head dim, e width of the values, g groups of keys.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.ops.bias import LowRankBias, folded, widened
from alchemint_jax.ops.context import attend_on_mesh
from alchemint_jax.ops.cudnn import cudnn, widest
from alchemint_jax.ops.plain import blocked, grouped, plain
from alchemint_jax.ops.splash import KEPT, splash

IMPLEMENTATIONS = ("auto", "xla", "cudnn", "splash")

# Probabilities of one head and sample, n m. Up to the first number a kernel saves nothing (and
# pads); above the second they are not formed at once: 64 MiB of float32 each, several in a layer.
_SMALL = 512 * 512
_LARGE = 4096 * 4096


def attention(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None = None,
    implementation: str = "auto",
    bias: LowRankBias | None = None,
) -> Float[Array, "b n k e"]:
    """Attends with scale d**-0.5; softmax in float32. Masked keys get no probability.

    Where a sample sees no key at all, the result is the mean of its values. All implementations do
    the same. On a mesh (`sharding.use_mesh`, without which XLA cannot split a kernel) the result is
    split as the queries are, along the sequence too: see `ops.context`.

    Args:
        q: queries.
        k: keys.
        v: values, of any width.
        key_mask: which keys are seen; all by default.
        implementation: "xla" (any platform), "cudnn" (NVIDIA's GPUs, in half precision), "splash"
            (TPUs; on CPU it is interpreted, slowly), or "auto": what suits platform and sizes.
        bias: what is added to the logits.

    Raises:
        ConfigError: the platform does not have this implementation.
    """
    on, d, scale = platform(), q.shape[3], None
    if bias is not None:
        scale = d**-0.5
        q, k = folded(q, k, bias, scale)
    width = max(q.shape[3], v.shape[3])

    def name(queries: int, keys: int) -> str:
        return choose(implementation, on, q.dtype, queries, keys, d, width - d)

    def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None):
        match name(q.shape[1], k.shape[1]):
            case "splash":
                return splash(q, k, v, mask, scale, interpret=on == "cpu")
            case "cudnn":
                return cudnn(q, k, v, mask, scale)
            case "blocked":
                return checkpoint_name(blocked(q, k, v, mask, scale), KEPT)
        alone = on == "cpu" and (mesh is None or mesh.size == 1)  # XLA cannot split a loop
        if alone:
            return grouped(q, k, v, mask, scale)
        return checkpoint_name(plain(q, k, v, mask, scale), KEPT)

    mesh = sharding.current_mesh()
    simple = name(q.shape[1], k.shape[1]) == "plain"
    if simple and (mesh is None or mesh.shape["context"] == 1):
        return attend(q, k, v, key_mask)  # XLA splits this by itself
    if key_mask is not None:
        # Kernels need a key to see. Plain attention gives the mean there, and so do equal logits.
        none = ~key_mask.any(1, keepdims=True)
        q, key_mask = jnp.where(none[:, :, None, None], 0, q), key_mask | none
    if mesh is None:
        return attend(q, k, v, key_mask)
    return attend_on_mesh(attend, q, k, v, key_mask, mesh)


def observed_attention(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    groups: Float[Array, "#b m g"],
    key_mask: Bool[Array, "b m"] | None = None,
    implementation: str = "auto",
    bias: LowRankBias | None = None,
) -> tuple[Float[Array, "b n k e"], Float[Array, "b n k g"]]:
    """`attention`, and the probability that each query gives to each group of keys.

    The probability is float32, of the precision of `v`: it is a sum of products like the output,
    and as differentiable.

    Args:
        q: queries.
        k: keys.
        v: values.
        groups: how much each key counts for each group, 1 for its members and 0 for others.
        key_mask: see `attention`.
        implementation: see `attention`.
        bias: see `attention`.

    Raises:
        ConfigError: the platform does not have this implementation.
    """
    y = attention(q, k, widened(v, groups), key_mask, implementation, bias)
    y, probabilities = jnp.split(y, [v.shape[3]], axis=3)
    return y, probabilities.astype(jnp.float32)


def choose(
    implementation: str,
    on: str,
    dtype: jnp.dtype,
    queries: int,
    keys: int,
    head_dim: int,
    extra: int = 0,
) -> Literal["plain", "blocked", "cudnn", "splash"]:
    """The function that attends.

    Args:
        implementation: see `attention`.
        on: the platform, "cpu", "cuda" or "tpu"; others have no kernel.
        dtype: of queries, keys and values.
        queries: number of query tokens.
        keys: number of key tokens.
        head_dim: width of a head.
        extra: further channels of queries, keys or values, of a bias or of groups.

    Raises:
        ConfigError: the platform does not have this implementation, or there is none of this name.
    """
    if implementation not in IMPLEMENTATIONS:
        known = ", ".join(IMPLEMENTATIONS)
        raise ConfigError(f"attention {implementation!r}: no such implementation; use {known}")
    if on not in {"cudnn": ("cuda",), "splash": ("tpu", "cpu")}.get(implementation, (on,)):
        raise ConfigError(f"attention {implementation!r} does not run on {on}; use auto or xla")
    halves = dtype in (jnp.bfloat16, jnp.float16)
    fused = {
        "cudnn": on == "cuda"
        and halves
        and head_dim % 8 == 0
        and head_dim <= 128
        and (not extra or head_dim + extra <= widest()),
        "splash": on == "tpu" and head_dim % 64 == 0,
    }
    if implementation == "splash":
        return "splash"
    if implementation == "cudnn" and fused["cudnn"]:
        return "cudnn"
    if implementation == "auto" and queries * keys > _SMALL:
        if fused["cudnn"]:
            return "cudnn"
        if fused["splash"]:
            return "splash"
    return "blocked" if queries * keys > _LARGE else "plain"


def platform() -> str:
    """What the program that is being traced will run on: "cpu", "cuda", "tpu" or another's name.

    That of the current mesh, whose devices need not be there (a plan's are not); else of JAX's
    default device.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device is None:
        chosen = jax.config.jax_default_device  # type: ignore[attr-defined]  # set at run time
        device = chosen or jax.local_devices()[0]
        if isinstance(device, str):
            return {"gpu": "cuda"}.get(device, device)
    if device.platform in ("gpu", "cuda"):
        return "rocm" if "AMD" in device.device_kind else "cuda"
    return device.platform
