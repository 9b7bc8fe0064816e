r"""Whether a student of few steps may stand in for its teacher; `studies.speedup` has the times.

    python -m studies.few_steps --student sprites/fast --limit 256 --again 64 \
        --out docs/results/few_steps.json

All ways of sampling see the same boards and the same noise: the teacher as it is (40 steps, 2
passes each), in 4 steps without guidance, and the student. They are compared by their latents and
by their frames, and the student's frames also as its small decoder shows them, if it has one. The
first `--again` boards are drawn once more from other noise, for diversity. What a way has made is
kept in `--work`, from where the same command, or one of more boards, goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import sys
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
from alchemint_jax.sampling.loading import TINY
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.sample import Models, decode, noise_of, sample_latents
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.scene.scene import Scene
from alchemint_jax.weights import locate
from alchemint_jax.weights.directories import tiny_decoder
from alchemint_jax.worlds.sprites import SpritesBenchmark
from alchemint_jax.worlds.sprites.cases import sprites_cases

TEACHER = "teacher"
STUDENT = "student"
SMALL = "student, small decoder"
ONE_PASS = Guidance(text=0, image=0, both=1)
WAYS: dict[str, dict[str, Any]] = {
    TEACHER: {},
    "teacher, 4 steps, no guidance": {"steps": 4, "guidance": ONE_PASS},
    STUDENT: {},
}
"""How each is sampled, where that is not its own way."""
Job = tuple[int, int]
"""Number of a board, and seed of its noise."""
TIMED = ("t_iou", "identity")
TRACKER = SpritesBenchmark().tracker
MEASURES = scores.measures(TRACKER)
STANDARD = students.Standard()


@dataclasses.dataclass(frozen=True)
class Made:
    """What a way made of all boards, and of the first ones from other noise: latents, or frames.

    Attributes:
        samples: `[b, t, h, w, c]`.
        again: `[a, t, h, w, c]`, of the first `a` boards.
    """

    samples: np.ndarray
    again: np.ndarray


@dataclasses.dataclass(frozen=True)
class Kept:
    """Latents on disk, by the number of their board and the seed of their noise.

    Attributes:
        file: the file, which need not be there.
        key: what they depend on beside these; those of another key are not looked at.
    """

    file: Path
    key: str

    def read(self) -> dict[Job, np.ndarray]:
        """What there is."""
        if self.file.is_file():
            with np.load(self.file) as found:
                if str(found["key"]) == self.key:
                    jobs = [(int(i), int(seed)) for i, seed in found["jobs"]]
                    return dict(zip(jobs, found["latents"], strict=True))
        return {}

    def write(self, found: Mapping[Job, np.ndarray]) -> None:
        """The whole file, or none of it."""
        stream = io.BytesIO()
        jobs, latents = np.array(list(found)), np.stack(list(found.values()))
        np.savez(stream, key=np.asarray(self.key), jobs=jobs, latents=latents)
        media.write_bytes(self.file, stream.getvalue())


def make(
    pipe: Pipeline,
    cases: Sequence[Scene],
    asked: Mapping[str, int],
    plan: Plan,
    kept: Kept,
    batch: int = 8,
) -> Made:
    """Latents of boards, and of the first ones (`again`) from the noise of the next seed.

    The noise of a board depends on the seed and its number alone.
    """
    shape, seed = latent_shape(pipe, cases), asked["seed"]
    first = [(i, seed) for i in range(len(cases))]
    second = [(i, seed + 1) for i in range(asked["again"])]
    found = kept.read()
    missing = [job for job in first + second if job not in found]
    with Progress(len(missing), "sampling") as progress:
        for start in range(0, len(missing), batch):
            part = missing[start : start + batch]
            full = part + [part[-1]] * (batch - len(part))  # one size of batch is compiled
            noise = jnp.concatenate(
                [noise_of(jax.random.key(of), np.array([i]), shape) for i, of in full]
            )
            conditions = pipe.conditions([cases[i] for i, _ in full])
            latents = np.asarray(sample_latents(pipe.models, conditions, noise, plan))
            found |= zip(part, latents, strict=False)
            kept.write(found)
            progress.update(start + len(part))
    return Made(*(np.stack([found[job] for job in jobs]) for jobs in (first, second)))


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
    errors = {
        "relative_mse": students.relative_mse(own.samples, teacher.samples),
        "edges": _ratios(students.edge_energy, own.samples, teacher.samples),
        "motion": _ratios(students.motion_energy, own.samples, teacher.samples),
        "diversity": students.diversity(own.samples[:a], own.again)
        / students.diversity(teacher.samples[:a], teacher.again),
    }
    found: dict[str, Any] = {
        name: scores.estimate(values, [str(board) for board in range(len(values))])
        for name, values in errors.items()
    }
    found |= {name: paired.difference(rows, others, name) for name in TIMED}
    means = {name: found[name]["mean"] for name in students.TITLES}
    return found | {"missed": STANDARD.missed(means)}


def _ratios(
    energy: Callable[[np.ndarray], np.ndarray], own: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Board by board: differences of all frames at once would take gigabytes."""
    pairs = zip(own, other, strict=True)
    return np.concatenate([energy(one[None]) / energy(two[None]) for one, two in pairs])


def shown(models: Models, made: Made) -> Made:
    """Frames of latents."""
    return Made(*(decode(models, jnp.asarray(x)) for x in (made.samples, made.again)))


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
        results.write_json(args.out, found)
    except AlchemintError as error:
        options.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    for of in ("ways", "frames"):
        print("By latents" if of == "ways" else "By frames")
        for name, figures in found[of].items():
            print(f"{name}: " + ("; ".join(figures["missed"]) or "may stand in for the teacher"))
    return 0


def _measured(args: argparse.Namespace) -> dict[str, Any]:
    models = {TEACHER: args.teacher, STUDENT: args.student}
    pipes = {who: Pipeline.load(model) for who, model in models.items()}
    weights = {who: fingerprints(model) for who, model in models.items()}
    if tiny_decoder(locate(args.student)) is not None:
        pipes[SMALL] = Pipeline.load(args.student, vae=TINY)
    cases = sprites_cases(args.limit, args.seed)
    asked = {name: getattr(args, name) for name in ("limit", "again", "seed")}
    made, frames, rows, passes = {}, {}, {}, {}
    for name, changed in WAYS.items():
        who = STUDENT if name == STUDENT else TEACHER
        print(name, file=sys.stderr, flush=True)
        plan = pipes[who].settings.plan(**changed)
        passes[name] = plan.steps * len(plan.guidance.branches())
        parts = [weights[who], args.seed, dataclasses.asdict(plan)]
        file = args.work / f"{name.replace(', ', '-').replace(' ', '-')}.npz"
        kept = Kept(file, json.dumps(parts, sort_keys=True))
        made[name] = make(pipes[who], cases, asked, plan, kept)
        frames[name] = shown(pipes[who].models, made[name])
    if SMALL in pipes:
        frames[SMALL] = shown(pipes[SMALL].models, made[STUDENT])
    for name, own in frames.items():
        scored = scores.score(cases, own.samples, TRACKER)["rows"]
        rows[name] = [row | {"seed": args.seed} for row in scored]
    return {
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
        "frames": compared(frames, rows),
    }


if __name__ == "__main__":
    sys.exit(main())
