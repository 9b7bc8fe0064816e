"""The dry run: a whole job looked at, on any machine, and nothing written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from alchemint_jax import cli, commands, sharding, weights
from alchemint_jax.data.encode import encode_with
from alchemint_jax.data.encoded import fingerprint
from alchemint_jax.errors import ConfigError
from alchemint_jax.train import dry_run as module
from alchemint_jax.train.config import load_config
from alchemint_jax.train.dry_run import dry_run
from alchemint_jax.train.run import build_job
from alchemint_jax.train.state import plan_state
from alchemint_jax.worlds.sprites import write_sprites

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[2]
SPRITES = TOP / "configs" / "sprites.py"

SMALL = [
    "model.dim=24",
    "model.n_heads=2",
    "model.n_layers=2",
    "model.unroll=1",
    "model.ffn_dim=32",
    "model.text_dim=12",
    "text.dim=12",
    "text.n_heads=2",
    "text.head_dim=6",
    "text.ffn_dim=16",
    "text.n_layers=1",
    "loader.batch_size=4",
    "train.optimizer.method=adamw",
    "vae=sprites",
    "data=nowhere",
]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    sprites = write_sprites(folder / "sprites", clips=8, seed=3, validation=4)

    def latents(pixels):
        b, f, h, w, _ = pixels.shape
        return np.zeros((b, 1 + (f - 1) // 4, h // 4, w // 4, 8), np.float32)

    identity = fingerprint(weights.locate("sprites") / "vae")
    return encode_with(latents, identity, sprites, folder / "latents")


@pytest.fixture
def recipe(tmp_path):
    """The recipe of the bundled model, with a mesh and parts of a batch that can be overridden."""
    path = tmp_path / "recipe.py"
    path.write_text(
        f"""from alchemint_jax.train.config import run_file
def get_config():
    config = run_file(__import__("pathlib").Path({str(SPRITES)!r}))["get_config"]()
    with config.unlocked():
        config.mesh = dict(data=-1, fsdp=1)
        config.train.optimizer.accumulate = 1
    return config
