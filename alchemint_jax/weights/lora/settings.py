"""Where a LoRA lies, and what is said beside its tensors about how strongly they count.

That is peft's adapter_config.json, the same fields in the header of diffusers' files, or the fields
of kohya's training scripts there.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from alchemint_jax.errors import WeightsError
from alchemint_jax.weights import files

STEMS = ("adapter_model", "pytorch_lora_weights")
"""Names of a LoRA's file, without ending, in the folders of peft and diffusers."""
_CONFIG = "adapter_config.json"
_HEADER = "lora_adapter_metadata"
_DEFAULT_ALPHA = 8  # peft's, where a configuration does not say
_TYPES = ("LORA", "LOHA", "LOKR")
# Fields of peft with which the product is not all that is to be added, or not to this model.
_UNSUPPORTED = (
    "use_qalora", "layer_replication", "target_parameters", "alora_invocation_tokens",
    "trainable_token_indices", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config",
)  # fmt: skip
# Initialisations that also change the model that the LoRA is for.
_OTHER_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is said of all layers, or of those whose name fits a pattern.

    Attributes:
        alpha: of layers without a tensor of their own for it; None where nothing is said.
        rank: as it is said; the matrices must agree.
        rslora: whether alpha is divided by the root of the rank.
        alphas: alpha by pattern of a layer's name.
        ranks: rank by pattern.
        dora: whether there must be magnitudes.
        kronecker_rank: whether alpha counts for LoKr with two whole matrices, too (peft).
        where: this was said, for errors.
    """

    alpha: float | None = None
    rank: int | None = None
    rslora: bool = False
    alphas: Mapping[str, float] = dataclasses.field(default_factory=dict)
    ranks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    dora: bool = False
    kronecker_rank: bool = False
    where: str = ""

    def scale(self, layer: str, rank: int | None) -> float:
        """Factor of a layer's product, by its name and the rank of its matrices.

        Raises:
            WeightsError: another rank was said.
        """
        said = _matching(self.ranks, layer, self.rank)
        alpha = _matching(self.alphas, layer, self.alpha)
        if rank is None and self.kronecker_rank:
            rank = said
        if alpha is None or rank is None:
            return 1.0
        if said is not None and said != rank:
            raise WeightsError(f"its rank is {rank}, but {self.where} says {said}")
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def _matching(patterns: Mapping[str, Any], layer: str, otherwise: Any) -> Any:
    # As peft does: the first pattern that the whole name, or its end after a dot, fits.
    found = (v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", layer))
    return next(found, otherwise)


def locate(path: Path) -> Path:
    """The safetensors file of a LoRA that is given as a file or as a folder.

    Raises:
        WeightsError: there is none, or it is not clear which.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        strength = "; after a colon there must be a number" if ":" in path.name else ""
        raise WeightsError(f"{path}: there is no such LoRA file or folder{strength}")
    named = [path / f"{stem}.safetensors" for stem in STEMS]
    found = [file for file in named if file.is_file()] or sorted(path.glob("*.safetensors"))
    if (path / "model_index.json").is_file() or (path / "transformer").is_dir():
        inside = ", ".join(file.name for file in found[:5])
        name = f"; name one of the files in it ({inside})" if found else ""
        raise WeightsError(f"{path} is a whole model and no LoRA{name}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:5])
        raise WeightsError(f"{path} holds {len(found)} files ({names}): name the one to merge")
    if not found:
        pickles = [p.name for p in sorted(path.iterdir()) if p.suffix.lower() in files.PICKLES]
        advice = f"; pickles ({', '.join(pickles[:3])}) are never loaded" if pickles else ""
        raise WeightsError(f"{path} holds no safetensors file of a LoRA{advice}")
    return found[0]


def read_settings(file: Path, kohya: bool) -> Settings:
    """What is said about the tensors in `file`, in its header or in a configuration beside it.

    Args:
        file: the safetensors file.
        kohya: whether its tensors have the names of kohya's scripts. Elsewhere what those scripts
            left in the header counts no more: who renamed the tensors has multiplied alpha in.

    Raises:
        WeightsError: it is damaged, or describes something else than the tensors can say.
    """
    try:
        with safe_open(file, framework="np") as f:
            header = f.metadata() or {}
    except (SafetensorError, OSError) as e:
        raise WeightsError(f"{file} is truncated or not a safetensors file ({e})") from e
    if _HEADER in header:
        where = f"{file}: {_HEADER} in its header"
        fields = _object(files.parse_json(header[_HEADER], where), where)
        ours = {k.removeprefix("transformer."): v for k, v in fields.items() if _for_us(k)}
        return _peft(ours, where)
    config = file.parent / _CONFIG
    if config.is_file() and (file.stem == STEMS[0] or _alone(file)):
        return _peft(_object(files.read_json(config), str(config)), str(config))
    if file.stem == STEMS[0]:
        raise WeightsError(
            f"the strength of {file} is in {config}, which is missing: fetch it as well"
        )
    if kohya and "ss_network_alpha" in header:
        where = f"{file}: ss_network_alpha in its header"
        return Settings(alpha=_number(header["ss_network_alpha"], where), where=where)
    return Settings()


def _for_us(field: str) -> bool:
    """Diffusers puts the component before the name of each field."""
    return field.startswith("transformer.") or "." not in field


def _alone(file: Path) -> bool:
    return len(list(file.parent.glob("*.safetensors"))) == 1


def _object(fields: Any, where: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise WeightsError(f"{where} is damaged: it must be an object")
    return fields


def _peft(fields: Mapping[str, Any], where: str) -> Settings:
    if not fields:  # there are only those of a text encoder
        return Settings()
    kind = str(fields.get("peft_type") or "LORA").rpartition(".")[2].upper()
    if kind not in _TYPES:
        raise WeightsError(
            f"{where} describes {kind}, which is none of {', '.join(_TYPES)} and cannot be merged: "
            "merge it with peft (merge_and_unload), and load the whole model"
        )
    if strange := [f"{name}={fields[name]!r}" for name in _UNSUPPORTED if fields.get(name)]:
        raise WeightsError(
            f"{where} has {', '.join(strange)}, which is not supported: merge it with peft "
            "(merge_and_unload), and load the whole model"
        )
    start = str(fields.get("init_lora_weights")).lower()
    if start.startswith(_OTHER_BASE):
        raise WeightsError(
            f"{where}: init_lora_weights={start!r} changed the model that this LoRA is for, too: "
            "save it again with path_initial_model_for_weight_conversion (see peft)"
        )
    name = "lora_alpha" if kind == "LORA" else "alpha"
    rank, alpha = fields.get("r"), fields.get(name)
    alpha = _DEFAULT_ALPHA if alpha is None else alpha
    patterns = {}
    for field in ("rank_pattern", "alpha_pattern"):
        patterns[field] = fields.get(field) or {}
        if not isinstance(patterns[field], dict):
            raise WeightsError(f"{where}: {field} must be an object, not {patterns[field]!r}")
        for pattern in patterns[field]:
            try:
                re.compile(pattern)
            except re.error as e:
                raise WeightsError(f"{where}: {field}: {pattern!r} is no pattern: {e}") from e
    return Settings(
        alpha=_number(alpha, f"{where}: {name}"),
        rank=None if rank is None else _rank(rank, f"{where}: r"),
        rslora=kind == "LORA" and bool(fields.get("use_rslora")),
        alphas={k: _number(v, f"{where}: {k}") for k, v in patterns["alpha_pattern"].items()},
        ranks={k: _rank(v, f"{where}: {k}") for k, v in patterns["rank_pattern"].items()},
        dora=bool(fields.get("use_dora")),
        kronecker_rank=kind == "LOKR",
        where=where,
    )


def _number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise WeightsError(f"{where} is {value!r}; it must be a finite number")
    return number


def _rank(value: Any, where: str) -> int:
    if type(value) is not int or value < 1:
        raise WeightsError(f"{where} is {value!r}; it must be a whole number of at least 1")
    return value
