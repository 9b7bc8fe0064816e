"""Videos that are dropped on the page: annotated in a process of their own, then boards.

videos/ID holds video.mp4, what `annotate` makes of it in out/, and job.json. Each scene that is
kept becomes a board, whose bars are the spans that were found, with a result that shows the clip.
Bars can be corrected there; `corrected` writes them back into lines of scenes.jsonl.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alchemint_jax import media
from alchemint_jax.annotate.settings import Settings
from alchemint_jax.annotate.timeline import timeline
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.scene.clock import Clock
from alchemint_jax.studio import jobs, workspace
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.boards import Boards
from alchemint_jax.studio.events import Hub
from alchemint_jax.studio.jobs import Jobs
from alchemint_jax.studio.scenes import Scene, corrected, scene_of, write_result
from alchemint_jax.studio.workspace import Workspace

MAX_BYTES = 2**30
MAX_VIDEOS = 100
MAX_SIDE, MAX_SECONDS = 4096, 600
_FILE, _VIDEO, _OUT, _LINES = "job.json", "video.mp4", "out", "scenes.jsonl"
_LOOK = 0.5  # seconds between two looks at how far it is
_SETTINGS = Settings(pack=dataclasses.replace(Settings().pack, dataset=False))


@dataclass
class Video:
    """A video that is annotated.

    Attributes:
        id: its name, and that of its folder.
        name: what it was called where it came from.
        state: one of those of `jobs`.
        created: when, in seconds since 1970.
        error: why it failed, or no scene of it was kept.
        done, total: stages.
        scenes: its scenes, once they are known.
    """

    id: str
    name: str
    state: str = jobs.QUEUED
    created: float = 0.0
    error: str = ""
    done: int = 0
    total: int = 0
    scenes: list[Scene] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """What the page is told of it."""
        names = ("id", "name", "state", "created", "error", "done", "total")
        found = {name: getattr(self, name) for name in names}
        return {**found, "boards": [scene.board for scene in self.scenes]}


class Videos:
    """All videos of a workspace, annotated one after the other. Lives in the loop of the server."""

    def __init__(self, place: Workspace, boards: Boards, renders: Jobs, hub: Hub):
        self._place, self._boards, self._renders, self._hub = place, boards, renders, hub
        self._videos: dict[str, Video] = {}
        self._task: asyncio.Task | None = None
        self._process: Any = None
        for path in sorted(place.videos.glob(f"*/{_FILE}")):
            if (video := _loaded(path)) is not None:
                self._videos[video.id] = video

    def all(self) -> list[Video]:
        """In the order in which they came."""
        return sorted(self._videos.values(), key=lambda video: video.created)

    def get(self, name: str) -> Video:
        """A video. Raises Refused if there is none."""
        if name not in self._videos:
            raise Refused("there is no such video", 404)
        return self._videos[name]

    def scene(self, board: str) -> Scene | None:
        """The scene that a board is of, if it is of one."""
        scenes = (scene for video in self._videos.values() for scene in video.scenes)
        return next((scene for scene in scenes if scene.board == board), None)

    def check_room(self) -> None:
        """Raises Refused if no other video is taken."""
        if len(self._videos) >= MAX_VIDEOS:
            raise Refused(f"{MAX_VIDEOS} videos are kept; delete some of them", 409)

    def upload(self) -> Path:
        """Where to write a video that is coming."""
        return self._place.videos / f".{workspace.new_id()}.tmp"

    def add(self, upload: Path, name: str) -> Video:
        """Annotates an uploaded file, when its turn comes."""
        self.check_room()
        video = Video(workspace.new_id(), name, created=time.time())
        folder = self._folder(video)
        folder.mkdir()
        upload.rename(folder / _VIDEO)
        self._save(video)
        self._videos[video.id] = video
        self._tell(video)
        self.wake()
        return video

    def remove(self, video: Video) -> None:
        """Cancels or forgets a video; its boards stay."""
        if video.state == jobs.RUNNING and self._process is not None:
            self._process.terminate()
        del self._videos[video.id]
        workspace.remove(self._folder(video))
        self._hub.tell("video", {"id": video.id, "state": "gone"})

    def lines(self, video: Video) -> str:
        """scenes.jsonl with the bars as they are on the boards now; also written beside the first.

        Raises:
            Refused: it is not annotated yet.
        """
        if video.state != jobs.DONE:
            raise Refused("this video is not annotated yet", 404)
        out = self._folder(video) / _OUT
        lines = [json.loads(line) for line in (out / _LINES).read_text("utf-8").splitlines()]
        for scene in video.scenes:
            with contextlib.suppress(Refused):  # a board that was deleted corrects nothing
                draft = self._boards.read(scene.board)["board"]
                lines[scene.line] = corrected(lines[scene.line], draft, scene, self._place, out)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        media.write_bytes(out / "corrected.jsonl", text.encode())
        return text

    # ------------------------------------------------------------------------------ the process

    def wake(self) -> None:
        """There may be something to do."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ends what runs; it goes on from there the next time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.join, 10)

    async def _run(self) -> None:
        while True:
            video = next((one for one in self.all() if one.state == jobs.QUEUED), None)
            if video is None:
                return
            video.state = jobs.RUNNING
            out = self._folder(video) / _OUT
            video.total = await asyncio.to_thread(_stages, self._folder(video), out)
            if video.id not in self._videos:  # it was deleted meanwhile
                continue
            self._tell(video)
            context: Any = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe(duplex=False)
            arguments = (theirs, self._folder(video) / _VIDEO, out)
            self._process = context.Process(target=_annotate, args=arguments)
            self._process.start()
            theirs.close()
            while self._process.is_alive():
                await asyncio.sleep(_LOOK)
                done = sum(1 for _ in out.glob("stages/*/part-*.jsonl"))
                if done != video.done and video.id in self._videos:
                    video.done = done
                    self._tell(video)
            error = "the process that annotated it died"
            with contextlib.suppress(EOFError, OSError):
                error = ours.recv() if ours.poll() else error
            ours.close()
            self._process = None
            if video.id in self._videos:
                await self._finish(video, error)
            if video.id not in self._videos:
                workspace.remove(self._folder(video))

    async def _finish(self, video: Video, error: str) -> None:
        state = jobs.FAILED if error else jobs.DONE
        if not error:
            try:
                error = await asyncio.to_thread(self._make_boards, video)
            except (AlchemintError, OSError) as problem:
                state, error = jobs.FAILED, str(problem)
        if video.id not in self._videos:
            return
        video.state, video.error = state, error
        self._save(video)
        for scene in video.scenes:
            self._hub.tell("job", self._renders.get(scene.job).summary())
            self._hub.tell("board", {"id": scene.board, "revision": ""})
        self._tell(video)

    def _make_boards(self, video: Video) -> str:
        """Why no scene was kept; empty if one was."""
        out = self._folder(video) / _OUT
        dropped: dict[str, None] = {}
        for number, text in enumerate((out / _LINES).read_text("utf-8").splitlines()):
            line = json.loads(text)
            if line["status"] != "ok":
                dropped[str(line["error"])] = None
                continue
            draft, scene = scene_of(line, number, out, self._place.pictures)
            scene.board = self._boards.add(draft)["id"]
            job = self._renders.adopt(scene.board, draft, video.name)
            scene.job = job.id
            result = self._renders.folder / job.id / jobs.RESULT
            half = result.with_name(f".{jobs.RESULT}.partial")
            half.mkdir()
            write_result(half, line, draft, out, video.name)
            half.rename(result)
            self._renders.end(job, jobs.DONE)
            video.scenes.append(scene)
        return "" if video.scenes else "; ".join(dropped)

    def _folder(self, video: Video) -> Path:
        return self._place.videos / video.id

    def _save(self, video: Video) -> None:
        names = ("name", "created", "error", "state")
        kept = {name: getattr(video, name) for name in names}
        kept["scenes"] = [dataclasses.asdict(scene) for scene in video.scenes]
        workspace.write_json(self._folder(video) / _FILE, kept)

    def _tell(self, video: Video) -> None:
        self._hub.tell("video", video.summary())


