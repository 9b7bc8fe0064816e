"""What a model directory says about its use: trained sizes and good sampling settings."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.flow import FINALS, GRIDS, Grid, make_grid
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.solvers import SOLVERS, Solver, UniPC, unipc
from alchemint_jax.scene.limits import Further, Limits
from alchemint_jax.weights import config_from_dict, files

FILE = "pipeline.json"
_COUNTS = ("min_frames", "max_frames", "text_length", "tag_length", "event_length", "steps")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to integrate: number of steps, time shift, guidance, solver and grid.

    See `Settings` for what each says.
    """

    steps: int
    shift: float
    guidance: Guidance
    solver: str = "euler"
    grid: str = "linear"
    shift_terminal: float | None = None
    final_sigmas_type: str = "zero"
    unipc: UniPC = UniPC()
    boundary: float | None = None
    guidance_low: Guidance | None = None

    def __post_init__(self) -> None:
        if self.boundary is not None and not 0 < self.boundary < 1:
            raise ConfigError(
                f"sampling: boundary is {self.boundary!r}; it must be between 0 and 1, or None"
            )
        if self.guidance_low is not None and self.boundary is None:
            raise ConfigError(
                "sampling: guidance_low is for models of two experts, which have a boundary"
            )
        for weights in (self.guidance, self.guidance_low):
            if self.boundary is not None and weights and tuple(weights.interval) != (0, 1):
                raise ConfigError(
                    "sampling: guidance in an interval is for models of one transformer; of two "
                    "experts, each has guidance of its own"
                )
        names = {"solver": tuple(SOLVERS), "grid": tuple(GRIDS), "final_sigmas_type": FINALS}
        for name, known in names.items():
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(
                    f"sampling: {name} is {value!r}; it must be one of {', '.join(known)}"
                )
        if (terminal := self.shift_terminal) is not None:
            if type(terminal) not in (int, float) or not 0 < terminal < 1:
                raise ConfigError(
                    f"sampling: shift_terminal is {terminal!r}; it must be between 0 and 1, or None"
                )
            if self.steps == 1:
                raise ConfigError(
                    "sampling: steps is 1, and the model's shift_terminal is the level of the last "
                    "step, which must not be the first; use 2 steps or more"
                )
        if self.solver == "unipc":
            self._check_unipc()

    def _check_unipc(self) -> None:
        """Steps to the very data, where lambda is infinite, are only defined in order 1."""
        chosen, nowhere = self.unipc, self.final_sigmas_type == "sigma_min"
        if chosen.solver_type == "bh1" and not nowhere:
            raise ConfigError(
                "sampling: unipc: solver_type is 'bh1', whose B(h) is infinite in a step to the "
                "data; use 'bh2', or final_sigmas_type 'sigma_min'"
            )
        if not chosen.lower_order_final and chosen.solver_order > (2 if nowhere else 1):
            raise ConfigError(
                f"sampling: unipc: lower_order_final is False, but no last step is defined in "
                f"solver_order {chosen.solver_order} with final_sigmas_type "
                f"{self.final_sigmas_type!r}; use True"
            )

    def levels(self) -> Grid:
        """Where the solver goes."""
        return make_grid(
            self.grid, self.steps, self.shift, self.shift_terminal, self.final_sigmas_type
        )

    @property
    def weights(self) -> Guidance | tuple[Guidance, Guidance]:
        """The guidance, as `Pipeline.render` takes it."""
        low = self.guidance_low
        return self.guidance if low is None else (low, self.guidance)

    def high_steps(self) -> int:
        """How many steps, the first ones, are above the boundary; all where there is none."""
        if self.boundary is None:
            return self.steps
        # In thousandths, as models are told times, which float32 blurs.
        distance = 1000 * (np.asarray(self.levels().times, np.float64) - self.boundary)
        return int(np.sum(distance >= -1e-3))

    def method(self) -> Solver:
        """The solver, with its options; every one of a name has the same `step`."""
        return unipc(self.unipc) if self.solver == "unipc" else SOLVERS[self.solver]


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
        shift_terminal: the last level before the end, between 0 and 1; the grid's are stretched to
            it. None: they stay what they are.
        final_sigmas_type: one of `flow.FINALS`: "zero" ends at the data, "sigma_min" repeats the
            last level, so that some noise is left and the last step changes nothing.
        unipc: options of the solver of that name.
        reference_size: (height, width) that pictures of subjects are brought to; None: that of the
            video. Small ones cost fewer tokens.
        size_multiple: other sizes are fine too, if both sides are multiples of this; None: only
            `size`.
        max_pixels: height * width of such another size.
        negative_prompt: what guidance leads away from, where a storyboard does not say.
        boundary: of models of two experts, the time from which on, towards noise, the first one
            makes the steps; None for models of one transformer.
        guidance_low: weights of the branches in the other steps; None: as `guidance`.
        given_frames: whether the first frame may be given, as latents whose time is 0.
        distilled: the weights were trained for these `steps`, this `solver` and this `guidance`,
            which is one pass with a teacher's guidance inside, and no others can be used.
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
    shift_terminal: float | None = None
    final_sigmas_type: str = "zero"
    unipc: UniPC = UniPC()
    reference_size: tuple[int, int] | None = None
    size_multiple: int | None = None
    max_pixels: int | None = None
    negative_prompt: str = ""
    boundary: float | None = None
    guidance_low: Guidance | None = None
    given_frames: bool = False
    distilled: bool = False

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
        guidance: Guidance | tuple[Guidance, Guidance] | Mapping[str, Any] | None = None,
        solver: str | None = None,
    ) -> Plan:
        """The sampling plan, with some of it replaced.

        `guidance` may be some of its fields by their names; the others are the model's own. It is
        that of both experts of a pair, unless it is a pair itself, (low noise, high noise). A
        weight named `low` is that of both inputs at low noise.

        Raises:
            ConfigError: there is no such solver, it cannot go that way, or the model was distilled
                for another plan.
        """
        low = self.guidance_low if guidance is None else None
        if isinstance(guidance, tuple):
            low, guidance = guidance
        if isinstance(guidance, Mapping):
            weights = dict(guidance)
            only = weights.pop("low", None)
            low = self.guidance_low and dataclasses.replace(self.guidance_low, **weights)
            guidance = dataclasses.replace(self.guidance, **weights)
            low = low if only is None else dataclasses.replace(low or guidance, both=only)
        if self.distilled:
            self._check_distilled({"steps": steps, "guidance": guidance, "solver": solver})
        return Plan(
            steps or self.steps,
            self.shift,
            guidance or self.guidance,
            solver or self.solver,
            self.grid,
            self.shift_terminal,
            self.final_sigmas_type,
            self.unipc,
            self.boundary,
            low,
        )

    def _check_distilled(self, given: Mapping[str, Any]) -> None:
        """Between the levels that a student was trained at nobody knows what it does."""
        for name, value in given.items():
            if value not in (None, own := getattr(self, name)):
                raise ConfigError(
                    f"{name} is {value}, but this model was distilled for {own} and can be sampled "
                    f"in no other way; leave {name} out, or use the model that it was made from"
                )

    def limits(
        self,
        slots: int,
        events: bool,
        stride: int,
        keyframes: int = 0,
        more_keyframes: Further = "none",
        cuts: bool = False,
    ) -> Limits:
        """What scenes this model can do; `stride` is the temporal one of its autoencoder."""
        return Limits(
            max_subjects=slots,
            max_frames=self.max_frames,
            fps=(self.fps,),
            sizes=(self.size,),
            stride=stride,
            min_frames=self.min_frames,
            events=events,
            size_multiple=self.size_multiple,
            max_pixels=self.max_pixels,
            keyframes=keyframes,
            more_keyframes=more_keyframes,
            cuts=cuts,
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
        fields = files.read_json(path)
    except FileNotFoundError:
        raise WeightsError(
            f"{path}: missing; a model directory needs it (`alchemint train` writes it), or the "
            "model_index.json of a Wan *-Diffusers model"
        ) from None
    if (
        not isinstance(fields, dict)
        or not all(isinstance(fields.get(part, {}), dict) for part in ("guidance", "unipc"))
        or not isinstance(fields.get("guidance_low"), dict | None)
    ):
        raise WeightsError(
            f"{path}: must hold an object with the fields of Settings, Guidance and UniPC"
        )
    guidance = config_from_dict(Guidance, fields.pop("guidance", {}), {}, f"{path}: guidance")
    low = fields.pop("guidance_low", None)
    if low is not None:
        low = config_from_dict(Guidance, low, {}, f"{path}: guidance_low")
    options = config_from_dict(UniPC, fields.pop("unipc", {}), {}, f"{path}: unipc")
    chosen = config_from_dict(Settings, fields, {}, str(path))
    try:
        return dataclasses.replace(chosen, guidance=guidance, unipc=options, guidance_low=low)
    except ConfigError as error:
        raise WeightsError(f"{path}: {error}") from error
