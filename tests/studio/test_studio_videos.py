"""Videos on the page: annotated (here by a stand-in), boards of their scenes, and corrections."""

from __future__ import annotations

import asyncio
import json
import threading

import numpy as np
import pytest
import studio_stub
from studio_kit import running, until

from alchemint_jax import media
from alchemint_jax.data.lines import read_line
from alchemint_jax.studio import annotating

pytestmark = pytest.mark.slow


@pytest.fixture
def video(tmp_path):
    """The bytes of one with 12 frames."""
    media.write_video(tmp_path / "in.mp4", np.full((12, 32, 48, 3), 90, np.uint8), 8)
    return (tmp_path / "in.mp4").read_bytes()


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setattr(annotating, "_annotate", studio_stub.annotate)
    monkeypatch.setattr(annotating, "_stages", lambda folder, out: 2)
    with running(tmp_path / "studio") as client:
        yield client


def test_a_video_becomes_boards_and_corrections_lines_of_scenes(client, video, tmp_path):
    assert client.get("/api/state").json()["videos"] == []
    made = client.post("/api/videos?name=dog%00.mp4", content=video)
    assert made.status_code == 202 and made.json()["name"] == "dog.mp4"
    place = f"/api/videos/{made.json()['id']}"
    assert client.get(f"{place}/scenes.jsonl").status_code == 404
    until(lambda: client.get("/api/state").json()["videos"][0]["state"] == "done", 60)
    state = client.get("/api/state").json()
    (name,) = state["videos"][0]["boards"]
    (job,) = state["jobs"]
    assert job["board"] == name and job["video"] == "dog.mp4" and job["state"] == "done"
    assert job["result"]["subjects"][0]["seen_seconds"] == [[0.25, 0.75]]
    assert job["result"]["strip"]["frames"] == 12 and len(job["result"]["ticks"]) == 13
    assert client.get(f"/api/renders/{job['id']}/strip.png").status_code == 200

    board = client.get(f"/api/boards/{name}").json()
    draft = board["board"]
    assert draft["subjects"][0]["appears"] == [[0.25, 0.75]] and draft["prompt"] == "a dog"
    check = client.post("/api/check", json={"board": draft, "id": name}).json()
    assert check["problem"] is None and check["rulers"]["frames"] == 12  # each of them counts
    shorter = {"board": {**draft, "duration": 1.3749}, "id": name}  # as files round it
    assert client.post("/api/check", json=shorter).json()["rulers"]["ticks"][-1] == 1.3749
    draft["subjects"][0] |= {"word": "small dog", "appears": [[0.5, 1.0], [1.25, 1.375]]}
    draft["subjects"].append({"word": "cat", "appears": [[0.0, 0.25]]})
    content = {"board": draft, "revision": board["revision"]}
    assert client.put(f"/api/boards/{name}", json=content).status_code == 200
    lines = client.get(f"{place}/scenes.jsonl").text.splitlines()
    good, dropped = (json.loads(line) for line in lines)
    assert dropped["status"] == "dropped"
    dog, cat = good["subjects"]
    assert (
        dog["frames"] == [[4, 8], [10, 12]] and dog["score"] == 0.5 and dog["word"] == "small dog"
    )
    assert cat["frames"] == [[0, 2]] and cat["named_by"] == "hand"
    scene = read_line(good)
    assert [subject.spans for subject in scene.subjects] == [((4, 8), (10, 12)), ((0, 2),)]
    out = client.studio.workspace.videos / made.json()["id"] / "out"
    assert (out / "corrected.jsonl").read_text().splitlines() == lines
    assert client.delete(place).status_code == 200
    assert client.get(f"/api/boards/{name}").status_code == 200  # the board stays


def test_what_is_no_video_is_refused_and_failures_are_told(client, video, monkeypatch):
    for content, says in ((b"", "empty"), (b"x" * 500, "decoded"), (video[:200], "decoded")):
        answer = client.post("/api/videos?name=x", content=content)
        assert answer.status_code == 400 and says in answer.json()["error"]
    monkeypatch.setattr(annotating, "MAX_BYTES", 1000)
    assert client.post("/api/videos", content=video).status_code == 413
    monkeypatch.setattr(annotating, "MAX_BYTES", 10**9)
    monkeypatch.setattr(annotating, "MAX_SECONDS", 1)
    assert "longer than 1 s" in client.post("/api/videos", content=video).json()["error"]
    monkeypatch.setattr(annotating, "MAX_SECONDS", 100)
    assert client.get("/api/state").json()["videos"] == []
    assert not [*client.studio.workspace.videos.iterdir()]
    client.post("/api/videos?name=fail", content=video)
    until(lambda: client.get("/api/state").json()["videos"][0]["state"] == "failed", 60)
    assert client.get("/api/state").json()["videos"][0]["error"] == "fail: cannot be annotated"


def test_a_video_that_is_deleted_before_its_process_starts_is_gone(client, video, monkeypatch):
    told, go_on = [], threading.Event()
    client.studio.hub.tell = lambda kind, what: told.append(what["state"])
    monkeypatch.setattr(annotating, "_stages", lambda folder, out: 2 * go_on.wait(20))
    monkeypatch.setattr(annotating, "_annotate", None)  # no process is to be started for it
    name = client.post("/api/videos?name=x", content=video).json()["id"]
    until(lambda: client.get("/api/state").json()["videos"][0]["state"] == "running")
    assert client.delete(f"/api/videos/{name}").status_code == 200
    go_on.set()
    until(lambda: client.studio.videos._task.done())
    assert client.studio.videos._task.exception() is None and told == ["queued", "gone"]
    # Nor does one come back that is deleted while its boards are made.
    asyncio.run(client.studio.videos._finish(annotating.Video("0" * 16, "x"), "it died"))
    assert not [*client.studio.workspace.videos.iterdir()]
