"""From a config to the task of a transformer: which of its parts become which dataclass."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from alchemint_jax import rotary
from alchemint_jax.data.loader import Augment, LoaderConfig
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.models.lora import LoraConfig
from alchemint_jax.models.umt5 import UMT5Config
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.solvers import UniPC
from alchemint_jax.train.dit_task import DiTTask
from alchemint_jax.train.dropout import Dropout
from alchemint_jax.train.fields import build


def make_dit_task(config: ConfigDict) -> DiTTask:
    """The task of a config.

    It has what `common_fields` reads, `shift` and `dropout`, and may have `augment`, `train_text`,
    `cached_text`, `first_frame`, `last_frame` and `expert`.
    """
    if config.get("cached_text") and config.get("train_text", True):
        raise ConfigError(
            "train_text is True, but so is cached_text: a text encoder that is not in the step "
            "cannot be trained; set one of them to False"
        )
    optional = ("train_text", "cached_text", "first_frame", "last_frame", "expert")
    return DiTTask(
        **common_fields(config),
        shift=config.shift,
        dropout=build(Dropout, config.dropout.to_dict(), "dropout"),
        augment=build(Augment, config.get("augment", ConfigDict()).to_dict(), "augment"),
        **{name: config[name] for name in optional if name in config},
    )


def common_fields(config: ConfigDict) -> dict[str, Any]:
    """The fields of every task that trains a transformer.

    The config has `model`, `text`, `data`, `vae`, `loader` and `sampling`, and may have `samples`,
    `init_from`, `transformer`, `model_kind`, `lora`, `compute` and `storage`.
    """
    model = config.model.to_dict()
    for name, allowed in NAMED.items():
        if name in model:
            fields = dict(model[name])
            if (chosen := fields.pop("name", None)) not in allowed:
                known = ", ".join(allowed)
                raise ConfigError(f"model.{name}: name is {chosen!r}; use one of {known}")
            model[name] = build(allowed[chosen], fields, f"model.{name}")
    sampling = config.sampling.to_dict()
    sampling["guidance"] = build(Guidance, sampling["guidance"], "sampling.guidance")
    if sampling.get("guidance_low") is not None:
        low = build(Guidance, sampling["guidance_low"], "sampling.guidance_low")
        sampling["guidance_low"] = low
    if "unipc" in sampling:
        sampling["unipc"] = build(UniPC, sampling["unipc"], "sampling.unipc")
    return {
        "model": build(DiTConfig, model, "model"),
        "text": build(UMT5Config, config.text.to_dict(), "text"),
        "data": config.data,
        "vae": config.vae,
        "loader": build(LoaderConfig, config.loader.to_dict(), "loader"),
        "sampling": build(settings.Settings, sampling, "sampling"),
        "lora": build(LoraConfig, config.lora.to_dict(), "lora") if config.get("lora") else None,
        **{name: config[name] for name in _OPTIONAL if name in config},
    }


_OPTIONAL = ("samples", "init_from", "transformer", "model_kind", "compute", "storage")

NAMED: dict[str, dict[str, Any]] = {
    "scheme": rotary.SCHEMES,
    "layout": {"ReferenceLayout": rotary.ReferenceLayout},
}
"""Parts of `model` that say by their `name` which class they are of; the first one by default."""
