"""Runs whose folder is in a bucket, which a process on the loopback interface plays.

Jobs of two processes that are killed while they write to one take minutes: `make kills` has them.
"""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from host_job import latest
from toy_task import ToyTask, config

from alchemint_jax import places, sharding, train
from alchemint_jax.errors import AlchemintError, ConfigError, TrainingError
from alchemint_jax.train.evaluation import EvaluateConfig

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]


PAGE = "evaluation.html"


def two_devices():
    return sharding.make_mesh(data=2, devices=jax.devices()[:2])


class Sampling(ToyTask):
    def sample(self, params):
        return {"clip": np.zeros((5, 16, 16, 3), np.uint8)}


def figures(workdir):
    text = (places.place(workdir) / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    clocks = ("time", "steps_per_second", "evaluation/seconds")
    return [{k: v for k, v in x.items() if k not in clocks} for x in lines]


def files(workdir, name):
    folder = places.place(workdir) / name
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != places.MARK}


def restored(workdir, step):
    plan = train.plan_state(ToyTask(), config().optimizer, two_devices())
    with train.Checkpoints(f"{workdir}/checkpoints") as checkpoints:
        assert step == checkpoints.latest()
        return jax.device_get(checkpoints.restore(step, plan.abstract))


SCORED = EvaluateConfig(6, "toy_world:BOARDS", limit=2)


def options(total_steps, evaluate=None):
    periods = {"checkpoint_every": 4, "validate_every": 6, "sample_every": 9}
    return config(total_steps, **periods, evaluate=evaluate)


def fit(total_steps, workdir, task=Sampling(), scored=None):  # noqa: B008
    mesh = two_devices()
    return train.fit(task, options(total_steps, scored), workdir, mesh=mesh)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run in a folder, which nobody disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    fit(24, folder, scored=SCORED)
    return folder


def test_a_run_in_a_bucket_is_as_one_in_a_folder(bucket, straight):
    for steps in (12, 24):  # the second goes on
        result = fit(steps, bucket, scored=SCORED)
        assert (result.step, result.interrupted) == (steps, False)
    assert figures(bucket) == figures(straight) and len(figures(bucket)) > 12
    assert files(bucket, "samples").keys() == {"step_000009_clip.mp4", "step_000018_clip.mp4"}
    best, page = ((places.place(bucket) / name).read_text() for name in ("best.json", PAGE))
    assert best == (straight / "best.json").read_text() and "t-IOU" in page
    for name in ("samples", "export", "export_best"):
        assert files(bucket, name) == files(straight, name)
    assert places.read_mark(places.place(bucket) / "export").keys() == {"weights.npz"}
    assert len(files(bucket, "tensorboard")) == 2
    jax.tree.map(np.testing.assert_array_equal, restored(bucket, 24), restored(straight, 24))


def test_a_bucket_that_is_closed_in_the_middle(bucket, faults, tmp_path, monkeypatch):
    class Closing(ToyTask):
        def train_data(self, *share):
            for number, batch in enumerate(super().train_data(*share)):
                if number == 6:
                    faults(403, "checkpoints/8")
                yield batch

    monkeypatch.chdir(tmp_path)
    said = "cannot write a checkpoint .*permission is denied.*from the last checkpoint"
    with pytest.raises(TrainingError, match=said):
        fit(24, bucket, Closing())
    faults(0)
    assert latest(bucket) == 4
    begun = places.place(bucket) / "checkpoints" / "12" / "state" / "d"
    (begun / "left").write_bytes(b"of a process that was killed")
    assert fit(14, bucket).step == 14
    with train.Checkpoints(f"{bucket}/checkpoints") as checkpoints:
        assert checkpoints.steps() == [8, 12, 14]
    assert not (begun / "left").exists()
    (places.place(bucket) / "checkpoints" / "14" / "state" / "manifest.ocdbt").unlink()
    with pytest.raises(TrainingError, match="checkpoint .*/14 .*12"):
        fit(16, bucket)
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
