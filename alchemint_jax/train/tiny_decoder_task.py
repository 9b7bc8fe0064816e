"""Training a small decoder, in TAEHV's layout, to show what an autoencoder's own decoder shows.

It learns the frames that the teacher makes of latents (see `data.decoded`), so that a preview is of
the video that will be written, the teacher's faults included.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from alchemint_jax import weights
from alchemint_jax.data import decoded
from alchemint_jax.data.loader import LoaderConfig
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.layers import init_params
from alchemint_jax.models.vae import TinyDecoder, TinyDecoderConfig
from alchemint_jax.scene.clock import Clock
from alchemint_jax.train.fields import build
from alchemint_jax.train.vae_task import edge_loss
from alchemint_jax.weights.autoencoders import write_tiny
from alchemint_jax.weights.tensors import Tensor


@dataclasses.dataclass(frozen=True)
class TinyLoss:
    """Weights of the loss terms beside the L1 of pixels.

    They are the L1 of differences between neighbours, the mean square, the mean square of what
    errors change from frame to frame (errors that flicker are seen where others are not), and how
    far the energies of edges and of motion are from the teacher's (see `energy_loss`).
    """

    edges: float = 0.5
    square: float = 20.0
    flicker: float = 10.0
    energy: float = 0.0


@dataclasses.dataclass(frozen=True)
class TinyDecoderTask:
    """Training the decoder.

    `data` is the directory of a set of decoded clips; `cells` is the length of training windows in
    latent frames, and None takes whole clips. `init_from` is the file of a small decoder that a new
    run starts from; None starts from scratch.
    """

    model: TinyDecoderConfig
    data: str
    loader: LoaderConfig
    cells: int | None = None
    loss_weights: TinyLoss = TinyLoss()
    init_from: str | None = None

    def init(self, key: jax.Array) -> dict:
        """Fresh parameters of the decoder."""
        latents = jnp.zeros((1, 1, 1, 1, self.model.z_dim))
        return init_params(TinyDecoder(self.model), key, latents)

    def loss(
        self, params: dict, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict]:
        """How far the decoder's frames are from the teacher's; `psnr` in decibels, clipped."""
        del key
        wanted = batch["video"].astype(jnp.float32) / 127.5 - 1
        tiny: Callable[..., Any] = TinyDecoder(self.model).apply
        found = tiny({"params": params}, batch["latents"], method="reconstruct")
        pixel, edge = jnp.abs(found - wanted).mean(), edge_loss(found, wanted)
        square, weight = jnp.mean((found - wanted) ** 2), self.loss_weights
        changes = jnp.diff(found - wanted, axis=1)
        flicker = jnp.sum(changes**2) / max(1, changes.size)
        energy = energy_loss(found, wanted)
        loss = pixel + weight.edges * edge + weight.square * square
        loss = loss + weight.flicker * flicker + weight.energy * energy
        psnr = -10 * jnp.log10(jnp.mean((jnp.clip(found, -1, 1) - wanted) ** 2) / 4)
        figures = {"l1": pixel, "edges": edge, "flicker": flicker, "energy": energy, "psnr": psnr}
        return loss, figures

    def pretrained(self) -> dict[str, Tensor]:
        """The weights of `init_from`, which a new run starts from; nothing where it is None.

        Raises:
            WeightsError: it is no small decoder.
        """
        if self.init_from is None:
            return {}
        module, tensors = weights.open_component(self.init_from, "vae")
        if not isinstance(module, TinyDecoder):
            raise WeightsError(f"init_from: {self.init_from} is no small decoder")
        return tensors

    def train_data(self, share: Share = WHOLE) -> Iterable[dict[str, Any]]:
        """Batches of clips, shuffled, without end.

        Raises:
            ConfigError: their latents or frames are not those that the model is for.
            DataError: there are none.
        """
        self._check_data()
        return decoded.decoded_loader(self.data, "train", self.loader, self.cells, share)

    def _check_data(self) -> None:
        """Refuses clips of other shapes."""
        shapes = decoded.read_card(self.data)["shapes"]
        (cells, height, _, channels), (frames, pixels, *_) = shapes["latents"], shapes["video"]
        theirs = {"z_dim": channels, "spatial_stride": pixels // height}
        if cells > 1:  # a clip of one latent frame does not say
            theirs["temporal_stride"] = int(Clock.of_latents(1, frames, cells).stride)
        for name, there in theirs.items():
            if there != getattr(self.model, name):
                raise ConfigError(
                    f"model: {name} is {getattr(self.model, name)}, but {there} in the clips in "
                    f"{self.data}; both must have the same latents"
                )

    def validation_data(self, share: Share = WHOLE) -> Iterator[dict[str, Any]]:
        """The first four batches of the validation split."""
        loader = dataclasses.replace(self.loader, shuffle=False)
        batches = decoded.decoded_loader(self.data, "validation", loader, None, share)
        yield from itertools.islice(batches, 4)

    def sample(self, params: dict) -> dict[str, UInt8[np.ndarray, "f h w 3"]]:
        """Validation clips as the teacher decodes them, beside what the decoder shows."""
        batch = next(iter(self.validation_data()))
        tiny: Callable[..., Any] = TinyDecoder(self.model).apply

        @jax.jit
        def decode(params: dict, latents: Float[Array, "b t h w c"]) -> jax.Array:
            shown = tiny({"params": params}, latents, method="decode")
            return (shown * 127.5 + 128).astype(jnp.uint8)

        pairs = zip(batch["video"], np.asarray(decode(params, batch["latents"])), strict=True)
        return {f"clip{i}": np.concatenate(pair, axis=2) for i, pair in enumerate(pairs)}

    def export(self, params: dict, directory: Path) -> None:
        """Writes the decoder as one file, in TAEHV's layout."""
        write_tiny(directory, self.model, params)

    def label(self, path: str) -> str:
        """All parameters are in one group."""
        del path
        return "all"


