"""Programs and shapes of parameters kept on disk, so that a process need not trace a network again.

JAX keeps what the compiler made. What the compiler is asked is Python's work, which every process
would do again: it is kept here, as StableHLO by `jax.export`, beside what JAX keeps and only where
JAX keeps something (see `compilation.prepare_jax`). A name is a digest of all that a
program depends on: our own source, versions, the kind of device, static arguments, and shapes of
the others. Nothing read here can run code: programs are checked by a digest, and are no pickles.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

_ROOMS = ("models", "ops", "perceive", "rotary", "flow", "sampling", "scene")
_MOST = 256  # files; the least recently used go first
_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_threefry_partitionable",
)


def kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """Calls a jitted function by a program on disk, and writes that where it is missing.

    Static arguments are keywords, and frozen dataclasses, numbers or strings; the function's source
    is in this package. Results are tuples, lists and dicts of arrays. Calls on a mesh, on other
    devices than the first, or within another program, go to the function itself.
    """
    programs: dict[Any, Callable[..., Any]] = {}

    @functools.wraps(function)
    def call(*args: Any, **static: Any) -> Any:
        folder = _folder()
        if folder is None:
            return function(*args, **static)
        leaves, tree = jax.tree.flatten(args)
        if not all(map(_plain, leaves)):
            return function(*args, **static)
        leaves = [x if isinstance(x, jax.Array) else _array(x) for x in leaves]
        # Every step of a solver comes by here: only a program that is new is named for the disk.
        key = (tree, *((x.shape, x.dtype) for x in leaves), *sorted(static.items()), *_settings())
        if key not in programs:
            shapes = [(x.shape, str(x.dtype)) for x in leaves]
            of = f"{function.__module__}.{function.__qualname__}"
            name = _name(of, static, str(tree), shapes)
            flat = jax.jit(lambda *leaves: function(*jax.tree.unflatten(tree, leaves), **static))
            exported = _exported(folder / f"{name}.program", flat, leaves)
            if exported is None:
                return function(*args, **static)
            # Compiled here: results of a call, as inputs of the next one, would compile again.
            spaces = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]
            programs[key] = jax.jit(exported.call).lower(*spaces).compile()
        return programs[key](*leaves)

    return call


def kept_shapes(compute: Callable[[], Any], *of: Any) -> Any:
    """Nested dicts of `jax.ShapeDtypeStruct`, as `compute` makes them of what is described by `of`.

    Raises:
        Exception: whatever `compute` raises.
    """
    folder = _folder()
    if folder is None:
        return compute()
    file = folder / f"{_name(*of)}.json"
    found = _read(file)
    if found is not None:
        return _tree(json.loads(found))
    tree = compute()
    rows = [
        [[entry.key for entry in path], list(leaf.shape), str(leaf.dtype)]
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    _write(file, json.dumps(rows).encode())
    return tree


def described(value: Any) -> Any:
    """A value in words that are the same in every process, fields that `repr` leaves out included.

    Raises:
        TypeError: it is of no kind that has such words.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: getattr(value, name) for name in names if name not in ("parent", "name")}
        return [type(value).__qualname__, described(fields)]
    if isinstance(value, Mapping):
        return [[str(name), described(x)] for name, x in sorted(value.items())]
    if isinstance(value, (tuple, list)):
        return [described(x) for x in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, jax.ShapeDtypeStruct):
        return [list(value.shape), str(value.dtype)]
    return str(np.dtype(value))  # TypeError for anything else


def _folder() -> Path | None:
    """Where programs are kept; None where JAX keeps none, or not on this disk, or on a mesh."""
    config: Any = jax.config  # knows its fields only when it runs
    place = config.jax_compilation_cache_dir
    on = config.jax_enable_compilation_cache and not config.jax_disable_jit
    on = on and jax.sharding.get_abstract_mesh().empty  # on a mesh a program is another one
    return Path(place) / "programs" if place and on and "://" not in place else None


def _plain(leaf: Any) -> bool:
    """Whether it is a number, or an array where new ones go, and no part of another program."""
    if isinstance(leaf, jax.core.Tracer):
        return False
    return not isinstance(leaf, jax.Array) or leaf.devices() == {jax.local_devices()[0]}


def _array(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype))


def _settings() -> list[str]:
    config: Any = jax.config
    return [str(getattr(config, name)) for name in _SETTINGS]


def _name(*of: Any) -> str:
    device = jax.local_devices()[0]
    parts = [_source(), _settings(), device.platform, device.device_kind, described(of)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@functools.cache
def _source() -> str:
    """Digest of what decides about programs: our modules, and versions of what they use."""
    root = Path(__file__).parent
    # As installed: Flax takes a third of a second to import, and perceivers have no use for it.
    versions = [metadata.version(name) for name in ("jax", "jaxlib", "flax")]
    digest = hashlib.sha256(repr(versions).encode())
    paths = [*root.glob("*.py"), *(path for room in _ROOMS for path in (root / room).rglob("*.py"))]
    for path in sorted(paths):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _exported(file: Path, flat: Any, leaves: list[Any]) -> Any:
    """The program of a file, which is made if it is not there; None if it cannot be exported."""
    from jax import export

    try:
        if (data := _read(file)) is not None:
            return export.deserialize(bytearray(data))
        made = export.export(flat)(*leaves)
        _write(file, bytes(made.serialize()))
    except (ValueError, NotImplementedError, ImportError):
        return None  # it has kernels that another version might not run, or flatbuffers is missing
    return made


def _read(file: Path) -> bytes | None:
    """What a file holds behind its digest; None where there is none, or it is damaged."""
    try:
        data = file.read_bytes()
        os.utime(file)
    except OSError:
        return None
    return data[32:] if data[:32] == hashlib.sha256(data[32:]).digest() else None


def _write(file: Path, data: bytes) -> None:
    """Writes a file, whole or not at all; a disk that cannot keep it is done without."""
    partial = file.with_name(f".{secrets.token_hex(6)}.tmp")
    with contextlib.suppress(OSError):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(hashlib.sha256(data).digest() + data)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        found = sorted(file.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for old in found[:-_MOST]:
            old.unlink(missing_ok=True)


def _tree(rows: list[Any]) -> Any:
    """Nested dicts of leaves by their paths."""
    tree: dict[str, Any] = {}
    for path, shape, dtype in rows:
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
    return tree
