r"""How many times as fast a student makes a video as its teacher, here and in another checkout.

    git worktree add ../before COMMIT
    python -m studies.speedup --beside ../before --out docs/results/speedup.json

Each side is a process of its own, which has loaded its model and rendered once before anything is
timed; then they render in turns, from storyboard to frames, two videos each. The second is how a
process goes on. The first, which has figures of its own, has to bring back from memory what the
others' turns have taken out of the caches. In the other checkout there is the teacher alone.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from alchemint_jax import arguments, media, results
from alchemint_jax.bench import hardware
from alchemint_jax.bench.measure import Side, alternate
from alchemint_jax.errors import AlchemintError, DataError
from studies.start import BOARD, ROOT

BEFORE = "before"
PAIRS = 7
WAYS = {"teacher": ("sprites",), "student": ("sprites/fast",), "tiny": ("sprites/fast", "tiny")}
"""What is rendered with in this tree: a model, and its autoencoder if it is not the model's own."""
RENDERS = """
import sys
import alchemint_jax as al
from alchemint_jax.compilation import prepare_jax
file, model, *vae = sys.argv[1:]
prepare_jax()
board = al.Storyboard.load(file)
pipe = al.Pipeline.load(model, **({"vae": vae[0]} if vae else {}))
for line in sys.stdin:
    pipe.generate(board, seed=0)
    print("rendered", flush=True)
"""


@contextlib.contextmanager
def renderer(tree: Path, *model: str) -> Iterator[subprocess.Popen[str]]:
    """A process of a tree, which renders the storyboard for each line that it reads."""
    with subprocess.Popen(
        [sys.executable, "-c", RENDERS, str(BOARD), *model],
        env=os.environ | {"PYTHONPATH": str(tree)},
        cwd=tree.parent,  # Python looks there first
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def render(process: subprocess.Popen[str]) -> None:
    """Has it render once; a DataError if it has ended instead."""
    assert process.stdin and process.stdout
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.flush()
    if process.stdout.readline() != "rendered\n":
        raise DataError("a process could not render; it has said why above")


def in_turns(
    draws: Mapping[str, Callable[[], Any]], pairs: int = PAIRS
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each, which run twice, one after the other, again and again.

    Returns:
        Those of second runs; and of first ones, each after others.
    """
    for draw in draws.values():
        draw()  # compiled
    first = "first "
    sides = {}
    for name, draw in draws.items():
        for run in (first + name, name):
            sides[run] = Side(draw, lambda _: None, hardware.peak_memory)
    seconds = alternate(sides, pairs)
    return {n: seconds[n] for n in draws}, {n: seconds[first + n] for n in draws}


def speed(seconds: Mapping[str, Sequence[float]], base: str) -> dict[str, Any]:
    """Medians of what `in_turns` has found, and how many times as fast the others are as the base:
    the median over pairs, and the ends of the range.
    """
    factors = {n: np.divide(seconds[base], own) for n, own in seconds.items() if n != base}
    return {
        "pairs": len(seconds[base]),
        "seconds": {name: float(np.median(own)) for name, own in seconds.items()},
        "factor": {
            name: {"median": np.median(x), "lowest": x.min(), "highest": x.max()}
            for name, x in factors.items()
        },
    }


def measure(
    sides: dict[str, tuple[Any, ...]], pairs: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """`in_turns` of each side: tree, model and, if it is not the model's own, decoder."""
    with contextlib.ExitStack() as stack:
        started = {n: stack.enter_context(renderer(*side)) for n, side in sides.items()}
        return in_turns({n: functools.partial(render, one) for n, one in started.items()}, pairs)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Time a student beside its teacher.")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="another checkout, in turn")
    parser.add_argument("--pairs", type=arguments.whole(1), default=PAIRS, help="videos of each")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    sides: dict[str, tuple[Any, ...]] = {name: (ROOT, *way) for name, way in WAYS.items()}
    if args.beside:
        sides[BEFORE] = (args.beside.resolve(), "sprites")
    try:
        media.check_writable(args.out)
        bases = ("teacher", BEFORE) if args.beside else ("teacher",)
        found, first = (
            {base: speed(seconds, base) for base in bases} for seconds in measure(sides, args.pairs)
        )
        machine = hardware.machine(jax.devices(), ["jax", "jaxlib"])
        record = {"machine": machine, "board": BOARD.name, "base": found, "first": first}
        results.write_json(args.out, record)
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    for base, own in found.items():
        for name, factor in own["factor"].items():
            print(f"{name}: {factor['median']:.1f} times as fast as {base}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
