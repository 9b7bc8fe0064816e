"""Training a small decoder, in TAEHV's layout, to show what an autoencoder's own decoder shows.

Clips become latents by the encoder of a model, its teacher, and frames again by the teacher's
decoder; the small one learns these frames, so that a preview is of the video that will be written,
the teacher's faults included. The teacher does not move.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from alchemint_jax import weights
from alchemint_jax.data.loader import LoaderConfig, clip_loader
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.layers import init_params
from alchemint_jax.models.vae import VAE, TinyDecoder, TinyDecoderConfig
from alchemint_jax.train.fields import build
from alchemint_jax.train.optimizer import FROZEN
from alchemint_jax.train.vae_task import edge_loss
from alchemint_jax.weights.autoencoders import write_tiny
from alchemint_jax.weights.tensors import Tensor


@dataclasses.dataclass(frozen=True)
class TinyLoss:
    """Weights of the loss terms beside the L1 of pixels: L1 of their differences, mean square."""

    edges: float = 0.5
    square: float = 4.0


@dataclasses.dataclass(frozen=True)
class TinyDecoderTask:
    """Training the decoder.

    `data` is the directory of a dataset of clips; `teacher` is the model whose autoencoder is
    learned; `frames` is the length of training windows and `crop` their side in pixels. `noise` is
    the standard deviation of what is added to latents: those of a video that is still being made
    are not as clean as those of clips.
    """

    model: TinyDecoderConfig
    data: str
    teacher: str
    loader: LoaderConfig
    frames: int = 17
    crop: int = 64
    noise: float = 0.1
    loss_weights: TinyLoss = TinyLoss()

    def __post_init__(self) -> None:
        own, theirs = self.model, self._vae.config
        for name in ("z_dim", "spatial_stride", "temporal_stride"):
            if getattr(own, name) != getattr(theirs, name):
                raise ConfigError(
                    f"model: {name} is {getattr(own, name)}, but {getattr(theirs, name)} in the "
                    f"autoencoder of {self.teacher}; both must have the same latents"
                )
        if self.crop < 1 or self.crop % own.spatial_stride:
            raise ConfigError(f"crop is {self.crop}; it must be a multiple of {own.spatial_stride}")

    @property
    def _vae(self) -> VAE:
        return cast(VAE, weights.open_component(self.teacher, "vae")[0])

    def init(self, key: jax.Array) -> dict:
        """Fresh parameters of the decoder; those of the teacher are read."""
        latents = jnp.zeros((1, 1, 1, 1, self.model.z_dim))
        teacher = jax.tree.map(lambda x: jnp.zeros(x.shape), self._vae.abstract_params())
        return {"tiny": init_params(TinyDecoder(self.model), key, latents), "vae": teacher}

    def pretrained(self) -> dict[str, Tensor]:
        """The weights of the teacher."""
        tensors = weights.open_component(self.teacher, "vae")[1]
        return {f"vae.{path}": tensor for path, tensor in tensors.items()}

    def loss(
        self, params: dict, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict]:
        """How far the decoder's frames are from the teacher's; `psnr` in decibels, clipped."""
        video = batch["video"].astype(jnp.float32) / 127.5 - 1
        teacher: Callable[..., Any] = partial(self._vae.apply, {"params": params["vae"]})
        latents = teacher(video, method="encode")
        latents += self.noise * jax.random.normal(key, latents.shape)
        wanted = teacher(latents, method="decode")
        tiny: Callable[..., Any] = TinyDecoder(self.model).apply
        found = tiny({"params": params["tiny"]}, latents, method="reconstruct")
        pixel, edge = jnp.abs(found - wanted).mean(), edge_loss(found, wanted)
        square, weight = jnp.mean((found - wanted) ** 2), self.loss_weights
        loss = pixel + weight.edges * edge + weight.square * square
        psnr = -10 * jnp.log10(jnp.mean((jnp.clip(found, -1, 1) - wanted) ** 2) / 4)
        return loss, {"l1": pixel, "edges": edge, "psnr": psnr}

    def train_data(self, share: Share = WHOLE) -> Iterable[dict[str, Any]]:
        """Batches of windows of clips, shuffled, without end."""
        return self._clips("train", self.loader, share, self.crop)

    def validation_data(self, share: Share = WHOLE) -> Iterator[dict[str, Any]]:
        """The first four batches of the validation split, as large as clips are."""
        loader = dataclasses.replace(self.loader, shuffle=False)
        yield from itertools.islice(self._clips("validation", loader, share, None), 4)

    def _clips(self, split: str, loader: LoaderConfig, share: Share, side: int | None) -> Any:
        stride = self.model.temporal_stride
        return clip_loader(
            self.data, split, loader, self.frames, side=side, share=share, stride=stride
        )

    def sample(self, params: dict) -> dict[str, np.ndarray]:
        """Validation clips as the teacher decodes them, beside what the decoder shows."""
        video = next(iter(self.validation_data()))["video"].astype(np.float32) / 127.5 - 1
        teacher: Callable[..., Any] = partial(self._vae.apply, {"params": params["vae"]})
        tiny: Callable[..., Any] = TinyDecoder(self.model).apply

        @jax.jit
        def both(tiny_params: dict, video: jax.Array) -> jax.Array:
            latents = teacher(video, method="encode")
            shown = tiny({"params": tiny_params}, latents, method="decode")
            return jnp.concatenate([teacher(latents, method="decode"), shown], axis=3)

        pixels = np.asarray(both(params["tiny"], video))
        return {
            f"clip{i}": clip for i, clip in enumerate(((pixels + 1) * 127.5 + 0.5).astype(np.uint8))
        }

    def export(self, params: dict, directory: Path) -> None:
        """Writes the decoder as one file, in TAEHV's layout."""
        write_tiny(directory, self.model, params["tiny"])

    def label(self, path: str) -> str:
        """The teacher stays as it is."""
        return FROZEN if path.startswith("vae/") else "all"


def make_tiny_decoder_task(config: ConfigDict) -> TinyDecoderTask:
    """The task of a config with these fields."""
    return TinyDecoderTask(
        model=build(TinyDecoderConfig, config.model.to_dict(), "model"),
        data=config.data,
        teacher=config.teacher,
        loader=build(LoaderConfig, config.loader.to_dict(), "loader"),
        frames=config.frames,
        crop=config.crop,
        noise=config.noise,
        loss_weights=build(TinyLoss, config.loss_weights.to_dict(), "loss_weights"),
    )
