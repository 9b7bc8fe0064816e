"""Whether a teacher's paths are those that a student's config is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alchemint_jax.data import teacher_paths
from alchemint_jax.errors import ConfigError, DataError

if TYPE_CHECKING:
    from alchemint_jax.train.distill_task import DistillTask


def check_paths(task: DistillTask) -> None:
    """Refuses paths of another teacher, for another student, or of other boards.

    Raises:
        ConfigError: naming the field of the config, and what the paths have.
        DataError: there are none, or they are of a model with other weights.
    """
    card, where = teacher_paths.read_card(task.data), task.data
    assert task.init_from is not None
    teacher = task.teacher or task.init_from
    _check_weights(card, where, teacher, ("transformer", "text_encoder", "vae"))
    # A student may come from elsewhere, but it must read and draw as its teacher does.
    _check_weights(card, where, task.init_from, ("text_encoder",))
    _check_weights(card, where, task.vae, ("vae",))
    if card["boards"]["name"] != task.boards:
        raise ConfigError(
            f"boards is {task.boards!r}, but the paths in {where} are of "
            f"{card['boards']['name']!r}; set it to that, or make paths of others"
        )
    sampling, model, shapes = task.sampling, task.model, card["shapes"]
    grid = teacher_paths.describe(sampling.plan().levels())
    if grid != card["grid"]:
        raise ConfigError(
            f"sampling: the student's levels are {grid['sigmas']}, but the paths in {where} were "
            f"kept at {card['grid']['sigmas']}; change steps, shift or grid, or make the paths "
            f"again with --student-steps {sampling.steps}"
        )
    events = shapes.get("events", [0, sampling.event_length])
    pairs = {
        "sampling.size": (list(sampling.size), card["size"]),
        "sampling.fps": (float(sampling.fps), card["fps"]),
        "sampling.text_length": (sampling.text_length, shapes["text"][0]),
        "sampling.tag_length": (sampling.tag_length, shapes["tags"][1]),
        "sampling.event_length": (sampling.event_length, events[1]),
        "model.slots": (model.slots, shapes["references"][0]),
        "model.events": (model.events, "events" in shapes),
        "model.cuts": (model.cuts, False),  # paths say nothing of cuts
    }
    for name, (here, there) in pairs.items():
        if here != there:
            raise ConfigError(
                f"{name} is {here}, but in the paths in {where} it is {there}; set it to that"
            )


def _check_weights(card: dict, where: str, model: str, parts: tuple[str, ...]) -> None:
    found = teacher_paths.fingerprints(model)
    for part in parts:
        if found[part] != card["model"][part]:
            raise DataError(
                f"{where}: the paths are of another {part} ({card['model'][part][:12]}) than that "
                f"of {model} ({found[part][:12]}); name the model that made them, or make paths "
                "of this one"
            )
