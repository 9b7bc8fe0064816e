"""What is measured: descriptions without any array, and how much work is in each of them."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.vae import OVERLAP, TILE, TinyDecoderConfig, VAEConfig
from alchemint_jax.models.vae.tiling import check_tiles
from alchemint_jax.plan import flops
from alchemint_jax.plan.steps import Work, encoding_flops, event_rows
from alchemint_jax.sampling.control import Gating
from alchemint_jax.scene.clock import Clock
from alchemint_jax.train.dit_task import DiTTask
from alchemint_jax.train.optimizer import OptimizerConfig

Kind = Literal["forward", "attention", "train", "sample", "video", "encode", "decode"]
GATED: tuple[Kind, ...] = ("attention", "sample", "video")
"""What gating changes."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing to measure, on made-up parameters and data.

    Attributes:
        name: of the result.
        kind: "forward" (a pass of the transformer), "attention" (self-attention of one layer),
            "train" (a whole training step), "sample" (one step of the solver with all branches of
            guidance), "video" (all steps, and decoding), "encode" or "decode" (a clip).
        task: transformer, text lengths, precision, way of sampling; "encode" and "decode" are of
            the autoencoder alone.
        vae: sizes of the autoencoder, or of a small decoder ("decode" only), beside which PyTorch
            has Wan2.1's whole one; its strides make latents of pixels.
        work: what one call works on.
        optimizer: of the training step.
        mesh: of the training step, arguments of `sharding.make_mesh`; None is one device, on which
            everything else runs too.
        gating: of subjects, in kinds that are in `GATED`.
        tile: pixels of the autoencoder's tiles; frames of no more are not cut.
    """

    name: str
    kind: Kind
    task: DiTTask
    vae: VAEConfig | TinyDecoderConfig
    work: Work
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: dict[str, Any] | None = None
    gating: Gating | None = None
    tile: int = TILE

    def __post_init__(self) -> None:
        work, cell, stride = self.work, self.vae.spatial_stride, self.vae.temporal_stride
        patch = (1, 1, 1) if self.of_vae else self.task.model.patch
        _whole(f"{self.name}: size", work.size, cell, patch)
        if isinstance(self.vae, TinyDecoderConfig) and self.kind != "decode":
            raise ConfigError(f"{self.name}: a small decoder only decodes")
        if self.gating is not None and not (self.kind in GATED and work.references):
            raise ConfigError(
                f"{self.name}: there is nothing to gate; --gating is for the cases "
                f"{', '.join(GATED)}, with references"
            )
        if work.frames < 1 or not self.clock.whole or self.grid[0] % patch[0]:
            raise ConfigError(
                f"{self.name}: {work.frames} frames: it must be {stride}k + 1"
                + (f", and a multiple of {patch[0]} latent frames" if patch[0] > 1 else "")
            )
        if self.tiled and (self.of_vae or self.kind == "video"):
            check_tiles(self.vae, self.tile, OVERLAP)
        if self.of_vae:
            return
        event_rows(self.task, work)
        if not work.references:
            return
        _whole(f"{self.name}: references of", self.reference_size, cell, patch)
        if work.references > self.task.model.slots:
            raise ConfigError(
                f"{self.name}: {work.references} references, but model.slots is "
                f"{self.task.model.slots}"
            )

    @property
    def of_vae(self) -> bool:
        """Whether it is of the autoencoder."""
        return self.kind in ("encode", "decode")

    @property
    def dtype(self) -> str:
        """Of the activations; the autoencoder always runs in float32."""
        return "float32" if self.of_vae else self.task.compute

    @property
    def clock(self) -> Clock:
        """Of a clip."""
        return Clock(self.task.sampling.fps, self.work.frames, self.vae.temporal_stride)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Latent frames, height and width of a clip."""
        height, width = (side // self.vae.spatial_stride for side in self.work.size)
        return self.clock.latent_frames, height, width

    @property
    def reference_size(self) -> tuple[int, int]:
        """Height and width in pixels of the references' pictures."""
        return self.task.sampling.reference_size or self.work.size

    @property
    def tiled(self) -> bool:
        """Whether the autoencoder works tile by tile."""
        return max(self.work.size) > self.tile

    @property
    def tokens(self) -> flops.Sequence:
        """Tokens of one clip."""
        task, patch, (t, h, w) = self.task, self.task.model.patch, self.grid
        cell, r = self.vae.spatial_stride, self.work.references
        (_, ph, pw), (high, wide) = patch, self.reference_size
        return flops.Sequence(
            video=t // patch[0] * (h // ph) * (w // pw),
            references=r * (high // cell // ph) * (wide // cell // pw),
            tags=r * task.sampling.tag_length if task.model.tags else 0,
            text=task.sampling.text_length,
            events=event_rows(task, self.work) * task.sampling.event_length,
        )

    @property
    def units(self) -> tuple[int, str]:
        """How much one call does, and of what: video tokens, or frames of the autoencoder."""
        if self.of_vae:
            return self.work.batch * self.work.frames, "frames"
        return self.work.batch * self.tokens.video, "video tokens"

    @property
    def branches(self) -> int:
        """Passes of the transformer in one step of the solver."""
        return len(self.task.sampling.guidance.branches())

    @property
    def model_flops(self) -> float | None:
        """Operations that one call needs, nothing recomputed; None where the autoencoder works."""
        if self.of_vae or self.kind == "video":
            return None
        if self.kind == "attention":
            return 4.0 * self.work.batch * self.tokens.total**2 * self.task.model.dim
        b, lora = self.work.batch, self.task.lora if self.kind == "train" else None
        found = flops.dit_flops(self.task.model, self.tokens, lora)
        if self.kind == "forward":
            return b * found.forward
        if self.kind == "sample":
            return b * self.branches * found.forward
        total = b * found.training(frozen=lora is not None)
        if self.task.train_text:  # empty texts are encoded once for the whole batch
            empty = flops.text_flops(self.task.text, self.task.sampling.text_length)
            if self.task.model.events:
                empty += flops.text_flops(self.task.text, self.task.sampling.event_length)
            total += 3 * (encoding_flops(self.task, self.work) + empty)
        return total

    def no_counterpart(self) -> str | None:
        """Why diffusers cannot do the same work; None where it can."""
        task, optimizer = self.task, self.optimizer
        if self.of_vae:
            other = self.tiled and self.tile != TILE
            return f"diffusers' tiles are of {TILE} pixels" if other else None
        if self.kind in ("attention", "video"):
            return "only whole passes and the autoencoder are done in PyTorch too"
        if self.work.references:
            return "diffusers' transformer takes no references"
        if task.model.events:
            return "diffusers' transformer takes no events"
        if self.kind == "train":
            if task.train_text:
                return "its text encoder is trained too"
            if task.lora is not None:
                return "it trains a LoRA"
            if optimizer.method != "adamw" or optimizer.accumulate > 1:
                return "only plain AdamW, without accumulation, is done in PyTorch too"
        return None

    def describe(self) -> dict[str, Any]:
        """What is measured, in JSON's types."""
        work, task, model = self.work, self.task, self.task.model
        found: dict[str, Any] = {
            "size": f"{work.size[0]}x{work.size[1]}",
            "frames": work.frames,
            "batch": work.batch,
            "dtype": self.dtype,
        }
        if self.of_vae:
            small = isinstance(self.vae, TinyDecoderConfig)
            sizes = {name: getattr(self.vae, name) for name in _VAE_SIZES[small]}
            part = "chunk by chunk" if self.kind == "encode" else "frame by frame"
            return found | sizes | {"how": "in tiles" if self.tiled else part}
        tokens = self.tokens
        found |= {
            "references": work.references,
            "video_tokens": tokens.video,
            "reference_tokens": tokens.references + tokens.tags,
            "text_tokens": tokens.text,
            **({"events": work.events, "event_tokens": tokens.events} if model.events else {}),
            **{name: getattr(model, name) for name in _SIZES},
        }
        if self.gating is not None:
            found["gating"] = repr(self.gating)
        if self.kind == "video":
            found["decoded"] = "in tiles" if self.tiled else "frame by frame"
        if self.kind in ("sample", "video"):
            chosen = task.sampling
            found |= {"solver": chosen.solver, "steps": chosen.steps, "branches": self.branches}
        if self.kind == "train":
            optimizer = self.optimizer
            found |= {
                "optimizer": optimizer.method,
                "accumulate": optimizer.accumulate,
                "trains_text_encoder": task.train_text,
                "lora": task.lora is not None,
                "update": "noise, loss, gradients, clipping, optimizer, average of the weights",
            }
        return found


_VAE_SIZES = {
    False: ("base_dim", "dim_mult", "num_res_blocks", "z_dim"),
    True: ("widths", "memory_blocks", "z_dim"),
}
_SIZES = ("dim", "n_heads", "n_layers", "ffn_dim", "text_dim", "patch", "remat", "unroll")


def _whole(what: str, size: tuple[int, int], cell: int, patch: tuple[int, int, int]) -> None:
    """Raises a ConfigError unless both sides are whole patches of latent cells."""
    units = [cell * p for p in patch[1:]]
    if any(side < 1 or side % unit for side, unit in zip(size, units, strict=True)):
        wanted = " and ".join(map(str, dict.fromkeys(units)))
        raise ConfigError(f"{what} {size[0]}x{size[1]}: sides must be multiples of {wanted}")