def energy_loss(
    found: Float[Array, "b f h w c"], wanted: Float[Array, "b f h w c"], side: int = 8
) -> Float[Array, ""]:
    """Mean square of the difference of energies, which is little where both are alike sharp.

    Energies are root mean squares of differences between neighbours, of rows, of columns and of
    successive frames, over the pixels and channels of a window of `side` x `side`. Where details
    are unsure, the least error of pixels is a blur; this one says how much of them there must be.
    Pixels at the margin that fill no window are left out.
    """
    side = min(side, *found.shape[2:4])
    total = jnp.zeros((), found.dtype)
    for axis in (1, 2, 3):
        one, other = (_energies(x, axis, side) for x in (found, wanted))
        total = total + jnp.sum((one - other) ** 2) / max(1, one.size)
    return total


def _energies(
    x: Float[Array, "b f h w c"], axis: int, side: int
) -> Float[Array, "b f2 rows columns"]:
    """Of differences along an axis; behind the last row and column there is none."""
    b, _, h, w, c = x.shape
    rest = [(0, 0)] * 5
    if axis > 1:
        rest[axis] = (0, 1)
    changes = jnp.pad(jnp.diff(x, axis=axis), rest)
    rows, columns = h // side, w // side
    windows = changes[:, :, : rows * side, : columns * side]
    windows = windows.reshape(b, -1, rows, side, columns, side, c)
    return jnp.sqrt(jnp.mean(windows**2, (3, 5, 6)) + _FAINT)


_FAINT = 1e-6  # of a window where nothing changes: its root has a gradient


def make_tiny_decoder_task(config: ConfigDict) -> TinyDecoderTask:
    """The task of a config with these fields."""
    return TinyDecoderTask(
        model=build(TinyDecoderConfig, config.model.to_dict(), "model"),
        data=config.data,
        loader=build(LoaderConfig, config.loader.to_dict(), "loader"),
        cells=config.cells,
        loss_weights=build(TinyLoss, config.loss_weights.to_dict(), "loss_weights"),
        init_from=config.get("init_from"),
    )
