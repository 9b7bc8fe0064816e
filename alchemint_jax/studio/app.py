"""The routes of the studio: what the page asks for, and what it is answered."""

from __future__ import annotations

import contextlib
import mimetypes
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from alchemint_jax.errors import AlchemintError
from alchemint_jax.studio import annotating, boards, checking, exports, jobs, pictures
from alchemint_jax.studio.answers import Refused, body_of, failure, id_in, json_of
from alchemint_jax.studio.asking import SCHEMES, Ask, asks_of, replaced_by
from alchemint_jax.studio.drafts import draft_of
from alchemint_jax.studio.engine import Engine, Launch
from alchemint_jax.studio.events import Hub
from alchemint_jax.studio.guard import Guard
from alchemint_jax.studio.rulers import rulers
from alchemint_jax.studio.sameness import key_of
from alchemint_jax.studio.workspace import Workspace

_MISSING = {404: "there is nothing at this address", 405: "this cannot be done at this address"}
_FILES = {"clip.mp4": "video/mp4", "strip.png": "image/png"}
_TAB = 64  # characters


class Studio:
    """What the routes work on.

    Args:
        workspace: where everything is kept.
        name: of the model.
        launch: starts the worker.
        on_failure: called when there is no model to be had.
    """

    def __init__(
        self, workspace: Workspace, name: str, launch: Launch, on_failure: Callable[[], None]
    ):
        self.workspace, self.name = workspace, name
        self.boards = boards.Boards(workspace)
        self.jobs = jobs.Jobs(workspace.renders)
        self.hub = Hub()
        self.engine = Engine(self.jobs, self.hub, launch, on_failure)
        self.videos = annotating.Videos(workspace, self.boards, self.jobs, self.hub)

    # ------------------------------------------------------------------------------- the model

    def state(self) -> dict[str, Any]:
        """How things stand."""
        found: dict[str, Any] = {
            "model": {"name": self.name, "ready": False, "failed": self.engine.failed},
            "jobs": [job.summary() for job in self.jobs.all()],
            "queue": self.jobs.waiting.order(),
            "videos": [video.summary() for video in self.videos.all()],
            "examples": list(boards.examples()),
            "formats": list(exports.FORMATS),
            "workspace": str(self.workspace.root),
            "now": time.time(),
        }
        if (model := self.engine.about) is not None:
            found["model"] |= {"ready": True, **described(model)}
        return found

    async def show_state(self, request: Request) -> Response:
        """GET /api/state."""
        return JSONResponse(self.state())

    async def listen(self, request: Request) -> Response:
        """GET /api/events."""
        if self.hub.full:
            raise Refused("too many windows show the studio; close some of them", 429)
        return StreamingResponse(self.hub.listen(self.state), media_type="text/event-stream")

    # ------------------------------------------------------------------------------- the boards

    async def list_boards(self, request: Request) -> Response:
        """GET /api/boards."""
        return JSONResponse({"boards": await run_in_threadpool(self.boards.all)})

    async def add_board(self, request: Request) -> Response:
        """POST /api/boards: a draft, or the name of an example, or nothing for an empty one."""
        asked = await json_of(request)
        if "example" in asked:
            draft = boards.example(str(asked["example"]), self.workspace.pictures)
        else:
            draft = draft_of(asked["board"]) if "board" in asked else dict(boards.NEW)
        return self._told(self.boards.add(draft), 201)

    async def open_board(self, request: Request) -> Response:
        """POST /api/open: the text of a storyboard file, its name, and names of its pictures."""
        asked = await json_of(request)
        text, name, names = asked.get("text"), asked.get("name"), asked.get("pictures", {})
        if not isinstance(text, str) or not isinstance(name, str) or not isinstance(names, dict):
            raise Refused("expected text, name and pictures of a storyboard file")
        known = {
            key: pictures.found(self.workspace.pictures, str(value)).name
            for key, value in names.items()
        }
        opened = partial(boards.opened, text, name[:200], known)
        draft, missing = await run_in_threadpool(opened)
        return self._told(self.boards.add(draft) | {"missing": missing}, 201)

    async def open_zip(self, request: Request) -> Response:
        """POST /api/open/zip: a board and its pictures."""
        data = await body_of(request, boards.MAX_ZIP)
        unzipped = partial(boards.unzipped, data, self.workspace.pictures)
        draft, missing = await run_in_threadpool(unzipped)
        return self._told(self.boards.add(draft) | {"missing": missing}, 201)

    async def show_board(self, request: Request) -> Response:
        """GET /api/boards/ID."""
        return JSONResponse(self.boards.read(id_in(request)))

    async def change_board(self, request: Request) -> Response:
        """PUT /api/boards/ID: a draft, and the revision that it was made from."""
        name, asked = id_in(request), await json_of(request)
        revision = asked.get("revision")
        if not isinstance(revision, str):
            raise Refused("revision: say which one was changed")
        return self._told(self.boards.change(name, draft_of(asked.get("board")), revision))

    async def remove_board(self, request: Request) -> Response:
        """DELETE /api/boards/ID."""
        name = id_in(request)
        self.boards.read(name)
        self.boards.remove(name)
        self.hub.tell("board", {"id": name, "revision": None})
        return JSONResponse({})

    def _told(self, board: dict[str, Any], status: int = 200) -> Response:
        self.hub.tell("board", {"id": board["id"], "revision": board["revision"]})
        return JSONResponse(board, status)

    async def check(self, request: Request) -> Response:
        """POST /api/check: what is wrong with a draft, and how its time is divided."""
        asked = await json_of(request)
        draft, scene = draft_of(asked.get("board")), self.videos.scene(str(asked.get("id")))
        if scene is not None:  # it is about a clip that is there, and no model has to render it
            found = checking.check(draft, self.workspace.pictures, None, needed=False)
            return JSONResponse({**found, "rulers": rulers(scene.clock, draft["duration"])})
        check = partial(checking.check, draft, self.workspace.pictures, self.engine.about)
        return JSONResponse(await run_in_threadpool(check))

    async def export(self, request: Request) -> Response:
        """POST /api/export/FORMAT: a draft as a file of another system."""
        draft = draft_of((await json_of(request)).get("board"))
        export = partial(
            exports.export, draft, request.path_params["format"], self.workspace.pictures
        )
        file = await run_in_threadpool(export)
        remarks = "; ".join(file.remarks).encode("ascii", "replace").decode()
        headers = {
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "X-Remarks": " ".join(remarks.split())[:2000],
        }
        return Response(file.content, headers=headers, media_type="application/octet-stream")

    # ------------------------------------------------------------------------------ the pictures

    async def add_picture(self, request: Request) -> Response:
        """POST /api/pictures: the bytes of a file."""
        data = await body_of(request, pictures.MAX_BYTES)
        kept = await run_in_threadpool(partial(pictures.keep, self.workspace.pictures, data))
        return JSONResponse(kept._asdict(), 201)

    async def show_picture(self, request: Request) -> Response:
        """GET /api/pictures/NAME."""
        path = pictures.found(self.workspace.pictures, request.path_params["name"])
        return FileResponse(path, headers={"Cache-Control": "max-age=31536000, immutable"})

    # ------------------------------------------------------------------------------- the renders

    async def add_renders(self, request: Request) -> Response:
        """POST /api/renders: a board, and how to sample; a job for each seed.

        A job is done at once where its very clip is there.
        """
        asked = await json_of(request)
        asks, replaced = asks_of(asked), replaced_by(asked)
        board, tab = asked.get("id", ""), asked.get("tab", "")
        if not isinstance(board, str) or not isinstance(tab, str):
            raise Refused("id and tab: expected text")
        keys = await run_in_threadpool(partial(self._keys, asks))
        for name in replaced:
            if self.jobs.known(name):
                self.engine.cancel(self.jobs.get(name))
        made = self.jobs.add(board[:_TAB], tab[:_TAB], asks, keys)
        summaries = [job.summary() for job in made]
        for summary in summaries:
            self.hub.tell("job", summary)
        self.engine.wake()
        self.hub.tell("queue", self.jobs.waiting.order())
        return JSONResponse({"jobs": summaries}, 202)

    def _keys(self, asks: list[Ask]) -> list[str]:
        """The key of each clip of one board; empty while there is no model to say.

        Raises what the worker would, as far as it can be known without weights.
        """
        board = checking.storyboard(asks[0].board, self.workspace.pictures)
        if (model := self.engine.about) is None:
            return [""] * len(asks)
        return [key_of(self.engine.identity, model, board, ask) for ask in asks]

    async def show_render(self, request: Request) -> Response:
        """GET /api/renders/ID."""
        return JSONResponse(self.jobs.get(id_in(request)).summary())

    async def remove_render(self, request: Request) -> Response:
        """DELETE /api/renders/ID: cancels one that waits or runs, and deletes one that is done."""
        job = self.jobs.get(id_in(request))
        if job.state in (jobs.QUEUED, jobs.RUNNING):
            self.engine.cancel(job)
            return JSONResponse(job.summary(), 202)
        self.jobs.remove(job)
        self.hub.tell("gone", {"id": job.id})
        return JSONResponse({})

    async def show_file(self, request: Request) -> Response:
        """GET /api/renders/ID/FILE."""
        job, name = self.jobs.get(id_in(request)), request.path_params["name"]
        if name not in _FILES:
            raise Refused(f"renders have the files {', '.join(_FILES)}", 404)
        return FileResponse(self.jobs.file(job, name), media_type=_FILES[name])

    # -------------------------------------------------------------------------------- the videos

    async def add_video(self, request: Request) -> Response:
        """POST /api/videos?name=NAME: the bytes of a file."""
        self.videos.check_room()
        name = "".join(c for c in request.query_params.get("name", "") if c.isprintable())
        upload = self.videos.upload()
        try:
            size = 0
            with upload.open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > annotating.MAX_BYTES:
                        most = annotating.MAX_BYTES >> 20
                        raise Refused(f"the video is larger than {most} MiB", 413)
                    file.write(part)
            await run_in_threadpool(partial(annotating.check_video, upload))
            video = self.videos.add(upload, name[:100] or "video")
        finally:
            upload.unlink(missing_ok=True)
        return JSONResponse(video.summary(), 202)

    async def remove_video(self, request: Request) -> Response:
        """DELETE /api/videos/ID: cancels one that is annotated, or deletes it; boards stay."""
        self.videos.remove(self.videos.get(id_in(request)))
        return JSONResponse({})

    async def show_lines(self, request: Request) -> Response:
        """GET /api/videos/ID/scenes.jsonl: with the bars as they are now."""
        lines = self.videos.lines(self.videos.get(id_in(request)))
        return Response(lines, media_type="application/jsonl")


