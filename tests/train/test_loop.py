from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time

import grain
import jax
import numpy as np
import pytest
import toy_task
from forked import Forked
from toy_task import ToyTask, config

from alchemint_jax import sharding, train
from alchemint_jax.errors import ConfigError, DataError, TrainingError, WeightsError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]


def small_mesh():
    return sharding.make_mesh(devices=jax.devices()[:1])


def start(workdir, **options):
    said = workdir.with_name(f"{workdir.name}-said")
    return Forked(toy_task.main, workdir, 0.02, options, said=said)


def finish(process):
    assert process.wait(300) == 0, process.err
    return process.out.split()


def steps_on_disk(workdir):
    folder = workdir / "checkpoints"
    return (
        sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())
        if (folder.exists())
        else []
    )


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.err
        assert time.monotonic() < end, "the run did not get that far"
        time.sleep(0.002)


def exported(workdir):
    return dict(np.load(workdir / "export" / "weights.npz"))


def restored(workdir, step):
    plan = train.plan_state(ToyTask(), config().optimizer, small_mesh())
    with train.Checkpoints(workdir / "checkpoints") as checkpoints:
        return jax.device_get(checkpoints.restore(step, plan.abstract))


def test_killed_at_any_moment_and_resumed_is_bit_identical(tmp_path, kills):
    options = {"total_steps": 60, "checkpoint_every": 4}
    straight = start(tmp_path / "straight", **options)
    killed = tmp_path / "killed"
    killings = 0
    for _ in range(3):
        process, before = start(killed, **options), steps_on_disk(killed)
        wait_for(lambda before=before: steps_on_disk(killed)[-1:] > before[-1:], process)
        time.sleep(kills.uniform(0, 0.15))  # anywhere: in a step, in a save, in a log line
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killings += 1
        process.wait(300)
    assert killings >= 2
    assert 0 < steps_on_disk(killed)[-1] < 60, "killed too late to have anything to resume"
    assert finish(start(killed, **options)) == ["finished", "60"]
    assert finish(straight) == ["finished", "60"]
    a, b = restored(tmp_path / "straight", 60), restored(killed, 60)
    jax.tree.map(np.testing.assert_array_equal, a, b)
    for name, weights in exported(killed).items():
        np.testing.assert_array_equal(weights, exported(tmp_path / "straight")[name])
    lines = train.read_metrics(killed / "metrics.jsonl")
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps)), "a step was logged twice"


def test_sigterm_saves_and_resumes_to_the_same_end(tmp_path):
    options = {"total_steps": 40, "checkpoint_every": 0}
    log = tmp_path / "run" / "metrics.jsonl"
    process = start(tmp_path / "run", **options)
    wait_for(lambda: log.exists() and len(train.read_metrics(log)) >= 3, process)
    process.send_signal(signal.SIGTERM)
    word, step = finish(process)
    assert word == "interrupted" and 0 < int(step) < 40
    assert steps_on_disk(tmp_path / "run") == [int(step)]
    assert not (tmp_path / "run" / "export").exists()
    assert finish(start(tmp_path / "run", **options)) == ["finished", "40"]
    result = train.fit(ToyTask(), config(40), tmp_path / "straight", mesh=small_mesh())
    resumed = restored(tmp_path / "run", 40)
    jax.tree.map(np.testing.assert_array_equal, resumed, jax.device_get(result.state))


