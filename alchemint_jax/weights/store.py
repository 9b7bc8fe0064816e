"""Models on disk: `DIR/{transformer,vae,text_encoder,...}/{config.json,*.safetensors}`.

In our own layout tensors are named by their parameter path joined with dots; `wan` knows those of
others.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import PyTree

from alchemint_jax import places
from alchemint_jax.errors import WeightsError
from alchemint_jax.models.layers import unboxed
from alchemint_jax.staging import staged
from alchemint_jax.weights import files, signs, wan
from alchemint_jax.weights.configs import config_from_dict, config_to_dict
from alchemint_jax.weights.placing import place
from alchemint_jax.weights.tensors import Tensor, in_memory

BUNDLED = ("sprites", "sprites/pictures", "sprites/events")
"""Models inside the package; the second knows pictures only, and has no autoencoder of its own."""
_SHARED = {"sprites/events": "sprites"}
"""Bundled models whose other components are those of another one."""
COMPONENTS = {
    "transformer": "DiT",
    "vae": "VAE",
    "text_encoder": "UMT5Encoder",
    "image_encoder": "CLIPVision",
}
_PARTS = (
    *COMPONENTS,
    *("tokenizer", "scheduler", "image_processor"),
    *("pipeline.json", "config.json", "model_index.json"),
    "diffusion_pytorch_model.safetensors.index.json",
)
FORMATS = ("alchemint", "wan-diffusers", "wan")
# Module class name: where it is, and the name of its configuration's class.
_CLASSES = {
    "DiT": ("alchemint_jax.models.dit", "DiTConfig"),
    "VAE": ("alchemint_jax.models.vae", "VAEConfig"),
    "UMT5Encoder": ("alchemint_jax.models.umt5", "UMT5Config"),
    "CLIPVision": ("alchemint_jax.models.clip", "CLIPVisionConfig"),
}
_FOREIGN = {"_class_name", "model_type", "architectures"}  # fields of others' config.json
# ORG/NAME, alone or as an address.
_HUB_ID = re.compile(
    r"(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://(?:models/)?)?"
    r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?:tree|blob|resolve)/.*|/)?"
)
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def is_single_file(name_or_path: str | os.PathLike) -> bool:
    """Whether this is a file of weights rather than a model; the names in `BUNDLED` never are."""
    return name_or_path not in BUNDLED and Path(name_or_path).is_file()


def in_bucket(model: str | os.PathLike) -> bool:
    """Whether a model is named by an address, and that is not the one of its page on the hub."""
    return places.is_address(model) and not _HUB_ID.fullmatch(os.fspath(model))


def parts(model: str | os.PathLike) -> list[places.Place]:
    """The files and folders of a model, bundled or not, that are there: what must stay as it is.

    Other things that its directory holds are not among them, nor is a directory that is no model.
    """
    if in_bucket(model):
        return [places.place(model)]
    root = locate(model) if model in BUNDLED else Path(os.path.expanduser(model))
    if not root.is_dir():
        return [root] if root.exists() else []
    weights = sorted(root.glob("*.safetensors"))
    return weights + [root / name for name in _PARTS if (root / name).exists()]


def locate(name_or_dir: str | os.PathLike) -> Path:
    """The directory of a model: a bundled one by its name, or an existing directory.

    The strings in `BUNDLED` are bundled models; write "./sprites" or a `Path` for a directory that
    happens to be called so. Of an address, such as gs://bucket/model, it is a local copy.

    Args:
        name_or_dir: the name or the directory.

    Returns:
        An existing directory.

    Raises:
        WeightsError: it is neither.

    Examples:
        >>> al.weights.locate("sprites").name
        'sprites'

    Source:
        This repository.
    """
    if isinstance(name_or_dir, str) and name_or_dir in BUNDLED:
        path = _bundled(name_or_dir)
        if not path.is_dir():
            raise WeightsError(
                f"the bundled model {name_or_dir!r} is not in this installation ({path} is "
                "missing); reinstall the package, or pass a directory of weights"
            )
        return path
    if in_bucket(name_or_dir):
        return locate(staged(name_or_dir))
    path = Path(os.path.expanduser(name_or_dir))  # ~nobody stays as it is
    if path.is_dir():
        at_top = (path / "config.json").is_file()  # the original's transformer
        if at_top or any((path / component).is_dir() for component in COMPONENTS):
            return path
        if advice := _cache_advice(path):
            raise WeightsError(f"{path} {advice}")
        parts = ", ".join(f"{component}/" for component in COMPONENTS)
        raise WeightsError(f"{path} holds none of {parts}{files.pickle_advice(path)}")
    raise WeightsError(f"no model at {str(name_or_dir)!r}: it is {no_model(name_or_dir)}")


def no_model(name: str | os.PathLike) -> str:
    """What a name is not that is neither a bundled model's nor a directory, and what to give."""
    said, text = (
        f"neither {' or '.join(map(repr, BUNDLED))} (bundled models) nor a folder",
        str(name),
    )
    holding = f"a folder that holds {', '.join(f'{c}/' for c in COMPONENTS)}"
    if os.path.isfile(os.path.expanduser(text)):
        return (
            f"{said} but a single file; a model is {holding}: give the folder of the whole model "
            "(a LoRA belongs beside its base model, and a transformer alone needs the other parts)"
        )
    if hub := _HUB_ID.fullmatch(text):
        model = hub[1]
        return (
            f"{said}; if it is the name of a model on the Hugging Face hub, download that with the "
            f"hub's own tool (`hf download {model} --local-dir {model.partition('/')[2]}`), and "
            "give the folder"
        )
    return f"{said}; give {holding}"


