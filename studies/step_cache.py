r"""What a step cache saves and costs: boards sampled with it and without, from the same noise.

    python -m studies.step_cache --limit 16 --out docs/results/step_cache.json
    python -m studies.step_cache --times --out runs/step_cache_times.json

Each variant is compared with the same model that skips nothing, by its latents and by what is on
screen; a second comparison is of guidance by four branches. Times are of one board, from storyboard
to frames, in turn. The file is written after every variant, and variants that it has are not
measured again; `--only` measures some of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax import arguments, media, results, shipped, weights
from alchemint_jax.bench.measure import Side, alternate, compare
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import check_model, fingerprints
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.conditions import latent_shape
from alchemint_jax.sampling.passes import counted
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.ratios import measure_table
from alchemint_jax.sampling.sample import decode, sample_latents
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.step_cache import Rule, StepCache
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.tracker import SpritesTracker

MEASURED_ON = ("examples/two_subjects.yaml",)
"""Tables are made of these boards, which are none of those that are compared."""
FIGURES = ("t_iou", "identity")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to sample a model.

    Attributes:
        steps: of the solver; None is the model's own number.
        solver: None is the model's own.
        guidance: fields of it that are not the model's own.
        rule: of the step cache; None skips nothing.
        against: the variant that skips nothing, with which it is compared.
        boards: how many of the boards, at the most.
    """

    steps: int | None = None
    solver: str | None = None
    guidance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rule: Rule | None = None
    against: str = "whole"
    boards: int | None = None


FOUR = {"text": 0.5, "image": 0.5, "both": 2.0}
"""All four branches, and in sum about as strong as the model's own guidance."""
VARIANTS = {
    "whole": Variant(),
    "cache": Variant(rule=Rule()),
    "UniPC 20, cache": Variant(20, "unipc", rule=Rule(most=2)),
    "four": Variant(guidance=FOUR, against="four", boards=1),
    "four, cache": Variant(guidance=FOUR, rule=Rule(), against="four", boards=1),
    "four, sides": Variant(guidance=FOUR, rule=Rule(0, sides=3), against="four", boards=1),
}


def relative_error(
    latents: Float[np.ndarray, "b t h w c"], reference: Float[np.ndarray, "b t h w c"]
) -> float:
    """Mean square of the difference, over the variance of the reference."""
    return float(np.mean((latents - reference) ** 2) / np.var(reference))


def energies(latents: Float[np.ndarray, "b t h w c"]) -> dict[str, float]:
    """Root mean squares of differences between neighbours in space and in time.

    Blurred latents have less of the first two than sharp ones; still ones have less of the last.
    """
    axes = {"horizontal": 3, "vertical": 2, "motion": 1}
    return {
        name: float(np.sqrt(np.mean(np.diff(latents, axis=axis) ** 2)))
        for name, axis in axes.items()
    }


