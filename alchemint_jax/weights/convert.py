"""A whole model from one format to another, tensor by tensor."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from alchemint_jax.errors import WeightsError
from alchemint_jax.places import local
from alchemint_jax.progress import Progress
from alchemint_jax.weights import directories, files, index, store, wan
from alchemint_jax.weights.tensors import size

CARRIED = ("tokenizer", "scheduler", "image_processor", index.FILE)
"""What belongs to a model in Wan's format beside its networks."""
_MB = 10**6


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    format: str = "wan-diffusers",
    dtype: str | None = None,
    max_shard: int = files.MAX_SHARD,
    progress: bool = False,
) -> list[str]:
    """Writes the model at `source` in another format; nothing else about it changes.

    Tensors are streamed, so memory holds one at a time. `target` appears only when it is whole.

    Args:
        source: a model's directory, a single file with a transformer, or a bundled model's name.
        target: a new directory.
        format: "wan-diffusers", "alchemint", or "wan" (transformers alone, in Wan's names).
        dtype: "float32", "float16" or "bfloat16"; None keeps that of each tensor.
        max_shard: bytes in one file; larger networks are split, with an index.
        progress: whether to show it.

    Returns:
        The components that were written.

    Raises:
        WeightsError: the source cannot be read or cannot be written in that format, or the target
            exists.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = pathlib.Path(folder) / "sprites-diffusers"
        ...     al.weights.convert("sprites", target, dtype="float16")
        ['transformer', 'vae', 'text_encoder']

    Source:
        The layouts of diffusers and transformers; this repository's.
    """
    if format not in store.FORMATS:
        raise WeightsError(f"format {format!r} is not one of {', '.join(store.FORMATS)}")
    if dtype is not None and dtype not in store.DTYPES:
        raise WeightsError(f"dtype {dtype!r} is not one of {', '.join(store.DTYPES)}")
    target = local(target)
    if target.exists() or target.is_symlink():
        raise WeightsError(f"{target} exists already; give a new directory")
    if directories.is_single_file(source):
        root, components = Path(source), ["transformer"]
    else:
        root = directories.locate(source)
        announced = index.check_model(root)
        components = [
            c
            for c in directories.COMPONENTS
            if (directories.holds(root, c) if announced is None else c in announced)
        ]
    if format == "wan":
        components = [c for c in components if c in wan.TRANSFORMERS]
    opened = {c: store.open_component(root, c) for c in components}
    if not opened:
        advice = files.pickle_advice(*(p for p in (root, *root.iterdir()) if p.is_dir()))
        raise WeightsError(f"{source} holds nothing that can be written as {format}{advice}")
    stored = dtype and store.DTYPES[dtype]
    sizes = [size(t, stored) for _, tensors in opened.values() for t in tensors.values()]
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        with Progress(1 + sum(sizes) // _MB, "converting (MB)", quiet=not progress) as bar:
            written = 0

            def count(more: int) -> None:
                nonlocal written
                before, written = written // _MB, written + more
                if written // _MB > before:
                    bar.update(written // _MB)

            for component, (module, tensors) in opened.items():
                folder = temporary / _folder(component, format, len(opened))
                options = dict(dtype=stored, max_shard=max_shard, on_bytes=count)
                store.write_tensors(folder, component, module.config, tensors, format, **options)
            bar.update(bar.total)
        if root.is_dir() and format != "wan":
            carry(root, temporary, [*CARRIED, index.SETTINGS])
        made = index.make_index(temporary, components) if format == "wan-diffusers" else None
        if made and not (temporary / index.FILE).exists():
            text = json.dumps(made, indent=2) + "\n"
            (temporary / index.FILE).write_text(text, encoding="utf-8")
        os.rename(temporary, target)
    except OSError as e:
        raise WeightsError(f"cannot write {target}: {e}") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return components


def _folder(component: str, format: str, transformers: int) -> str:
    """Wan's own repositories have one transformer's files at the top, and those of two beside."""
    if format != "wan":
        return component
    return directories.ORIGINAL_PAIR[component] if transformers > 1 else ""


def left_out(source: str | os.PathLike, format: str) -> list[str]:
    """What of a model's directory holds weights that `convert` does not write."""
    if directories.is_single_file(source):
        return []
    own = wan.TRANSFORMERS if format == "wan" else directories.COMPONENTS
    written = [*own, *directories.ORIGINAL_PAIR.values()]
    found = list(directories.locate(source).iterdir())
    folders = [
        f"{p.name}/" for p in found if p.name not in written and any(p.glob("*.safetensors"))
    ]
    return sorted(folders) + sorted(p.name for p in found if p.suffix.lower() in files.PICKLES)


def carry(source: Path, target: Path, names: Iterable[str] = CARRIED) -> None:
    """Copies files and folders, as they are, from one model's directory to another's."""
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
