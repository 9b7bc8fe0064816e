r"""How long `alchemint generate` takes to start: to the model, to a step, and to the file.

    python -m studies.start --out runs/start.json
    git worktree add /tmp/before COMMIT
    python -m studies.start --beside ../before --out runs/start.json
    python -m studies.start --beside ../before --model sprites/fast --out runs/start_fast.json

Each run is a process of its own. The first of each tree fills an empty cache and is reported apart;
the others find what it has left. Two trees run in turn. A model, and a decoder, are for this tree:
the other one has what it takes by default.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from alchemint_jax import arguments, media, results
from alchemint_jax.bench import hardware
from alchemint_jax.bench.measure import summary
from alchemint_jax.errors import AlchemintError, DataError

ROOT = Path(__file__).resolve().parents[1]
BOARD = ROOT / "examples" / "two_subjects.yaml"
MARKS = ("command line", "model", "first step", "file")
"""What a process has done: read its arguments, loaded the model, made a step, written the video."""
PROBE = """
import json, sys, time
began, marks = float(sys.argv[1]), {}
def mark(name):
    marks.setdefault(name, time.time() - began)
from alchemint_jax import cli, commands
from alchemint_jax.progress import Progress
prepare, update = commands.prepare_jax, Progress.update
def prepared():
    mark("command line")
    prepare()
def updated(self, *args, **figures):
    mark("first step")
    update(self, *args, **figures)
commands.prepare_jax, Progress.update = prepared, updated
import alchemint_jax as al
class Loads:
    def __getattr__(self, name):
        return getattr(self.real(), name)
    def real(self):
        from alchemint_jax.sampling.pipeline import Pipeline
        return Pipeline
    def load(self, *args, **options):
        pipe = self.real().load(*args, **options)
        mark("model")
        return pipe
al.__dict__["Pipeline"] = Loads()
status = cli.main(sys.argv[2:])
mark("file")
print(json.dumps(marks), file=sys.stderr)
sys.exit(status)
"""


def run(
    tree: Path, cache: Path, steps: int | None, options: Sequence[str] = ()
) -> dict[str, float]:
    """Seconds from the command to each mark, and to its end, in a process of a tree.

    The command has further `options`.

    Raises DataError if the command fails.
    """
    environment = os.environ | {"PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(cache)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)  # what a process leaves to the next one is measured
    video = cache / "video.mp4"
    asked = ["generate", str(BOARD), "--out", str(video), *options]
    asked += [] if steps is None else ["--steps", str(steps)]
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, repr(began), *asked],
        env=environment,
        cwd=cache,  # Python looks there first
        capture_output=True,
        text=True,
    )
    seconds = time.time() - began
    if done.returncode:
        raise DataError(f"{tree}: the command failed: {done.stderr[-500:]}")
    marks = json.loads(done.stderr.splitlines()[-1])
    return {name: marks[name] for name in MARKS} | {"process": seconds}


def measure(
    trees: dict[str, Path], repeats: int, folder: Path, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Seconds of each tree, cold and warm: of one step, and of a whole video.

    This tree's commands have further `options`; a student makes all of its steps, and no other.
    """
    ways = {"video": None} if options else {"one step": 1, "video": None}
    cold: dict[str, Any] = {way: {} for way in ways}
    warm: dict[str, Any] = {way: {name: [] for name in trees} for way in ways}
    for way, steps in ways.items():
        for number in range(repeats + 1):
            for name, tree in trees.items():
                print(f"{way}, run {number}: {name}", file=sys.stderr, flush=True)
                cache = folder / name
                cache.mkdir(exist_ok=True)
                marks = run(tree, cache, steps, options if tree == ROOT else ())
                if number == 0:
                    cold[way][name] = marks
                else:
                    warm[way][name].append(marks)
    return {
        way: {
            name: {
                "cold": cold[way][name],
                "warm": {mark: summary([m[mark] for m in runs]) for mark in runs[0]},
            }
            for name, runs in warm[way].items()
        }
        for way in ways
    }


def table(found: Mapping[str, Any]) -> str:
    """Markdown: medians of warm runs, and how much of the other tree's time they are."""
    lines = [f"| | {' | '.join((*MARKS, 'process'))} |", "|---|" + "---:|" * (len(MARKS) + 1)]
    for way, rows in found.items():
        medians = {
            name: {mark: x["median"] for mark, x in row["warm"].items()}
            for name, row in rows.items()
        }
        for name, own in medians.items():
            lines.append(f"| {way}, {name} | {' | '.join(f'{x:.2f}' for x in own.values())} |")
        if "before" in medians:
            shares = (medians["now"][mark] / x for mark, x in medians["before"].items())
            lines.append(f"| {way}, ratio | {' | '.join(f'{x:.2f}' for x in shares)} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure how long a command takes to start.")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout, in turn")
    parser.add_argument("--repeats", type=arguments.whole(1), default=7, help="warm runs of each")
    parser.add_argument("--model", help="of this tree, instead of its default")
    parser.add_argument("--vae", help="of this tree, instead of the model's own")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    try:
        media.check_writable(args.out)
        trees = {"now": ROOT} | ({"before": args.beside} if args.beside else {})
        named = {"--model": args.model, "--vae": args.vae}
        options = [part for name, of in named.items() if of is not None for part in (name, of)]
        with tempfile.TemporaryDirectory() as folder:
            found = measure(trees, args.repeats, Path(folder), options)
        machine = hardware.machine(jax.devices(), ["jax", "jaxlib"])
        what = {"machine": machine, "repeats": args.repeats, "options": options}
        results.write_json(args.out, {**what, "seconds": found})
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
