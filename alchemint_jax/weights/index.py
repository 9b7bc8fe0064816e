"""model_index.json: what a directory in the format of diffusers says that it holds.

All that it announces has to be there and to be what we run; anything else is refused by name, since
a model with another part in its place, or without one, still gives a video, only a bad one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.clip.preprocess import MEAN, STD
from alchemint_jax.signatures import mistaken
from alchemint_jax.tokenizers import ByteTokenizer
from alchemint_jax.weights import files
from alchemint_jax.weights.layouts import dit, vae

FILE = "model_index.json"
SETTINGS = "pipeline.json"
"""How a model is used, where it is ours: in such a directory there may be no scheduler."""
PIPELINES = ("WanPipeline", "WanImageToVideoPipeline")
EXPERTS = "transformer_2"
_PAIR = "Wan2.2's pair of experts, and running one of the two alone would look like a bad model"
# Parts, and [library, class] of each; no class where the part's own file alone decides.
_PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "transformer": ("diffusers", (dit.CLASS,)),
    EXPERTS: ("diffusers", (dit.CLASS,)),
    "vae": ("diffusers", (vae.CLASS,)),
    "text_encoder": ("transformers", ("UMT5EncoderModel",)),
    "image_encoder": ("transformers", ("CLIPVisionModel", "CLIPVisionModelWithProjection")),
    "tokenizer": ("transformers", ()),
    "scheduler": ("diffusers", ()),
    "image_processor": ("transformers", ()),
}
_SCHEDULER = "scheduler_config.json"
_PROCESSOR = "preprocessor_config.json"
_NETWORKS = ("transformer", "vae", "text_encoder")
_NONE = (None, False, [None, None])
# Rows of the embedding of an encoder of bytes: as many as there are ids, or, as in ByT5, some more.
_BYTES = range(ByteTokenizer(1).vocab_size, 384 + 1)


def check_model(directory: Path) -> list[str] | None:
    """The parts that a whole model has by its model_index.json; None where there is no such file.

    Raises:
        WeightsError: all that the file announces and is not there, or cannot be run.
    """
    file = directory / FILE
    values = _read(file)
    if values is None:
        # A model of ours says in its settings when one expert hands over to the other.
        if (directory / EXPERTS).is_dir() and not os.path.lexists(directory / SETTINGS):
            raise WeightsError(
                f"{directory} has a {EXPERTS}: it is of {_PAIR}; fetch {FILE}, which says when one "
                "hands over to the other"
            )
        return None
    parts, problems = _parts(values)
    if (directory / EXPERTS).is_dir() and EXPERTS not in parts and not problems:
        problems.append(f"a folder {EXPERTS} is there, but not announced: it is of {_PAIR}")
    # What is announced wrongly need not be there as well.
    if not problems:
        problems = _absent(directory, values, parts)
    if not problems and "scheduler" in parts:
        problems = _other_scheduler(directory, values["scheduler"][1])
    if not problems and "image_processor" in parts:
        problems = _other_pictures(directory)
    if problems:
        raise WeightsError("\n  ".join([f"{file}: this model cannot be used as it is:", *problems]))
    return parts


class Pair(NamedTuple):
    """What a model_index.json says of how Wan2.2's transformers are used.

    Attributes:
        boundary: the time from which on, towards noise, `transformer` makes the steps, and below it
            `transformer_2`; None where there is only one.
        given_frames: whether the first frame may be given as latents whose time is 0.
    """

    boundary: float | None = None
    given_frames: bool = False


def read_pair(directory: Path) -> Pair:
    """What the model_index.json says, if there is one; `check_model` has looked at it.

    Raises:
        WeightsError: it is damaged.
    """
    values = _read(directory / FILE) or {}
    boundary = values.get("boundary_ratio")
    return Pair(
        None if boundary is None else float(boundary), bool(values.get("expand_timesteps", False))
    )


def check_part(directory: Path, part: str) -> None:
    """Whether the model_index.json, if there is one, has such a part, for who needs it alone.

    Raises:
        WeightsError: it says that there is none, or that it is of another class.
    """
    values = _read(directory / FILE)
    if values is None:
        return
    value = values.get(part)
    problem = f"{part} is not announced" if value in _NONE else _misfit(part, value)
    if problem:
        raise WeightsError(f"{directory / FILE}: {problem}")


def tokenizer_folder(directory: Path, vocab: int) -> Path | None:
    """Where a model's tokenizer is; None if its text encoder reads bytes.

    Args:
        directory: of the model.
        vocab: ids that its text encoder knows.

    Raises:
        WeightsError: see `check_model`; or the encoder reads a vocabulary, which is missing.
    """
    check_model(directory)
    folder = directory / "tokenizer"
    if folder.is_dir():
        return folder
    _check_link(folder)
    check_bytes(vocab, f"{folder} is missing")
    return None


def check_bytes(vocab: int, why: str) -> None:
    """Raises a WeightsError, which begins with `why`, unless a text encoder can read bytes."""
    if vocab not in _BYTES:
        raise WeightsError(
            f"{why}: the text encoder reads a vocabulary of {vocab} pieces, not the {_BYTES.start} "
            "ids of bytes; fetch tokenizer/ of the model as well"
        )


def make_index(directory: Path, networks: list[str]) -> dict[str, Any] | None:
    """The model_index.json of a directory in the format of diffusers; None if it is no whole model.

    Args:
        directory: the model's, with all parts that it has.
        networks: those of them that are there.
    """
    if not set(_NETWORKS) <= set(networks):
        return None
    parts: dict[str, list[str]] = {
        name: [library, classes[0]]
        for name, (library, classes) in _PARTS.items()
        if name in networks
    }
    kinds = {"tokenizer": "T5TokenizerFast", "image_processor": "CLIPImageProcessor"}
    for name, kind in kinds.items():
        if (directory / name).is_dir():
            parts[name] = ["transformers", kind]
    scheduler = directory / "scheduler" / _SCHEDULER
    fields = files.read_json(scheduler) if scheduler.is_file() else None
    if isinstance(fields, dict) and isinstance(fields.get("_class_name"), str):
        parts["scheduler"] = ["diffusers", fields["_class_name"]]
    made: dict[str, Any] = {"_class_name": PIPELINES["image_encoder" in networks], **parts}
    file = directory / SETTINGS
    ours = files.read_json(file) if file.is_file() else None
    ours = ours if isinstance(ours, dict) else {}
    if EXPERTS in networks:
        made["boundary_ratio"] = ours.get("boundary")
        transformer = files.read_json(directory / EXPERTS / "config.json")
        if transformer.get("in_channels") != transformer.get("out_channels"):
            made["_class_name"] = PIPELINES[1]
    if ours.get("given_frames"):
        made["expand_timesteps"] = True
    return made


def _read(file: Path) -> dict[str, Any] | None:
    _check_link(file)
    if not file.exists():
        return None
    values = files.read_json(file)
    if isinstance(values, dict) and isinstance(values.get("_class_name"), str):
        return values
    raise WeightsError(f"{file} is damaged: it must be an object with a '_class_name'")


def _check_link(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise WeightsError(f"{path} {mistaken(path, 'part of a model')}")


def _parts(values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The parts that are announced, and what cannot be run."""
    kind = values["_class_name"]
    if kind not in PIPELINES:
        return [], [
            f"_class_name is {kind!r}; only {' and '.join(PIPELINES)} are supported: fetch such a "
            "model of Wan (alchemint_jax.weights.load reads a part of this one alone)"
        ]
    problems, parts = [], []
    for name, value in values.items():
        if name.startswith("_") or value in _NONE:
            continue
        if name == "boundary_ratio":
            if type(value) is not float or not 0 < value < 1:
                problems.append(f"{name} is {value!r}; it must be a number between 0 and 1")
        elif name == "expand_timesteps":
            if value is not True:
                problems.append(f"{name} is {value!r}; it must be true or false")
        elif name not in _PARTS:
            problems.append(f"{name} is {value!r}, of which nothing is known; only null is ignored")
        elif problem := _misfit(name, value):
            problems.append(problem)
        else:
            parts.append(name)
    boundary = values.get("boundary_ratio")
    if not problems and (EXPERTS in parts) != (boundary is not None):
        problems.append(
            f"{EXPERTS} is announced, but no boundary_ratio, which says when it takes over"
            if EXPERTS in parts
            else f"boundary_ratio is {boundary!r}, but {EXPERTS} is not announced: it is of {_PAIR}"
        )
    if boundary is not None and values.get("expand_timesteps"):
        problems.append("boundary_ratio and expand_timesteps are of two different models")
    return parts, problems


