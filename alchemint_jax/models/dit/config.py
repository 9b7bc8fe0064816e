"""Sizes of the diffusion transformer and AlcheMinT's options."""

from __future__ import annotations

import dataclasses
from typing import Literal

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.remat import AUTO, POLICIES
from alchemint_jax.ops.attention import IMPLEMENTATIONS
from alchemint_jax.rotary import ReferenceLayout, WeRope
from alchemint_jax.rotary.schemes import Scheme


@dataclasses.dataclass(frozen=True)
class DiTConfig:
    """Wan's text-to-video transformer; with `slots > 0` it also takes timed references.

    Wan's image-to-video transformers have more channels in than out: those of the condition (see
    `keyframes`) follow those of the noisy latents. Wan2.1's have `image_dim > 0`, too.

    Attributes:
        dim: width; `n_heads` heads of `dim // n_heads`.
        in_channels: of the latents, and of the condition where there is one.
        patch: latent cells per token along (t, h, w).
        text_dim: width of the text encoder's states.
        freq_dim: width of the sinusoidal time embedding.
        image_dim: width of the states of given pictures that every layer attends to; 0 for none.
        image_positions: states of all given pictures together, where each has a learned position
            (first and last frame: 2 x 257); 0 for none.
        theta_t: base of the temporal frequency ladder; a short clip may want a smaller one than
            Wan's 1e4.
        theta_hw: base of the spatial ladders.
        slots: most references a sample may have.
        index: whether each slot has a learned embedding that marks its picture and its word.
        tags: whether a subject's word is in the sequence too, beside its picture.
        scheme: how the interval of a reference becomes its temporal gain.
        mix_queries: whether the queries of references and tags carry the scheme's gain too.
        layout: where references lie relative to the video.
        learned_timing: whether references go from the layout's `slot_times` to the scheme's gain,
            by a learned weight of each rotary pair, which is 0 at first. So a network that was
            trained with references at those times learns intervals from what it is.
        reference_time: references are modulated as clean data (t = 0) or with the video's own time.
        events: whether there is a dense-caption branch: a parallel cross-attention with ReRoPE, and
            an embedding of its texts.
        cuts: whether that branch also knows where shots begin: MinT's learned vector of a cut,
            beside the texts.
        unroll: layers per iteration of the scan over layers.
        remat: what a layer keeps from the forward pass for the backward pass: "none" (recomputed:
            it keeps all), "dots", "attention", "full", "offload", or "auto", the fastest of these
            that fits; see `dit.remat`.
        attention: what attends: "auto" (by platform and sizes), "xla", "cudnn" or "splash", see
            `ops.attention`.

    Raises:
        ConfigError: there is no such `remat` or `attention`, or nothing for `learned_timing` or
            `cuts`.
    """

    dim: int = 1536
    n_heads: int = 12
    n_layers: int = 30
    ffn_dim: int = 8960
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    patch: tuple[int, int, int] = (1, 2, 2)
    image_dim: int = 0
    image_positions: int = 0
    theta_t: float = 1e4
    theta_hw: float = 1e4
    slots: int = 0
    index: bool = True
    tags: bool = True
    scheme: Scheme = WeRope()
    mix_queries: bool = True
    layout: ReferenceLayout = ReferenceLayout()
    learned_timing: bool = False
    reference_time: Literal["clean", "video"] = "clean"
    events: bool = False
    cuts: bool = False
    unroll: int = 1
    remat: str = AUTO
    attention: str = "auto"

    def __post_init__(self) -> None:
        if self.remat not in (AUTO, *POLICIES):
            known = ", ".join((AUTO, *POLICIES))
            raise ConfigError(f"model.remat is {self.remat!r}; use one of {known}")
        if self.attention not in IMPLEMENTATIONS:
            known = ", ".join(IMPLEMENTATIONS)
            raise ConfigError(f"model.attention is {self.attention!r}; use one of {known}")
        if self.cuts and not self.events:
            raise ConfigError(
                "model.cuts is True, but model.events is not: the branch of events is told of cuts"
            )
        if self.learned_timing and not (self.slots and self.layout.slot_times):
            raise ConfigError(
                "model.learned_timing goes from layout.slot_times to the scheme, for models with "
                "slots: set both, or leave it out"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.n_heads


_14B = DiTConfig(dim=5120, n_heads=40, n_layers=40, ffn_dim=13824)
_14B_IMAGE = dataclasses.replace(_14B, in_channels=36, image_dim=1280)

VARIANTS = {
    "wan2.1-1.3b": DiTConfig(),
    "wan2.1-14b": _14B,
    "wan2.1-i2v-14b": _14B_IMAGE,
    "wan2.1-flf2v-14b": dataclasses.replace(_14B_IMAGE, image_positions=2 * 257),
    "wan2.2-ti2v-5b": DiTConfig(
        dim=3072, n_heads=24, n_layers=30, ffn_dim=14336, in_channels=48, out_channels=48
    ),
    # Each of the two experts; text-to-video's are as Wan2.1's transformer of 14B.
    "wan2.2-i2v-a14b": dataclasses.replace(_14B, in_channels=36),
}
