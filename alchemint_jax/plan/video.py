"""A whole video, of which a plan of sampling compiles one step of the solver."""

from __future__ import annotations

import dataclasses

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.plan.flops import Sequence, dit_flops
from alchemint_jax.sampling.passes import counted
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.step_cache import StepCache, Tables


@dataclasses.dataclass(frozen=True)
class Video:
    """What all steps of a video come to.

    Attributes:
        steps: of the solver.
        passes: of the transformer that are computed.
        flops: operations that these passes need, of one video.
        share: the same in steps that compute all branches of guidance, as the planned one does.
    """

    steps: int
    passes: int
    flops: float
    share: float

    def as_dict(self, step_seconds: float) -> dict[str, int | float]:
        """In JSON's types, with the least time, from that of the planned step."""
        return {
            "steps": self.steps,
            "passes": self.passes,
            "flops": self.flops,
            "seconds": float(f"{self.share * step_seconds:.4g}"),
        }


def whole_video(
    model: DiTConfig, tokens: Sequence, sampling: Plan, cache: StepCache | None = None
) -> Video:
    """Counts the passes of a plan of sampling, and their operations.

    Passes of a student are few, guidance in an interval leaves some out, and those that a step
    cache makes of residuals embed the latents and run the head, and no layer.

    Args:
        model: sizes of the transformer; of two experts, those of each.
        tokens: of one clip.
        sampling: steps and guidance.
        cache: the table of skipped passes, if there is one.

    Raises:
        ConfigError: the step cache has no such branch, or is for a model of two experts.
    """
    if sampling.boundary is not None and cache is not None:
        raise ConfigError("--cache: a step cache is for models of one transformer, not of two")
    high = sampling.high_steps()
    low = sampling.guidance_low or sampling.guidance
    first, second = counted(sampling.guidance, high, cache), counted(low, sampling.steps - high)
    computed, reused = (x + y for x, y in zip(first, second, strict=True))
    whole = dit_flops(model, tokens).forward
    ends = dit_flops(model, Sequence(tokens.video, text=0))
    flops = computed * whole + reused * (ends.inputs + ends.ends)
    step = len(sampling.guidance.branches()) * whole
    return Video(sampling.steps, computed, flops, flops / step)


def table_of(
    path: str | None, sampling: Plan, size: tuple[int, int], frames: int
) -> StepCache | None:
    """The table of a file for videos of this size; the weights it is of are not looked at.

    Raises:
        ConfigError: the file is none, or has no table for this plan of sampling.
    """
    if path is None:
        return None
    tables = Tables.load(path)
    model = tables.tables[0].model if tables.tables else ""
    return tables.table(model, sampling, size, frames)
