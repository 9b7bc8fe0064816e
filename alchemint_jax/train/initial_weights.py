"""The model that a fine-tune starts from: its weights, and zeros where AlcheMinT adds to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.models.umt5 import UMT5Config
from alchemint_jax.sampling.kinds import kind_of
from alchemint_jax.train.experts import PARTS
from alchemint_jax.weights.directories import holds
from alchemint_jax.weights.index import EXPERTS
from alchemint_jax.weights.tensors import Tensor, in_memory

# Fields that change how a network is computed, but not what; and how positions are said, which no
# parameter depends on: a model can relearn it.
_FREE = {"unroll", "remat", "attention", "scheme", "mix_queries", "layout"}
# Fields that say nothing about a network without references.
_REFERENCES = {"slots", "index", "tags", "reference_time", "learned_timing"}
# What a network with references may do without, and its parameters.
_PARTS = {"index": ("index",), "tags": ("tag_in", "tag_out")}


def initial_tensors(
    directory: Path | str,
    model: DiTConfig,
    text: UMT5Config,
    transformer: Path | str | None = None,
    kind: str | None = None,
    expert: str | None = None,
) -> dict[str, Tensor]:
    """Transformer and text encoder of a model directory, ours or Wan's, by path; nothing is read.

    Where the transformer there has no references, the index embeddings, the output of the word MLP
    and the weights of timing start at zero, and a fresh dense-caption branch ends in zeros already.
    So without references the network is the one it starts from; with them, pictures and words have
    no mark yet, and the backbone sees pictures as further latent frames and words as empty tokens.
    Where `model` has no index embeddings, or no word tags, theirs are left out; where it takes no
    references, all that there is for them.

    Args:
        directory: of the model, or the name of a bundled one.
        model: the transformer to train.
        text: the text encoder.
        transformer: read it from here instead: a file, the index of several, or a folder.
        kind: of published models of subjects (a key of `sampling.kinds.KINDS`), if it is of one.
        expert: of a pair, "high" or "low"; see `train.experts`.

    Raises:
        WeightsError: there is no such model, or it is damaged.
        ConfigError: the networks differ in other ways than that, or than in the scheme and layout
            of positions, which a model can relearn; all differences are listed.
    """
    weights.check_model(located := weights.locate(directory))
    if (pair := holds(located, EXPERTS)) != (expert is not None):
        raise ConfigError(
            f"init_from: {directory} has a pair of experts ({EXPERTS}), of which one is trained at "
            "a time: set expert to 'high' or to 'low'"
            if pair
            else f"expert is set, but init_from: {directory} has one transformer"
        )
    source = directory if transformer is None else transformer
    rule = kind_of(kind)
    if rule:
        rule.refuse_pickle(source)
    part = "transformer" if expert is None else PARTS[expert]
    network, transformer_tensors = weights.open_component(source, part)
    encoder, text_tensors = weights.open_component(directory, "text_encoder")
    old = network.config  # type: ignore[attr-defined]  # `open_component` has checked the class
    if rule and not old.slots:  # else it is one that was trained on from such a model
        rule.config(old, str(source))
    free = _FREE if model.slots and old.slots else _FREE | _REFERENCES
    free = free if old.events else free | {"events"}
    free = free if old.cuts else free | {"cuts"}
    without = {name for name in _PARTS if not getattr(model, name)}
    problems = _differences("model", model, old, free | without)
    problems += _differences("text", text, encoder.config, set())  # type: ignore[attr-defined]
    if problems:
        raise ConfigError(
            "\n  ".join([f"init_from: {source} is another model than the config's:", *problems])
        )
    subjects = "transformer.subjects."
    unused = tuple(f"{subjects}{part}" for name in without for part in _PARTS[name])
    unused = unused if model.slots else (subjects,)
    found = {
        f"{name}.{path}": tensor
        for name, tensors in (("transformer", transformer_tensors), ("text_encoder", text_tensors))
        for path, tensor in tensors.items()
    }
    found = {path: tensor for path, tensor in found.items() if not path.startswith(unused)}
    if model.slots and not old.slots:
        if model.index:
            found["transformer.subjects.index"] = _zeros(model.slots, model.dim)
        if model.tags:
            found["transformer.subjects.tag_out.kernel"] = _zeros(model.dim, model.dim)
        if model.learned_timing:
            found["transformer.subjects.timing"] = _zeros(model.head_dim // 2)
    return found


def _zeros(*shape: int) -> Tensor:
    return in_memory(np.broadcast_to(np.float32(0), shape))


def _differences(where: str, wanted: Any, found: Any, free: set[str]) -> list[str]:
    pairs = {
        f.name: (getattr(wanted, f.name), getattr(found, f.name))
        for f in dataclasses.fields(wanted)
        if f.name not in free
    }
    return [
        f"{where}.{name} is {here!r} here and {there!r} there"
        for name, (here, there) in pairs.items()
        if here != there
    ]
