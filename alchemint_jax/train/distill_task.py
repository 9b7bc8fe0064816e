"""Training a student that makes in a few passes what its teacher makes in many.

A teacher's paths (`data.teacher_paths`) say where it came through, its guidance included. Between
two levels of the student the path is replaced by the straight line that an Euler step takes:

    v(z_i, s_i) -> (z_i - z_j) / (s_i - s_j),    j = i + 1,

as in piecewise rectified flow (PeRFlow, arXiv 2405.07510), but on paths of the teacher rather than
of noised data. So one pass learns several steps and all branches of guidance, and references,
intervals and word tags are in it as the teacher was told them. Where all single steps are right, so
is the sample; where they are not, their errors add up, and `objective="path"` corrects the sum: the
student takes all its steps from the noise, and its clip is compared with the teacher's.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from alchemint_jax.data import teacher_paths
from alchemint_jax.data.loader import Augment
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.sampling.guidance import Branch
from alchemint_jax.train import dit_remat
from alchemint_jax.train.distill_data import check_paths
from alchemint_jax.train.dit_fields import common_fields
from alchemint_jax.train.dit_task import DiTTask
from alchemint_jax.train.dropout import Dropout
from alchemint_jax.train.optimizer import FROZEN
from alchemint_jax.train.remat import Ways
from alchemint_jax.worlds import named


def _fixed(value: Any) -> Any:
    """A field of `DiTTask` that means nothing here, and that no config has."""
    return dataclasses.field(default=value, init=False)


@dataclasses.dataclass(frozen=True)
class DistillTask(DiTTask):
    """Training a student on its teacher's paths.

    The text encoder stays as it is, since paths hold its states, and nothing is dropped, since
    guidance is inside. `sampling` has the student's steps and grid, solver "euler" and the guidance
    that is one pass with everything.

    Attributes:
        data: a directory written by `alchemint data paths`.
        teacher: the model that made them, which they are checked against; None is `init_from`.
        boards: the name of what it was asked for, as of `alchemint data paths --boards`.
        objective: "segments" learns each step from where the teacher was; "path" takes all steps
            from the noise, each of which keeps its activations, and learns their end.
    """

    shift: float = _fixed(1.0)
    dropout: Dropout = _fixed(Dropout(0.0, 0.0, 0.0))
    augment: Augment = _fixed(Augment(shuffle_slots=False, random_view=False))
    transformer: str | None = _fixed(None)
    expert: str | None = _fixed(None)
    train_text: bool = _fixed(False)
    cached_text: bool = _fixed(True)
    teacher: str | None = None
    boards: str = named.DEFAULT
    objective: str = "segments"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in ("segments", "path"):
            raise ConfigError(f"objective is {self.objective!r}; use 'segments' or 'path'")
        sampling = self.sampling
        one = sampling.guidance.branches() == {Branch(True, True): 1.0}
        euler = (sampling.solver, sampling.final_sigmas_type) == ("euler", "zero")
        if not (one and euler and sampling.distilled):
            raise ConfigError(
                "sampling: a student takes Euler's steps of one pass to the data, and no others; "
                "set solver to 'euler', final_sigmas_type to 'zero', guidance to text=0, image=0, "
                "both=1, and distilled to True"
            )

    def loss(
        self, params: dict, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Mean square error, relative to the variance of what is predicted."""
        states = batch["states"]
        everything = jnp.ones(len(states), bool)
        told = model_inputs(self.conditions({}, batch), everything, everything)
        with jax.transfer_guard("allow"):  # made on the host while the step is traced
            grid = self.sampling.plan().levels()
            sigmas, times = jnp.asarray(grid.sigmas), jnp.asarray(grid.times)
        if self.objective == "path":
            z = states[:, 0]
            for time, step in zip(times, sigmas[1:] - sigmas[:-1], strict=True):
                t = jnp.broadcast_to(time, len(z))
                z = z + step * self.velocity(params, z, t, *told)
            return relative_error(z, states[:, -1]), {}
        segment = strata(key, len(states), len(times))
        z, wanted = segment_velocity(states, sigmas, segment)
        v = self.velocity(params, z, times[segment], *told)
        return relative_error(v, wanted), {}

    def clips(self, latents: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """What a batch has of each clip, whose latents are of this shape."""
        return {"states": (self.sampling.steps + 1, *latents)}

    @property
    def passes(self) -> int:
        """How often a step asks the transformer about each clip."""
        return self.sampling.steps if self.objective == "path" else 1

    def ways(self, batch: dit_remat.Shapes, mesh: Mesh, accumulate: int) -> Ways | None:
        """As of clips, all of which have one shape here; each pass keeps activations of its own."""
        states = batch["states"]
        clips = jax.ShapeDtypeStruct((states.shape[0], *states.shape[2:]), states.dtype)
        found = dit_remat.ways(self, {**batch, "latents": clips}, mesh, accumulate)
        if found is None:
            return None
        ways = (dataclasses.replace(w, guess=w.guess * self.passes) for w in found.ways)
        return dataclasses.replace(found, batch=batch, ways=tuple(ways))

    def train_data(self, share: Share = WHOLE) -> Iterable[dict[str, Any]]:
        """Batches of paths, shuffled, without end.

        Raises:
            ConfigError, DataError: the paths are not those that the config is for.
        """
        check_paths(self)
        return teacher_paths.path_loader(self.data, "train", self.loader, share)

    def validation_data(self, share: Share = WHOLE) -> Iterator[dict[str, Any]]:
        """The boards that are held out, or as many of them as make eight batches."""
        loader = dataclasses.replace(self.loader, shuffle=False)
        batches = teacher_paths.path_loader(self.data, "validation", loader, share)
        boards = teacher_paths.read_card(self.data)["splits"]["validation"]
        whole = math.ceil(boards / share.batch(loader.batch_size))
        yield from itertools.islice(batches, min(whole, 8))

    def label(self, path: str) -> str:
        """The group of a parameter; a LoRA is all that moves, so that it alone is the student."""
        group = super().label(path)
        return FROZEN if self.lora and group == "added" else group

    def start(self, batch: dict[str, jax.Array]) -> jax.Array:
        """The noise that samples start from: the teacher's."""
        return batch["states"][:, 0]


def relative_error(found: Float[Array, " *shape"], wanted: Float[Array, " *shape"]) -> jax.Array:
    """Mean square error over the variance of what is wanted."""
    return jnp.mean((found - wanted) ** 2) / jnp.var(wanted)


def strata(key: jax.Array, batch: int, segments: int) -> Int[Array, " batch"]:
    """A segment for each sample, all of them as often as can be, in random order."""
    order, first = jax.random.split(key)
    turn = jax.random.randint(first, (), 0, segments)  # none comes first where they do not divide
    return jax.random.permutation(order, (jnp.arange(batch) + turn) % segments)


def segment_velocity(
    states: Float[Array, "b states *rest"],
    sigmas: Float[Array, " states"],
    segment: Int[Array, " b"],
) -> tuple[Float[Array, " b *rest"], Float[Array, " b *rest"]]:
    """Where a segment of each path begins, and the velocity that leads to its end in one step."""
    row = jnp.arange(len(states))
    z, end = states[row, segment], states[row, segment + 1]
    length = sigmas[segment] - sigmas[segment + 1]
    return z, (z - end) / length.reshape(-1, *(1,) * (z.ndim - 1))


def make_distill_task(config: ConfigDict) -> DistillTask:
    """The task of a config, which has `common_fields`, and may have the others of `DistillTask`."""
    own = {name: config[name] for name in ("teacher", "boards", "objective") if name in config}
    return DistillTask(**common_fields(config), **own)