def _misfit(name: str, value: Any) -> str | None:
    library, classes = _PARTS[name]
    pair = isinstance(value, list) and len(value) == 2 and all(isinstance(x, str) for x in value)
    if pair and value[0] == library and (not classes or value[1] in classes):
        return None
    wanted = " or ".join(f"{[library, kind]}" for kind in classes) or f"a class of {library}"
    return f"{name} is {value!r}; only {wanted} is supported"


def _other_scheduler(directory: Path, announced: str) -> list[str]:
    """Diffusers makes what the index announces, of the other scheduler's fields."""
    file = directory / "scheduler" / _SCHEDULER
    fields = files.read_json(file)
    found = fields.get("_class_name", announced) if isinstance(fields, dict) else announced
    if found == announced:
        return []
    return [f"scheduler is {announced}, but {file} is of {found}: make the two alike"]


def _other_pictures(directory: Path) -> list[str]:
    """What of the image processor is another way of preparing pictures than `clip.preprocess`."""
    file = directory / "image_processor" / _PROCESSOR
    values = files.read_json(file)
    tower = files.read_json(directory / "image_encoder" / "config.json")
    if not isinstance(values, dict) or not isinstance(tower, dict):
        return [f"{file} is damaged: it must be an object"]
    side = tower.get("image_size", 224)
    wanted = {
        "do_resize": (True,),
        "size": ({"shortest_edge": side}, side),
        "resample": (3,),
        "do_center_crop": (True,),
        "crop_size": ({"height": side, "width": side}, side),
        "do_rescale": (True,),
        "do_normalize": (True,),
        "do_pad": (False, None),
    }
    problems = [
        f"{file}: {name} is {values[name]!r}; only {allowed[0]!r} is supported"
        for name, allowed in wanted.items()
        if name in values and values[name] not in allowed
    ]
    numbers = {"image_mean": MEAN, "image_std": STD, "rescale_factor": (1 / 255,)}
    for name, ours in numbers.items():
        found = values.get(name, list(ours))
        found = found if isinstance(found, list) else [found]
        if not (
            len(found) == len(ours)
            and all(type(x) in (int, float) for x in found)
            and all(abs(x - y) <= 1e-6 for x, y in zip(found, ours, strict=True))
        ):
            problems.append(f"{file}: {name} is {values[name]!r}; only CLIP's {ours} is supported")
    return problems


