"""Floating-point operations of the networks, counted from sizes; a multiplication and addition are
two. And the same of any traced program, to check the counts by.

Sizes: n tokens (video, references and word tags), d width, f feed-forward width.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.models.lora import LoraConfig
from alchemint_jax.models.umt5 import UMT5Config


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Numbers of tokens of one sample.

    Attributes:
        video: of the video.
        references: of all references' pictures together.
        tags: of all references' words together.
        text: of the caption.
        events: of all dense captions together.
        image: states of given pictures (image-to-video).
    """

    video: int
    references: int = 0
    tags: int = 0
    text: int = 512
    events: int = 0
    image: int = 0

    @property
    def total(self) -> int:
        """Tokens that attend to each other."""
        return self.video + self.references + self.tags


@dataclasses.dataclass(frozen=True)
class DiTFlops:
    """Operations of one forward pass of one sample.

    Attributes:
        dense: products of tokens with weights, in the layers.
        context: products of the text (and pictures') states with weights, in the layers.
        attention: products of queries with keys, and of probabilities with values.
        lora: products with a LoRA's two matrices.
        inputs: products of what is given with weights: patches, states of texts, times.
        ends: the rest of these embeddings, and the head.
    """

    dense: float
    context: float
    attention: float
    lora: float
    inputs: float
    ends: float

    @property
    def forward(self) -> float:
        """All of them."""
        return sum(dataclasses.astuple(self))

    def training(self, frozen: bool) -> float:
        """Forward and backward pass without any recomputation.

        A product costs twice as much again in the backward pass: for the gradient of either side.
        What is given needs none, frozen weights need none, and states of the text under frozen
        weights need none.
        """
        if frozen:
            once = self.context + self.inputs + self.ends
            return once + 2 * self.dense + 3 * (self.attention + self.lora)
        return 3 * self.forward - self.inputs


def dit_flops(config: DiTConfig, tokens: Sequence, lora: LoraConfig | None = None) -> DiTFlops:
    """Operations of one forward pass of one sample of the transformer."""
    n, text, d, f = tokens.total, tokens.text, config.dim, config.ffn_dim
    m, p = (tokens.events if config.events else 0), (tokens.image if config.image_dim else 0)
    dense = 12 * n * d**2 + 4 * n * d * f
    context = 4 * (text + p) * d**2
    attention = 4 * n * d * (n + text + p)
    if m:
        dense += 4 * tokens.video * d**2
        context += 4 * m * d**2
        attention += 4 * tokens.video * d * m
    patch, words = math.prod(config.patch), text + m + tokens.tags
    inputs = (tokens.video + tokens.references) * patch * config.in_channels * d
    inputs += words * config.text_dim * d
    ends = tokens.video * patch * config.out_channels * d + words * d**2
    times = 2 if tokens.references else 1  # the video's, and that of clean references
    inputs += times * config.freq_dim * d
    ends += times * 7 * d**2
    if config.image_dim:
        inputs += p * config.image_dim**2
        ends += p * config.image_dim * d
    return DiTFlops(
        dense=float(config.n_layers * dense),
        context=float(config.n_layers * context),
        attention=float(config.n_layers * attention),
        lora=float(config.n_layers * _lora(tokens, d, f, lora)) if lora else 0.0,
        inputs=2.0 * inputs,
        ends=2.0 * ends,
    )


def _lora(tokens: Sequence, d: int, f: int, lora: LoraConfig) -> int:
    """Of one layer; see `models.lora` for the targets."""
    n, per_square = tokens.total, 4 * d * lora.rank
    found = 0
    if "self_attn" in lora.targets:
        found += 4 * n * per_square
    if "cross_attn" in lora.targets:
        found += 2 * (n + tokens.text) * per_square
    if "ffn" in lora.targets:
        found += 2 * n * 2 * (d + f) * lora.rank
    return found


def text_flops(config: UMT5Config, tokens: int) -> float:
    """Operations of one forward pass of one text of the encoder."""
    inner = config.n_heads * config.head_dim
    layer = 8 * tokens * config.dim * inner + 4 * tokens**2 * inner
    layer += 6 * tokens * config.dim * config.ffn_dim
    return float(config.n_layers * layer)


def traced_flops(jaxpr: Any, parts: int = 1, kernels: bool = False) -> float:
    """Operations of all products in a traced program, as often as its loops run them.

    It sees what is recomputed, and kernels of Pallas. Of a `cond` the dearest branch counts, and
    a call that results in nothing is none: what is kept instead is taken out of it, and XLA then
    leaves out the rest.

    Args:
        jaxpr: a `jax.core.Jaxpr`, for example `jitted.trace(...).jaxpr.jaxpr`.
        parts: how many devices run it at once, each on a part (inside `shard_map`).
        kernels: whether only operations inside of kernels count, which are those of attention.
    """
    total = 0.0
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if not eqn.outvars:
            continue
        if name == "dot_general" and not kernels:
            (contracted, _), _ = params["dimension_numbers"]
            inner = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
            total += parts * 2.0 * math.prod(eqn.outvars[0].aval.shape) * inner
        elif name == "conv_general_dilated" and not kernels:
            kernel = eqn.invars[1].aval.shape
            outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
            out = math.prod(eqn.outvars[0].aval.shape)
            total += parts * 2.0 * out * math.prod(kernel) / outputs
        elif name.startswith("dot_product_attention"):  # cuDNN's
            total += parts * _fused_attention(name, eqn)
        elif name == "cond":
            total += max(
                traced_flops(branch.jaxpr, parts, kernels) for branch in params["branches"]
            )
        else:
            times, inside, only = 1.0, parts, kernels
            if name == "scan":
                times = params["length"]
            elif name == "pallas_call":
                times, only = math.prod(params["grid_mapping"].grid), False
            elif name == "shard_map":
                inside = parts * math.prod(
                    size for axis, size in params["mesh"].shape.items() if axis in _manual(params)
                )
            total += times * sum(traced_flops(inner, inside, only) for inner in _inner(params))
    return total


def _manual(params: dict[str, Any]) -> Any:
    return params.get("manual_axes") or params["mesh"].axis_names


def _inner(params: dict[str, Any]) -> list[Any]:
    """Programs in an operation's parameters."""
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            item = getattr(item, "jaxpr", item)
            if hasattr(item, "eqns"):
                found.append(item)
    return found


def _fused_attention(name: str, eqn: Any) -> float:
    """Forward: two products; backward: five, one of them a second time. Operands are [b n k d]."""
    (b, n, k, d), m = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape[1]
    return (10.0 if "bwd" in name else 4.0) * b * n * m * k * d
