"""Training the video autoencoder on clips and, as one-frame clips, on reference pictures."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num
from ml_collections import ConfigDict

from alchemint_jax import weights
from alchemint_jax.data.loader import LoaderConfig, clip_loader
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.layers import init_params
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.scene.clock import Clock
from alchemint_jax.train.fields import build
from alchemint_jax.weights.tensors import Tensor


@dataclasses.dataclass(frozen=True)
class VAELoss:
    """Weights of the loss terms beside the L1 of pixels.

    They are the L1 of pixel differences (edges), the mean square of pixels, which minds the few
    large errors where a subject is missing, and the KL to a unit Gaussian.
    """

    edges: float = 0.5
    square: float = 0.0
    kl: float = 1e-6


@dataclasses.dataclass(frozen=True)
class VAETask:
    """Training the autoencoder.

    `data` is the directory of a dataset of clips; `frames` is the length of training
    windows and `crop` their side in pixels. `init_from` is a model directory whose autoencoder a
    new run starts from; None starts from scratch.
    """

    model: VAEConfig
    data: str
    loader: LoaderConfig
    frames: int = 17
    crop: int = 64
    loss_weights: VAELoss = VAELoss()
    storage: str = "float16"
    init_from: str | None = None

    def __post_init__(self) -> None:
        if self.crop < 1 or self.crop % self.model.spatial_stride:
            raise ConfigError(
                f"crop is {self.crop}; it must be a multiple of {self.model.spatial_stride}"
            )

    def init(self, key: jax.Array) -> dict:
        """Fresh parameters."""
        side, clock = self.model.spatial_stride, Clock.for_latents(2, self.model.temporal_stride)
        return init_params(VAE(self.model), key, jnp.zeros((1, clock.frames, side, side, 3)))

    def loss(
        self, params: dict, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Reconstruction of random windows of clips, and of reference pictures as still clips."""
        keys = jax.random.split(key, 3)
        stills = _stills(batch["references"])
        stills = random_crop(keys[0], stills, min(self.crop, *stills.shape[2:4]))
        clips = batch["video"]
        clip_loss, figures = self._reconstruction(params, clips, keys[1])
        still_loss, _ = self._reconstruction(params, stills, keys[2])
        return clip_loss + 0.5 * still_loss, figures | {"stills": still_loss}

    def _reconstruction(
        self, params: dict, pixels: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict]:
        video = pixels.astype(jnp.float32) / 127.5 - 1
        apply: Callable[..., Any] = VAE(self.model).apply
        mean, log_variance = apply({"params": params}, video, method="moments")
        sample = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        output = apply({"params": params}, sample, method="reconstruct")
        pixel = jnp.abs(output - video).mean()
        edge = edge_loss(output, video)
        kl = 0.5 * jnp.mean(mean**2 + jnp.exp(log_variance) - 1 - log_variance)
        square = jnp.mean((output - video) ** 2)
        weight = self.loss_weights
        loss = pixel + weight.square * square + weight.edges * edge + weight.kl * kl
        psnr = -10 * jnp.log10(jnp.mean((jnp.clip(output, -1, 1) - video) ** 2) / 4)
        return loss, {"l1": pixel, "edges": edge, "kl": kl, "psnr": psnr}

    def pretrained(self) -> dict[str, Tensor]:
        """The weights of `init_from`, which a new run starts from; nothing where it is None."""
        if self.init_from is None:
            return {}
        weights.check_part(weights.locate(self.init_from), "vae")
        return weights.open_component(self.init_from, "vae")[1]

    def train_data(self, share: Share = WHOLE) -> Iterable[dict[str, Any]]:
        """Batches of clips and references, shuffled, without end."""
        return clip_loader(
            self.data,
            "train",
            self.loader,
            self.frames,
            with_references=True,
            side=self.crop,
            share=share,
            stride=self.model.temporal_stride,
        )

    def validation_data(self, share: Share = WHOLE) -> Iterator[dict[str, Any]]:
        """The first eight batches of the validation split."""
        loader = dataclasses.replace(self.loader, shuffle=False)
        batches = clip_loader(
            self.data,
            "validation",
            loader,
            self.frames,
            with_references=True,
            share=share,
            stride=self.model.temporal_stride,
        )
        yield from itertools.islice(batches, 8)

    def sample(self, params: dict) -> dict[str, np.ndarray]:
        """Validation clips beside their reconstructions."""
        video = next(iter(self.validation_data()))["video"]
        apply = jax.jit(lambda p, x: VAE(self.model).apply({"params": p}, x))
        output = np.asarray(apply(params, video.astype(np.float32) / 127.5 - 1))
        pixels = ((output + 1) * 127.5 + 0.5).astype(np.uint8)
        return {
            f"clip{i}": np.concatenate(pair, axis=2)
            for i, pair in enumerate(zip(video, pixels, strict=True))
        }

    def export(self, params: dict, directory: Path) -> None:
        """Writes the autoencoder with the statistics of its latents on the validation clips.

        They are those of samples of the posterior: a channel that hardly says anything is not
        blown up to the size of the others.
        """
        moments = jax.jit(
            lambda p, x: VAE(self.model).apply({"params": p}, x / 127.5 - 1, method="moments")
        )
        found = []
        for batch in self.validation_data():
            for pixels in (batch["video"], _stills(batch["references"])):
                mean, log_variance = moments(params, pixels.astype(np.float32))
                pair = np.stack([mean, np.exp(log_variance)])
                found.append(pair.reshape(2, -1, self.model.z_dim))
        means, variances = np.concatenate(found, axis=1)
        center = means.mean(axis=0)
        spread = np.sqrt(means.var(axis=0) + variances.mean(axis=0))
        mean, std = (tuple(round(float(v), 4) for v in x) for x in (center, spread))
        config = dataclasses.replace(self.model, latents_mean=mean, latents_std=std)
        weights.save(directory, "vae", config, params, dtype=self.storage)

    def label(self, path: str) -> str:
        """All parameters are in one group."""
        return "all"


def _stills(references: Any) -> Any:
    """The views [b r v h w 3] of each clip's first subject, as clips of one frame [n 1 h w 3]."""
    return references[:, 0].reshape(-1, 1, *references.shape[3:])


def random_crop(
    key: jax.Array, video: Num[Array, "b f h w c"], side: int
) -> Num[Array, "b f side side c"]:
    """A square window of every video, the same in all its frames."""
    b, f, h, w, c = video.shape
    corners = jax.random.randint(key, (b, 2), 0, jnp.asarray([h, w])[None] - side + 1)

    def window(x: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(x, (0, corner[0], corner[1], 0), (f, side, side, c))

    return jax.vmap(window)(video, corners)


def edge_loss(a: Float[Array, "b f h w c"], b: Float[Array, "b f h w c"]) -> Float[Array, ""]:
    """Mean absolute difference of neighbouring-pixel differences: keeps outlines sharp."""
    total = sum(jnp.abs(jnp.diff(a - b, axis=axis)).mean() for axis in (2, 3))
    return cast(jax.Array, total) / 2  # the type of `sum` allows for its 0 of an empty sum


def make_vae_task(config: ConfigDict) -> VAETask:
    """The task of a config with these fields; it may do without `storage`."""
    return VAETask(
        model=build(VAEConfig, config.model.to_dict(), "model"),
        data=config.data,
        loader=build(LoaderConfig, config.loader.to_dict(), "loader"),
        frames=config.frames,
        crop=config.crop,
        init_from=config.init_from,
        loss_weights=build(VAELoss, config.loss_weights.to_dict(), "loss_weights"),
        **({"storage": config.storage} if "storage" in config else {}),
    )
