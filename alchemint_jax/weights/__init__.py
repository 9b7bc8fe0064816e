"""Weights on disk: safetensors in and out, and the bundled models."""

# ruff: noqa: F401
from alchemint_jax.weights.configs import config_from_dict, config_to_dict
from alchemint_jax.weights.convert import carry, convert, left_out
from alchemint_jax.weights.directories import (
    BUNDLED,
    COMPONENTS,
    component_folder,
    locate,
    no_model,
    parts,
)
from alchemint_jax.weights.index import (
    check_bytes,
    check_model,
    check_part,
    read_pair,
    tokenizer_folder,
)
from alchemint_jax.weights.store import (
    FORMATS,
    load,
    open_component,
    read_config,
    read_params,
    save,
)

__all__ = ["BUNDLED", "convert", "load", "locate", "read_config", "save"]
"""What users may rely on; other rooms of the package use the rest as well."""