def described(model: Any) -> dict[str, Any]:
    """What the page knows of a model."""
    limits, settings = model.limits, model.settings
    guidance = {name: getattr(settings.guidance, name) for name in ("text", "image", "both")}
    return {
        "says": limits.describe(),
        "subjects": limits.max_subjects,
        "frames": [limits.min_frames, limits.max_frames],
        "fps": list(limits.fps),
        "sizes": [list(size) for size in limits.sizes],
        "multiple": limits.size_multiple,
        "stride": limits.stride,
        "seconds": [
            round((n - 1) / limits.fps[0], 6) for n in (limits.min_frames, limits.max_frames)
        ],
        "events": limits.events,
        "keyframes": limits.keyframes,
        "more_keyframes": limits.more_keyframes,
        "distilled": settings.distilled,
        "steps": settings.steps,
        "solver": settings.solver,
        "guidance": guidance,
        "negative_prompt": settings.negative_prompt,
        "scheme": type(model.models.dit.config.scheme).__name__,
        "schemes": list(SCHEMES) if model.models.dit.config.slots else [],
    }


def page_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page, with their kinds: no request reaches the disk for them."""
    folder = resources.files("alchemint_jax.studio") / "page"
    kinds = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
    found = {}
    for file in folder.iterdir():
        kind = next((kinds[end] for end in kinds if file.name.endswith(end)), None)
        kind = kind or mimetypes.guess_type(file.name)[0]
        if file.is_file() and kind:
            found[file.name] = (file.read_bytes(), kind)
    return found


def create_app(studio: Studio, hosts: frozenset[str]) -> Starlette:
    """The application.

    Args:
        studio: what it works on.
        hosts: what the page may be called, see `guard`.
    """
    files = page_files()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            raise HTTPException(404)
        content, kind = files[name]
        return Response(content, media_type=kind)

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, Refused) else 400
        return failure(str(error), status)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return failure(_MISSING.get(error.status_code, str(error.detail)), error.status_code)

    async def left(request: Request, error: Exception) -> Response:
        return failure("the request ended before all of it was there", 400)

    async def full(request: Request, error: Exception) -> Response:
        return failure(f"the workspace cannot be written: {error}", 507)

    async def broken(request: Request, error: Exception) -> Response:
        return failure(f"the studio has a fault: {type(error).__name__}; see its terminal", 500)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        studio.engine.start()
        studio.videos.wake()
        try:
            yield
        finally:
            studio.hub.close()
            await studio.videos.stop()
            await studio.engine.stop()

    Handler = Callable[[Request], Awaitable[Response]]
    routes: list[tuple[str, str, Handler]] = [
        ("GET", "/", page),
        ("GET", "/page/{name}", page),
        ("GET", "/api/state", studio.show_state),
        ("GET", "/api/events", studio.listen),
        ("GET", "/api/boards", studio.list_boards),
        ("POST", "/api/boards", studio.add_board),
        ("GET", "/api/boards/{id}", studio.show_board),
        ("PUT", "/api/boards/{id}", studio.change_board),
        ("DELETE", "/api/boards/{id}", studio.remove_board),
        ("POST", "/api/open", studio.open_board),
        ("POST", "/api/open/zip", studio.open_zip),
        ("POST", "/api/check", studio.check),
        ("POST", "/api/export/{format}", studio.export),
        ("POST", "/api/pictures", studio.add_picture),
        ("GET", "/api/pictures/{name}", studio.show_picture),
        ("POST", "/api/renders", studio.add_renders),
        ("GET", "/api/renders/{id}", studio.show_render),
        ("DELETE", "/api/renders/{id}", studio.remove_render),
        ("GET", "/api/renders/{id}/{name}", studio.show_file),
        ("POST", "/api/videos", studio.add_video),
        ("DELETE", "/api/videos/{id}", studio.remove_video),
        ("GET", "/api/videos/{id}/scenes.jsonl", studio.show_lines),
    ]
    return Starlette(
        routes=[Route(path, handler, methods=[method]) for method, path, handler in routes],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            AlchemintError: refused,
            HTTPException: unknown,
            ClientDisconnect: left,
            OSError: full,
            Exception: broken,
        },
        lifespan=lifespan,
    )
