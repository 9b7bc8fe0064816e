r"""Whether a student of few steps may stand in for its teacher, and what it saves.

    python -m studies.few_steps --student sprites/fast --limit 24 --again 8 \
        --out docs/results/few_steps.json

All ways of sampling see the same boards and the same noise: the teacher as it is (40 steps, 2
passes each), in 4 steps without guidance, and the student. The first `--again`
boards are drawn once more from other noise, for diversity. What a way has made is kept in `--work`,
and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from alchemint_jax import arguments, media, results
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import paired, scores, students
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.outputs import check_outputs
from alchemint_jax.progress import Progress
from alchemint_jax.sampling.conditions import latent_shape
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.sample import decode, sample_latents
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites import SpritesBenchmark
from alchemint_jax.worlds.sprites.cases import sprites_cases

TEACHER = "teacher"
STUDENT = "student"
ONE_PASS = Guidance(text=0, image=0, both=1)
WAYS: dict[str, dict[str, Any]] = {
    TEACHER: {},
    "teacher, 4 steps, no guidance": {"steps": 4, "guidance": ONE_PASS},
    STUDENT: {},
}
"""How each is sampled, where that is not its own way."""
TIMED = ("t_iou", "identity")
TRACKER = SpritesBenchmark().tracker
MEASURES = scores.measures(TRACKER)
PAIRS = 7
"""How often both are timed, in turns."""
STANDARD = students.Standard()


@dataclasses.dataclass(frozen=True)
class Made:
    """What a way made of all boards, and of the first ones from other noise.

    Attributes:
        latents: `[b, t, h, w, c]`.
        again: `[a, t, h, w, c]`, of the first `a` boards.
    """

    latents: np.ndarray
    again: np.ndarray


def make(
    pipe: Pipeline, cases: Sequence[Scene], asked: Mapping[str, int], plan: Plan, batch: int = 8
) -> Made:
    """Latents of boards, and of the first ones (`again`) from the noise of the next seed.

    The noise of a board depends on the seed and its number alone.
    """
    shape, seed = latent_shape(pipe, cases), asked["seed"]
    jobs = [(i, seed) for i in range(len(cases))]
    jobs += [(i, seed + 1) for i in range(asked["again"])]
    found: list[np.ndarray] = []
    with Progress(len(jobs), "sampling") as progress:
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            full = part + [part[-1]] * (batch - len(part))  # one size of batch is compiled
            noise = jnp.stack([_noise(i, of, shape) for i, of in full])
            conditions = pipe.conditions([cases[i] for i, _ in full])
            latents = sample_latents(pipe.models, conditions, noise, plan)
            found += list(np.asarray(latents)[: len(part)])
            progress.update(len(found))
    return Made(np.stack(found[: len(cases)]), np.stack(found[len(cases) :]))


def _noise(number: int, seed: int, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(jax.random.key(seed), number), shape)


def compared(
    made: Mapping[str, Made], rows: Mapping[str, list[dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """The figures of each way against the teacher, with 95 % intervals over boards, and what it
    misses.
    """
    teacher = made[TEACHER]
    return {
        name: _figures(own, teacher, rows[name], rows[TEACHER])
        for name, own in made.items()
        if name != TEACHER
    }


def _figures(
    own: Made,
    teacher: Made,
    rows: list[dict[str, Any]],
    others: list[dict[str, Any]],
) -> dict[str, Any]:
    a = len(own.again)
    ratios = {
        "edges": students.edge_energy(own.latents) / students.edge_energy(teacher.latents),
        "motion": students.motion_energy(own.latents) / students.motion_energy(teacher.latents),
        "diversity": students.diversity(own.latents[:a], own.again)
        / students.diversity(teacher.latents[:a], teacher.again),
    }
    errors = {"relative_mse": students.relative_mse(own.latents, teacher.latents)} | ratios
    found: dict[str, Any] = {
        name: scores.estimate(values, [str(board) for board in range(len(values))])
        for name, values in errors.items()
    }
    found |= {name: paired.difference(rows, others, name) for name in TIMED}
    means = {name: found[name]["mean"] for name in students.TITLES}
    return found | {"missed": STANDARD.missed(means)}


def speed(draws: Mapping[str, Callable[[], Any]], pairs: int = PAIRS) -> dict[str, Any]:
    """Seconds of each, medians of several runs in turns, and how many times as fast the others are
    as the first: the median over pairs, and the ends of the range.
    """
    for draw in draws.values():
        draw()  # compiled
    seconds: dict[str, list[float]] = {name: [] for name in draws}
    for _ in range(pairs):
        for name, draw in draws.items():
            began = time.perf_counter()
            draw()
            seconds[name].append(time.perf_counter() - began)
    first, *others = seconds
    factors = {n: np.array(seconds[first]) / np.array(seconds[n]) for n in others}
    return {
        "pairs": pairs,
        "seconds": {name: float(np.median(own)) for name, own in seconds.items()},
        "factor": {
            name: {"median": np.median(x), "lowest": x.min(), "highest": x.max()}
            for name, x in factors.items()
        },
    }


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(description="Compare a student with its teacher.")
    many = arguments.whole(1)
    made.add_argument("--teacher", default="sprites", help="a model")
    made.add_argument("--student", default="sprites/fast", help="a model")
    made.add_argument("--limit", type=many, default=64, help="boards")
    made.add_argument("--again", type=many, default=16, help="of them from other noise as well")
    made.add_argument("--seed", type=arguments.seed, default=7, help="of boards and noise")
    made.add_argument("--work", type=Path, default=Path("runs/few_steps"), help="what is made")
    made.add_argument("--out", type=Path, required=True, help="the JSON to write")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    options = parser()
    args = options.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out)
        check_outputs([("--out", args.out), ("--work", args.work)])
        found = _measured(args)
    except AlchemintError as error:
        options.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    for name, figures in found["ways"].items():
        print(f"{name}: " + ("; ".join(figures["missed"]) or "may stand in for the teacher"))
    return 0


def _measured(args: argparse.Namespace) -> dict[str, Any]:
    models = {TEACHER: args.teacher, STUDENT: args.student}
    pipes = {who: Pipeline.load(model) for who, model in models.items()}
    weights = {who: fingerprints(model) for who, model in models.items()}
    cases = sprites_cases(args.limit, args.seed)
    asked = {name: getattr(args, name) for name in ("limit", "again", "seed")}
    made, rows, passes = {}, {}, {}
    for name, changed in WAYS.items():
        who = STUDENT if name == STUDENT else TEACHER
        print(name, file=sys.stderr, flush=True)
        plan = pipes[who].settings.plan(**changed)
        passes[name] = plan.steps * len(plan.guidance.branches())
        key = json.dumps([weights[who], asked, dataclasses.asdict(plan)], sort_keys=True)
        file = args.work / f"{name.replace(', ', '-').replace(' ', '-')}.npz"
        made[name] = kept(file, key, functools.partial(make, pipes[who], cases, asked, plan))
        videos = decode(pipes[who].models, jnp.asarray(made[name].latents))
        own = scores.score(cases, videos, TRACKER)["rows"]
        rows[name] = [row | {"seed": args.seed} for row in own]
    draws = {
        who: functools.partial(pipe.render, cases[:1], seed=args.seed)
        for who, pipe in pipes.items()
    }
    found = {
        **models,
        **asked,
        "weights": weights,
        "standard": dataclasses.asdict(STANDARD),
        "passes": passes,
        "scores": {
            name: {key: scores.summarise(own, MEASURES)[key] for key in TIMED}
            for name, own in rows.items()
        },
        "ways": compared(made, rows),
        "speed": speed(draws),
    }
    results.write_json(args.out, found)
    return found


def kept(file: Path, key: str, make: Callable[[], Made]) -> Made:
    """What a file has of the same key, or what is made now and then kept there."""
    if file.is_file():
        with np.load(file) as found:
            if str(found["key"]) == key:
                return Made(found["latents"], found["again"])
    made = make()
    stream = io.BytesIO()
    np.savez(stream, key=np.asarray(key), latents=made.latents, again=made.again)
    media.write_bytes(file, stream.getvalue())
    return made


if __name__ == "__main__":
    sys.exit(main())
