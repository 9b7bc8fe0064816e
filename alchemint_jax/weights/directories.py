"""Where models lie: bundled ones by their names, folders, and addresses in a bucket."""

from __future__ import annotations

import os
import re
from pathlib import Path

from alchemint_jax import places
from alchemint_jax.errors import WeightsError
from alchemint_jax.staging import staged
from alchemint_jax.weights import files

BUNDLED = ("sprites", "sprites/pictures", "sprites/events", "sprites/fast", "sprites/untimed")
"""Models inside the package; the second knows pictures only, and has no autoencoder of its own."""
_SHARED = dict.fromkeys(BUNDLED[2:], "sprites")
"""Bundled models whose other components are those of another one."""
LORA = "lora.safetensors"
"""In a bundled model's transformer: what it adds to that of the other one."""
TINY_DECODER = "tiny_decoder.safetensors"
"""In a model's directory: a small decoder of its latents, in TAEHV's layout, for previews."""
COMPONENTS = {
    "transformer": "DiT",
    "transformer_2": "DiT",
    "vae": "VAE",
    "text_encoder": "UMT5Encoder",
    "image_encoder": "CLIPVision",
}
ORIGINAL_PAIR = {"transformer": "high_noise_model", "transformer_2": "low_noise_model"}
"""Folders of the two experts in Wan2.2's own repositories, by component."""
_PARTS = (
    *COMPONENTS,
    *ORIGINAL_PAIR.values(),
    *("tokenizer", "scheduler", "image_processor"),
    *("pipeline.json", "config.json", "model_index.json"),
    "diffusion_pytorch_model.safetensors.index.json",
)
# ORG/NAME, alone or as an address.
_HUB_ID = re.compile(
    r"(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://(?:models/)?)?"
    r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?:tree|blob|resolve)/.*|/)?"
)


def is_single_file(name_or_path: str | os.PathLike) -> bool:
    """Whether this is a file of weights rather than a model; the names in `BUNDLED` never are."""
    return name_or_path not in BUNDLED and Path(name_or_path).is_file()


def in_bucket(model: str | os.PathLike) -> bool:
    """Whether a model is named by an address, and that is not the one of its page on the hub."""
    return places.is_address(model) and not _HUB_ID.fullmatch(os.fspath(model))


def parts(
    model: str | os.PathLike, called: str = "a part of --model:"
) -> list[tuple[str, places.Place]]:
    """The files and folders of a model, bundled or not, that are there, as `check_outputs` takes
    what must stay as it is.

    A video or a report may lie beside them, as other files do: nothing else is read there, and a
    directory that is no model has none.

    Args:
        model: its name or folder.
        called: what messages call each of them.
    """
    return [(called, path) for path in _parts(model)]


def _parts(model: str | os.PathLike) -> list[places.Place]:
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
        folders = (*COMPONENTS, *ORIGINAL_PAIR.values())
        if at_top or any((path / folder).is_dir() for folder in folders):
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
    usual = (component for component in COMPONENTS if component != "transformer_2")
    holding = f"a folder that holds {', '.join(f'{component}/' for component in usual)}"
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


def component_folder(directory: Path, component: str) -> Path:
    """Where a component lies: in a folder of its name, or, in Wan's own repositories, at the top.

    There only the transformer can be read, or both in folders of other names; autoencoder and text
    encoder are pickles. What a bundled model shares with another one lies there.
    """
    folder = directory / component
    original = directory / ORIGINAL_PAIR.get(component, component)
    if not folder.exists() and original.is_dir():
        return original
    if not folder.exists() and (other := _shared(directory)):
        return other / component
    top = component == "transformer" and not folder.exists()
    return directory if top and (directory / "config.json").is_file() else folder


def changed_by_lora(folder: Path) -> Path | None:
    """The folder of the same component in the model to which the LoRA in `folder` is added.

    None where there is no such LoRA: the folder then holds a whole network.
    """
    other = _shared(folder.parent) if (folder / LORA).is_file() else None
    return other / folder.name if other else None


def tiny_decoder(directory: Path) -> Path | None:
    """The small decoder beside a model's weights, or beside those it shares; None without one."""
    found = (folder and folder / TINY_DECODER for folder in (directory, _shared(directory)))
    return next((file for file in found if file and file.is_file()), None)


def _shared(directory: Path) -> Path | None:
    """The bundled model with the other components of a bundled one, if it has not all itself."""
    return next((_bundled(o) for name, o in _SHARED.items() if directory == _bundled(name)), None)


def holds(directory: Path, component: str) -> bool:
    """Whether a model's directory has that component, readable or not."""
    folder = component_folder(directory, component)
    return folder == directory or os.path.lexists(folder)
