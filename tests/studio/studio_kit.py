"""What tests of the studio share: a client of one that runs here, and small boards."""

from __future__ import annotations

import io
import time
from contextlib import contextmanager
from functools import partial

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