def psnr(video: UInt8[np.ndarray, "b f h w 3"], other: UInt8[np.ndarray, "b f h w 3"]) -> float:
    """Ratio of peak signal to noise in dB: infinite where both are the same."""
    error = np.mean((video.astype(np.float64) - other.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def table(pipe: Pipeline, plan: Plan, rule: Rule | None, seed: int) -> StepCache | None:
    """The step cache of a variant, measured on boards of its own."""
    if rule is None:
        return None
    boards = [Storyboard.load(shipped.find(name)) for name in MEASURED_ON]
    return measure_table(pipe, [pipe.scene(board) for board in boards], plan, rule, seed)


def noise_of(pipe: Pipeline, scene: Scene, seed: int, number: int) -> jax.Array:
    """Where the flow of a board starts [1 t h w c]."""
    key = jax.random.fold_in(jax.random.key(seed), number)
    return jax.random.normal(key, (1, *latent_shape(pipe, [scene])))


def latents_of(
    pipe: Pipeline, scenes: Sequence[Scene], plan: Plan, cache: StepCache | None, seed: int
) -> Float[np.ndarray, "b t h w c"]:
    """The ends of the flows of some boards, one by one."""
    found = []
    for i, scene in enumerate(scenes):
        given = (pipe.models, pipe.conditions([scene]), noise_of(pipe, scene, seed, i), plan)
        found.append(np.asarray(sample_latents(*given, cache=cache)))
    return np.concatenate(found)


def compared(
    latents: np.ndarray, frames: np.ndarray, reference: np.ndarray, shown: np.ndarray
) -> dict[str, Any]:
    """Figures of latents and frames, beside those that skip nothing."""
    own, whole = energies(latents), energies(reference)
    return {
        "relative_error": relative_error(latents, reference),
        "energy": {name: own[name] / whole[name] for name in own},
        "psnr": psnr(frames, shown),
    }


def measure(
    pipe: Pipeline,
    scenes: Sequence[Scene],
    seed: int,
    names: Sequence[str],
    keep: Callable[[str, dict[str, Any]], Any],
) -> None:
    """The figures of some variants, each of which `keep` is given.

    What they are compared with is sampled, too, before the first that needs it.
    """
    tracker = SpritesTracker()
    known: dict[str, tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]] = {}
    needed = [one for name in names for one in (VARIANTS[name].against, name)]
    for name in dict.fromkeys(needed):
        print(name, file=sys.stderr, flush=True)
        variant = VARIANTS[name]
        plan = pipe.settings.plan(variant.steps, variant.guidance, variant.solver)
        cache = table(pipe, plan, variant.rule, seed)
        part = scenes[: variant.boards]
        latents = latents_of(pipe, part, plan, cache, seed)
        frames = decode(pipe.models, jnp.asarray(latents))
        rows = [row | {"seed": seed} for row in scores.score(part, frames, tracker)["rows"]]
        known[name] = (latents, frames, rows)
        whole = _first(known[variant.against], part)
        if name not in names:
            continue
        found = {
            "steps": plan.steps,
            "solver": plan.solver,
            "guidance": dataclasses.asdict(plan.guidance),
            "rule": dataclasses.asdict(variant.rule) if variant.rule else None,
            "against": variant.against,
            "boards": len(part),
            "passes": counted(plan.guidance, plan.steps, cache)[0],
            **compared(latents, frames, *whole[:2]),
            **{
                figure: {
                    "mean": float(np.nanmean(np.array([row[figure] for row in rows], float))),
                    "less": paired.difference(rows, whole[2], figure),
                }
                for figure in FIGURES
            },
        }
        keep(name, found)


def markdown(found: Mapping[str, Any]) -> str:
    """The table of a file of figures that this command wrote."""
    titles = ("passes", "relative MSE", "edges", "motion", "PSNR (dB)", "t-IOU", "identity")
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(titles)]
    for name, row in found["variants"].items():
        energy, alone = row["energy"], row["against"] == name
        edges = (energy["horizontal"] + energy["vertical"]) / 2
        of_pairs = [row[figure]["less"] for figure in FIGURES]
        cells = [
            f"{row['passes']:.0f}",
            "" if alone else f"{row['relative_error']:.4f}",
            "" if alone else f"{edges:.2f}",
            "" if alone else f"{energy['motion']:.2f}",
            "" if alone else f"{row['psnr']:.1f}",
            *(
                f"{row[figure]['mean']:.3f}"
                + ("" if alone else f" ({less['low']:+.3f} to {less['high']:+.3f})")
                for figure, less in zip(FIGURES, of_pairs, strict=True)
            ),
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def time_row(name: str, found: Mapping[str, Any]) -> str:
    """The line of a variant in the table of a file of times that this command wrote."""
    seconds = float(np.median(found["seconds"]))
    return f"| {name} | {seconds:.2f} | {found['pairs']['median']:.2f} |"


def _first(
    known: tuple[np.ndarray, np.ndarray, list[dict[str, Any]]], scenes: Sequence[Scene]
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """What is known of these boards, the first of those that it is known of."""
    latents, frames, rows = known
    names = {scene.id for scene in scenes}
    chosen = [row for row in rows if row["case"] in names]
    return latents[: len(scenes)], frames[: len(scenes)], chosen


def _side(pipe: Pipeline, scene: Scene, plan: Plan, cache: StepCache | None, seed: int) -> Side:
    """From a board to frames."""

    def run() -> np.ndarray:
        latents = latents_of(pipe, [scene], plan, cache, seed)
        return decode(pipe.models, jnp.asarray(latents))

    return Side(run, lambda frames: frames, lambda call: {})


def times(
    pipe: Pipeline, scene: Scene, seed: int, names: Sequence[str], repeats: int
) -> dict[str, Any]:
    """Seconds of these variants, and their ratio to those of the one that skips nothing."""
    sides = {}
    for name in dict.fromkeys(["whole", *names]):
        variant = VARIANTS[name]
        plan = pipe.settings.plan(variant.steps, variant.guidance, variant.solver)
        cache = table(pipe, plan, variant.rule, seed)
        sides[name] = _side(pipe, scene, plan, cache, seed)
        sides[name].call()  # what is compiled once is compiled now
    seconds = alternate(sides, repeats)
    return {
        name: {"seconds": own, **compare(own, seconds["whole"])} for name, own in seconds.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure what a step cache saves and costs.")
    parser.add_argument("--model", default="sprites")
    count = arguments.whole(1)
    parser.add_argument("--limit", type=count, default=16, help="boards")
    parser.add_argument("--seed", type=arguments.seed, default=11, help="of boards and noise")
    parser.add_argument("--only", nargs="+", choices=[*VARIANTS], help="variants to measure")
    parser.add_argument("--times", action="store_true", help="take times instead of figures")
    parser.add_argument("--repeats", type=count, default=7, help="of each time, in turn")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out)
        check_outputs([("--out", args.out)], weights.parts(args.model))
        pipe = Pipeline.load(args.model)
        scenes = sprites_cases(1 if args.times else args.limit, args.seed)
        check_model(pipe, scenes)
        head: dict[str, Any] = {"model": args.model, "weights": fingerprints(args.model)}
        if args.times:
            head |= {"seed": args.seed, "repeats": args.repeats}
            found = times(pipe, scenes[0], args.seed, args.only or list(VARIANTS), args.repeats)
            results.write_json(args.out, head | {"times": found})
        else:
            head |= {"limit": args.limit, "seed": args.seed}
            found = _read(args.out, head)

            def keep(name: str, figures: dict[str, Any]) -> None:
                found[name] = figures
                ordered = {name: found[name] for name in VARIANTS if name in found}
                results.write_json(args.out, head | {"variants": ordered})

            names = [name for name in args.only or VARIANTS if name not in found]
            measure(pipe, scenes, args.seed, names, keep)
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _read(path: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """The variants of an earlier run of the same boards; none where there was no run."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        same = all(found[name] == value for name, value in head.items())
        variants = dict(found["variants"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: was not written by this command ({error!r})") from error
    if not same:
        raise ConfigError(f"{path}: is of another model, limit or seed; use another --out")
    return variants


if __name__ == "__main__":
    sys.exit(main())
