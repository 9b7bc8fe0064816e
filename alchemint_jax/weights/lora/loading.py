"""Reads a LoRA: what each tensor of a file changes, all of it checked before anything is merged."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.weights import files
from alchemint_jax.weights.layouts.moves import Entry
from alchemint_jax.weights.lora import changes, names, settings, strangers
from alchemint_jax.weights.lora.changes import Change
from alchemint_jax.weights.lora.names import Site
from alchemint_jax.weights.lora.settings import Settings
from alchemint_jax.weights.tensors import DTYPES, Tensor

Shapes = Mapping[str, tuple[int, ...]]
Place = tuple[str, int | None]  # our parameter, and its row where layers are stacked
_INTEGERS = ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
_MATRICES = "whose matrices do not fit their layer"


@dataclasses.dataclass(frozen=True)
class Lora:
    """What a file adds to a transformer; of `load_lora`.

    Attributes:
        file: the safetensors file.
        changes: by our parameter and the row of it; None where it is not stacked.
    """

    file: Path
    changes: Mapping[Place, Change]


@dataclasses.dataclass
class _Layer:
    """The tensors of one layer, by part, and the name in the file of each."""

    name: str
    site: Site
    tensors: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    names: dict[str, str] = dataclasses.field(default_factory=dict)


def load_lora(path: str | os.PathLike[str], config: DiTConfig, shapes: Shapes) -> Lora:
    """Reads a LoRA for a transformer.

    LoRA, DoRA, LoHa, LoKr and full differences are read, in the names of diffusers, peft, ComfyUI,
    kohya's scripts and LyCORIS. How strongly a product counts is alpha / rank, where alpha is a
    tensor of the layer, or is said in the file's header or in adapter_config.json beside it; 1
    where nothing says so.

    Args:
        path: a safetensors file, or a folder of peft or diffusers with one.
        config: of the transformer it is for.
        shapes: of that transformer's parameters, by path.

    Raises:
        WeightsError: the file is damaged, no LoRA, or does not fit the transformer; or it holds
            numbers that are not finite. All that is wrong is listed at once.
    """
    file = settings.locate(Path(os.path.expanduser(path)))
    found = files.open_files([file])
    if not found:
        raise WeightsError(f"{file} is not a LoRA for this model:\n  it holds no tensors")
    if strangers.is_whole_model(found, config):
        raise WeightsError(f"{file} is a whole transformer and no LoRA: pass it as the model")
    problems: dict[str, list[str]] = {}
    layers = _layers(found, config, problems)
    said = settings.read_settings(file, names.is_kohya(found))
    places: dict[Place, tuple[str, Change]] = {}
    for layer in layers:
        for change in _changes(layer, said, shapes, problems):
            place = (change.entry.path, change.entry.layer)
            if place in places:
                first = places[place][0]
                problems.setdefault("that change what others change as well", []).append(
                    f"{layer.name}, after {first}"
                )
            places[place] = (layer.name, change)
    if problems:
        lines = [f"{file} is not a LoRA for this model:"]
        for kind, of in problems.items():
            lines += files.listing(kind, of)
        sizes = {name: tensor.shape for name, tensor in found.items()}
        hints = {strangers.other_inputs(name, size, config) for name, size in sizes.items()}
        lines += filter(None, [strangers.other_size(sizes, config), *sorted(hints)])
        raise WeightsError("\n".join(lines))
    for tensor in found.values():  # what is not finite is refused now, not when it is merged
        tensor.read()
    return Lora(file, {place: change for place, (_, change) in places.items()})


def _layers(
    found: Mapping[str, Tensor], config: DiTConfig, problems: dict[str, list[str]]
) -> list[_Layer]:
    """The tensors of a file by layer; what has no place is among the problems."""
    known = names.sites(config)
    layers: dict[Place, _Layer] = {}
    unread: set[Place] = set()
    for name, tensor in found.items():
        bare, part = names.split(name)
        site = known.get(bare)
        kind, line = "", f"{name} {list(tensor.shape)}"
        if not part or site is None or not _has(site, part):
            kind = strangers.what_it_is(name, known, config)
        elif tensor.dtype.startswith("F8"):
            kind = "in 8 bits, which are not read (fetch the bf16, fp16 or fp32 edition)"
            unread.add(site.key)
        elif tensor.dtype not in DTYPES and not (part == "alpha" and tensor.dtype in _INTEGERS):
            kind, line = "that are not floating point", f"{line} {tensor.dtype}"
            unread.add(site.key)
        else:
            layer = layers.setdefault(site.key, _Layer(bare, site))
            layer.site = layer.site | site
            if part in layer.tensors:
                kind, line = "that are there twice", f"{name} and {layer.names[part]}"
            layer.tensors[part], layer.names[part] = tensor, name
        if kind:
            problems.setdefault(kind, []).append(line)
    # Of a layer whose tensors are not all read nothing else can be said that is true.
    return [layer for place, layer in layers.items() if place not in unread]


def _has(site: Site, part: str) -> bool:
    if part in ("diff of bias", "bias of b"):
        return site.bias is not None
    return (site.modulation if part == "diff of modulation" else site.weight) is not None


def _changes(
    layer: _Layer,
    said: Settings,
    shapes: Shapes,
    problems: dict[str, list[str]],
) -> list[Change]:
    """What the tensors of a layer change."""
    tensors, site = layer.tensors, layer.site

    def bad(kind: str, why: str) -> list[Change]:
        problems.setdefault(kind, []).append(f"{layer.name}: {why}")
        return []

    kinds = [kind for kind, of in changes.KINDS.items() if tensors.keys() & {*of}]
    if len(kinds) > 1:
        return bad("that are changed in two ways at once", " and ".join(kinds))
    found = []
    scale = 1.0
    if kinds:
        assert site.weight is not None
        factors = {p: tensors[p] for p in changes.KINDS[kinds[0]] if p in tensors}
        magnitude = tensors.get("magnitude")
        sizes = {part: x.shape for part, x in factors.items()}
        whole = sizes if magnitude is None else sizes | {"magnitude": magnitude.shape}
        if why := changes.misfit(whole, site.weight.foreign_shape(shapes[site.weight.path])):
            return bad(_MATRICES, why)
        if said.dora and magnitude is None:
            return bad(_MATRICES, f"there are no magnitudes, but {said.where} says DoRA")
        try:
            scale = 1.0 if kinds == ["full difference"] else _scale(layer, said, sizes)
        except WeightsError as e:
            return bad("whose strength is not clear", str(e))
        found.append(Change(site.weight, factors, scale, magnitude))
    elif lonely := [p for p in ("alpha", "magnitude", "bias of b") if p in tensors]:
        return bad(_MATRICES, f"there is {lonely[0]}, but no matrix that it is for")
    others: dict[str, tuple[Entry | None, float]] = {
        "diff of bias": (site.bias, 1.0),
        "bias of b": (site.bias, scale),
        "diff of modulation": (site.modulation, 1.0),
    }
    for part, (entry, factor) in others.items():
        if part not in tensors:
            continue
        assert entry is not None
        sizes = {"diff": tensors[part].shape}
        if why := changes.misfit(sizes, entry.foreign_shape(shapes[entry.path])):
            bad(_MATRICES, f"{part}: {why}")
        else:
            found.append(Change(entry, {"diff": tensors[part]}, factor))
    return found


def _scale(layer: _Layer, said: Settings, sizes: Mapping[str, tuple[int, ...]]) -> float:
    """Factor of the product of matrices of these sizes.

    Raises:
        WeightsError: alpha is no finite number, or the rank is not what it is said to be.
    """
    rank = changes.rank(sizes)
    alpha = layer.tensors.get("alpha")
    if alpha is None:
        return said.scale(layer.name, rank)
    if alpha.shape not in ((), (1,)):
        raise WeightsError(f"alpha is {list(alpha.shape)}, not one number")
    value = float(np.asarray(alpha.read(), np.float64).reshape(()))
    return 1.0 if rank is None else value / rank
