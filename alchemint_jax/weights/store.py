"""Our own layout: `DIR/{transformer,vae,text_encoder}/{config.json,model.safetensors}`.

Tensors are named by their parameter path joined with dots. Only safetensors is read, through a
memory map; pickles are refused, since loading one runs whatever code its author put in.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.layers import unboxed
from alchemint_jax.weights.configs import config_from_dict, config_to_dict

BUNDLED = ("sprites",)
COMPONENTS = {"transformer": "DiT", "vae": "VAE", "text_encoder": "UMT5Encoder"}
# Module class name: where it is, and the name of its configuration's class.
_CLASSES = {
    "DiT": ("alchemint_jax.models.dit", "DiTConfig"),
    "VAE": ("alchemint_jax.models.vae", "VAEConfig"),
    "UMT5Encoder": ("alchemint_jax.models.umt5", "UMT5Config"),
}
_DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_READABLE = {"F64", "F32", "F16", "BF16"}
_PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle")
_SHOWN = 20  # offending tensors listed per kind


def locate(name_or_dir: str | os.PathLike) -> Path:
    """The directory of a model: a bundled one by its name, or an existing directory.

    The string "sprites" is the bundled model; write "./sprites" or a `Path` for a directory that
    happens to be called so.

    Raises:
        WeightsError: it is neither.
    """
    if isinstance(name_or_dir, str) and name_or_dir in BUNDLED:
        path = Path(__file__).resolve().parents[1] / "bundled" / name_or_dir
        if not path.is_dir():
            raise WeightsError(
                f"the bundled model {name_or_dir!r} is not in this installation ({path} is "
                "missing); reinstall the package, or pass a directory of weights"
            )
        return path
    path = Path(name_or_dir).expanduser()
    if path.is_dir():
        if any((path / component).is_dir() for component in COMPONENTS):
            return path
        parts = ", ".join(f"{component}/" for component in COMPONENTS)
        raise WeightsError(f"{path} holds none of {parts}{_pickle_advice(path)}")
    raise WeightsError(
        f"no model at {str(name_or_dir)!r}: pass {' or '.join(map(repr, BUNDLED))} (bundled), or "
        f"a directory holding {', '.join(f'{c}/' for c in COMPONENTS)} "
        "with config.json and model.safetensors in each"
    )


def save(
    directory: str | os.PathLike,
    component: str,
    config: Any,
    params: PyTree,
    dtype: str = "float32",
) -> Path:
    """Write one component; whatever fails, a component that was there before stays readable.

    Both files are written completely beside the component and then renamed into it.

    Args:
        directory: of the model; made if absent.
        component: "transformer", "vae" or "text_encoder".
        config: the module's frozen dataclass, or its fields as a dict.
        params: a pytree of dicts of arrays (Flax's boxes are taken off).
        dtype: storage dtype, "float32", "float16" or "bfloat16"; loading gives float32 again.

    Returns:
        The component's directory.

    Raises:
        WeightsError: the parameters cannot be stored like that, or writing failed.
    """
    _check_component(component)
    if dtype not in _DTYPES:
        raise WeightsError(f"storage dtype {dtype!r} is not one of {', '.join(_DTYPES)}")
    text = json.dumps(_config_json(component, config), indent=2, ensure_ascii=False) + "\n"
    tensors = {k: _stored(k, v, _DTYPES[dtype]) for k, v in _named(unboxed(params)).items()}
    target = Path(directory) / component
    temporary = None
    try:
        target.mkdir(parents=True, exist_ok=True)
        # A directory of our own, since the safetensors writer makes further temporary files.
        temporary = Path(tempfile.mkdtemp(prefix=f".{component}.", suffix=".tmp", dir=directory))
        config_file, model_file = temporary / "config.json", temporary / "model.safetensors"
        config_file.write_text(text, encoding="utf-8")
        save_file(tensors, model_file, metadata={"format": "alchemint"})
        shutil.copymode(config_file, model_file)  # the writer makes it private; follow the umask
        for file in (config_file, model_file):
            _flush(file)
        os.replace(model_file, target / "model.safetensors")
        os.replace(config_file, target / "config.json")
    except (OSError, SafetensorError) as e:
        raise WeightsError(f"cannot write weights to {target}: {e}") from e
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def read_config(directory: str | os.PathLike, component: str) -> dict[str, Any]:
    """The component's config.json as a dict with its "_class".

    Raises:
        WeightsError: it is missing, unreadable, or not one of ours.
    """
    _check_component(component)
    file = Path(directory) / component / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        advice = _pickle_advice(file.parent, Path(directory))
        raise WeightsError(f"{file} is missing: {directory} holds no {component}{advice}") from None
    except OSError as e:
        raise WeightsError(f"cannot read {file}: {e}") from e
    except ValueError as e:  # bad JSON or bad UTF-8
        raise WeightsError(f"{file} is not valid JSON: {e}") from e
    # A list, since "_class" may hold anything, also what cannot be hashed.
    if isinstance(values, dict) and values.get("_class") in list(_CLASSES):
        return values
    foreign = isinstance(values, dict) and "_class" not in values
    raise WeightsError(
        f"{file} does not name a model of ours: its '_class' must be one of {', '.join(_CLASSES)}"
        + ("; weights of other projects, in their own format, cannot be read" if foreign else "")
    )


def read_params(directory: str | os.PathLike, component: str, target: PyTree) -> PyTree:
    """Read the component's parameters into the structure of `target`, as float32 arrays.

    Args:
        directory: of the model.
        component: "transformer", "vae" or "text_encoder".
        target: pytree of `jax.ShapeDtypeStruct`, e.g. `module.abstract_params()`. A leaf with a
            sharding is placed accordingly, one tensor at a time; others go to the default device.

    Raises:
        WeightsError: the file is missing, corrupt or a pickle, or any tensor is missing,
            unexpected or misshapen; all of them are listed.
    """
    _check_component(component)
    file = Path(directory) / component / "model.safetensors"
    if not file.is_file():
        raise WeightsError(f"{file} is missing{_pickle_advice(file.parent, Path(directory))}")
    wanted = _named(target)
    try:
        with safe_open(file, framework="np") as f:
            slices = {name: f.get_slice(name) for name in f.keys()}  # noqa: SIM118 (not a dict)
            found = {name: (tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
            _compare(file, wanted, found)
            arrays = [_place(f.get_tensor(name), leaf) for name, leaf in wanted.items()]
    except (SafetensorError, OSError) as e:
        raise WeightsError(
            f"{file} is truncated or not a safetensors file ({e}); fetch or save it again"
        ) from e
    return jax.tree.unflatten(jax.tree.structure(target), arrays)


def load(directory: str | os.PathLike, component: str) -> tuple[nn.Module, PyTree]:
    """Build the component's module and read its float32 parameters.

    Args:
        directory: a directory in our layout, or the name of a bundled model (see `locate`).
        component: "transformer", "vae" or "text_encoder".

    Returns:
        `(module, params)` for `module.apply({"params": params}, ...)`.

    Raises:
        WeightsError: see `locate`, `read_config` and `read_params`.
    """
    directory = locate(directory)
    values = read_config(directory, component)
    name = values["_class"]
    if name != COMPONENTS[component]:
        raise WeightsError(
            f"{directory / component / 'config.json'} describes a {name}, but a {component} is "
            f"a {COMPONENTS[component]}"
        )
    path, config_name = _CLASSES[name]
    models = importlib.import_module(path)
    where = str(directory / component / "config.json")
    config = config_from_dict(getattr(models, config_name), values, where=where)
    module = getattr(models, name)(config)
    try:
        target = module.abstract_params()
    except Exception as e:  # networks of impossible sizes fail in many ways
        problem = str(e).partition("\n")[0]
        raise WeightsError(f"{where}: its fields do not fit together: {problem}") from e
    return module, read_params(directory, component, target)


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


def _stored(name: str, leaf: Any, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, np.floating):
        raise WeightsError(f"parameter {name} is {array.dtype}; only floating point is stored")
    with np.errstate(over="ignore"):  # reported below
        stored = np.asarray(array, dtype, order="C")
    if dtype.itemsize < 4 and not np.isfinite(stored[np.isfinite(array)]).all():
        raise WeightsError(
            f"parameter {name} does not fit {dtype}: the largest magnitude is "
            f"{np.nanmax(np.abs(array)):.3g}; store bfloat16 or float32"
        )
    return stored


def _flush(file: Path) -> None:
    with open(file, "rb") as f:
        os.fsync(f.fileno())


def _place(array: np.ndarray, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    array = array.astype(np.float32)
    return jnp.asarray(array) if leaf.sharding is None else jax.device_put(array, leaf.sharding)


def _pickle_advice(*folders: Path) -> str:
    """What to do where safetensors was expected; it depends on whether pickles are there."""
    names = sorted(
        p.name for d in folders if d.is_dir() for p in d.iterdir() if p.suffix.lower() in _PICKLES
    )
    if not names:
        return "; save the component with alchemint_jax.weights.save, or check the directory"
    return (
        f"; pickled weights ({', '.join(names[:3])}) are never loaded, since unpickling runs "
        "code from the file: only safetensors written by `alchemint train` or "
        "alchemint_jax.weights.save are read"
    )


def _compare(
    file: Path,
    wanted: Mapping[str, jax.ShapeDtypeStruct],
    found: Mapping[str, tuple[tuple[int, ...], str]],
) -> None:
    shared = [name for name in wanted if name in found]
    kinds = {
        "missing": [f"{n} {list(wanted[n].shape)}" for n in wanted if n not in found],
        "unexpected": [f"{n} {list(found[n][0])}" for n in found if n not in wanted],
        "of another shape": [
            f"{n}: file {list(found[n][0])}, model {list(wanted[n].shape)}"
            for n in shared
            if found[n][0] != tuple(wanted[n].shape)
        ],
        "not floating point": [
            f"{n} {found[n][1]}" for n in shared if found[n][1] not in _READABLE
        ],
    }
    if not any(kinds.values()):
        return
    count = sum(math.prod(leaf.shape) for leaf in wanted.values())
    lines = [f"{file} does not fit the model ({len(wanted)} tensors, {count} parameters):"]
    for kind, names in kinds.items():
        lines += _listing(kind, names)
    lines.append("The file and config.json beside it must come from the same model.")
    raise WeightsError("\n".join(lines))


def _listing(kind: str, names: Iterable[str]) -> list[str]:
    names = sorted(names)
    if not names:
        return []
    more = [f"    ... and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [f"  {len(names)} {kind}:", *(f"    {name}" for name in names[:_SHOWN]), *more]
