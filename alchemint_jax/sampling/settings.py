"""What a model directory says about its use: trained sizes and good sampling settings."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from alchemint_jax.errors import WeightsError
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.storyboard import Limits

FILE = "pipeline.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to integrate: number of steps, time shift, guidance."""

    steps: int
    shift: float
    guidance: Guidance


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a model is used.

    Attributes:
        size: (height, width) in pixels.
        fps: frames per second.
        max_frames: length of the longest clip, in pixel frames.
        text_length: length of a caption, in tokens.
        tag_length: length of a subject's word, in tokens.
        steps: of the solver.
        shift: of the solver's times towards noise.
        guidance: weights of the branches.
    """

    size: tuple[int, int] = (64, 64)
    fps: float = 8.0
    max_frames: int = 33
    text_length: int = 112
    tag_length: int = 16
    steps: int = 40
    shift: float = 5.66
    guidance: Guidance = Guidance()

    def plan(self, steps: int | None = None, guidance: Guidance | None = None) -> Plan:
        """The sampling plan, with some of it replaced."""
        return Plan(steps or self.steps, self.shift, guidance or self.guidance)

    def limits(self, slots: int, events: bool) -> Limits:
        """What storyboards this model can do."""
        return Limits(
            max_subjects=slots,
            max_frames=self.max_frames,
            fps=(self.fps,),
            sizes=(self.size,),
            min_frames=5,
            events=events,
        )


def save(directory: Path | str, settings: Settings) -> None:
    """Writes `pipeline.json`."""
    path = Path(directory) / FILE
    partial = path.with_name(f".{FILE}.partial")
    partial.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
    os.replace(partial, path)


def load(directory: Path | str) -> Settings:
    """Reads `pipeline.json`. Raises WeightsError if it is missing or does not fit."""
    path = Path(directory) / FILE
    try:
        fields = json.loads(path.read_text())
        guidance = Guidance(**fields.pop("guidance"))
        return Settings(**fields | {"size": tuple(fields["size"]), "guidance": guidance})
    except FileNotFoundError:
        raise WeightsError(
            f"{path}: missing; a model directory needs it (`alchemint train` writes it)"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{path}: cannot be used: {error}") from error
