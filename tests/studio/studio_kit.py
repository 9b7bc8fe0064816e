"""What tests of the studio share: a client of one that runs here, and small boards."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import studio_stub
from PIL import Image
from starlette.testclient import TestClient

from alchemint_jax.studio.app import Studio, create_app
from alchemint_jax.studio.workspace import opened


@contextmanager
def running(folder, pace=0.0):
    """A client of a studio in a folder."""
    with opened(folder) as workspace:
        studio = Studio(workspace, "stub", partial(studio_stub.launch, pace), lambda: None)
        app = create_app(studio, frozenset([studio_stub.HOST]))
        with TestClient(app, base_url=f"http://{studio_stub.HOST}") as client:
            client.studio = studio
            until(lambda: client.get("/api/state").json()["model"]["ready"])
            yield client


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.04)


def png(size=(16, 12), color=(200, 40, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, format="PNG")
    return buffer.getvalue()


def board_of(picture, **changes):
    subject = {"word": "red disc", "image": picture, "appears": [[0.5, 2.0]]}
    return {"prompt": "a red disc", "duration": 4.0, "subjects": [subject], **changes}


SERVER = """
import socket, sys
from pathlib import Path
import studio_stub
from alchemint_jax.studio.engine import launcher
from alchemint_jax.studio.serving import serve

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    def ready():
        print(listener.getsockname()[1], flush=True)
    launch = launcher(studio_stub.load, float(sys.argv[2]))
    print(serve(Path(sys.argv[1]), "stub", listener, ready, launch), file=sys.stderr)
"""


class Server:
    """A studio that is a process, with a worker that renders nothing."""

    def __init__(self, folder, pace=0.0):
        script = folder.parent / "server.py"
        script.write_text(SERVER)
        paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(folder), str(pace)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def ask(self, path, content=None):
        if isinstance(content, dict):
            content = json.dumps(content).encode()
        with urllib.request.urlopen(self.address + path, content, timeout=30) as answer:
            return json.loads(answer.read())

    def until(self, states, seconds=60):
        end = time.monotonic() + seconds
        while (found := [job["state"] for job in self.ask("/api/state")["jobs"]]) != states:
            assert time.monotonic() < end, found
            time.sleep(0.02)

    def end(self, number):
        self.process.send_signal(number)
        errors = self.process.communicate(timeout=30)[1]
        return self.process.returncode, errors
