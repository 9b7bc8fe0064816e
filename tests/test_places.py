"""Local paths and addresses in buckets; the bucket is a process on the loopback interface."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
from pathlib import Path

import pytest

from alchemint_jax import places
from alchemint_jax.errors import AlchemintError, ConfigError


@pytest.mark.parametrize("name", ["run", "a/b:/c", "/abs/gs", "./gs:", "C:/runs", Path("x")])
def test_local_paths_stay_as_they_are(name):
    assert places.place(name) == Path(name) and type(places.place(name)) is type(Path())
    assert not places.is_address(name) and places.local(name, "") == Path(name)


@pytest.mark.parametrize("name", ["gs://bucket/run", "s3://bucket/run"])
def test_addresses(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    where = places.place(name)
    assert os.fspath(where / "a" / "b.json") == f"{name}/a/b.json"
    assert places.is_address(where) and places.place(where) == where
    with pytest.raises(ConfigError, match=f"{name} is an address in a bucket: copy it"):
        places.local(name, "copy it")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("az://box/run", "az:// are not known; give gs://BUCKET/PATH or s3://BUCKET/PATH"),
        ("https://a/b", "https:// are not known"),
        ("gs:/bucket/run", "write gs://BUCKET/PATH"),
        (Path("gs://bucket/run"), "Path makes one slash of two"),
        ("gs:///run", "write gs://BUCKET/PATH"),
        ("gs://bucket/*", "none of"),
        ("gs://bucket/a/../b", "and no .."),
    ],
)
def test_addresses_that_cannot_be_used(name, said):
    with pytest.raises(ConfigError, match=said):
        places.place(name)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"s3fs is not installed.*pip install 'alchemint-jax\["):
        places.place("s3://bucket/run")


def test_a_folder_is_whole_once_its_mark_is_there(bucket):
    where = places.place(f"{bucket}/export")
    assert not places.holds(where) and places.read_mark(where) is None
    with places.written(where) as folder:
        (folder / "vae").mkdir(parents=True)
        (folder / "vae" / "config.json").write_text("{}")
        (folder / "old.bin").write_bytes(b"1")
        assert not places.holds(where)
    assert places.holds(where)
    files = json.loads((where / places.MARK).read_text())["files"]
    assert files["vae/config.json"]["size"] == 2 and set(files) == {"vae/config.json", "old.bin"}

    (where / "of_a_user.txt").write_bytes(b"mine")
    with places.written(where) as folder:
        folder.mkdir()
        (folder / "new.bin").write_bytes(b"2")
    names = {path.name for path in where.iterdir()}
    assert names == {"new.bin", "of_a_user.txt", places.MARK}
    assert set(places.read_mark(where)) == {"new.bin"}

    with pytest.raises(KeyError), places.written(where) as folder:
        folder.mkdir()
        raise KeyError
    assert set(places.read_mark(where)) == {"new.bin"}


def test_a_local_folder_is_written_in_place(tmp_path):
    with places.written(tmp_path / "export") as folder:
        assert folder == tmp_path / "export"


def test_a_folder_cut_short_has_no_mark(bucket, faults):
    where = places.place(f"{bucket}/export")
    for text in ("1", "22"):
        said = pytest.raises(AlchemintError, match="permission is denied.*storage.objectUser")
        with said, places.written(where) as folder:
            folder.mkdir()
            (folder / "a.txt").write_text(text)
            (folder / "b.txt").write_text(text)
            faults(403, "b.txt")
        assert (where / "a.txt").read_text() == text and places.read_mark(where) is None
        faults(0)
        with places.written(where) as folder:
            folder.mkdir()
            (folder / "b.txt").write_text("whole")


def test_what_is_asked_before_a_run(bucket, faults):
    where = places.place(f"{bucket}/run")
    places.check(where, writes=True)
    assert not places.holds(where)
    places.check(Path("anything"), writes=True)
    with pytest.raises(AlchemintError, match="gs://none/run: there is no such bucket"):
        places.check(places.place("gs://none/run"))
    faults(403, "probe")
    places.check(where)
    with pytest.raises(AlchemintError, match="permission is denied"):
        places.check(where, writes=True)


def test_a_bucket_that_does_not_answer(bucket, monkeypatch):
    stop = threading.Event()
    monkeypatch.setattr(places, "_PATIENCE", 0.05)
    monkeypatch.setattr(places, "files_of", lambda where: stop.wait(20))
    with pytest.raises(AlchemintError, match="cannot be reached .*check the network"):
        places.check(places.place(f"{bucket}/run"))
    stop.set()


def test_a_mirror_puts_what_has_changed(bucket, tmp_path):
    where = places.place(f"{bucket}/run")
    (where / "metrics.jsonl").write_bytes(b"one\n")
    mirror = places.Mirror(tmp_path, where)
    mirror.fetch("metrics.jsonl")
    mirror.fetch("absent.jsonl")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("two\n")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "a.mp4").write_bytes(b"video")
    mirror.sync()
    assert (where / "metrics.jsonl").read_text() == "one\ntwo\n"
    (where / "samples" / "a.mp4").unlink()
    mirror.sync()  # nothing has changed here
    assert not (where / "samples" / "a.mp4").exists()
