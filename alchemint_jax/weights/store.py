"""Models on disk: `DIR/{transformer,vae,text_encoder,...}/{config.json,*.safetensors}`.

In our own layout tensors are named by their parameter path joined with dots; `wan` knows those of
others.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import PyTree

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.layers import unboxed
from alchemint_jax.weights import autoencoders, files, signs, wan
from alchemint_jax.weights.configs import config_from_dict, config_to_dict
from alchemint_jax.weights.directories import (
    COMPONENTS,
    LORA,
    changed_by_lora,
    component_folder,
    is_single_file,
    locate,
)
from alchemint_jax.weights.placing import place
from alchemint_jax.weights.tensors import Tensor, in_memory

FORMATS = ("alchemint", "wan-diffusers", "wan")
# Module class name: where it is, and the name of its configuration's class.
_CLASSES = {
    "DiT": ("alchemint_jax.models.dit", "DiTConfig"),
    "VAE": ("alchemint_jax.models.vae", "VAEConfig"),
    "TinyDecoder": ("alchemint_jax.models.vae", "TinyDecoderConfig"),
    "UMT5Encoder": ("alchemint_jax.models.umt5", "UMT5Config"),
    "CLIPVision": ("alchemint_jax.models.clip", "CLIPVisionConfig"),
}
_FOREIGN = {"_class_name", "model_type", "architectures"}  # fields of others' config.json
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def save(
    directory: str | os.PathLike,
    component: str,
    config: Any,
    params: PyTree,
    dtype: str = "float32",
    format: str = "alchemint",
) -> Path:
    """Writes one component; whatever fails, a component that was there before stays readable.

    Tensors are written one at a time, completely beside the component, and then renamed into it.

    Args:
        directory: of the model; made if absent.
        component: a key of `COMPONENTS`.
        config: the module's frozen dataclass, or (in our own format) its fields as a dict.
        params: a pytree of dicts of arrays (Flax's boxes are taken off).
        dtype: storage dtype, "float32", "float16" or "bfloat16"; loading gives float32 again.
        format: "alchemint", "wan-diffusers" (what diffusers and transformers load), or "wan" (a
            transformer in the names of Wan's own files).

    Returns:
        The component's directory.

    Raises:
        WeightsError: the parameters cannot be stored like that, or writing failed.

    Examples:
        >>> import tempfile
        >>> module, params = al.weights.load("sprites", "text_encoder")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = al.weights.save(folder, "text_encoder", module.config, params)
        ...     sorted(path.name for path in written.iterdir())
        ['config.json', 'model.safetensors']

    Source:
        The safetensors format; this repository's layout.
    """
    _check_component(component)
    if dtype not in DTYPES:
        raise WeightsError(f"storage dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    tensors = {}
    for name, leaf in _named(unboxed(params)).items():
        try:
            tensors[name] = in_memory(leaf)
        except WeightsError as e:
            raise WeightsError(f"parameter {name} {e}") from e
    folder = Path(directory) / component
    write_tensors(folder, component, config, tensors, format, dtype=DTYPES[dtype])
    return folder


def write_tensors(
    folder: Path,
    component: str,
    config: Any,
    tensors: Mapping[str, Tensor],
    format: str = "alchemint",
    **options: Any,
) -> None:
    """Writes our parameters, by dotted path, in one of the formats; options as `files.write`.

    Raises:
        WeightsError: the format cannot hold them, or writing failed.
    """
    if format == "alchemint":
        text = json.dumps(_config_json(component, config), indent=2, ensure_ascii=False) + "\n"
        files.write(folder, "model", tensors, {"config.json": text}, **options)
    elif format == "wan-diffusers":
        wan.write(folder, component, config, tensors, **options)
    elif format == "wan" and component in wan.TRANSFORMERS:
        wan.write(folder, component, config, tensors, wan.ORIGINAL, **options)
    elif format == "wan":
        raise WeightsError(f"Wan's own {component} is a pickle, which is not written")
    else:
        raise WeightsError(f"format {format!r} is not one of {', '.join(FORMATS)}")


def read_config(directory: str | os.PathLike, component: str) -> dict[str, Any]:
    """The component's config.json as a dict: ours has a "_class", others their own fields.

    Args:
        directory: a model's directory.
        component: a key of `COMPONENTS`.

    Returns:
        The fields of the file.

    Raises:
        WeightsError: it is missing, unreadable, or of no kind that we know.

    Examples:
        >>> al.weights.read_config(al.weights.locate("sprites"), "vae")["_class"]
        'VAE'

    Source:
        This repository, diffusers and transformers.
    """
    _check_component(component)
    folder = component_folder(Path(directory), component)
    file = folder / "config.json"
    try:
        values = files.read_json(file)
    except FileNotFoundError:
        advice = files.pickle_advice(folder, Path(directory))
        raise WeightsError(f"{file} is missing: {directory} holds no {component}{advice}") from None
    if isinstance(values, dict):
        signs.refuse_quantised(values, str(file))
    # A list, since "_class" may hold anything, also what cannot be hashed.
    if isinstance(values, dict) and values.get("_class") in list(_CLASSES):
        return values
    if isinstance(values, dict) and "_class" not in values and _FOREIGN & values.keys():
        return values
    raise WeightsError(
        f"{file} does not name a model of ours: its '_class' must be one of {', '.join(_CLASSES)} "
        "(or it must be the config.json of a model of Wan)"
    )


def open_component(
    directory: str | os.PathLike, component: str
) -> tuple[nn.Module, dict[str, Tensor]]:
    """A component's module and its tensors by our paths, none of them read yet.

    Args:
        directory: a model's directory (see `locate`), or a single safetensors file (or the index
            of several): a transformer of Wan in diffusers' or the original names, an autoencoder in
            the original ones, or a small decoder in TAEHV's.
        component: a key of `COMPONENTS`.

    Raises:
        WeightsError: the files are missing, corrupt or pickles, or do not fit the configuration.
    """
    _check_component(component)
    if is_single_file(directory):
        return _open_single(Path(directory), component)
    directory = locate(directory)
    values = read_config(directory, component)
    folder = component_folder(directory, component)
    where = str(folder / "config.json")
    if "_class" in values:
        name = values["_class"]
        if name != COMPONENTS[component]:
            raise WeightsError(
                f"{where} describes a {name}, but a {component} is a {COMPONENTS[component]}"
            )
        path, config_name = _CLASSES[name]
        config_class = getattr(importlib.import_module(path), config_name)
        config = config_from_dict(config_class, values, where=where)
        for field in ("latents_mean", "latents_std") if component == "vae" else ():
            if (count := len(getattr(config, field))) != config.z_dim:
                raise WeightsError(
                    f"{where}: {field} has {count} values, but z_dim is {config.z_dim}"
                )
    else:
        config = wan.read_config(folder, component, values)
    module, shapes = _build(config, where)
    if "_class" in values:
        base = changed_by_lora(folder)
        found = files.open_files(files.find(base or folder))
        hint = signs.hint(shapes, found)
        files.compare(folder / "model.safetensors", shapes, found, hint)
        if base is not None:
            from alchemint_jax.weights import lora  # which is built on this

            found = lora.merge(found, lora.load_loras({folder / LORA: 1.0}, config, shapes))
        return module, found
    return module, wan.tensors(folder, wan.layout_of(component, values), config, shapes)


def _open_single(file: Path, component: str) -> tuple[nn.Module, dict[str, Tensor]]:
    if component not in (*wan.TRANSFORMERS, "vae"):
        raise WeightsError(f"{file} is a file; a {component} is read from a model's directory")
    parts = files.indexed(file) if file.name.endswith(".index.json") else [file]
    found = files.open_files(parts)
    config: Any
    if component == "vae":
        config, entries, found = autoencoders.guess(found, file)
    else:
        config, layout = wan.guess_config(found, file)
        found, entries = wan.named(found, layout, config), layout.entries(config)
    module, shapes = _build(config, str(file))
    return module, wan.to_ours(file, entries, shapes, found)


def _build(config: Any, where: str) -> tuple[nn.Module, dict[str, tuple[int, ...]]]:
    name = next(n for n, (_, of) in _CLASSES.items() if of == type(config).__name__)
    module = getattr(importlib.import_module(_CLASSES[name][0]), name)(config)
    try:
        target = module.abstract_params()
    except Exception as e:  # networks of impossible sizes fail in many ways
        problem = str(e).partition("\n")[0]
        raise WeightsError(f"{where}: its fields do not fit together: {problem}") from e
    return module, {path: leaf.shape for path, leaf in _named(target).items()}


def read_params(tensors: Mapping[str, Tensor], target: PyTree) -> PyTree:
    """Reads tensors by dotted path into the structure of `target`, with its dtypes.

    One tensor at a time, so that memory never holds much more than the parameters themselves.

    Args:
        tensors: from `open_component`.
        target: pytree of `jax.ShapeDtypeStruct`, e.g. `module.abstract_params()`. A leaf with a
            sharding is placed accordingly; others go to the default device.
    """
    leaves = [place(tensors[path], leaf, path) for path, leaf in _named(target).items()]
    return jax.tree.unflatten(jax.tree.structure(target), leaves)


def load(directory: str | os.PathLike, component: str) -> tuple[nn.Module, PyTree]:
    """Builds the component's module and reads its float32 parameters.

    Args:
        directory: a directory in our layout or Wan's (`*-Diffusers`, or the original with its
            transformer), a single safetensors file (see `open_component`), or the name of a bundled
            model (see `locate`).
        component: a key of `COMPONENTS`.

    Returns:
        `(module, params)` for `module.apply({"params": params}, ...)`.

    Raises:
        WeightsError: see `locate`, `read_config` and `open_component`.

    Examples:
        >>> module, params = al.weights.load("sprites", "text_encoder")
        >>> ids, mask = jnp.array([[5, 6, 0]]), jnp.array([[True, True, False]])
        >>> module.apply({"params": params}, ids, mask).shape  # [b, l, d]
        (1, 3, 128)

    Source:
        Wan2.1, arXiv 2503.20314, and diffusers, whose layouts are read.
    """
    module, tensors = open_component(directory, component)
    return module, read_params(tensors, module.abstract_params())  # type: ignore[attr-defined]


def _check_component(component: str) -> None:
    if component not in COMPONENTS:
        raise WeightsError(f"unknown component {component!r}; one of {', '.join(COMPONENTS)}")


def _config_json(component: str, config: Any) -> dict[str, Any]:
    name = COMPONENTS[component]
    config_name = _CLASSES[name][1]
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        if type(config).__name__ != config_name:
            raise WeightsError(
                f"a {component} is described by a {config_name}, not a {type(config).__name__}"
            )
        config = config_to_dict(config)
    elif config.get("_class", name) != name:
        raise WeightsError(f"a {component} is a {name}, not a {config['_class']}")
    return {"_class": name, **config}


def _named(tree: PyTree) -> dict[str, Any]:
    """Leaves by dotted path, in the tree's own order."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        parts = [str(getattr(entry, "key", entry)) for entry in path]
        if any("." in part for part in parts):
            raise WeightsError(f"parameter name {parts} contains a dot, which separates names")
        leaves[".".join(parts)] = leaf
    return leaves
