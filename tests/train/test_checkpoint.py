"""Checkpoints that were copied in part, and disks that are full: one sentence, and no more."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import threading

import jax
import pytest
from toy_task import ToyTask, config

from alchemint_jax import sharding, train
from alchemint_jax.errors import ConfigError, TrainingError
from alchemint_jax.train.orbax_noise import quiet_orbax

pytestmark = pytest.mark.slow


def small_mesh():
    return sharding.make_mesh(devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train.fit(ToyTask(), config(4, checkpoint_every=2), folder, mesh=small_mesh())
    return folder / "checkpoints"


@pytest.fixture(scope="module", autouse=True)
def little_garbage():
    """Collections look through what these tests have made, not through all modules each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def plan():
    return train.plan_state(ToyTask(), config().optimizer, small_mesh())


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def swap(path):
    shutil.rmtree(path)
    path.write_text("")


DAMAGE = {
    "state": shutil.rmtree,
    "data": shutil.rmtree,
    "data/metadata": cut,
    "state/_METADATA": cut,
    "state/_sharding": cut,
    "state/manifest.ocdbt": cut,
    "state/array_metadatas/process_0": cut,
    "state/d": swap,
    "state/ocdbt.process_0/d": shutil.rmtree,
}


# Where one array cannot be read, Orbax leaves the reading of others behind.
abandoned = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@abandoned
@pytest.mark.parametrize("part", [*DAMAGE, ""])
def test_a_damaged_checkpoint_is_told_from_a_whole_one(part, whole, plan, tmp_path, capfd):
    folder = tmp_path / "checkpoints"
    shutil.copytree(whole, folder)
    if part:
        DAMAGE[part](folder / "4" / part)
    else:
        shutil.rmtree(folder / "4")
        (folder / "4").mkdir()
    with (
        pytest.raises(
            TrainingError, match=r"checkpoints/4 is damaged.*remove that folder.*checkpoint 2, the"
        ),
        quiet_orbax(),
        train.Checkpoints(folder) as checkpoints,
    ):
        checkpoints.examples(4)
        checkpoints.restore(4, plan.abstract)
    assert "Traceback" not in capfd.readouterr().err
    with train.Checkpoints(folder) as checkpoints:
        assert checkpoints.examples(2) == 32
        checkpoints.restore(2, plan.abstract)
    gc.collect()  # now, not in another test


@abandoned
def test_the_only_checkpoint_is_damaged(whole, plan, tmp_path):
    shutil.copytree(whole / "4", tmp_path / "checkpoints" / "4")
    (tmp_path / "checkpoints" / "4" / "state" / "_METADATA").unlink()
    with (
        train.Checkpoints(tmp_path / "checkpoints") as checkpoints,
        pytest.raises(TrainingError, match=r"4 is damaged.*starts from the beginning"),
    ):
        checkpoints.restore(4, plan.abstract)
    gc.collect()


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(whole, plan, monkeypatch):
    def refused(self, path):
        raise PermissionError(13, "Permission denied", str(path))

    with train.Checkpoints(whole) as checkpoints:
        monkeypatch.setattr(train.checkpoint.ocp.StandardCheckpointHandler, "metadata", refused)
        with pytest.raises(TrainingError, match=r"4 cannot be read .*let this user read"):
            checkpoints.restore(4, plan.abstract)


def test_another_optimizer_is_not_called_damage(whole):
    other = config(optimizer={"ema_decay": 0.0}).optimizer
    abstract = train.plan_state(ToyTask(), other, small_mesh()).abstract
    abstract["opt"] = {"another": abstract["opt"]}
    with (
        train.Checkpoints(whole) as checkpoints,
        pytest.raises(TrainingError, match=r"4 does not fit this configuration"),
    ):
        checkpoints.restore(4, abstract)


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match=r"run is a file where a folder should be"):
        train.Checkpoints(tmp_path / "run" / "checkpoints")


def test_threads_of_orbax_are_silenced_and_no_others(capfd):
    frame = compile("raise OSError('of orbax')", f"x{os.sep}orbax{os.sep}y.py", "exec")
    record = logging.LogRecord("absl", logging.ERROR, frame.co_filename, 1, "of orbax", (), None)
    ours = logging.LogRecord("absl", logging.ERROR, __file__, 1, "ours", (), None)
    before = threading.excepthook
    seen = []
    threading.excepthook = lambda args: seen.append(str(args.exc_value))
    try:
        with quiet_orbax():
            assert not logging.getLogger("absl").filter(record)
            assert logging.getLogger("absl").filter(ours)
            for code in (frame, compile("raise OSError('ours')", __file__, "exec")):
                thread = threading.Thread(target=exec, args=(code, {}))
                thread.start()
                thread.join()
        assert logging.getLogger("absl").filter(record)
    finally:
        threading.excepthook = before
    assert seen == ["ours"]