"""
    )
    return path


def test_a_dry_run_finds_what_cannot_be_scored(tmp_path):
    for config, scored, says in (
        ("sprites_vae.py", "every=5", "a VAETask renders no storyboards"),
        ("sprites.py", "best=beauty", "'beauty' is not measured; use t_iou"),
        ("sprites.py", "benchmark=none", "neither 'sprites' nor a file"),
    ):
        overrides = ["data=nowhere", *(["vae=sprites"] if config == "sprites.py" else [])]
        overrides.append(f"train.evaluate.{scored}")
        report = dry_run(TOP / "configs" / config, tmp_path / "run", overrides)
        assert any(says in problem for problem in report.problems), report.problems


def test_a_dry_run_sees_the_whole_job_and_writes_nothing(recipe, encoded, tmp_path):
    overrides = [*SMALL, f"data={encoded}", "mesh.fsdp=4", "loader.batch_size=8"]
    overrides += ["train.evaluate.every=500", "train.evaluate.limit=3"]
    report = dry_run(recipe, tmp_path / "run", overrides, devices=8, processes=2)
    text = str(report)
    assert report.problems == ()
    assert "data=2 fsdp=4 context=1 tensor=1 (8 devices, 2 processes)" in text
    assert "16 in all, 8 for each process; 2 for each of 8 parts" in text
    assert "traced and sharded" in text and "latents [8, " in text
    assert "starts at step 0" in text and "has an autoencoder" in text
    assert "3 boards of sprites every 500 steps; the best checkpoint by t_iou is kept" in text
    assert not (tmp_path / "run").exists()


def test_bytes_are_those_of_the_state(recipe, tmp_path):
    overrides = [*SMALL, "mesh.fsdp=4"]
    text = str(dry_run(recipe, tmp_path / "run", overrides, devices=8))
    task, train = build_job(load_config(recipe, overrides), recipe)
    plan = plan_state(task, train.optimizer, sharding.make_mesh(data=2, fsdp=4))
    state = [
        jax.device_put(np.zeros(x.shape, x.dtype), x.sharding)
        for x in jax.tree.leaves(plan.abstract)
    ]
    here = [x.addressable_shards[0].data.nbytes for x in state]
    whole = [x.nbytes for x in state]
    assert sum(here) < 0.5 * sum(whole)
    assert f"together {sum(here) / 2**30:.3f} GiB" in text


def test_data_and_weights_of_another_machine_are_left_unchecked(recipe, tmp_path):
    report = dry_run(recipe, tmp_path / "run", [*SMALL, "vae=models/far"], devices=4)
    assert report.problems == ()
    unchecked = [name for name, text in report.lines if "not on this machine" in text]
    assert unchecked == ["vae", "data"]


def test_latents_of_another_autoencoder_are_a_problem(recipe, encoded, tmp_path):
    header = encoded / "dataset.json"
    other = tmp_path / "latents"
    shutil.copytree(encoded, other)
    (other / header.name).write_text(re.sub('"vae": "[0-9a-f]+"', '"vae": "0"', header.read_text()))
    report = dry_run(recipe, tmp_path / "run", [*SMALL, f"data={other}"], devices=4)
    (problem,) = report.problems
    assert f"{other}: was encoded by another autoencoder (0) than that of sprites" in problem


@pytest.mark.parametrize(
    "overrides, devices, processes, message",
    [
        (["mesh.fsdp=3"], 8, 1, "needs 6 devices but there are 8"),
        (["loader.batch_size=6"], 8, 1, r"batch of 6 \(1 process of 6\) cannot be split .* 8"),
        (["train.optimizer.accumulate=2"], 4, 1, "1 examples of a device .* into 2 parts"),
        ([], 8, 3, "8 devices cannot be shared by 3 processes"),
        (["init_from=sprites"], 1, 1, "another model than the config's:\n.*model.dim is 24"),
    ],
)
def test_what_would_end_a_job_is_found(recipe, tmp_path, overrides, devices, processes, message):
    report = dry_run(recipe, tmp_path / "run", [*SMALL, *overrides], devices, processes)
    (problem,) = report.problems
    assert re.search(message, problem), problem


def test_a_model_that_does_not_fit_the_data_is_found(recipe, encoded, tmp_path):
    overrides = [*SMALL, f"data={encoded}", "model.in_channels=4"]
    (problem,) = dry_run(recipe, tmp_path / "run", overrides, devices=1).problems
    assert "8" in problem and "4" in problem


def test_all_problems_are_told_at_once(recipe, tmp_path):
    (tmp_path / "file").write_text("")
    overrides = [*SMALL, "loader.batch_size=6"]
    batch, place = dry_run(recipe, tmp_path / "file" / "run", overrides, devices=4).problems
    assert "cannot be split" in batch and "is a file" in place


def test_a_run_that_was_interrupted_is_said_to_go_on(recipe, tmp_path):
    for step in (20, 100):
        (tmp_path / "run" / "checkpoints" / str(step)).mkdir(parents=True)
    text = str(dry_run(recipe, tmp_path / "run", SMALL))
    assert "goes on from step 100" in text


def test_a_workdir_in_a_bucket_is_not_checked(recipe, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    report = dry_run(recipe, "gs://bucket/run", SMALL)
    assert "gs://bucket/run is in a bucket: not checked" in str(report) and not report.problems
    [problem] = dry_run(recipe, "gs:/bucket/run", SMALL).problems
    assert "write gs://BUCKET/PATH" in problem


def test_devices_can_be_pretended_only_before_there_are_any():
    with pytest.raises(ConfigError, match="8 devices are in use already, so 64 cannot"):
        module.pretend(64)
    with pytest.raises(ConfigError, match="there are 8 devices, not 64"):
        dry_run(SPRITES, "runs/x", devices=64)


def test_the_command_reports_a_mesh_that_does_not_fit(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "pretend", lambda devices: None)
    monkeypatch.setattr(commands, "prepare_jax", lambda: None)
    words = ["train", "--config", str(recipe), "--workdir", str(tmp_path / "run"), "--dry-run"]
    words += [f"--config.{override}" for override in SMALL]
    assert cli.main([*words, "--devices", "4"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith(f"would run   alchemint train --config {recipe}")
    assert cli.main([*words, "--devices", "4", "--config.mesh.fsdp=3"]) == 2
    assert "this job cannot run:\n  mesh " in capsys.readouterr().err


def test_a_mesh_larger_than_the_machine_is_pretended(tmp_path):
    words = ["train", "--config", "configs/wan_1_3b.py", "--workdir", str(tmp_path / "run")]
    words += ["--dry-run", "--devices", "64", "--config.mesh.data=-1", "--config.mesh.fsdp=16"]
    result = subprocess.run(
        [sys.executable, "-m", "alchemint_jax", *words, "--config.loader.batch_size=64"],
        cwd=TOP,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "data=4 fsdp=16 context=1 tensor=1 (64 devices, 1 process)" in result.stdout
