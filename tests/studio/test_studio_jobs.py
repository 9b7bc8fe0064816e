"""Renders of the studio: turns, progress, cancelling, and what a restart finds."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from studio_kit import board_of, png, running, until

from alchemint_jax.errors import AlchemintError
from alchemint_jax.studio import jobs
from alchemint_jax.studio.events import Hub
from alchemint_jax.studio.turns import Turns
from alchemint_jax.studio.workspace import opened

pytestmark = pytest.mark.slow

SEEDS = itertools.count(100)


def ask(client, picture, **changes):
    """A request that no other one is the same as, but for its changes."""
    board = board_of(picture)
    content = {"board": board, "id": "b", "tab": "t", "seeds": [next(SEEDS)], **changes}
    return client.post("/api/renders", json=content)


def states(client):
    return [job["state"] for job in client.get("/api/state").json()["jobs"]]


def test_turns_are_fair():
    turns = Turns()
    for number in range(6):
        turns.add("greedy", f"g{number}")
    turns.add("modest", "m0")
    turns.add("other", "o0")
    turns.add("other", "o1")
    expected = ["g0", "m0", "o0", "g1", "o1", "g2", "g3", "g4", "g5"]
    assert turns.order() == expected and len(turns) == 9
    assert turns.remove("g4") and not turns.remove("g4")
    expected.remove("g4")
    assert [turns.next() for _ in range(9)] == [*expected, None]
    # Whoever comes back waits behind those who wait already.
    turns.add("a", "a0")
    turns.add("b", "b0")
    assert turns.next() == "a0"
    turns.add("a", "a1")
    assert turns.order() == ["b0", "a1"]


def test_fifty_requests_at_once_are_served_in_turn(tmp_path):
    with running(tmp_path / "studio", pace=0.015) as client:
        told = []
        client.studio.hub.tell = lambda kind, what: told.append((kind, what))
        picture = client.post("/api/pictures", content=png()).json()["name"]
        # The first window asks for 30, four others for 5 each.
        tabs = ["greedy"] * 30 + [f"modest{number % 4}" for number in range(20)]
        with ThreadPoolExecutor(50) as at_once:
            made = list(at_once.map(lambda tab: ask(client, picture, tab=tab), tabs))
        assert [answer.status_code for answer in made] == [202] * 50
        until(lambda: states(client) == ["done"] * 50, 60)
        served = [
            client.studio.jobs.get(what["id"]).tab
            for kind, what in told
            if kind == "job" and what["state"] == "running" and not what["total"]
        ]
        assert len(served) == 50
        modest = [i for i, tab in enumerate(served) if tab != "greedy"]
        meanwhile = served[modest[0] : modest[-1]]
        assert 1 <= meanwhile.count("greedy") <= 12  # 5, if all of them were there at the start
        steps = [what["done"] for kind, what in told if kind == "job" and what["total"]]
        assert {0, 1, 2, 3, 4} <= {*steps}
        assert sum(kind == "preview" for kind, _ in told) == 50 * 5


def test_a_render_has_its_files(client, picture):
    name = ask(client, picture, seeds=[3, 4], steps=7, guidance={"both": 2}).json()["jobs"][1]["id"]
    until(lambda: states(client) == ["done", "done"])
    job = client.get(f"/api/renders/{name}").json()
    assert job["result"]["seed"] == 4 and job["ask"]["steps"] == 7
    assert client.get(f"/api/renders/{name}/clip.mp4").content == bytes(1000)
    assert client.get(f"/api/renders/{name}/job.json").status_code == 404
    assert client.delete(f"/api/renders/{name}").status_code == 200
    assert client.get(f"/api/renders/{name}").status_code == 404
    assert len([*client.studio.workspace.renders.iterdir()]) == 1


def test_jobs_are_cancelled_where_they_are(tmp_path):
    with running(tmp_path / "studio", pace=0.05) as client:
        picture = client.post("/api/pictures", content=png()).json()["name"]
        first, second = (ask(client, picture).json()["jobs"][0]["id"] for _ in range(2))
        until(lambda: states(client)[0] == "running")
        assert client.delete(f"/api/renders/{second}").status_code == 202
        assert client.delete(f"/api/renders/{first}").status_code == 202
        until(lambda: states(client) == ["cancelled", "cancelled"])
        assert not [*client.studio.workspace.renders.glob(f"*/{jobs.RESULT}")]
        third = ask(client, picture, replaces=[first, "nonsense"]).json()["jobs"][0]["id"]
        fourth = ask(client, picture, replaces=[third]).json()["jobs"][0]["id"]
        until(lambda: states(client)[2:] == ["cancelled", "done"])
        assert client.get(f"/api/renders/{fourth}").json()["result"]


def test_failures_are_sentences_and_others_go_on(client, picture):
    bad = ask(client, picture, board=board_of(picture, prompt="explode red disc")).json()
    full = ask(client, picture, board=board_of(picture, prompt="fill red disc")).json()
    dead = ask(client, picture, board=board_of(picture, prompt="die red disc")).json()
    ask(client, picture)
    until(lambda: states(client) == ["failed", "failed", "failed", "done"])
    errors = [
        client.get(f"/api/renders/{made['jobs'][0]['id']}").json()["error"]
        for made in (bad, full, dead)
    ]
    assert errors[0] == "board: prompt: explodes" and "died (exit status 3)" in errors[2]
    assert errors[1] == "its files cannot be written: [Errno 28] No space left on device"


def test_the_queue_goes_on_where_what_became_of_a_job_cannot_be_written(client, picture):
    for _ in range(2):
        ask(client, picture)

    def fail(job):
        raise AlchemintError("the disk is full")

    client.studio.jobs.save = fail
    until(lambda: states(client) == ["done", "done"])
    assert ask(client, picture).status_code == 400  # but nothing is promised that may be lost


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": []}, {"seeds": [1] * 17}, {"seeds": [-1]}, {"seeds": [2**32]}, {"steps": 0},
        {"steps": 1001}, {"steps": "4"}, {"solver": "heun"}, {"guidance": {"both": -1}},
        {"guidance": {"both": 101}}, {"guidance": {"more": 1}}, {"gating": 2000}, {"tab": 3},
        {"typo": 1}, {"board": None}, {"scheme": "Rope"}, {"scheme": 3}, {"replaces": 5},
        {"replaces": {"a": 1}}, {"replaces": [3]},
    ],
)  # fmt: skip
def test_requests_have_the_bounds_of_the_command_line(client, picture, wrong):
    answer = ask(client, picture, **wrong)
    assert answer.status_code == 400 and len(answer.json()["error"]) > 10
    assert states(client) == []


def test_boards_that_cannot_be_rendered_are_refused_at_once(client, picture):
    answer = ask(client, picture, board=board_of(picture, duration=5.0))
    assert answer.status_code == 400 and "this model can do" in answer.json()["error"]
    many = [{"word": "red disc", "appears": [[0, 1]]}]
    answer = ask(client, picture, board=board_of(picture, subjects=many))
    assert answer.json()["error"] == "board: subjects[0].image: is missing or empty"


def test_the_queue_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_WAITING", 4)
    with running(tmp_path / "studio", pace=0.5) as client:
        picture = client.post("/api/pictures", content=png()).json()["name"]
        asked = [ask(client, picture).status_code for _ in range(6)]
        assert asked == [202] * 5 + [429]


def test_a_restart_finds_results_and_goes_on_with_the_queue(tmp_path):
    folder = tmp_path / "studio"
    with running(folder) as client:
        picture = client.post("/api/pictures", content=png()).json()["name"]
        done = ask(client, picture, seeds=[1]).json()["jobs"][0]["id"]
        until(lambda: states(client) == ["done"])
    with running(folder, pace=1.0) as client:  # ends in the middle of the second of three
        for seed in (5, 6, 7):
            ask(client, picture, seeds=[seed])
        until(lambda: states(client)[1] == "running")
    with running(folder) as client:
        until(lambda: states(client) == ["done"] * 4)
        found = client.get("/api/state").json()["jobs"]
        assert [job["result"]["seed"] for job in found] == [1, 5, 6, 7]
        assert client.get(f"/api/renders/{done}/strip.png").status_code == 200
    assert not [*folder.rglob(".*.partial"), *folder.rglob(".*.tmp")]


def test_the_same_render_is_there_at_once(tmp_path):
    folder = tmp_path / "studio"

    def bars(start):
        subject = {"word": "red disc", "image": picture, "appears": [[start, 2.0]]}
        return board_of(picture, subjects=[subject])

    def first(answer):
        return answer.json()["jobs"][0]

    with running(folder, pace=0.02) as client:
        picture = client.post("/api/pictures", content=png()).json()["name"]
        own = first(ask(client, picture, seeds=[1]))
        until(lambda: states(client) == ["done"])
        # Half a frame at 8 frames a second is 0.0625 s.
        same = first(ask(client, picture, seeds=[1], board=bars(0.55), id="copy", gating=0))
        assert same["state"] == "done" and same["same_as"] == own["number"] and not own["same_as"]
        assert same["result"] == client.get(f"/api/renders/{own['id']}").json()["result"]
        files = [folder / "renders" / job["id"] / "result" / "clip.mp4" for job in (own, same)]
        assert files[0].samefile(files[1])
        client.delete(f"/api/renders/{own['id']}")
        assert client.get(f"/api/renders/{same['id']}/clip.mp4").content == bytes(1000)
        others = ({"board": bars(0.57)}, {"gating": 5}, {"scheme": "WeRope"}, {"seeds": [2]})
        for change in others:
            assert first(ask(client, picture, **{"seeds": [1], **change}))["state"] != "done"
        until(lambda: states(client) == ["done"] * 5)
    with running(folder, pace=0.02) as client:
        again = first(ask(client, picture, seeds=[1]))
        assert again["same_as"] == own["number"]
        twice = [first(ask(client, picture, seeds=[3])) for _ in range(2)]  # the second one waits
        assert [job["state"] for job in twice] != ["done", "done"]
        until(lambda: states(client) == ["done"] * 8)
        late = client.get(f"/api/renders/{twice[1]['id']}").json()
        assert late["same_as"] == twice[0]["number"] and not late["total"]


def test_what_an_earlier_version_kept_is_found(tmp_path):
    folder = tmp_path / "studio"
    with running(folder) as client:
        picture = client.post("/api/pictures", content=png()).json()["name"]
        name = ask(client, picture, seeds=[1]).json()["jobs"][0]["id"]
        until(lambda: states(client) == ["done"])
    path = folder / "renders" / name / "job.json"
    kept, result = json.loads(path.read_text()), path.with_name("result") / "result.json"
    del kept["same_as"], kept["ask"]["scheme"]
    path.write_text(json.dumps(kept))
    result.write_text(json.dumps({"seed": 1, "subjects": []}))
    with running(folder) as client:
        assert states(client) == ["done"]
        assert ask(client, picture, seeds=[1]).json()["jobs"][0]["state"] != "done"


def test_a_result_that_was_damaged_is_made_again(tmp_path):
    folder = tmp_path / "studio"
    with running(folder) as client:
        picture = client.post("/api/pictures", content=png()).json()["name"]
        name = ask(client, picture).json()["jobs"][0]["id"]
        until(lambda: states(client) == ["done"])
    (folder / "renders" / name / "result" / "result.json").write_text("{")
    with running(folder) as client:
        until(lambda: states(client) == ["done"])
        assert client.get(f"/api/renders/{name}").json()["result"]["subjects"] == []


def test_no_model_renders_what_was_a_video(tmp_path):
    kept = jobs.Jobs(tmp_path)
    job = kept.adopt("b", board_of("a.png"), "dog.mp4")
    job.state = jobs.DONE
    kept.save(job)
    (again,) = (found := jobs.Jobs(tmp_path)).all()
    assert again.state == jobs.FAILED and "removed" in again.error and found.next() is None


def test_two_studios_do_not_share_a_workspace(tmp_path):
    with opened(tmp_path), pytest.raises(AlchemintError, match="another run"), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass


def test_who_listens_hears_everything_and_who_is_slow_is_cut_off():
    import asyncio

    async def listen():
        hub = Hub()

        def meanwhile():  # is missed by nobody, though the answer has only just begun
            hub.tell("job", "early")
            return {"a": 1}

        quick, slow = hub.listen(meanwhile), hub.listen(dict)
        assert await anext(quick) == b'event: state\ndata: {"a": 1}\n\n'
        assert await anext(quick) == b'event: job\ndata: "early"\n\n'
        await anext(slow)
        for number in itertools.count():
            hub.tell("job", number)
            assert await anext(quick) == f"event: job\ndata: {number}\n\n".encode()
            if number == 300:
                break
        heard = [text async for text in slow]
        assert 0 < len(heard) < 300
        hub.close()
        assert [text async for text in quick] == []

    asyncio.run(listen())
