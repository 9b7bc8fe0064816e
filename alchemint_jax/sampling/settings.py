"""What a model directory says about its use: trained sizes and good sampling settings."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.flow import GRIDS
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.solvers import SOLVERS
from alchemint_jax.storyboard import Limits
from alchemint_jax.weights import config_from_dict

FILE = "pipeline.json"
_COUNTS = ("min_frames", "max_frames", "text_length", "tag_length", "event_length", "steps")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to integrate: number of steps, time shift, guidance, solver and grid.

    `solver` is a name of `sampling.SOLVERS`, `grid` one of `flow.GRIDS`.
    """

    steps: int
    shift: float
    guidance: Guidance
    solver: str = "euler"
    grid: str = "linear"

    def __post_init__(self) -> None:
        for name, known in (("solver", tuple(SOLVERS)), ("grid", tuple(GRIDS))):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(
                    f"sampling: {name} is {value!r}; it must be one of {', '.join(known)}"
                )


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a model is used.

    Attributes:
        size: (height, width) in pixels.
        fps: frames per second.
        max_frames: length of the longest clip it was trained for, in pixel frames.
        min_frames: length of the shortest one.
        text_length: length of a caption, in tokens.
        tag_length: length of a subject's word, in tokens.
        event_length: length of an event's text, in tokens, for models that have events.
        steps: of the solver.
        shift: of the solver's times towards noise.
        guidance: weights of the branches.
        solver: name of one of `sampling.SOLVERS`.
        grid: name of one of `flow.GRIDS`, where the solver stops on its way.
        reference_size: (height, width) that pictures of subjects are brought to; None: that of the
            video. Small ones cost fewer tokens.
        size_multiple: other sizes are fine too, if both sides are multiples of this; None: only
            `size`.
        max_pixels: height * width of such another size.
    """

    size: tuple[int, int] = (64, 64)
    fps: float = 8.0
    max_frames: int = 33
    min_frames: int = 5
    text_length: int = 112
    tag_length: int = 16
    event_length: int = 64
    steps: int = 40
    shift: float = 5.66
    guidance: Guidance = Guidance()
    solver: str = "euler"
    grid: str = "linear"
    reference_size: tuple[int, int] | None = None
    size_multiple: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in _COUNTS}
        for name in ("size", "reference_size"):
            sides = getattr(self, name)
            if sides is None and name == "reference_size":
                continue
            if len(sides) != 2:
                raise ConfigError(f"sampling: {name} is {sides}; it must be (height, width)")
            counts |= {f"{name}[{i}]": side for i, side in enumerate(sides)}
        for name, value in counts.items():
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"sampling: {name} is {value!r}; it must be a whole number >= 1")
        if self.min_frames > self.max_frames:
            raise ConfigError(
                f"sampling: min_frames is {self.min_frames}, more than max_frames {self.max_frames}"
            )
        for name in ("fps", "shift"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"sampling: {name} is {value!r}; it must be positive and finite")
        self.plan()  # has checks of its own

    def plan(
        self,
        steps: int | None = None,
        guidance: Guidance | None = None,
        solver: str | None = None,
    ) -> Plan:
        """The sampling plan, with some of it replaced.

        Raises:
            ConfigError: there is no such solver.
        """
        return Plan(
            steps or self.steps,
            self.shift,
            guidance or self.guidance,
            solver or self.solver,
            self.grid,
        )

    def limits(self, slots: int, events: bool, keyframes: int = 0) -> Limits:
        """What storyboards this model can do."""
        return Limits(
            max_subjects=slots,
            max_frames=self.max_frames,
            fps=(self.fps,),
            sizes=(self.size,),
            min_frames=self.min_frames,
            events=events,
            size_multiple=self.size_multiple,
            max_pixels=self.max_pixels,
            keyframes=keyframes,
        )


def save(directory: Path | str, settings: Settings) -> None:
    """Writes `pipeline.json`."""
    path = Path(directory) / FILE
    partial = path.with_name(f".{FILE}.partial")
    partial.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
    os.replace(partial, path)


def load(directory: Path | str) -> Settings:
    """Reads `pipeline.json`; absent fields keep defaults.

    Raises WeightsError, naming the field, if it is missing or does not fit.
    """
    path = Path(directory) / FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(
            f"{path}: missing; a model directory needs it (`alchemint train` writes it)"
        ) from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: is not valid JSON: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("guidance", {}), dict):
        raise WeightsError(f"{path}: must hold an object with the fields of Settings and Guidance")
    guidance = config_from_dict(Guidance, fields.pop("guidance", {}), {}, f"{path}: guidance")
    chosen = config_from_dict(Settings, fields, {}, str(path))
    return dataclasses.replace(chosen, guidance=guidance)
