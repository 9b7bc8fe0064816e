"""What a render loses that starts from an earlier one of the same board after a bar was moved.

    python -m studies.rerender --limit 5 --out docs/results/rerender.json

A board is rendered, one bar of it is changed by a second, and the changed board is rendered from
the same noise in full. Then it is rendered again from where the first render was after some of its
steps, which are left out. All of these are compared with the full render.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from alchemint_jax import arguments, results
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import students, t_iou
from alchemint_jax.evaluate.scores import untimed
from alchemint_jax.outputs import check_outputs
from alchemint_jax.rotary import coverage
from alchemint_jax.sampling.conditions import latent_shape
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.sample import decode, solve_piece
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.tracker import SpritesTracker

STARTS = {"sprites": (4, 8, 16), "sprites/fast": (1,)}
"""Steps of the first render that are left out, by model."""
MOVED = 8  # frames: a second
SEED = 0
BOUND: dict[str, float | int] = {"relative_mse": 0.01, "frames": 1}
"""What "the same result" is: of each board the error of the latents, and how far a boundary that
the tracker finds may lie from that of the full render."""
TRACKER = SpritesTracker()


def edited(case: Scene, by: int = MOVED) -> Scene:
    """The board with another end of the first subject's last bar: later, or earlier if it is long
    enough, or else with an earlier start.
    """
    first = case.subjects[0]
    *others, (start, end) = first.spans
    if end + by <= case.clock.frames:
        span = (start, end + by)
    elif end - start > by:
        span = (start, end - by)
    else:
        span = (max(0, start - by), end)
    changed = dataclasses.replace(first, spans=Spans([*others, span]))
    return dataclasses.replace(case, subjects=(changed, *case.subjects[1:]))


def way(
    pipe: Pipeline, cases: Sequence[Scene], plan: Plan, start: jax.Array, first: int, piece: int
) -> dict[int, jax.Array]:
    """Latents by the number of steps done, every `piece` steps, from those after `first`.

    Raises:
        ConfigError: the solver remembers more than the sample.
    """
    if plan.solver != "euler":
        raise ConfigError(f"{plan.solver} remembers earlier steps; use a model sampled by euler")
    rows, guide = jnp.asarray(plan.method().table(plan.levels())), plan.guidance.function()
    conditions, found = pipe.conditions(cases), {first: start}
    models, state = pipe.models, plan.method().start(start)
    for at in range(first, plan.steps, piece):
        given = (models.dit_params, conditions, state, rows[at : at + piece], guide)
        state, _ = solve_piece(*given, dit=models.dit, solver=plan.solver)
        found[at + piece] = state[0]
    return found


def seen(case: Scene, video: np.ndarray) -> list[Spans]:
    """When each subject is on screen, as the tracker says."""
    return [sighting.spans for sighting in TRACKER.track(video, untimed(case))]


def alike(one: Spans, other: Spans, most: float | int = BOUND["frames"]) -> bool:
    """Whether two measurements have the same appearances, each within `most` frames."""
    pairs = zip(one, other, strict=False)
    near = all(abs(a - b) <= most for x, y in pairs for a, b in zip(x, y, strict=True))
    return len(one) == len(other) and near


def compared(
    cases: Sequence[Scene],
    latents: Float[np.ndarray, "b t h w c"],
    videos: np.ndarray,
    full: Float[np.ndarray, "b t h w c"],
    shown: np.ndarray,
) -> dict[str, Any]:
    """Figures of renders, beside the full ones of the same boards."""
    errors = students.relative_mse(latents, full)
    same, ious = [], []
    for case, video, whole in zip(cases, videos, shown, strict=True):
        for subject, a, b in zip(case.subjects, seen(case, video), seen(case, whole), strict=True):
            same.append(alike(a, b))
            ious.append(t_iou(a, subject.spans))
    found = {
        "relative_mse": {"mean": errors.mean(), "most": errors.max()},
        "spans_alike": np.mean(same),
        "t_iou": np.mean(ious),
    }
    held = errors.max() <= BOUND["relative_mse"] and all(same)
    return {**found, "bound_held": bool(held)}


def far_and_near(
    cases: Sequence[Scene], changed: Sequence[Scene], before: np.ndarray, full: np.ndarray
) -> dict[str, float]:
    """How much the full renders of a board and of the changed one differ, over the variance of all:
    in latent frames that the change touches, and in those that are two or more away from it.
    """
    near, far = [], []
    for old, new, a, b in zip(cases, changed, before, full, strict=True):
        clock = old.clock
        rows = (clock.latent(np.array(one.subjects[0].spans)) for one in (old, new))
        one, other = (np.asarray(coverage(row, clock)) for row in rows)
        touched = np.flatnonzero(one != other)
        away = np.abs(np.arange(len(a))[:, None] - touched).min(1)
        errors = ((a - b) ** 2).mean((1, 2, 3)) / full.var()
        near += [*errors[away == 0]]
        far += [*errors[away >= 2]]
    return {"near": float(np.mean(near)), "far": float(np.mean(far))}


def measure(pipe: Pipeline, cases: Sequence[Scene], starts: Sequence[int]) -> dict[str, Any]:
    """The figures of a model."""
    plan, changed = pipe.settings.plan(), [edited(case) for case in cases]
    piece = int(np.gcd.reduce([plan.steps, *starts]))
    noise = jax.random.normal(jax.random.key(SEED), (len(cases), *latent_shape(pipe, cases)))
    before = way(pipe, cases, plan, noise, 0, piece)
    full = np.asarray(way(pipe, changed, plan, noise, 0, piece)[plan.steps])
    shown = decode(pipe.models, jnp.asarray(full))
    old = np.asarray(before[plan.steps])
    found: dict[str, Any] = {"steps": plan.steps, "boards": len(cases)}
    found["first_and_full"] = far_and_near(cases, changed, old, full)
    found["left_out"] = {0: compared(changed, full, shown, full, shown)}
    for first in (*starts, plan.steps):  # all of them: the first render as it is
        latents = way(pipe, changed, plan, before[first], first, piece)[plan.steps]
        given = (np.asarray(latents), decode(pipe.models, latents), full, shown)
        found["left_out"][first] = compared(changed, *given)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the figures")
    parser.add_argument("--limit", type=arguments.whole(1), default=5, help="boards")
    args = parser.parse_args(argv)
    check_outputs([("--out", args.out)])
    prepare_jax()
    cases = sprites_cases(args.limit)
    found: dict[str, Any] = {"bound": BOUND, "moved_frames": MOVED, "seed": SEED, "models": {}}
    for model, starts in STARTS.items():
        found["models"][model] = measure(Pipeline.load(model), cases, starts)
        results.write_json(args.out, found)


if __name__ == "__main__":
    main()
