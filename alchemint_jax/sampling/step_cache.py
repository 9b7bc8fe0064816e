"""A step cache: which passes of a model are computed at which steps, and which make do without.

What all layers of the transformer add to the video's tokens, the residual, changes little from one
step to the next. A pass that is not computed takes it from a line through the last two of its
branch that were; embedding and head, which cost next to nothing, follow the latents and the time.
How much the length of the residual changes is measured once for a model and a grid (see `ratios`),
and a rule makes a table of it. The table is all that sampling reads: every sample, batch and
machine skips the same steps.

The rule is that of MagCache, Ma et al., arXiv 2506.09045; the line is TaylorSeer's of order 1, Liu
et al., arXiv 2503.06923, of one residual instead of each layer's.

    DIR/step_cache.json     {"step_cache": 1, "tables": [{"model": ..., "grid": ..., ...}, ...]}

Axes: s steps, p branches of guidance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from alchemint_jax import media, weights
from alchemint_jax.errors import ConfigError, listed
from alchemint_jax.sampling.guidance import BRANCHES, Branch
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.text_cache import sample_file
from alchemint_jax.weights import files
from alchemint_jax.weights.directories import LORA, changed_by_lora, is_single_file

FILE = "step_cache.json"
AUTO = "auto"
"""Names the file beside the weights."""
_VERSION = 1
_MEASURE = "measure it with `alchemint step-cache`"


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a table is made of measured ratios.

    Attributes:
        threshold: how much the lengths of residuals may differ, added up over the steps since they
            were computed; 0 skips no step.
        most: how many steps may be skipped one after another.
        dense: share of the steps, the first ones, that are all computed.
        sides: passes with the text alone, or with the pictures alone, are computed at every
            so-manieth of the computed steps, where there are others beside them.

    Raises:
        ConfigError: a field is not in its range.
    """

    threshold: float | int = 0.12
    most: int = 4
    dense: float | int = 0.2
    sides: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise ConfigError(f"rule: threshold is {self.threshold}; it must be 0 or more")
        if not 0 <= self.dense <= 1:
            raise ConfigError(f"rule: dense is {self.dense}; it must be a share from 0 to 1")
        for name in ("most", "sides"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                value = getattr(self, name)
                raise ConfigError(f"rule: {name} is {value}; it must be a whole number >= 1")

    def table(
        self, ratios: Float[np.ndarray, "s p"], branches: Sequence[str]
    ) -> Bool[np.ndarray, "s p"]:
        """Which passes are computed.

        With g the ratio of a step, R the product of those since the last step that was computed
        and e the sum of |1 - R| over the same steps, a step is skipped while e is below `threshold`
        in every branch, `most` allowing.
        """
        steps, dense = len(ratios), max(1, int(len(ratios) * self.dense))
        alone = np.asarray([name in ("text", "image") for name in branches])
        side = alone & (len(branches) > 2)
        computed = np.ones(ratios.shape, bool)
        product, error, skipped, made = np.ones(len(branches)), np.zeros(len(branches)), 0, 0
        for i in range(dense, steps):
            product = product * ratios[i]
            error = error + np.abs(1 - product)
            skipped += 1
            if skipped <= self.most and (error < self.threshold)[~side].all():
                computed[i] = False
                continue
            made += 1
            computed[i] = ~side | (made % self.sides == 0)
            product, error, skipped = np.ones(len(branches)), np.zeros(len(branches)), 0
        return computed


def grid_of(plan: Plan) -> dict[str, Any]:
    """What of a plan a table depends on, in JSON's types."""
    names = ("steps", "shift", "solver", "grid", "shift_terminal", "final_sigmas_type")
    found = {name: getattr(plan, name) for name in names}
    if plan.solver == "unipc":
        options = dataclasses.asdict(plan.unipc)
        found["unipc"] = options | {"disable_corrector": list(options["disable_corrector"])}
    return found


def branch_names(branches: Iterable[Branch]) -> tuple[str, ...]:
    """Names of branches of guidance, as files have them."""
    names = {branch: name for name, branch in BRANCHES.items()}
    return tuple(names[branch] for branch in branches)


@dataclasses.dataclass(frozen=True)
class StepCache:
    """A table, and what it is for.

    Attributes:
        model: fingerprint of the transformer's weights, as they were before any LoRA.
        grid: steps, shift and solver, see `grid_of`.
        branches: names of the branches of guidance.
        size: (height, width) of the videos in pixels.
        frames: of the videos.
        computed: for each branch whether its pass is computed, step by step.
        ratios: for each branch, what was measured: mean length of a token's residual over that of
            the step before. The first is 1.
        rule: that made `computed` of them.
    """

    model: str
    grid: Mapping[str, Any]
    branches: tuple[str, ...]
    size: tuple[int, int]
    frames: int
    computed: tuple[tuple[bool, ...], ...]
    ratios: tuple[tuple[float, ...], ...]
    rule: Rule

    @property
    def steps(self) -> int:
        """Of the grid."""
        return len(self.computed[0])

    @property
    def passes(self) -> float:
        """Computed passes of all branches, in units of one step of all of them."""
        return sum(map(sum, self.computed)) / len(self.branches)

    def of(self, branches: Sequence[Branch]) -> Bool[np.ndarray, "s p"]:
        """Whether passes of these branches are computed, in this order.

        Raises:
            ConfigError: it has no such branch.
        """
        rows = []
        for name in branch_names(branches):
            if name not in self.branches:
                raise ConfigError(
                    f"the step cache is of the passes {', '.join(self.branches)}, and guidance "
                    f"asks for {name}, too; {_MEASURE} with this guidance"
                )
            rows.append(self.computed[self.branches.index(name)])
        return np.asarray(rows, bool).T


def fingerprint(source: str | os.PathLike[str]) -> str:
    """Names the transformer of a model without reading all of it, wherever it lies.

    Args:
        source: a model's directory, a file, or the index of several.

    Raises:
        WeightsError: there are no weights.
    """
    if is_single_file(source):
        path = Path(source)
        parts = files.indexed(path) if path.name.endswith(".index.json") else [path]
    else:
        folder = weights.component_folder(weights.locate(source), "transformer")
        base = changed_by_lora(folder)
        parts = files.find(folder) if base is None else [*files.find(base), folder / LORA]
    digest = hashlib.sha256()
    for path in parts:
        with open(path, "rb") as file:
            digest.update(str(os.fstat(file.fileno()).st_size).encode())
            sample_file(digest, file)
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Tables:
    """The tables of a file.

    Attributes:
        tables: of one or several grids, sizes or guidances.
        source: the file, for errors.
    """

    tables: tuple[StepCache, ...]
    source: str

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tables:
        """Reads a file.

        Raises:
            ConfigError: it is missing or damaged; what is wrong is said.
        """
        try:
            values = files.read_json(Path(path))
        except FileNotFoundError:
            raise ConfigError(f"{path}: there is no step cache; {_MEASURE}") from None
        try:
            if values["step_cache"] != _VERSION:
                raise ValueError(f"its version is {values['step_cache']!r}, not {_VERSION}")
            tables = tuple(_read(table) for table in values["tables"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: is no step cache ({error!r}); {_MEASURE}") from error
        return cls(tables, str(path))

    def table(self, model: str, plan: Plan, size: tuple[int, int], frames: int) -> StepCache:
        """The table for a plan and for videos of this size.

        Args:
            model: fingerprint of the transformer.
            plan: how it is sampled.
            size: (height, width) in pixels.
            frames: of a video.

        Raises:
            ConfigError: there is none; what the file is for, and what was asked, is said.
        """
        wanted: dict[str, Any] = {
            "model": model,
            "grid": grid_of(plan),
            "branches": sorted(branch_names(plan.guidance.branches())),
            "size": (*size, frames),
        }
        left = list(self.tables)
        for what, value in wanted.items():
            fits = [table for table in left if _part(table, what) == value]
            if not fits:
                known = [_said(what, _part(table, what)) for table in left]
                which = " or ".join(listed(list(dict.fromkeys(known)))) or "nothing"
                raise ConfigError(
                    f"{self.source}: the step cache is of {which}, not of {_said(what, value)}; "
                    f"{_MEASURE} as you sample, or leave it out"
                )
            left = fits
        return left[0]

    def joined(self, table: StepCache) -> Tables:
        """With this table in the place of one for the same; those of other weights are dropped."""

        def same(other: StepCache) -> bool:
            parts = ("grid", "branches", "size")
            return all(_part(other, part) == _part(table, part) for part in parts)

        kept = [x for x in self.tables if x.model == table.model and not same(x)]
        return Tables((*kept, table), self.source)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a file, whole or not at all; AlchemintError if it cannot."""
        rows = [json.dumps(_written(table)) for table in self.tables]
        text = f'{{"step_cache": {_VERSION}, "tables": [\n' + ",\n".join(rows) + "\n]}\n"
        media.write_bytes(path, text.encode())


def _part(table: StepCache, what: str) -> Any:
    """What is compared of a table."""
    match what:
        case "branches":
            return sorted(table.branches)
        case "size":
            return (*table.size, table.frames)
    return getattr(table, what)


def _said(what: str, value: Any) -> str:
    """A part of a table in words."""
    match what:
        case "model":
            return f"the weights {value[:12]}"
        case "grid":
            parts = [
                f"{name} {x}" for name, x in value.items() if x is not None and name != "unipc"
            ]
            options = f", unipc {value['unipc']}" if "unipc" in value else ""
            return f"the grid of {', '.join(parts)}{options}"
        case "branches":
            return f"the passes {', '.join(value)}"
    return f"videos of {value[0]}x{value[1]} pixels and {value[2]} frames"


def _written(table: StepCache) -> dict[str, Any]:
    values = dataclasses.asdict(table)
    of_branches = zip(table.branches, table.computed, table.ratios, strict=True)
    values["branches"] = {
        name: {
            "computed": "".join(str(int(x)) for x in computed),
            "ratios": [float(f"{x:.5g}") for x in ratios],
        }
        for name, computed, ratios in of_branches
    }
    return {name: x for name, x in values.items() if name not in ("computed", "ratios")}


def _read(values: Mapping[str, Any]) -> StepCache:
    """A table of a file. Raises ValueError, KeyError or TypeError where it is none."""
    steps = values["grid"]["steps"]
    computed, ratios = [], []
    for name, row in values["branches"].items():
        if name not in BRANCHES:
            raise ValueError(f"there is no branch {name!r}")
        if len(row["computed"]) != steps or set(row["computed"]) - {"0", "1"}:
            raise ValueError(f"computed of {name} must be {steps} digits, 0 or 1")
        if len(row["ratios"]) != steps:
            raise ValueError(f"there must be {steps} ratios of {name}")
        computed.append(tuple(digit == "1" for digit in row["computed"]))
        ratios.append(tuple(map(float, row["ratios"])))
    if not computed:
        raise ValueError("it has no branches")
    height, width = map(int, values["size"])
    return StepCache(
        str(values["model"]),
        dict(values["grid"]),
        tuple(values["branches"]),
        (height, width),
        int(values["frames"]),
        tuple(computed),
        tuple(ratios),
        Rule(**values["rule"]),
    )
