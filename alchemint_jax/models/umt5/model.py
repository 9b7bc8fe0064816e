"""UMT5 encoder (Chung et al. 2023, "UniMax"; T5: Raffel et al. 2020), as Wan2.1 uses it.

A pre-norm transformer with RMS norms, no biases, *unscaled* attention, gated GELU, and relative
position buckets; unlike T5, every layer has its own table of bucket biases.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from alchemint_jax.models import layers
from alchemint_jax.models.layers import Linear, logical, parameter
from alchemint_jax.models.umt5.config import UMT5Config


def relative_buckets(
    length: int, n_buckets: int = 32, max_distance: int = 128
) -> Int[np.ndarray, "q k"]:
    """T5's bidirectional bucket of each (query, key) pair, an int32 table `[length, length]`.

    The first half of the buckets is for keys at or before the query, the second for keys after
    it. In each half, distances up to a quarter of `n_buckets` have a bucket of their own; beyond,
    buckets widen geometrically up to `max_distance`, and farther keys share the last one.
    """
    half = n_buckets // 2
    exact = half // 2
    steps = half - exact
    # Bucket exact + j starts at the least n with n >= exact * (max_distance / exact)**(j / steps).
    # Integers, since a rounded logarithm would put the distances on an edge on either side of it.
    starts = np.array(
        [
            next(
                n
                for n in range(exact, max_distance + 1)
                if n**steps * exact**j >= max_distance**j * exact**steps
            )
            for j in range(1, steps)
        ],
        np.int64,
    )
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    distance = np.abs(offset)
    far = exact + np.searchsorted(starts, distance, side="right")
    bucket = np.where(distance < exact, distance, far)
    return (np.where(offset > 0, half, 0) + bucket).astype(np.int32)


def zero_padded(
    states: Float[Array | np.ndarray, "b l d"], mask: Bool[Array | np.ndarray, "b l"]
) -> Float[Array, "b l d"]:
    """Set the states of padded tokens to zero, the form in which Wan hands text to its DiT."""
    return jnp.where(jnp.asarray(mask)[..., None], states, jnp.zeros((), states.dtype))


class RMSNorm(nn.Module):
    """T5's norm: a learnt scale, no mean, no bias."""

    eps: float

    @nn.compact
    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        """Normalise each state."""
        init = logical(nn.initializers.ones_init(), ("embed",))
        scale = parameter(self, "scale", init, (x.shape[-1],), jnp.float32)
        return layers.rms_norm(x, scale, self.eps)


class Attention(nn.Module):
    """Bidirectional self-attention: relative bias instead of positions, and no scaling."""

    config: UMT5Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b l d"],
        mask: Bool[Array, "b l"],
        buckets: Int[Array, "l l"],
    ) -> Float[Array, "b l d"]:
        """Mix the states of the tokens of each text."""
        c = self.config
        width = c.n_heads * c.head_dim
        normal = nn.initializers.normal

        def heads(name: str, std: float) -> Float[Array, "b k l e"]:
            y = Linear(width, ("embed", "heads"), False, normal(std), name=name)(x)
            return y.reshape(*y.shape[:2], c.n_heads, c.head_dim).transpose(0, 2, 1, 3)

        # The 1/sqrt(head_dim) that attention lacks is in the initial q.
        q = heads("q", (c.dim * c.head_dim) ** -0.5)
        k = heads("k", c.dim**-0.5)
        v = heads("v", c.dim**-0.5)
        # Large, so that every head starts at some distances of its own: letters become words.
        table = parameter(
            self,
            "relative_bias",
            logical(normal(2.0), (None, "heads")),
            (c.n_buckets, c.n_heads),
            jnp.float32,
        )
        bias = jnp.take(table.T, buckets, axis=1)  # [k l l]
        logits = jnp.matmul(q, k.swapaxes(-1, -2), preferred_element_type=jnp.float32) + bias[None]
        # The least finite number, not -inf: a text without any token stays free of NaN.
        logits = jnp.where(mask[:, None, None, :], logits, jnp.finfo(jnp.float32).min)
        y = jnp.matmul(jax.nn.softmax(logits, axis=-1).astype(x.dtype), v)
        y = y.transpose(0, 2, 1, 3).reshape(*x.shape[:2], width)
        return Linear(c.dim, ("heads", "embed"), False, normal(width**-0.5), name="o")(y)


class FeedForward(nn.Module):
    """`down(gelu(gate(x)) * up(x))`, GELU in its tanh form."""

    config: UMT5Config

    @nn.compact
    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        """Transform each state on its own."""
        c = self.config
        normal = nn.initializers.normal
        gate = Linear(c.ffn_dim, ("embed", "mlp"), False, normal(c.dim**-0.5), name="gate")(x)
        up = Linear(c.ffn_dim, ("embed", "mlp"), False, normal(c.dim**-0.5), name="up")(x)
        h = jax.nn.gelu(gate, approximate=True) * up
        return Linear(c.dim, ("mlp", "embed"), False, normal(c.ffn_dim**-0.5), name="down")(h)


class Block(nn.Module):
    """One pre-norm layer, in the (carry, output) form of `nn.scan`."""

    config: UMT5Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b l d"],
        mask: Bool[Array, "b l"],
        buckets: Int[Array, "l l"],
    ) -> tuple[Float[Array, "b l d"], None]:
        """Attention, then the feed-forward network, each added to `x`."""
        c = self.config
        x = x + Attention(c, name="attn")(RMSNorm(c.eps, name="norm1")(x), mask, buckets)
        x = x + FeedForward(c, name="ffn")(RMSNorm(c.eps, name="norm2")(x))
        return x, None


class UMT5Encoder(nn.Module):
    """Token ids to states; parameters are `embedding`, `blocks` (stacked on axis 0), `norm`.

    Attributes:
        config: sizes.
        dtype: of the activations and of the states returned; parameters, norms and softmax are
            float32 whatever it is.
    """

    config: UMT5Config
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, ids: Int[Array | np.ndarray, "b l"], mask: Bool[Array | np.ndarray, "b l"]
    ) -> Float[Array, "b l d"]:
        """Encode `ids`, looking only at tokens where `mask` is true.

        States at padded positions are defined but meaningless: see `zero_padded`.
        """
        c = self.config
        embedding = parameter(
            self,
            "embedding",
            logical(nn.initializers.normal(1.0), ("vocab", "embed")),
            (c.vocab, c.dim),
            jnp.float32,
        )
        x = jnp.take(embedding, jnp.asarray(ids), axis=0, mode="clip").astype(self.dtype)
        buckets = jnp.asarray(relative_buckets(ids.shape[1], c.n_buckets, c.max_distance))
        blocks = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=c.n_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
            check_constancy_invariants=False,  # nothing is broadcast: a trace of a layer less
        )
        x, _ = blocks(c, name="blocks")(x, jnp.asarray(mask), buckets)
        return RMSNorm(c.eps, name="norm")(x)

    @nn.nowrap
    def abstract_params(self) -> PyTree:
        """Shapes of the parameters, without computing any: `jax.ShapeDtypeStruct` leaves."""
        shape = (1, 2)
        return layers.abstract_params(
            self, jax.ShapeDtypeStruct(shape, jnp.int32), jax.ShapeDtypeStruct(shape, jnp.bool_)
        )
