"""The studio as processes: it is killed while it writes, and nothing broken is left."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from studio_kit import Server, board_of, png

from alchemint_jax import cli
from alchemint_jax.errors import ConfigError
from alchemint_jax.studio import command

pytestmark = pytest.mark.slow


def test_a_server_that_is_killed_leaves_nothing_broken(tmp_path, kills):
    folder = tmp_path / "studio"
    server = Server(folder, pace=0.05)
    name = server.ask("/api/pictures", png())["name"]
    board = board_of(name)
    server.ask("/api/boards", {"board": board})
    content = {"board": board, "id": "b", "tab": "t", "seeds": [1, 2, 3]}
    server.ask("/api/renders", content)
    end = time.monotonic() + 60  # somewhere in the second render, where files are written last
    while server.ask("/api/state")["jobs"][0]["state"] != "done":
        assert time.monotonic() < end
    time.sleep(kills.uniform(0, 0.4))
    assert server.end(signal.SIGKILL)[0] == -signal.SIGKILL
    for result in folder.glob("renders/*/result"):
        assert {path.name for path in result.iterdir()} == {"result.json", "clip.mp4", "strip.png"}
        json.loads((result / "result.json").read_text())
    for path in [*folder.glob("renders/*/job.json")]:
        json.loads(path.read_text())

    again = Server(folder)  # also while the worker of the first one has not noticed yet
    again.until(["done"] * 3)
    assert [job["result"]["seed"] for job in again.ask("/api/state")["jobs"]] == [1, 2, 3]
    assert again.ask("/api/boards")["boards"][0]["prompt"] == board["prompt"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            urllib.request.Request(again.address, headers={"Origin": "http://evil.example"})
        )
    assert refused.value.code == 403
    refused.value.close()
    status, errors = again.end(signal.SIGINT)
    assert "Traceback" not in errors and status == 0
    assert not [path for path in folder.rglob(".*") if path.suffix in (".tmp", ".partial")]


def test_what_is_missing_is_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "_NEEDED", ("no_such_module",))
    assert cli.main(["studio", "--no-browser", "--workspace", str(tmp_path)]) == 2
    assert "pip install 'alchemint-jax[studio]'" in capsys.readouterr().err
    monkeypatch.undo()
    assert cli.main(["studio", "--model", "sprits", "--workspace", str(tmp_path)]) == 2
    assert "--model sprits" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert cli.main(["studio", "--workspace", str(tmp_path / "file")]) == 2


def test_a_port_that_is_taken_is_said_and_the_usual_one_replaced(monkeypatch):
    with command._listen(0) as taken:
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(Exception, match="something else listens"):
            command._listen(number)
        monkeypatch.setattr(command, "PORT", number)
        with command._listen(None) as other:
            assert other.getsockname()[0] == "127.0.0.1" and other.getsockname()[1] != number


def test_there_is_a_place_for_boards(monkeypatch):
    assert command._home().name == "studio"
    monkeypatch.setattr(command.platformdirs, "user_data_path", lambda *_, **__: Path("."))
    with pytest.raises(ConfigError, match="--workspace"):
        command._home()
