"""Jobs of several processes: what they train, what they read, and how they end.

Every process here has to start, import and compile on two cores: so few jobs test much at a time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import host_job
import jax
import numpy as np
import pytest
from host_job import BOUND, HEARTBEAT, TELLS, Options, latest, running, seen
from toy_task import ToyTask, config

from alchemint_jax import sharding, train
from alchemint_jax.errors import ConfigError
from alchemint_jax.train.evaluation import EvaluateConfig, Evaluator
from alchemint_jax.train.hosts import Hosts, joined, lost

pytestmark = pytest.mark.slow

GLOBAL = 16  # examples of a step, on however many processes


def one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


def restored(workdir, step):
    plan = train.plan_state(ToyTask(), config().optimizer, one_device())
    with train.Checkpoints(workdir / "checkpoints") as checkpoints:
        return jax.device_get(checkpoints.restore(step, plan.abstract))


def identical(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b))


def stream(steps):
    """The examples of every step, in order."""
    batches = zip(ToyTask(batch=GLOBAL).train_data(), range(steps), strict=False)
    return [[x.tobytes().hex() for x in batch["x"]] for batch, _ in batches]


def together(workdir, parts):
    """The examples of every step of a job, whose processes read these parts of each batch."""
    found = [seen(workdir, process) for process in range(len(parts))]
    steps = []
    for rows in zip(*found, strict=True):
        batch = {}
        for part, read in zip(parts, rows, strict=True):
            assert batch.setdefault(part, read) == read
        steps.append([x for part in sorted(batch) for x in batch[part]])
    return steps


def scored_alike(workdir, last):
    """That jobs score what one process does of the same weights, and keep the best of them."""
    alone = Evaluator(ToyTask(), EvaluateConfig(2, "toy_world:BOARDS", limit=6, batch=2))
    lines = [x for x in train.read_metrics(workdir / "metrics.jsonl") if "evaluation/t_iou" in x]
    scored = {line["step"]: line["evaluation/t_iou"] for line in lines}
    assert {*range(2, last, 2), last} <= {*scored, last} and len(scored) == len(lines)
    best = json.loads((workdir / "best.json").read_text())
    assert best["value"] == max(scored.values()) == scored[best["step"]] > min(scored.values())
    for step in {best["step"], last} & set(scored):
        ema = jax.device_get(restored(workdir, step)["ema"])
        figures = alone.figures([alone.share(ema, 0, 1)])
        assert figures["t_iou"] == pytest.approx(scored[step], abs=1e-6)


def test_any_number_of_processes_trains_the_same_on_the_same_examples(tmp_path):
    """Four processes are stopped by a signal to one; two go on, and one goes on from there."""
    first = Options(str(tmp_path), 4, mesh={"data": 2, "fsdp": 2}, batch=4, total_steps=400)
    first = dataclasses.replace(first, evaluate_every=2)
    log = tmp_path / "metrics.jsonl"
    with running(first) as job:
        job.until(lambda: log.exists() and len(train.read_metrics(log)) >= 3)
        job.processes[2].send_signal(signal.SIGTERM)
        results = job.results(60)
    stop = latest(tmp_path)
    assert results == [["interrupted", str(stop)]] * 4 and 0 < stop < 400
    read = together(tmp_path, [0, 1, 2, 3])
    assert len(read) == stop and not (tmp_path / "export").exists()

    # A sequence over both processes: they read the same, and hold half of every weight.
    second = Options(str(tmp_path), 2, mesh={"data": 1, "context": 2}, batch=GLOBAL)
    second = dataclasses.replace(second, total_steps=stop + 6, checkpoint_every=0)
    second = dataclasses.replace(second, evaluate_every=2)
    with running(second) as job:
        assert job.results() == [["finished", str(stop + 6)]] * 2
    assert any("validation/loss" in line for line in train.read_metrics(log))
    scored_alike(tmp_path, stop + 6)
    read += together(tmp_path, [0, 0])
    assert (tmp_path / "export" / "weights.npz").exists()
    assert read == stream(stop + 6)
    assert len({x for step in read for x in step}) == GLOBAL * len(read)

    mesh = sharding.make_mesh(data=2, fsdp=4)
    last = train.fit(ToyTask(batch=GLOBAL), config(stop + 9), tmp_path, mesh=mesh)
    straight = train.fit(
        ToyTask(batch=GLOBAL), config(stop + 9), tmp_path / "straight", mesh=one_device()
    )
    for name in ("params", "ema"):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6, rtol=0),
            jax.device_get(last.state[name]),
            jax.device_get(straight.state[name]),
        )


def test_two_processes_killed_at_any_moment_end_bit_identical(tmp_path, kills):
    options = Options(str(tmp_path / "killed"), 2, total_steps=48)
    for _ in range(2):
        before, victim = latest(options.workdir), kills.randrange(2)
        with running(options) as job:
            job.until(lambda before=before: latest(options.workdir) > before)
            time.sleep(kills.uniform(0, 0.2))
            job.processes[victim].send_signal(signal.SIGKILL)
            statuses = job.wait(BOUND)
            assert statuses[victim] == -signal.SIGKILL and statuses[1 - victim] != 0
            assert TELLS.search(job.err(1 - victim)), job.err(1 - victim)
    assert 0 < latest(options.workdir) < 48
    straight = dataclasses.replace(options, workdir=str(tmp_path / "straight"))
    for job_options in (options, straight):
        with running(job_options) as job:
            assert job.results() == [["finished", "48"]] * 2
    states = [restored(tmp_path / name, 48) for name in ("killed", "straight")]
    assert identical(*states)
    assert not identical(states[0], restored(tmp_path / "straight", 44))


def test_a_process_that_hangs_ends_the_others(tmp_path):
    with running(Options(str(tmp_path), 2, total_steps=10_000)) as job:
        job.until(lambda: latest(tmp_path) > 0)
        job.processes[1].send_signal(signal.SIGSTOP)
        began = time.monotonic()
        job.processes[0].wait(3 * HEARTBEAT)
        assert job.processes[0].returncode != 0
        assert time.monotonic() - began > 1, "it did not go on waiting"
        assert TELLS.search(job.err(0)), job.err(0)


# ------------------------------------------------------------------------ without other processes


def alone(*words, **env):
    return subprocess.run(
        [sys.executable, "-m", "alchemint_jax", "train", *words],
        cwd=host_job.ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_joins_before_it_looks_for_devices(tmp_path):
    """A job of one, which reads its config only once it is joined."""
    address = f"127.0.0.1:{host_job.free_port()}"
    words = ["--config", str(tmp_path / "no.py"), "--workdir", str(tmp_path / "run")]
    words += ["--coordinator", address, "--processes", "1", "--process", "0"]
    result = alone(*words, JAX_COORDINATOR_BIND_ADDRESS=address, XDG_CACHE_HOME=str(tmp_path))
    assert result.returncode == 2 and "no such config file" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"coordinator": "a:1"},
        {"processes": 2},
        {"coordinator": "a", "processes": 2, "process": 0},
        {"coordinator": "a:b", "processes": 2, "process": 0},
        {"coordinator": "a:1", "processes": 2, "process": 2},
    ],
)
def test_hosts_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="coordinator|process"):
        Hosts(**wrong)


def test_nothing_is_joined_where_there_is_nobody():
    with pytest.raises(KeyError, match="as usual"), joined(None):
        raise KeyError("as usual")


def test_errors_of_other_processes_are_told_from_our_own():
    error = jax.errors.JaxRuntimeError
    assert lost(error("UNKNOWN: Gloo all-reduce failed: Connection closed by peer"))
    assert lost(ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"))
    assert lost(error("UNAVAILABLE: connection to the coordination service"))
    assert not lost(error("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes"))
    assert not lost(ConfigError("UNAVAILABLE: the Gloo of a config"))
    assert not lost(OSError("UNAVAILABLE: a disk"))
