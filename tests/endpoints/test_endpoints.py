"""Whatever a server does ends in time, as a value or an error, and the key goes nowhere else."""

from __future__ import annotations

import json
import time

import pytest
from openai_server import drawn, png, said, serving

from alchemint_jax.endpoints import (
    Answers,
    ChatClient,
    EndpointError,
    Fuse,
    PictureClient,
    Server,
)
from alchemint_jax.errors import ConfigError

SCHEMA = {"type": "object"}
KEY = "sk-never-to-be-seen"


def number(value):
    if not isinstance(value.get("n"), int):
        raise ValueError("n must be a whole number")
    return value["n"]


def chat(url, answers=None, **changes):
    server = Server(url, **{"model": "m", "tries": 2, "timeout": 5.0, **changes})
    return ChatClient(server, lambda seconds: None, answers)


def painter(url, answers=None, **changes):
    server = Server(url, **{"model": "m", "tries": 3, "timeout": 5.0, **changes})
    return PictureClient(server, "64x64", lambda seconds: None, answers)


def bytes_of(data):
    if not data.startswith(b"\x89PNG"):
        raise ValueError("it is no PNG")
    return data


def test_a_server_that_drips_is_not_waited_for():
    def drip(file):
        for _ in range(40):
            file.write(b" ")
            file.flush()
            time.sleep(0.05)

    with serving((200, drip)) as (url, _):
        began = time.monotonic()
        with pytest.raises(EndpointError, match="no answer in time"):
            chat(url, timeout=0.2, tries=1).ask("s", "t", SCHEMA, number)
        assert time.monotonic() - began < 1.5  # each byte of two seconds comes before the timeout


def test_a_redirection_takes_the_key_nowhere(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with (
        serving(said({"n": 1})) as (elsewhere, asked_there),
        serving((302, "", {"Location": f"{elsewhere}/chat/completions"})) as (url, asked),
    ):
        with pytest.raises(EndpointError, match="status 302") as caught:
            chat(url).ask("s", "t", SCHEMA, number)
        assert asked[0]["headers"]["Authorization"] == f"Bearer {KEY}" and not asked_there
        assert KEY not in str(caught.value)


def test_errors_do_not_repeat_what_a_server_says(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    bodies = [(401, KEY), (500, KEY), (200, KEY), said(KEY), said({"n": KEY})]
    for body in bodies:
        with serving(body) as (url, _):
            with pytest.raises(EndpointError) as caught:
                chat(url).ask("s", "t", SCHEMA, number)
            assert KEY not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Evil: 1")
    with serving(said({"n": 1})) as (url, asked):
        with pytest.raises(EndpointError) as caught:
            chat(url).ask("s", "t", SCHEMA, number)
        assert KEY not in str(caught.value) and not asked


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:8000", "ftp://h/v1", "http://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="write http://HOST"):
        chat(url)


def test_a_password_in_an_address_is_refused_unread():
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        chat("http://me:hunter2@localhost/v1")
    assert "hunter2" not in str(caught.value)


def test_an_answer_that_is_too_long_or_too_deep_is_none():
    long, deep = '"' + "x" * (4 * 2**20) + '"', "[" * 100_000
    for body, why in ((long, "longer than 4 MiB"), (deep, "nested too deeply")):
        with serving((200, body)) as (url, _), pytest.raises(EndpointError, match=why):
            chat(url, tries=1).ask("s", "t", SCHEMA, number)


def test_answers_are_kept(tmp_path):
    answers = Answers(tmp_path / "kept")
    with serving(said("nonsense"), said({"n": 5}), said({"n": 6})) as (url, asked):
        client = chat(url, answers)
        assert client.ask("s", "t", SCHEMA, number) == 5
        assert client.ask("s", "t", SCHEMA, number) == 5 and len(asked) == 2
        assert client.ask("s", "other", SCHEMA, number) == 6 and len(asked) == 3
        (first, second) = (tmp_path / "kept").iterdir()
        for path in (first, second):
            path.write_bytes(b"\xff broken")  # or of another version: asked again
        assert client.ask("s", "t", SCHEMA, number) == 6 and len(asked) == 4
    assert chat(url, answers).ask("s", "t", SCHEMA, number) == 6  # nobody is there any more


def test_a_picture_and_what_a_server_does_not_take(tmp_path):
    answers = Answers(tmp_path)
    with serving((400, ""), (422, ""), drawn(png())) as (url, asked):
        assert painter(url, answers).draw("a dog", 7, bytes_of) == png()
        extras = [{k for k in ("response_format", "seed") if k in one} for one in asked]
        assert extras == [{"response_format", "seed"}, {"response_format"}, set()]
        assert asked[0]["prompt"] == "a dog" and asked[0]["n"] == 1 and asked[0]["size"] == "64x64"
        assert painter(url, answers).draw("a dog", 7, bytes_of) == png() and len(asked) == 3
        painter(url, answers).draw("a dog", 8, bytes_of)
        assert len(asked) > 3


def test_a_broken_picture_is_drawn_again_with_another_seed():
    bad = (200, json.dumps({"data": [{"b64_json": "%%%"}]}))
    with serving(bad, drawn(b"no picture"), drawn(png())) as (url, asked):
        assert painter(url).draw("a dog", 7, bytes_of) == png()
        assert [one["seed"] for one in asked] == [7, 8, 9]


@pytest.mark.parametrize(
    "value",
    [
        {"data": [{"url": "http://127.0.0.1:9/secret.png"}]},
        {"data": []},
        {"data": [{"b64_json": 3}]},
        [],
        {"data": [{"b64_json": "AAAA"}]},
    ],
)
def test_what_is_no_picture_is_an_error(value):
    with serving((200, json.dumps(value))) as (url, asked):
        with pytest.raises(EndpointError, match="cannot be used"):
            painter(url).draw("a dog", 0, bytes_of)
        assert len(asked) == 3


def test_data_addresses_are_pictures():
    text = json.loads(drawn(png())[1])["data"][0]["b64_json"]
    body = json.dumps({"data": [{"b64_json": f"data:image/png;base64,{text}"}]})
    with serving((200, body)) as (url, _):
        assert painter(url).draw("a dog", 0, bytes_of) == png()


def test_a_server_that_fails_again_and_again_is_given_up():
    with serving((401, ""), said({"n": 1}), (401, "")) as (url, asked):
        client = ChatClient(Server(url, "m", 5.0, 1), lambda s: None, fuse=Fuse(2))
        outcomes = []
        for number_of in range(6):
            try:
                outcomes.append(client.ask("s", str(number_of), SCHEMA, number))
            except EndpointError as error:
                outcomes.append("no more" in str(error))
    assert outcomes == [False, 1, False, False, True, True] and len(asked) == 4