def test_ctrl_c_in_this_process_saves_and_gives_the_signal_back(tmp_path):
    class Interrupting(ToyTask):
        def loss(self, params, batch, key):
            os.kill(os.getpid(), signal.SIGINT)  # while the first step is traced
            return super().loss(params, batch, key)

    before = signal.getsignal(signal.SIGINT)
    result = train.fit(Interrupting(), config(30), tmp_path, mesh=small_mesh())
    assert result.interrupted and result.step == 1
    assert steps_on_disk(tmp_path) == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    bad = ToyTask(nan_at=16 * 7)  # the eighth batch
    c = config(20, checkpoint_every=3, log_every=50)
    with pytest.raises(TrainingError, match=r"step 8 .*checkpoints/6"):
        train.fit(bad, c, tmp_path / "bad", mesh=small_mesh())
    assert steps_on_disk(tmp_path / "bad") == [3, 6]
    train.fit(ToyTask(), config(6), tmp_path / "good", mesh=small_mesh())
    a, b = restored(tmp_path / "bad", 6), restored(tmp_path / "good", 6)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_bad_step_is_not_saved_even_if_a_save_is_due_on_it(tmp_path):
    bad = ToyTask(nan_at=16 * 5)
    with pytest.raises(TrainingError, match="step 6"):
        train.fit(bad, config(20, checkpoint_every=6), tmp_path, mesh=small_mesh())
    assert steps_on_disk(tmp_path) == []


