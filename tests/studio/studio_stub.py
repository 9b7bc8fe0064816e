"""A studio without a model: what it renders is grey, at once or slowly."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import time
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.limits import Limits
from alchemint_jax.studio import worker
from alchemint_jax.studio.asking import Ask
from alchemint_jax.studio.checking import storyboard
from alchemint_jax.studio.sameness import key_of
from alchemint_jax.studio.workspace import write_json

HOST = "127.0.0.1:8765"
STEPS = 4
IDENTITY = "a stub"


class Settings:
    """Of sampling, without JAX."""

    steps, solver, negative_prompt, distilled = 40, "euler", "", False
    guidance = SimpleNamespace(text=0.0, image=0.0, both=3.0)

    def plan(self, steps, guidance, solver):
        return None


class Model:
    """What the server asks of a model."""

    fps = 8.0
    limits = Limits(3, 33, (8.0,), ((64, 64),), 4, min_frames=5, events=True)
    models = SimpleNamespace(dit=SimpleNamespace(config=SimpleNamespace(scheme=None, slots=3)))

    def __init__(self):
        self.settings = Settings()

    def scene(self, board):
        return board.scene(self.limits)


def draw(pace: float, ask: Ask, folder: Path, tell: worker.Tell) -> None:
    """Takes `pace` seconds for a step; "explode", "fill" and "die" in the prompt are obeyed."""
    if "explode" in ask.board["prompt"]:
        raise StoryboardError("board: prompt: explodes")
    if "fill" in ask.board["prompt"]:
        raise OSError(28, "No space left on device")
    for step in range(STEPS + 1):
        tell("step", (step, STEPS))
        tell("preview", {"step": step, "strip": {}, "jpeg": ""})
        time.sleep(pace)
        if "die" in ask.board["prompt"]:
            raise SystemExit(3)
    for name in ("clip.mp4", "strip.png"):
        (folder / name).write_bytes(b"\0" * 1000)
        time.sleep(pace)
    board = storyboard(ask.board, folder.parents[2] / "pictures")
    key = key_of(IDENTITY, Model(), board, ask)
    write_json(folder / "result.json", {"seed": ask.seed, "subjects": [], "key": key})


def load(pace: float = 0.0) -> worker.Loaded:
    return worker.Loaded(partial(draw, pace), Model(), IDENTITY)


class _Thread(threading.Thread):
    """A worker that is no process."""

    exitcode = 3

    def terminate(self) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.number)) as end:
            end.shutdown(socket.SHUT_RDWR)  # wakes who reads there, which closing does not


def launch(pace: float = 0.0) -> tuple[Any, Any]:
    ours, theirs = Pipe()

    def work() -> None:
        try:
            worker.serve(theirs, load, pace)
        except SystemExit:
            pass
        finally:
            theirs.close()

    thread = _Thread(target=work, daemon=True)
    thread.number = theirs.fileno()
    thread.start()
    return ours, thread


def annotate(connection: Any, source: Path, out: Path) -> None:
    """What a process that annotates leaves: a scene with one subject, and one that is dropped."""
    job = json.loads((source.parent / "job.json").read_text())
    if job["name"] == "fail":
        connection.send("fail: cannot be annotated")
        return
    out.mkdir()
    shutil.copyfile(source, out / "clip.mp4")
    Image.new("RGB", (20, 20), (200, 30, 30)).save(out / "dog.png")
    picture = {"file": "dog.png", "kind": "crop", "frame": 3}
    dog = {"word": "dog", "category": "dog", "score": 0.5, "frames": [[2, 6]]}
    line = {"id": "a", "fps": 8.0, "frames": 12, "size": [32, 48], "clip": "clip.mp4"}
    line |= {"caption": "a dog", "subjects": [{**dog, "pictures": [picture]}], "events": []}
    lines = [{**line, "status": "ok"}, {"id": "b", "status": "dropped", "error": "too short"}]
    (out / "scenes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    connection.send("")
