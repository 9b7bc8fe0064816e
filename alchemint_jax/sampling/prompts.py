"""Texts to what Wan's transformer reads: encoder states, zero from the end of a text on."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import Tokens, encode_text
from alchemint_jax.models.umt5 import UMT5Encoder

STEP = 64
"""Texts are encoded at multiples of this length, so that few lengths are compiled."""


def encode_ids(
    encoder: UMT5Encoder,
    params: PyTree,
    ids: Int[Array | np.ndarray, "b l"],
    mask: Bool[Array | np.ndarray, "b l"],
) -> Float[Array, "b l d"]:
    """Text-encoder states of tokens, zero where padded.

    Runs where `params` are (see `on_host`). What lies beyond the longest text is not computed,
    since padding changes no state: most prompts have a quarter of the 512 tokens that Wan reads.

    Args:
        encoder: a `UMT5Encoder`, or an `Int8UMT5Encoder` with the parameters that belong to it.
        params: its parameters.
        ids: token ids.
        mask: true on tokens.
    """
    longest = int(np.max(np.flatnonzero(np.any(mask, axis=0)), initial=0)) + 1
    length = min(-(-longest // STEP) * STEP, ids.shape[1])
    states = _encode(params, ids[:, :length], mask[:, :length], encoder=encoder)
    return jnp.pad(states, ((0, 0), (0, ids.shape[1] - length), (0, 0)))


def on_host(params: PyTree) -> PyTree:
    """`params` in host memory as arrays of the CPU, where the encoder then runs.

    Raises:
        ConfigError: JAX was started without its CPU platform.
    """
    return jax.device_put(params, host(), may_alias=True)  # what lies there already is not copied


def host() -> jax.Device:
    """The CPU, where a large encoder runs.

    The accelerator stays free for the transformer; states are small and move there.

    Raises:
        ConfigError: JAX was started without its CPU platform.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as e:
        raise ConfigError(
            "the text encoder cannot run on the host, since JAX has no CPU platform here; add it, "
            f"e.g. JAX_PLATFORMS=cuda,cpu ({e})"
        ) from e


@partial(jax.jit, static_argnames=("encoder",))
def _encode(params: PyTree, ids: Array, mask: Array, *, encoder: UMT5Encoder) -> Array:
    return encode_text(encoder, params, Tokens(ids, mask))