def _cache_advice(path: Path) -> str:
    """Where to look in the cache of the Hugging Face hub, if `path` is above a model there."""
    if path.name == "snapshots":
        path = path.parent
    models = sorted(p for p in path.iterdir() if p.name.startswith("models--"))
    roots = [path] if (path / "snapshots").is_dir() else models
    found = sorted(p for root in roots for p in root.glob("snapshots/*") if p.is_dir())
    if found:
        which = " or ".join(map(str, found[:3]))
        return f"is a cache of the hub, in which a model is a snapshot: pass {which}"
    return "is a cache of the hub without any snapshot: fetch the model" if roots else ""


def _bundled(name: str) -> Path:
    return Path(__file__).resolve().parents[1] / "bundled" / name


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
    elif format == "wan" and component == "transformer":
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
        "(or it must be the config.json of a Wan2.1 model)"
    )


def component_folder(directory: Path, component: str) -> Path:
    """Where a component lies: in a folder of its name, or, in Wan's own repositories, at the top.

    There only the transformer can be read; autoencoder and text encoder are pickles. What a bundled
    model shares with another one lies there.
    """
    folder = directory / component
    if not folder.exists():
        for name, other in _SHARED.items():
            if directory == _bundled(name):
                return _bundled(other) / component
    top = component == "transformer" and not folder.exists()
    return directory if top and (directory / "config.json").is_file() else folder


def holds(directory: Path, component: str) -> bool:
    """Whether a model's directory has that component, readable or not."""
    folder = component_folder(directory, component)
    return folder == directory or os.path.lexists(folder)


def open_component(
    directory: str | os.PathLike, component: str
) -> tuple[nn.Module, dict[str, Tensor]]:
    """A component's module and its tensors by our paths, none of them read yet.

    Args:
        directory: a model's directory (see `locate`), or a single safetensors file with a
            transformer of Wan2.1 in diffusers' or the original names.
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
    module, shapes = _build(component, config, where)
    if "_class" in values:
        found = files.open_files(files.find(folder))
        hint = signs.hint(shapes, found)
        files.compare(folder / "model.safetensors", shapes, found, hint)
        return module, found
    return module, wan.tensors(folder, wan.layout_of(component, values), config, shapes)


def _open_single(file: Path, component: str) -> tuple[nn.Module, dict[str, Tensor]]:
    if component != "transformer":
        raise WeightsError(f"{file} is a file; a {component} is read from a model's directory")
    found = files.open_files([file])
    config, layout = wan.guess_config(found, file)
    module, shapes = _build(component, config, str(file))
    found = wan.named(found, layout, config)
    return module, wan.to_ours(file, layout.entries(config), shapes, found)


def _build(component: str, config: Any, where: str) -> tuple[nn.Module, dict[str, tuple[int, ...]]]:
    name = COMPONENTS[component]
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
            transformer), a single safetensors file with a transformer, or the name of a bundled
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
