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
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from alchemint_jax.ops.splash import KEPT

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


def recomputed(layer: type[nn.Module], policy: str) -> type[nn.Module]:
    """The layer, keeping what the policy of this name says; for use within a scan."""
    if policy == "none":
        return layer
    return nn.remat(layer, policy=POLICIES[policy], prevent_cse=False, static_argnums=())
