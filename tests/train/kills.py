"""Kills a job of two processes again and again; it must end as if nothing had happened.

    make kills        # or: python tests/train/kills.py [--kills 20] [--seed N] [--out FILE.json]
                      #     [--bucket], where each process has four devices, and the run lies in a
                      #     bucket, which a process on the loopback interface plays

SIGKILL goes to one of the two, at random: while they start, find each other, compile and restore,
or train and save. The other must then end by itself. The parameters, moments and averages of the
last step are compared, bit for bit, with those of two processes that nobody disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # of what tests share

import fake_gcs
import host_job
import jax
import numpy as np
import toy_task

from alchemint_jax import sharding, train

STEPS = 400


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--bucket", action="store_true", help="the run lies in a bucket")
    parser.add_argument("--out", type=Path, help="a file for the figures (JSON)")
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if args.bucket:
            os.environ |= fake_gcs.environment(stack.enter_context(fake_gcs.running()))
        report = measure(Path(folder), args.kills, args.seed, args.bucket)
    versions = f"Python {platform.python_version()}, JAX {jax.__version__}"
    report["seconds"] = round(time.monotonic() - began)
    report["machine"] = f"{os.cpu_count()} cores, {versions}"
    rows = report["kills"]
    told = sum(row["told"] for row in rows)
    slowest = max((row["other_ended_after"] for row in rows), default=0)
    same = "identical" if report["identical"] else "DIFFERENT"
    print(
        f"{len(rows)} kills (seed {args.seed}): the other process ended after {slowest} s at most, "
        f"{told} times saying why; after step {report['steps']} all arrays are {same} "
        f"({report['seconds']} s in all)"
    )
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["identical"] and told == len(rows) else 1


def measure(folder: Path, kills: int, seed: int, bucket: bool = False) -> dict[str, Any]:
    """What became of every kill, and whether the ends are the same."""
    rng = random.Random(seed)

    def options(name: str) -> host_job.Options:
        where: dict[str, Any] = {"devices": 4, "address": f"gs://bucket/{name}"} if bucket else {}
        return host_job.Options(str(folder / name), 2, total_steps=STEPS, pause=0.01, **where)

    straight, killed = options("straight"), options("killed")
    began = time.monotonic()
    with host_job.running(straight) as job:
        job.until(lambda: host_job.latest(straight.run) > 0)
        startup = time.monotonic() - began
        job.results()
    rows = []
    for number in range(kills):
        rows.append(kill(killed, rng, startup))
        print(f"{number + 1:3} of {kills}:", json.dumps(rows[-1]), flush=True)
    with host_job.running(killed) as job:
        job.results()
    states = [state(options.run) for options in (straight, killed)]
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), *states)
    return {
        "steps": STEPS,
        "seed": seed,
        "identical": jax.tree.all(same),
        "arrays": len(jax.tree.leaves(same)),
        "kills": rows,
    }


def kill(options: host_job.Options, rng: random.Random, startup: float) -> dict[str, Any]:
    """One start of the job, one kill, and how the other process took it."""
    before, victim = host_job.latest(options.run), rng.randrange(2)
    early = rng.random() < 0.3
    with host_job.running(options) as job:
        began = time.monotonic()
        if early:
            time.sleep(rng.uniform(0, startup))
        else:
            job.until(lambda: host_job.latest(options.run) > before)
            time.sleep(rng.uniform(0, 0.3))
        running = all(process.poll() is None for process in job.processes)
        assert running, "the job was over before it could be killed"
        job.processes[victim].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        statuses = job.wait(host_job.BOUND)
        return {
            "process": victim,
            "seconds_after_start": round(killed - began, 2),
            "newest_checkpoint": host_job.latest(options.run),
            "other_ended_after": round(time.monotonic() - killed, 2),
            "other_status": statuses[1 - victim],
            "told": bool(host_job.TELLS.search(job.err(1 - victim))),
        }


def state(run: str) -> Any:
    """All arrays of the last step."""
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    plan = train.plan_state(toy_task.ToyTask(), toy_task.config().optimizer, mesh)
    with train.Checkpoints(f"{run}/checkpoints") as checkpoints:
        return jax.device_get(checkpoints.restore(STEPS, plan.abstract))


if __name__ == "__main__":
    sys.exit(main())
