"""Networks of a pipeline that may come from elsewhere than its model, or in a pair."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import cast

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.vae import VAE, TinyDecoder
from alchemint_jax.weights import lora
from alchemint_jax.weights.directories import TINY_DECODER, holds, tiny_decoder
from alchemint_jax.weights.index import EXPERTS

Source = str | os.PathLike[str]
TINY = "tiny"
"""Instead of a path of an autoencoder: the small decoder beside the model's weights."""


def load_autoencoder(
    directory: Path, source: Source | None
) -> tuple[VAE, dict, tuple[TinyDecoder, dict] | None]:
    """The autoencoder of a model, or the one at `source`; and a small decoder, if that is one.

    A small decoder cannot encode pictures: the model's own autoencoder does. "tiny" is the small
    decoder beside the model's weights.

    Raises:
        WeightsError: there is none, or it is damaged.
    """
    if source == TINY:
        source = tiny_decoder(directory)
        if source is None:
            raise WeightsError(
                f"{directory} has no small decoder ({TINY_DECODER}); give the file of one instead "
                f"of '{TINY}', or './{TINY}' for a folder of that name"
            )
    module, params = weights.load(directory if source is None else source, "vae")
    if not isinstance(module, TinyDecoder):
        return cast(VAE, module), params, None
    vae, vae_params = weights.load(directory, "vae")
    return cast(VAE, vae), vae_params, (module, params)


def load_tiny(directory: Path) -> tuple[TinyDecoder, dict] | None:
    """The small decoder beside a model's weights, with its parameters; None without one.

    Raises:
        WeightsError: the file is damaged, or of something else.
    """
    file = tiny_decoder(directory)
    if file is None:
        return None
    module, params = weights.load(file, "vae")
    if not isinstance(module, TinyDecoder):
        raise WeightsError(f"{file}: holds no small decoder")
    return module, params


def load_low(
    directory: Path, source: Source | None, plain: DiTConfig, dit: DiT, loras: lora.Given | None
) -> dict | None:
    """Parameters of the expert of the last steps; None where the model has only one transformer.

    Args:
        directory: of the model.
        source: read it from here instead.
        plain: configuration of the expert of the first steps, as it is stored.
        dit: that expert, as it is used.
        loras: for this expert.

    Raises:
        WeightsError: it is damaged, or another network than the first one.
        ConfigError: something is given for a second transformer, and there is none.
    """
    if not holds(directory, EXPERTS):
        for what, given in (("a second transformer", source), ("LoRAs", loras)):
            if given:
                raise ConfigError(
                    f"{directory} has one transformer; {what} for {EXPERTS} cannot be used: give "
                    "the folder of a model of two experts (Wan2.2's A14B)"
                )
        return None
    where = directory if source is None else source
    module, tensors = weights.open_component(where, EXPERTS)
    config = cast(DiT, module).config
    names = [field.name for field in dataclasses.fields(plain)]
    differing = [name for name in names if getattr(config, name) != getattr(plain, name)]
    if differing:
        pairs = (
            f"{name} {getattr(config, name)}, not {getattr(plain, name)}" for name in differing
        )
        raise WeightsError(
            f"{where}: {EXPERTS} is another network than transformer ({'; '.join(pairs)}); both "
            "must come from the same model"
        )
    if loras:
        shapes = {path: tensor.shape for path, tensor in tensors.items()}
        tensors = lora.merge(tensors, lora.load_loras(loras, dit.config, shapes))
    return weights.read_params(tensors, dit.held_params())
