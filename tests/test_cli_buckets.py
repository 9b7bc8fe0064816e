"""Commands and buckets: what they take, and that nothing called "gs:" is ever made."""

from __future__ import annotations

import pytest

import alchemint_jax as al
from alchemint_jax import cli, commands, places, shipped, staging
from alchemint_jax.annotate import annotate
from alchemint_jax.data import encode_dataset, write_timed_clips
from alchemint_jax.errors import AlchemintError
from alchemint_jax.train.run import find_job
from alchemint_jax.worlds.sprites import write_sprites

BOARD = "examples/two_subjects.yaml"


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """The folder that commands run in, which stays empty."""
    monkeypatch.setattr(staging, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(commands, "prepare_jax", lambda: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("address", ["gs://bucket/a.mp4", "gs:/bucket/a.mp4", "az://b/a.mp4"])
@pytest.mark.parametrize(
    "words",
    [
        ["generate", BOARD, "--out"],
        ["data", "sprites", "--clips", "2", "--out"],
        ["data", "encode", "--data", ".", "--vae", "sprites", "--out"],
        ["data", "sheet", "--data", ".", "--out"],
        ["demo", "--out"],
    ],
)
def test_what_is_written_here_is_refused_elsewhere(words, address, capsys):
    assert cli.main([*words, address]) == 2
    said = capsys.readouterr().err
    assert f"error: {address} is an address in a bucket: this is written to this machine" in said


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--config", "configs/sprites.py", "--workdir"],
        ["convert", "--from", "sprites", "--to"],
        ["convert", "--to", "x", "--from"],
        ["evaluate", "--out"],
        ["evaluate", "--out", "x", "--model"],
        ["generate", BOARD, "--out", "x.mp4", "--model"],
        ["data", "encode", "--out", "x", "--vae", "sprites", "--data"],
    ],
)
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("gs:/bucket/a", "write gs://BUCKET/PATH"),
        ("az://bucket/a", "are not known"),
        ("gs://none/a", "there is no such bucket"),
    ],
)
def test_addresses_that_cannot_be_used(words, address, said, capsys, bucket, monkeypatch):
    if words[0] == "train" and "none" in address:
        words = [*words[:-1], "--config.vae=sprites", "--config.data=gs://none/data", words[-1]]
    assert cli.main([*words, address]) == 2
    err = capsys.readouterr().err
    assert f"error: {address}" in err or "gs://none/data" in err
    assert said in err and "Traceback" not in err


def test_a_model_is_written_to_a_bucket_and_read_from_there(bucket, capsys, empty):
    words = ["convert", "--from", "sprites/pictures", "--format", "alchemint"]
    assert cli.main([*words, "--to", f"{bucket}/model"]) == 0
    assert "transformer/config.json" in places.read_mark(places.place(f"{bucket}/model"))
    assert cli.main([*words, "--to", f"{bucket}/model"]) == 2
    assert "exists already" in capsys.readouterr().err
    module, _ = al.weights.open_component(f"{bucket}/model", "transformer")
    assert module.config == al.weights.open_component("sprites/pictures", "transformer")[0].config
    words = ["convert", "--from", f"{bucket}/model", "--to", f"{bucket}/model/inside"]
    assert cli.main(words) == 2
    assert f"lies inside --from {bucket}/model" in capsys.readouterr().err


def test_the_data_of_a_config_are_brought_here(bucket, sprites, tmp_path):
    where = places.place(f"{bucket}/clips")
    for file in sprites.rglob("*"):
        if file.is_file():
            (where / file.relative_to(sprites).as_posix()).write_bytes(file.read_bytes())
    overrides = [f"data={where}", "loader.batch_size=1"]
    config, task, _ = find_job(shipped.find("configs/sprites_vae.py"), overrides)
    assert config.data == task.data == str(staging.staged(where))
    assert next(iter(task.train_data()))["video"].shape[0] == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda place: al.weights.convert("sprites", place),
        lambda place: al.weights.save(place, "vae", {}, {}),
        lambda place: write_sprites(place, 2, 0),
        lambda place: write_timed_clips(place, {}, {}),
        lambda place: encode_dataset("clips", "sprites", place),
        lambda place: annotate("videos", place),
        lambda place: annotate(place, "out"),
    ],
)
def test_functions_refuse_what_commands_refuse(write):
    with pytest.raises(AlchemintError, match="is an address in a bucket"):
        write("gs://bucket/x")
