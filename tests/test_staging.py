"""Folders of a bucket on this machine: complete, checked, and brought once."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest

from alchemint_jax import places, staging
from alchemint_jax.errors import AlchemintError
from alchemint_jax.staging import staged


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "cache_root", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def model(bucket):
    where = places.place(f"{bucket}/model")
    with places.written(where) as folder:
        (folder / "vae").mkdir(parents=True)
        (folder / "vae" / "config.json").write_text("{}")
        (folder / "vae" / "model.safetensors").write_bytes(b"weights")
    return where


def test_a_local_folder_is_what_it_is(tmp_path):
    assert staged(tmp_path) == tmp_path


def test_only_what_has_changed_is_brought_again(model, monkeypatch):
    folder = staged(model)
    assert folder.name == "model" and (folder / "vae" / "config.json").read_text() == "{}"
    assert sorted(path.name for path in folder.iterdir()) == ["vae"]  # not the mark
    brought = []
    monkeypatch.setattr(
        staging, "_fetch", lambda *args, real=staging._fetch: brought.append(args[1]) or real(*args)
    )
    assert staged(str(model)) == folder and brought == []
    with places.written(model) as again:
        (again / "vae").mkdir(parents=True)
        (again / "vae" / "model.safetensors").write_bytes(b"others!")
    staged(model)
    assert (folder / "vae" / "model.safetensors").read_bytes() == b"others!"
    assert not (folder / "vae" / "config.json").exists()


def test_a_folder_without_a_mark_is_taken_as_it_is(bucket):
    where = places.place(f"{bucket}/copied")
    (where / "a" / "b.txt").write_bytes(b"by hand")
    assert (staged(where) / "a" / "b.txt").read_bytes() == b"by hand"


def test_what_is_not_whole_is_refused(model):
    (model / "vae" / "config.json").unlink()
    with pytest.raises(AlchemintError, match="not whole: vae/config.json is missing"):
        staged(model)
    with pytest.raises(AlchemintError, match="nothing of that name"):
        staged(model.parent / "another")


def test_what_arrives_damaged_is_not_kept(model, cache):
    listed = json.loads((model / places.MARK).read_text())
    listed["files"]["vae/model.safetensors"]["sha256"] = "0" * 64
    (model / places.MARK).write_bytes(json.dumps(listed).encode())
    with pytest.raises(AlchemintError, match="model.safetensors arrived damaged"):
        staged(model)
    assert [path.name for path in cache.rglob("*") if path.is_file()].count("config.json") == 1
    assert not list(cache.rglob("*.safetensors*"))


def test_a_disk_without_room(model, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: usage(9, 8, 10**9))
    with pytest.raises(AlchemintError, match="XDG_CACHE_HOME to a larger disk, or mount"):
        staged(model)
