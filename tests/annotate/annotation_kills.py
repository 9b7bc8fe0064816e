"""Kills annotations again and again; they must end in the same bytes as one that nobody disturbed.

    python tests/annotate/annotation_kills.py [--kills 30] [--seed N] [--out FILE.json]
    python tests/annotate/annotation_kills.py --engine ray --kills 10       # needs the extra [ray]

On this machine, SIGKILL goes to all processes of the command at a random time of those that a run
takes, and the same command goes on. With Ray, it goes to a worker of a cluster of two nodes that
has a shard; at the first one, a whole node is lost as well. The command then goes on by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import blobs
from test_resume import CHOSEN, command, digests

from alchemint_jax.annotate import annotate, load_settings

CLIPS = 12
A_RUN = 3  # workers killed in one run: a shard is tried five times
SETTINGS = load_settings(None, CHOSEN)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--out", type=Path, help="a file for the figures (JSON)")
    args = parser.parse_args()
    began = time.monotonic()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # for all processes
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = folder / "clips"
        clips.mkdir()
        for number in range(CLIPS):
            spans = [(2 + number % 5, 14 + number)]
            drawn = blobs.draw(30, [("dog", blobs.still(30, spans))])
            blobs.write(clips / f"{number:02}.mp4", drawn)
        annotate(clips, folder / "straight", SETTINGS, workers=0, perceivers=blobs.perceivers())
        expected = digests(folder / "straight")
        measure = kill_command if args.engine == "local" else kill_workers
        rows, same = measure(clips, folder, expected, args.kills, rng)
    report = {
        "engine": args.engine,
        "seed": args.seed,
        "videos": CLIPS,
        "files": len(expected),
        "identical": same,
        "kills": rows,
        "seconds": round(time.monotonic() - began),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
    }
    ends = "identical" if same else "DIFFERENT"
    print(f"{len(rows)} kills (seed {args.seed}): all {len(expected)} files are {ends}")
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if same else 1


Found = tuple[list[dict[str, Any]], bool]


def kill_command(
    clips: Path, folder: Path, expected: dict[str, str], kills: int, rng: random.Random
) -> Found:
    """Kills the command after a random time; a run that ends before that is followed by another.

    The first run is not killed: how long it takes is the longest time after which others are.
    """
    rows: list[dict[str, Any]] = []
    same, number = True, 0
    longest: float | None = None
    while len(rows) < kills or number == 0:
        number += 1
        out = folder / f"run{number}"
        while True:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "alchemint_jax", *command(clips, out)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            wait = rng.uniform(0.3, longest) if longest and len(rows) < kills else None
            with contextlib.suppress(subprocess.TimeoutExpired):
                if process.wait(wait) != 0:
                    return rows, False
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done = len(list((out / "stages").glob("sheets/part-*")))
            rows.append({"seconds": round(time.monotonic() - began, 2), "shards": done})
            print(f"{len(rows):3} of {kills}:", json.dumps(rows[-1]), flush=True)
        longest = longest or time.monotonic() - began
        same &= digests(out) == expected
    return rows, same


def kill_workers(
    clips: Path, folder: Path, expected: dict[str, str], kills: int, rng: random.Random
) -> Found:
    """Kills workers of a cluster that have a shard, a few in each run."""
    import ray
    from ray.cluster_utils import Cluster

    rows: list[dict[str, Any]] = []
    same, number = True, 0
    while len(rows) < kills:
        number += 1
        out = folder / f"run{number}"
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        second = cluster.add_node(num_cpus=1)
        try:
            with killing(cluster, second, rows, min(kills, len(rows) + A_RUN), rng, number == 1):
                annotate(clips, out, SETTINGS, cluster=cluster.address)
        finally:
            ray.shutdown()
            cluster.shutdown()
        same &= digests(out) == expected
        print(f"{len(rows):3} of {kills}: run {number}, identical so far: {same}", flush=True)
    return rows, same


@contextlib.contextmanager
def killing(
    cluster: Any, second: Any, rows: list[dict[str, Any]], most: int, rng: random.Random, node: bool
) -> Iterator[None]:
    """Meanwhile, workers are killed until there are so many rows; if asked for, a node as well."""
    ended = threading.Event()

    def kill() -> None:
        lost = not node
        while len(rows) < most and not ended.wait(rng.uniform(0.2, 1.5)):
            if not (busy := workers()):
                continue
            victim = rng.choice(busy)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                rows.append({"process": victim})
            if not lost:
                cluster.remove_node(second, allow_graceful=False)
                rows[-1]["node"] = lost = True

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def workers() -> list[int]:
    """Processes of this user's that do a task of ours on a cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::_task"):
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main())
