"""Whom the studio answers, and that nobody can make it fail: 500 requests that make no sense."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest
from studio_kit import board_of, png
from studio_stub import HOST

from alchemint_jax.studio.app import page_files
from alchemint_jax.studio.guard import hosts_of

pytestmark = pytest.mark.slow


def test_a_page_from_elsewhere_is_refused(client):
    assert hosts_of(8765) == {"127.0.0.1:8765", "localhost:8765"}
    assert client.get("/api/state").status_code == 200
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example:8765"},  # a name of somebody else's that points to this machine
        {"Host": "127.0.0.1"},
        {"Host": ""},
    ):
        for answer in (
            client.get("/", headers=headers),
            client.post("/api/boards", headers=headers),
        ):
            assert answer.status_code == 403 and "error" in answer.json()
    for headers in ({"Origin": f"http://{HOST}"}, {"Sec-Fetch-Site": "same-origin"}):
        assert client.post("/api/boards", json={}, headers=headers).status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "/api/pictures/..%2F..%2Fetc%2Fpasswd", "/api/pictures/%2e%2e%2fx.png",
        "/api/pictures/....png", "/api/boards/..%2Fx", "/api/boards/../../x", "/page/../app.py",
        "/page/..%2Fapp.py", "/page/%00", "/page/index.html%00", "/api/renders/..%2F..",
        "/api/renders/0123456789abcdef/..%2Fjob.json", "/api/videos/0123456789abcdef/scenes.jsonl",
        "/api/boards/0123456789ABCDEF", "//etc/passwd", "/api", "/studio.lock", "/.lock",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_workspace(client, path):
    (client.studio.workspace.root / "x.png").write_bytes(b"secret")
    answer = client.get(path)
    assert answer.status_code == 404 and answer.json()["error"]
    assert b"secret" not in answer.content


def test_pages_load_nothing_from_elsewhere(client):
    answer = client.get("/")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    files = page_files()
    assert {"index.html", "main.js", "base.css", "icon.svg"} <= {*files}
    for name, (content, _) in files.items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text, name
        assert client.get(f"/page/{name}").content == content
    assert client.post("/page/main.js").status_code == 405


def test_500_requests_that_make_no_sense_get_a_sentence(client, picture):
    rng = random.Random(29)
    made = client.post("/api/boards", json={"board": board_of(picture)}).json()
    job = client.post("/api/renders", json=request(picture)).json()["jobs"][0]["id"]
    answers = [ask(client, rng, picture, made, job) for _ in range(500)]
    statuses = [answer.status_code for answer in answers]
    assert all(status in (400, 403, 404, 405, 409, 413, 429) for status in statuses)
    assert {400, 404, 405, 409} <= {*statuses} and statuses.count(400) > 150
    for answer in answers:
        if answer.request.method != "HEAD":
            sentence = answer.json()["error"]
            assert len(sentence) > 10 and "Traceback" not in sentence
    assert client.get(f"/api/boards/{made['id']}").json() == made  # nothing was changed
    assert not [*client.studio.workspace.root.rglob(".*.tmp")]


def test_drafts_of_any_sense_get_an_answer(client, picture):
    """What is of the right form, but for its values: no check, export or render is a fault."""
    rng = random.Random(92)
    told = {path: Counter() for path in ("check", "export/text", "export/yaml", "renders")}
    for number in range(120):
        path = rng.choice([*told])
        content = {"board": drawn(rng, picture)}
        if path == "renders":
            content |= {"id": "b", "tab": "t", "seeds": [number]}
        answer = client.post(f"/api/{path}", json=content)
        told[path][answer.status_code] += 1
        assert answer.status_code < 500 and (answer.is_success or answer.json()["error"])
    assert {*told["check"]} == {*told["export/yaml"]} == {200}
    assert {*told["renders"]} == {202, 400} and {*told["export/text"]} == {200, 400}


def drawn(rng, picture):
    """A draft that somebody may have typed."""

    def second():
        return rng.choice([0, 0.125, 0.5, 1, 2.0, 4, -1, 1e-9, 599.99, 1e6, rng.uniform(0, 4)])

    board = {"prompt": rng.choice(["", "a red disc", "red disc \0", "$(id) red disc"])}
    board["duration"] = rng.choice([1e-6, 0.06, 0.2, 4, 4, 4, 2.6666666, 599.9, 601, -3, 1e8])
    board["subjects"] = [
        {"word": "red disc", "image": picture, "appears": [[0.5, 2.0]]}
        for _ in range(rng.choice([1, 1, 4]))
    ]
    if rng.random() < 0.5:
        board["subjects"][0]["appears"] = [[second(), second()] for _ in range(rng.randrange(3))]
    rare = {
        "fps": rng.choice([8, 0.001, 1, 7.3, 240, 1e5, -8]),
        "size": rng.choice([[64, 64], [], [1], [0, 0], [4096, 4096], [2**32 - 1, 64]]),
        "seed": rng.randrange(2**32),
        "events": [{"text": "it turns", "during": [second(), second()]}],
        "keyframes": [{"image": picture, "at": second()}],
        "first_frame": picture,
    }
    return board | {name: rare[name] for name in rare if rng.random() < 0.15}


def test_who_leaves_in_the_middle_of_an_upload_leaves_nothing(client):
    answers = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/videos", "query_string": b""}
    scope |= {"headers": [(b"host", HOST.encode())], "root_path": "", "scheme": "http"}
    asyncio.run(client.app(scope, receive, send))  # it raises nothing, which a terminal would show
    assert answers[0]["status"] == 400
    assert not [*client.studio.workspace.videos.iterdir()]


def request(picture):
    return {"board": board_of(picture), "id": "b", "tab": "t", "seeds": [1]}


JUNK = [
    None, True, -1, 0, 1e308, 10**30, "", "a" * 20_000, "\ud800", "\0", "../../etc/passwd",
    "$(touch /tmp/x)", [], [[]], [1, 2, 3], {}, {"a": 1}, float("nan"), [[0, 1], [0.5, 2]],
]  # fmt: skip


def broken(rng, value):
    """A value with something wrong in it, at some depth."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        rest = {name: one for name, one in value.items() if name != key}
        if rng.random() < 0.15:
            return {**rest, "unknown": value[key]}
        return {**rest, key: broken(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        return [*value[:place], broken(rng, value[place]), *value[place + 1 :]]
    return rng.choice([junk for junk in JUNK if not same(junk, value)])


def same(junk, value):
    """Whether this junk would pass for what was there: a number for a number, for example."""
    number = isinstance(junk, (int, float)) and isinstance(value, (int, float))
    # A draft may be nearly anything of its form: other texts, and other or no times.
    return number or isinstance(junk, type(value)) or junk is None or junk == [[0, 1], [0.5, 2]]


def ask(client, rng, picture, made, job):
    """One request that cannot be done."""

    def body(value):
        return json.dumps(value).encode()

    kind = rng.randrange(10)
    if kind < 3:
        whole = request(picture)
        content = body({**whole, "board": broken(rng, whole["board"])})
        path = rng.choice(["/api/renders", "/api/check", "/api/export/yaml", "/api/boards"])
        if path == "/api/boards":
            content = body({"board": broken(rng, whole["board"])})
        return client.post(path, content=content)
    if kind == 3:
        whole = request(picture)
        wrong = {"board": [None], "seeds": JUNK[4:9], "id": [3, "\ud800"], "tab": [[1], "\udfff"]}
        wrong["replaces"] = [5, {"a": 1}, [3], "text"]
        key = rng.choice([*wrong])
        return client.post("/api/renders", content=body({**whole, key: rng.choice(wrong[key])}))
    if kind == 4:
        content = rng.choice(
            [b"", b"{", b"[1]", b"\xff\xfe", b'"a"', b"[" * 5000, b"{" + b'"a":' * 9]
        )
        path = rng.choice(["/api/boards", "/api/open", "/api/check", "/api/renders"])
        return client.post(path, content=content)
    if kind == 5:
        content = png((40, 40))
        place = rng.randrange(8, len(content) - 12)
        damaged = content[:place] + rng.randbytes(rng.randrange(1, 9)) + content[place + 9 :]
        upload = rng.choice(
            [damaged[: rng.randrange(9)], rng.randbytes(50), b"GIF89a", b"%PDF-1.7"]
        )
        return client.post("/api/pictures", content=upload)
    if kind == 6:
        name = rng.choice(["..", "%2e%2e%2f", "a", "0" * 16, "x" * 500, "%00", picture + "x"])
        where = rng.choice(["boards", "pictures", "renders", "videos", "nowhere", "export"])
        return client.request(rng.choice(["GET", "DELETE"]), f"/api/{where}/{name}")
    if kind == 7:
        method = rng.choice(["PUT", "PATCH", "OPTIONS", "DELETE", "TRACE"])
        return client.request(
            method, rng.choice(["/", "/api/state", "/api/pictures", "/page/main.js"])
        )
    if kind == 8:
        revision = rng.choice([None, 3, "", "0" * 16, made["revision"][:-1]])
        content = {"board": made["board"], "revision": revision}
        return client.put(f"/api/boards/{made['id']}", json=content)
    content = rng.choice([b"PK\3\4" + rng.randbytes(80), b"PK\5\6" + bytes(18), rng.randbytes(9)])
    if rng.random() < 0.5:
        return client.post("/api/open/zip", content=content)
    return client.post("/api/videos?name=%00%0a../x", content=content)