def test_resume_continues_a_longer_run_and_moves_to_another_mesh(tmp_path):
    mesh = sharding.make_mesh(data=1, fsdp=8)
    train.fit(ToyTask(), config(5), tmp_path / "a", mesh=small_mesh())
    moved = train.fit(ToyTask(), config(9), tmp_path / "a", mesh=mesh)
    straight = train.fit(ToyTask(), config(9), tmp_path / "b", mesh=small_mesh())
    assert moved.step == 9 and int(moved.state["step"]) == 9
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5),
        jax.device_get(moved.state["params"]),
        jax.device_get(straight.state["params"]),
    )
    kernel = moved.state["opt"][1].mu["mid"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (2, 16)


def test_resume_with_another_batch_loses_and_repeats_no_example(tmp_path):
    """As when a job of other hosts goes on, each with the batch that it had."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Watched(ToyTask):
        def train_data(self, share):
            for batch in super().train_data(share):
                seen.append(batch["x"])
                yield batch

    for batch, steps in ((6, 3), (4, 5), (9, 6)):
        train.fit(Watched(batch=batch), config(steps), tmp_path, mesh=small_mesh())
    assert [len(x) for x in seen] == [6, 6, 6, 4, 4, 9]
    straight = next(iter(ToyTask(batch=35).train_data()))["x"]
    np.testing.assert_array_equal(np.concatenate(seen), straight)


def test_a_checkpoint_that_says_nothing_of_examples_is_refused(tmp_path):
    train.fit(ToyTask(), config(2), tmp_path, mesh=small_mesh())
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "data")
    with pytest.raises(TrainingError, match=r"checkpoints/2 is damaged"):
        train.fit(ToyTask(), config(4), tmp_path, mesh=small_mesh())


def test_export_gets_the_moving_average_and_a_finished_run_exports_again(tmp_path):
    result = train.fit(ToyTask(), config(4), tmp_path, mesh=small_mesh())
    weights = exported(tmp_path)
    ema = jax.device_get(result.state["ema"])
    np.testing.assert_array_equal(weights["['mid']['kernel']"], ema["mid"]["kernel"])
    assert not np.array_equal(ema["mid"]["kernel"], result.state["params"]["mid"]["kernel"])
    (tmp_path / "export" / "weights.npz").unlink()
    # What a kill leaves while a network is written, and what is not of such a run.
    for name in (".transformer.ab_d12x4.tmp", ".mine"):
        (tmp_path / "export" / name).mkdir()
        (tmp_path / "export" / name / "model.safetensors").write_text("half")
    again = train.fit(ToyTask(), config(4), tmp_path, mesh=small_mesh())
    assert not again.interrupted and again.step == 4
    np.testing.assert_array_equal(exported(tmp_path)["['mid']['kernel']"], ema["mid"]["kernel"])
    left = {path.name for path in (tmp_path / "export").iterdir()}
    assert ".mine" in left and not any(name.endswith(".tmp") for name in left)


def test_log_lines_and_validation(tmp_path):
    c = config(60, log_every=10, validate_every=30, checkpoint_every=0)
    train.fit(ToyTask(), c, tmp_path, mesh=small_mesh())
    lines = train.read_metrics(tmp_path / "metrics.jsonl")
    logged = [line for line in lines if "loss" in line]
    assert [line["step"] for line in logged] == [1, 10, 20, 30, 40, 50, 60]
    assert {"time", "grad_norm", "param_norm", "lr", "worst", "steps_per_second"} <= set(logged[0])
    checked = [line for line in lines if "validation/loss" in line]
    assert [line["step"] for line in checked] == [30, 60]
    assert checked[1]["validation/loss"] < checked[0]["validation/loss"]
    assert logged[-1]["loss"] < 0.7 * logged[0]["loss"], "nothing was learned"
    assert list((tmp_path / "tensorboard").iterdir())
    frozen = config(4, validate_every=2, optimizer={"groups": (("all", 0.0),)})
    train.fit(ToyTask(), frozen, tmp_path / "frozen", mesh=small_mesh())
    lines = train.read_metrics(tmp_path / "frozen" / "metrics.jsonl")
    values = {line["validation/loss"] for line in lines if "validation/loss" in line}
    assert len(values) == 1, "validation must draw the same noise every time"


def test_data_that_ends_is_an_error(tmp_path):
    class Short(ToyTask):
        def train_data(self, share):
            batches = [b for b, _ in zip(super().train_data(share), range(3), strict=False)]
            return grain.MapDataset.source(batches).to_iter_dataset()

    with pytest.raises(TrainingError, match=r"ended after 3 of 8 steps.*repeat"):
        train.fit(Short(), config(8), tmp_path, mesh=small_mesh())


def test_checkpoint_of_another_model_is_refused_with_its_path(tmp_path):
    train.fit(ToyTask(width=16), config(2), tmp_path, mesh=small_mesh())
    with pytest.raises(TrainingError, match=r"checkpoints/2 does not fit"):
        train.fit(ToyTask(width=32), config(4), tmp_path, mesh=small_mesh())


@pytest.mark.parametrize("late", [False, True])
def test_a_full_disk_is_explained_with_its_path(tmp_path, monkeypatch, late):
    theirs = ["1.orbax-checkpoint-tmp.old", "2.orbax-checkpoint-tmp", "notes"]

    def full(self, *args, **options):
        for name in ["1.orbax-checkpoint-tmp", *theirs]:
            (tmp_path / "checkpoints" / name).mkdir(exist_ok=True)
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device\nand many lines more")

    name = "wait_until_finished" if late else "save"
    monkeypatch.setattr(train.checkpoint.ocp.CheckpointManager, name, full)
    with pytest.raises(
        TrainingError, match=r"checkpoints: the disk is full;.*starts from the beginning"
    ):
        train.fit(ToyTask(), config(1), tmp_path, mesh=small_mesh())
    left = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert left - {"1"} == {*theirs}  # what was begun is gone, and nothing that others left


def test_what_cannot_start_writes_nothing(tmp_path):
    class Missing(ToyTask):
        def train_data(self, share):
            raise DataError("there is none")

    with pytest.raises(DataError, match="there is none"):
        train.fit(Missing(), config(2), tmp_path / "run", mesh=small_mesh())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("there", ["", "run/checkpoints"])
def test_a_start_that_fails_leaves_the_folders_that_were_there(tmp_path, there):
    class Damaged(ToyTask):
        def pretrained(self):
            raise WeightsError("holds 1 NaN")

    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WeightsError, match="1 NaN"):
        train.fit(Damaged(), config(2), tmp_path / "run", mesh=small_mesh())
    assert sorted(tmp_path.rglob("*")) == before


def test_only_the_newest_checkpoints_stay(tmp_path):
    c = config(8, checkpoint_every=2, keep=2)
    train.fit(ToyTask(), c, tmp_path, mesh=small_mesh())
    assert steps_on_disk(tmp_path) == [6, 8]


@pytest.mark.parametrize("bad", [{"log_every": -1}, {"keep": 0}])
def test_bad_train_configuration(bad):
    with pytest.raises(ConfigError, match="train"):
        config(4, **bad)
    with pytest.raises(ConfigError, match="total_steps"):
        config(0)
