"""Training that starts from published models of subjects: their rule becomes part of the config.

Such a model is a transformer of Wan2.1 and a rule of conditioning (see `sampling.kinds`). Its
pictures stand at fixed times, whatever their intervals. A run that starts from one leaves them
there at first, so that step 0 is the published model, and learns with `model.learned_timing` how
far to go from there to what the config's scheme says of the intervals. Slots are marked by index
embeddings, which start at zero. There are no word tags: these are tokens, and even empty ones are
attended to.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from ml_collections import ConfigDict

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import ReferenceLayout
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.kinds import KINDS, Kind, kind_of


def take_kind(config: ConfigDict) -> bool:
    """Writes the rule of the model that a config starts from into the config, if it has one.

    That is how pictures are placed and modulated and, but for students, how their authors sample;
    `model_kind` names the kind then. It is the one that the config names or, if it names none, the
    one that the transformer or the directory is called after; a directory with settings of its own
    is a model of ours, whatever it is called.

    Returns:
        Whether anything was written.

    Raises:
        ConfigError: there is no such kind, or one that is given pictures on a canvas.
    """
    if config.get("task") not in ("dit", "distill") or config.get("init_from") is None:
        return False
    rule = kind_of(config.get("model_kind"), config.get("transformer"), _foreign(config.init_from))
    if rule is None:
        return False
    name = next(key for key, kind in KINDS.items() if kind is rule)
    if rule.canvas:
        raise ConfigError(
            f"model_kind: {name} is an image-to-video network, which cannot be trained here, since "
            "the data has no states of given pictures"
        )
    with config.unlocked(), config.ignore_type():
        config.model_kind = name
        _set(config.model, _model(rule))
        if config.task == "dit":
            _set(config.sampling, _sampling(rule, config))
    return True


def _foreign(model: str) -> str | None:
    """The name of a model, unless its settings are beside it."""
    path = os.path.expanduser(model)
    return None if os.path.lexists(os.path.join(path, settings.FILE)) else model


def _model(rule: Kind) -> dict[str, Any]:
    layout = _differing(rule.layout, ReferenceLayout())
    return {
        "slots": rule.slots,
        "tags": False,
        "reference_time": "video",
        "layout": {"name": "ReferenceLayout", **layout},
        "learned_timing": True,
    }


def _sampling(rule: Kind, config: ConfigDict) -> dict[str, Any]:
    plain = settings.Settings()
    fields = _differing(rule.settings(plain, config.model.dim), plain)
    fields |= dict(rule.sampled)  # those, too, that are what is usual here
    if "guidance" in fields:
        fields["guidance"] = dataclasses.asdict(fields["guidance"])
    room = config.sampling.get("max_pixels")
    if room is not None and "size" in fields:
        fields["max_pixels"] = max(room, fields["size"][0] * fields["size"][1])
    return fields


def _set(part: ConfigDict, fields: dict[str, Any]) -> None:
    """Parts of a part are replaced: nothing stays of what the file says of them."""
    for name, value in fields.items():
        part[name] = ConfigDict(value) if isinstance(value, dict) else value


def _differing(one: Any, other: Any) -> dict[str, Any]:
    """Fields of a dataclass that differ from those of another."""
    pairs = ((f.name, getattr(one, f.name)) for f in dataclasses.fields(one))
    return {name: value for name, value in pairs if value != getattr(other, name)}