def _absent(directory: Path, values: Mapping[str, Any], parts: list[str]) -> list[str]:
    kind, needed = values["_class_name"], list(_NETWORKS)
    if not os.path.lexists(directory / SETTINGS):
        needed += ["tokenizer", "scheduler"]
    # Wan2.2's see pictures by their latents alone.
    newer = EXPERTS in parts or values.get("expand_timesteps")
    if kind == PIPELINES[1] and not newer:
        needed += ["image_encoder"]
    problems = [
        f"{name} is not announced, which a {kind} of {'Wan2.2' if newer else 'Wan2.1'} has"
        for name in needed
        if name not in parts
    ]
    for name in parts:
        folder = directory / name
        if not folder.is_dir():
            problems.append(f"{name} is announced, but {folder} is missing: fetch it as well")
        elif name == "scheduler" and not os.path.lexists(folder / _SCHEDULER):
            problems.append(f"{name} is announced, but {folder / _SCHEDULER} is missing")
        elif name == "image_processor" and not os.path.lexists(folder / _PROCESSOR):
            problems.append(f"{name} is announced, but {folder / _PROCESSOR} is missing")
        # These are carried along by those who never read them.
        for file in (folder / "tokenizer.json", folder / _SCHEDULER):
            if what := mistaken(file, "JSON", text=True):
                problems.append(f"{file} {what}")
    return problems
