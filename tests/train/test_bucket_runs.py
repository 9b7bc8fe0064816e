"""Runs whose folder is in a bucket, which a process on the loopback interface plays."""

from __future__ import annotations

import json
import signal
import time

import jax
import numpy as np
import pytest
from host_job import BOUND, TELLS, Options, latest, running
from toy_task import ToyTask, config

from alchemint_jax import places, sharding, train
from alchemint_jax.errors import AlchemintError, ConfigError, TrainingError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compile_fast")]


class Sampling(ToyTask):
    def sample(self, params):
        return {"clip": np.zeros((5, 16, 16, 3), np.uint8)}


def figures(workdir):
    text = (places.place(workdir) / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in x.items() if k not in ("time", "steps_per_second")} for x in lines]


def files(workdir, name):
    folder = places.place(workdir) / name
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != places.MARK}


def restored(workdir, step):
    plan = train.plan_state(ToyTask(), config().optimizer, sharding.make_mesh(data=8))
    with train.Checkpoints(f"{workdir}/checkpoints") as checkpoints:
        assert step == checkpoints.latest()
        return jax.device_get(checkpoints.restore(step, plan.abstract))


def test_a_run_in_a_bucket_is_as_one_in_a_folder(bucket, tmp_path):
    for place in (str(tmp_path), bucket):
        for steps in (7, 10):  # the second goes on
            changes = {"sample_every": 4, "checkpoint_every": 3}
            result = train.fit(Sampling(), config(steps, **changes), place)
            assert (result.step, result.interrupted) == (steps, False)
    assert figures(bucket) == figures(tmp_path) and len(figures(bucket)) == 7
    assert files(bucket, "samples").keys() == {"step_000004_clip.mp4", "step_000008_clip.mp4"}
    assert files(bucket, "samples") == files(tmp_path, "samples")
    assert files(bucket, "export") == files(tmp_path, "export")
    assert places.read_mark(places.place(bucket) / "export").keys() == {"weights.npz"}
    assert len(files(bucket, "tensorboard")) == 2
    jax.tree.map(np.testing.assert_array_equal, restored(bucket, 10), restored(tmp_path, 10))


def test_two_processes_killed_in_a_bucket_end_as_one_that_nobody_disturbed(bucket, tmp_path, kills):
    """Eight devices, half of them each process's; `make kills` kills five times, and exactly."""
    options = Options(str(tmp_path), 2, devices=4, total_steps=24, address=bucket)
    with running(options) as job:
        job.until(lambda: latest(bucket) > 0)
        time.sleep(kills.uniform(0, 0.3))
        victim = kills.randrange(2)
        job.processes[victim].send_signal(signal.SIGKILL)
        statuses = job.wait(BOUND)
        assert statuses[victim] == -signal.SIGKILL and statuses[1 - victim] != 0
        assert TELLS.search(job.err(1 - victim)), job.err(1 - victim)
    assert 0 < latest(bucket) < 24
    with running(options) as job:
        assert job.results() == [["finished", "24"]] * 2
    assert places.read_mark(places.place(bucket) / "export").keys() == {"weights.npz"}
    straight = config(24, checkpoint_every=4, validate_every=6)
    train.fit(ToyTask(), straight, tmp_path / "straight", mesh=sharding.make_mesh(data=8))
    steps = [[line["step"] for line in figures(run)] for run in (bucket, tmp_path / "straight")]
    assert steps[0] == steps[1]
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6, rtol=0),
        restored(bucket, 24),
        restored(tmp_path / "straight", 24),
    )


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("checkpoints/5", "cannot write a checkpoint .*permission .*from the last checkpoint"),
        ("metrics.jsonl", "metrics.*|.*permission is denied"),
    ],
)
def test_a_bucket_that_is_closed_in_the_middle(bucket, faults, tmp_path, monkeypatch, part, said):
    class Closing(ToyTask):
        def train_data(self, *share):
            for number, batch in enumerate(super().train_data(*share)):
                if number == 4:
                    faults(403, part)
                yield batch

    monkeypatch.chdir(tmp_path)
    with pytest.raises(AlchemintError, match=said):
        train.fit(Closing(), config(8), bucket)
    faults(0)
    assert train.fit(ToyTask(), config(6), bucket).step == 6
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_hold_a_run_is_refused_before_it_begins(bucket, faults, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places.importlib.util, "find_spec", lambda name: object())
    for address, said in {
        "s3://bucket/run": "to folders and to gs:// only",
        "gs:/bucket/run": "write gs://BUCKET/PATH",
        "az://bucket/run": "are not known",
    }.items():
        for refusing in (train.Checkpoints, lambda place: train.fit(ToyTask(), config(), place)):
            with pytest.raises(ConfigError, match=said):
                refusing(address)
    with pytest.raises(AlchemintError, match="no such bucket"):
        train.fit(ToyTask(), config(), "gs://none/run")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_its_last_object_is_not_one(bucket):
    train.fit(ToyTask(), config(10), bucket)
    (places.place(bucket) / "checkpoints" / "10" / "commit_success.txt").unlink()
    assert latest(bucket) == 5
    result = train.fit(ToyTask(), config(12), bucket)  # from 5, over what is left of 10
    assert result.step == 12
    with train.Checkpoints(f"{bucket}/checkpoints") as checkpoints:
        assert checkpoints.steps() == [5, 10, 12]
    (places.place(bucket) / "checkpoints" / "12" / "state" / "manifest.ocdbt").unlink()
    with pytest.raises(TrainingError, match="12"):
        train.fit(ToyTask(), config(14), bucket)
