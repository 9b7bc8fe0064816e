"""Runs that are stopped anywhere go on, and end as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import blobs
import pytest
import work

from alchemint_jax import cli
from alchemint_jax.annotate import annotate, load_settings, pool
from alchemint_jax.annotate.rows import read_shard, write_shard
from alchemint_jax.errors import AlchemintError

pytestmark = pytest.mark.slow
CHOSEN = [*blobs.NAMES, *blobs.FAST, "pack.report=2"]
SETTINGS = load_settings(None, CHOSEN)


def digests(out):
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        spans = [(2 + number, 14)]
        blobs.write(folder / f"{number}.mp4", blobs.draw(16, [("dog", blobs.still(16, spans))]))
    return folder


def run(clips, out):
    return annotate(clips, out, SETTINGS, workers=0, perceivers=blobs.perceivers())


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert run(clips, out).kept == 3
    return digests(out)


class Killed(BaseException):
    pass


def test_stopped_at_any_file_it_ends_the_same(clips, undisturbed, tmp_path, monkeypatch, kills):
    real, left = os.replace, [0]

    def replace(*args):
        left[0] -= 1
        if left[0] == 0:
            half = Path(args[0])
            if half.suffix == ".tmp":  # a kill leaves what this exception lets be removed
                half.with_name(".0123456789ab.tmp").write_bytes(b"half")
            raise Killed
        real(*args)

    monkeypatch.setattr(os, "replace", replace)
    stops = 0
    while stops < 8:
        left[0] = kills.randint(1, 25)
        try:
            run(clips, tmp_path)
        except Killed:
            stops += 1
        else:
            break
    left[0] = 0
    run(clips, tmp_path)
    assert stops >= 3 and digests(tmp_path) == undisturbed


def command(clips, out, *more, workers=2):
    return [
        "annotate",
        str(clips),
        "--out",
        str(out),
        "--workers",
        str(workers),
        *(f"--config.{text}" for text in CHOSEN),
        *more,
    ]


def test_killed_at_random_it_ends_the_same(clips, undisturbed, tmp_path, kills):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-m", "alchemint_jax", *command(clips, tmp_path)]
    for _ in range(2):
        process = subprocess.Popen(
            argv,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(kills.uniform(0.5, 6))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert cli.main(command(clips, tmp_path)) == 0
    assert digests(tmp_path) == undisturbed


def test_a_process_that_dies_takes_no_other_task_with_it():
    tasks = ["a", "die", "b", "raise", "c"]
    found = list(pool.run_tasks(work.start, ("x",), tasks, 2))
    done = {task: value for kind, task, value in found if kind == pool.DONE}
    assert done == {"a": "xa", "b": "xb", "c": "xc"}
    assert [(t, v) for kind, t, v in found if kind == pool.DIED] == [("die", -signal.SIGKILL)]
    (error,) = [v for kind, _, v in found if kind == pool.RAISED]
    assert isinstance(error, ValueError)
    assert sum(kind == pool.TOLD for kind, _, _ in found) == 5


def test_processes_keep_their_memory_as_far_as_nobody_has_other_wishes(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=4:glibc.malloc.perturb=1")
    ((_, _, told), (_, _, tunables)) = pool.run_tasks(work.start, ("x",), ["memory"], 1)
    assert told == "began memory"
    assert dict(one.split("=") for one in tunables.split(":")) == {
        "glibc.malloc.arena_max": "4",
        "glibc.malloc.perturb": "1",
        "glibc.malloc.hugetlb": "1",
        "glibc.malloc.mmap_max": "0",
        "glibc.malloc.trim_threshold": "100000000000",
    }
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=4:glibc.malloc.perturb=1"
    monkeypatch.delenv("GLIBC_TUNABLES")
    *_, (_, _, tunables) = pool.run_tasks(work.start, ("x",), ["memory"], 1)
    assert "glibc.malloc.arena_max=1" in tunables and "GLIBC_TUNABLES" not in os.environ


def test_the_command(clips, undisturbed, tmp_path, capsys):
    assert cli.main([*command(clips, tmp_path / "out", "--no-dataset", workers=1)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 of 3 scenes of 3 videos are kept")
    assert str(tmp_path / "out" / "report.html") in said
    same = digests(tmp_path / "out")
    assert same == {k: v for k, v in undisturbed.items() if not k.startswith("dataset")}


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["annotate", "no.mp4", "--out", "out"], "no.mp4: there is no such file"),
        (["annotate", "videos", "--out", "out"], "holds no videos"),
        (["annotate", "videos", "--out", "out", "--config.detect.evry=1"], "did you mean 'every'"),
        (["annotate", "videos", "--out", "out", "--config", "none.yaml"], "none.yaml"),
        (["annotate", ".", "--out", "out"], "lies inside"),
    ],
)
def test_mistakes_are_told(argv, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    assert cli.main(argv) == 2
    assert why in capsys.readouterr().err


def test_a_perceiver_that_is_not_there_is_no_fault_of_the_videos(clips, tmp_path, capsys):
    wrong = "--config.perceive.segmenter=blobs:NOBODY"
    assert cli.main([*command(clips, tmp_path, workers=1), wrong]) == 2
    assert "NOBODY" in capsys.readouterr().err
    assert not list((tmp_path / "stages").glob("shots/part-*"))


def test_a_shard_that_is_not_whole_is_none(tmp_path):
    path = tmp_path / "part-00000.jsonl"
    assert read_shard(path) is None
    write_shard(path, "f", [{"a": 1}, {"b": "é"}])
    assert read_shard(path, "f") == [{"a": 1}, {"b": "é"}] == read_shard(path)
    assert read_shard(path, "g") is None
    text = path.read_text()
    path.write_text(text[:-4])
    assert read_shard(path) is None
    path.write_text("".join(text.splitlines(True)[:-1]))
    assert read_shard(path) is None


def test_two_runs_do_not_share_a_folder(clips, tmp_path):
    import fcntl

    (tmp_path / "stages").mkdir()
    with (tmp_path / "stages" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AlchemintError, match="another run"):
            run(clips, tmp_path)


def test_videos_that_are_gone_leave_nothing(clips, undisturbed, tmp_path):
    for path in clips.iterdir():
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / path.name).write_bytes(path.read_bytes())
    run(tmp_path / "clips", tmp_path / "out")
    (tmp_path / "clips" / "1.mp4").unlink()
    made = run(tmp_path / "clips", tmp_path / "out")
    lines = [json.loads(x) for x in Path(tmp_path, "out", "scenes.jsonl").read_text().splitlines()]
    assert made.kept == 2 and [line["source"] for line in lines] == ["0.mp4", "2.mp4"]
    kept = {line["id"] for line in lines}
    assert {path.stem for path in (tmp_path / "out" / "clips").iterdir()} == kept
    assert {path.name for path in (tmp_path / "out" / "pictures").iterdir()} == kept


def test_a_shard_that_kills_whoever_works_on_it_is_a_row(tmp_path):
    from alchemint_jax.annotate.engine import Stage, each, fail_shard, run_shard

    ran = []

    def stage(name):
        return Stage(name, 1, [], each(lambda row: ran.append(name) or {**row, name: 1}))

    stages, rows = [stage("one"), stage("two"), stage("three")], [{"id": "x", "status": "ok"}]
    run_shard(stages[:1], tmp_path, 0, ("", rows))
    fail_shard(stages, tmp_path, 0, ("", rows), "its process died (SIGSEGV)")
    (row,) = read_shard(tmp_path / "three" / "part-00000.jsonl")
    assert row["status"] == "failed" and row["error"] == "two: its process died (SIGSEGV)"
    assert ran == ["one"]  # neither that stage nor a later one looks at it
