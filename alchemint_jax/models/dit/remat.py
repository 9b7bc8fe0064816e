"""What a layer keeps from the forward pass for the backward pass; the rest is computed again.

Per token of the sequence, layer and sample, in the dtype of the activations, for a transformer of
width d with a feed-forward width f:

- "none": everything. Fastest, and by far the largest.
- "dots": products with weights and attention's outputs, about 9 d + f. Norms, modulations,
  activations and the inside of attention are computed again.
- "attention": the layer's input and the outputs of its attentions, 3 d (4 d with dense captions).
  Products with weights are computed again, attention (which grows with the square of the sequence)
  is not, where a kernel attends; where none does, its backward pass forms its probabilities again.
- "full": the layer's input, d. The forward pass is computed twice.
- "offload": nothing on the device: the layer's input is moved to host memory and back. As "full",
  and d per token each way over the link to the host.

"auto" is the fastest of these that fits: `alchemint plan` chooses it for a target, and training for
the devices that it runs on (`train.remat`). In a network by itself, where nobody chooses, it keeps
everything.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from alchemint_jax.ops.splash import KEPT

AUTO = "auto"
"""The fastest policy that fits, whatever that is where the step runs."""

LAYER = "layer"
"""Name of a layer's input."""

_KEEP = jax.checkpoint_policies


def _by_cudnn(primitive: Any, *_: Any, **__: Any) -> bool:
    """Its kernel gives no name to what the backward pass needs."""
    return primitive.name.startswith("dot_product_attention_fwd")


_ATTENTION = _KEEP.save_from_both_policies(_KEEP.save_only_these_names(KEPT), _by_cudnn)
POLICIES: dict[str, Any] = {
    "none": None,
    "dots": _KEEP.save_from_both_policies(_KEEP.dots_with_no_batch_dims_saveable, _ATTENTION),
    "attention": _ATTENTION,
    "full": _KEEP.nothing_saveable,
    "offload": _KEEP.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[LAYER],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}
"""Policies by name, the fastest first; each keeps less than the one before it."""

KEPT_WIDTHS = {
    "none": (22.0, 4.0),
    "dots": (9.0, 1.0),
    "attention": (3.0, 0.0),
    "full": (1.0, 0.0),
    "offload": (0.0, 0.0),
}
"""By policy, what each token leaves behind in a layer: widths of the model, and widths of the
feed-forward. They are guesses, by which a program is compiled or not even tried."""

WORKING_WIDTHS = (45.0, 10.0)
"""Such widths that one layer's own work takes for each token at once: a guess, too."""


def guessed_bytes(
    policy: str, tokens: float, dim: int, ffn_dim: float, layers: int, itemsize: int
) -> float:
    """Bytes of activations of a training step, guessed from sizes alone.

    Args:
        policy: a name of `POLICIES`.
        tokens: that one device has at once, of all its samples.
        dim: width of the model.
        ffn_dim: width of the feed-forward, of one device.
        layers: number of layers.
        itemsize: bytes of one number.
    """
    (d, f), (work_d, work_f) = KEPT_WIDTHS[policy], WORKING_WIDTHS
    widths = layers * (d * dim + f * ffn_dim) + work_d * dim + work_f * ffn_dim
    return tokens * itemsize * widths


def recomputed(layer: type[nn.Module], policy: str) -> type[nn.Module]:
    """The layer, keeping what the policy of this name says; for use within a scan."""
    if policy in ("none", AUTO):
        return layer
    return nn.remat(layer, policy=POLICIES[policy], prevent_cse=False, static_argnums=())