def check_video(path: Path) -> None:
    """Refuses what is no video, or too large to be annotated here. Raises Refused."""
    try:
        line = timeline(path)
    except DataError as error:
        raise Refused(f"the video {error}") from None
    if max(line.size) > MAX_SIDE:
        raise Refused(f"the video is larger than {MAX_SIDE} pixels on a side")
    if Clock(line.fps, len(line.stamps), 1).duration > MAX_SECONDS:
        raise Refused(f"the video is longer than {MAX_SECONDS} seconds; cut it first")


def _stages(folder: Path, out: Path) -> int:
    """How many stages an annotation has."""
    from alchemint_jax.annotate.tools import Tools, all_stages  # SciPy, which videos alone need

    return len(all_stages(_SETTINGS, folder, out, Tools(_SETTINGS)))


def _loaded(path: Path) -> Video | None:
    said = workspace.read_json(path)
    try:
        scenes = [Scene(**one) for one in said["scenes"]]
        video = Video(id=path.parent.name, **{**said, "scenes": scenes})
    except (TypeError, KeyError):
        return None
    if video.state == jobs.RUNNING:
        video.state = jobs.QUEUED
    return video


def _annotate(connection: Any, source: Path, out: Path) -> None:
    """In a process of its own: annotates, and says what went wrong, or nothing."""
    from alchemint_jax.annotate import annotate

    server = os.getppid()

    def watch() -> None:  # it has processes itself, so nobody ends it together with the server
        while os.getppid() == server:
            time.sleep(1)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    prepare_jax()
    try:
        annotate(source, out, _SETTINGS)
        connection.send("")
    except (AlchemintError, OSError) as error:
        connection.send(str(error))
