"""A benchmark from prompts: who is in them, when, and pictures of everybody."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from alchemint_jax.endpoints import ChatClient
from alchemint_jax.errors import AlchemintError, DataError, listed
from alchemint_jax.evaluate.boards.board import name_of, object_of
from alchemint_jax.evaluate.boards.casting import Cast, cast
from alchemint_jax.evaluate.boards.draft import Draft, Role
from alchemint_jax.evaluate.boards.pictures import PictureSource, Wanted
from alchemint_jax.evaluate.boards.writing import Made, is_there, known, write_set
from alchemint_jax.progress import Progress
from alchemint_jax.scene.checking import MAX_TEXT
from alchemint_jax.scene.storyboard import MAX_DURATION, Storyboard

Real = float | int
T = TypeVar("T")
R = TypeVar("R")
_MOST = 100_000  # prompts
_MOST_BYTES = 256 * 2**20
_AHEAD = 8  # boards of each thread that wait for one before them


@dataclass(frozen=True)
class Request:
    """A prompt that is to become a board.

    Attributes:
        id: the name of the board.
        prompt: what the video shows.
        duration: seconds; None is that of the set.
    """

    id: str
    prompt: str
    duration: Real | None = None


@dataclass(frozen=True)
class Rules:
    """How boards are made of prompts.

    Attributes:
        subjects: the most of them on a board.
        seconds: duration of the videos.
        fps, size: of the videos; None leaves them to the model.
        seed: what times and pictures are drawn from.
        detectable: whether only kinds are taken that the detector of the package knows.
    """

    subjects: int = 2
    seconds: Real = 5.0
    fps: Real | None = None
    size: tuple[int, int] | None = None
    seed: int = 0
    detectable: bool = False


def read_prompts(path: str | Path) -> list[Request]:
    """The prompts of a file: one on each line, or JSON Lines.

    An object has a `prompt` (or a `caption`, as the lines of scenes.jsonl do), and may have an `id`
    and a `duration`. Lines of scenes that failed are not looked at.

    Raises:
        DataError: naming the file, and the line that makes no sense.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: is larger than {_MOST_BYTES >> 20} MiB")
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: cannot read these prompts: {reason}") from error
    found: dict[str, Request] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        if path.suffix.lower() in (".jsonl", ".json"):
            fields = object_of(line, where)
            if fields.get("status", "ok") != "ok":
                continue
        else:
            fields = {"prompt": line}
        one = _request(fields, where, f"{name_of(path.stem)}-{len(found):04d}")
        if one.id.casefold() in found:
            raise DataError(f"{where}: the id {one.id!r} is given twice; ids must differ")
        found[one.id.casefold()] = one
        if len(found) > _MOST:
            raise DataError(f"{path}: holds more than {_MOST} prompts")
    if not found:
        raise DataError(f"{path}: holds no prompts; write one on each line")
    return [*found.values()]


def _request(fields: dict[str, Any], where: str, name: str) -> Request:
    prompt = fields.get("prompt", fields.get("caption"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"{where}: prompt: is missing or empty")
    if len(prompt) > MAX_TEXT:
        raise DataError(f"{where}: prompt: is longer than {MAX_TEXT} characters")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise DataError(f"{where}: prompt: holds half a character (a lone surrogate)")
    duration = fields.get("duration")
    if duration is not None and (
        isinstance(duration, bool)
        or not isinstance(duration, (int, float))
        or not 0 < duration <= MAX_DURATION
    ):
        raise DataError(f"{where}: duration: must be between 0 and {MAX_DURATION:g} seconds")
    given = fields.get("id")
    if given is not None and (not isinstance(given, str) or name_of(given) != given):
        raise DataError(f"{where}: id: videos are named by it; it is no name of a file")
    return Request(given or name, " ".join(prompt.split()), duration)


def make(
    requests: Sequence[Request],
    out: str | Path,
    rules: Rules | None = None,
    pictures: PictureSource | None = None,
    client: ChatClient | None = None,
    made_of: dict[str, Any] | None = None,
    jobs: int = 4,
    progress: bool = True,
) -> Made:
    """Makes a set of boards from prompts.

    Whatever a server does, the set is made: without a usable answer, words come from the taxonomy
    and times from the seed. A subject without a picture is left out, and so is a prompt without
    subjects; benchmark.json says which, and why.

    Args:
        requests: the prompts.
        out: a new folder.
        rules: how boards are made.
        pictures: who has pictures; None makes boards without, for systems that read text alone.
        client: who chooses subjects and times; None is the taxonomy.
        made_of: what else tells this set from others, such as where its pictures are from. JSON.
        jobs: prompts that are worked on at once.
        progress: whether it is reported on standard error.

    Returns:
        What came of it.

    Raises:
        DataError: no prompt became a board, or something else is at `out`.
        StoryboardError: no storyboard can be as the rules want it.
    """
    rules = rules or Rules()
    line = Draft("x", "x", rules.seconds, fps=rules.fps, size=rules.size).line()
    Storyboard.from_dict({name: line[name] for name in line if name != "id"}, source="the rules")
    text = "\n".join(f"{r.id}\t{r.prompt}\t{r.duration}" for r in requests)
    identity = {
        "made_by": "prompts",
        "prompts": hashlib.sha256(text.encode()).hexdigest(),
        "rules": dataclasses.asdict(rules) | {"size": list(rules.size) if rules.size else None},
        "words_from": "taxonomy" if client is None else "server",
        **(made_of or {}),
    }
    if is_there(out, identity):
        return known(out)
    lost: list[str] = []
    remarks: list[str] = []
    sources: dict[str, str] = {}

    def drafts() -> Iterator[Draft]:
        def work(one: Request) -> tuple[Draft, Cast, list[str]]:
            return _board(one, rules, pictures, client)

        with (
            Progress(len(requests), "making boards", quiet=not progress) as bar,
            contextlib.closing(_each(jobs, work, requests)) as boards,
        ):
            for number, (draft, found, notes) in enumerate(boards, 1):
                lost.extend(notes)
                if found.remark:
                    remarks.append(f"{draft.id}: {found.remark}")
                if draft.roles:
                    sources[draft.id] = found.source
                    yield draft
                else:
                    lost.append(f"{draft.id}: is left out: no subject of it is left")
                bar.update(number)

    notes = {"left_out": lost, "remarks": remarks, "words_of": sources}
    try:
        path = write_set(out, drafts(), identity, notes)
    except DataError as error:
        raise DataError(f"{error} ({'; '.join(listed(lost))})" if lost else str(error)) from error
    return Made(path, len(sources), tuple(lost), tuple(remarks))


def _board(
    request: Request, rules: Rules, pictures: PictureSource | None, client: ChatClient | None
) -> tuple[Draft, Cast, list[str]]:
    """A draft, its cast, and what was left out of it."""
    # Of its name alone: a board stays what it is where others come or go.
    sign = hashlib.sha256(request.id.encode()).digest()
    rng = np.random.default_rng([rules.seed, int.from_bytes(sign[:8], "big")])
    duration = rules.seconds if request.duration is None else request.duration
    found = cast(request.prompt, duration, rules.subjects, rng, client, rules.detectable)
    notes = [f"{request.id}: {one['word']!r} {one['reason']}" for one in found.dropped]
    roles: list[Role] = []
    taken: set[str] = set()
    for one in found.chosen:
        picture = None
        if pictures is not None:
            try:
                picture = pictures.find(Wanted(one.word), rng, taken)
            except AlchemintError as error:
                notes.append(f"{request.id}: {one.word!r} has no picture: {error}")
                continue
            if picture is None:
                notes.append(f"{request.id}: {one.word!r} has no picture")
                continue
        roles.append(Role(one.word, one.appears, picture))
    draft = Draft(
        request.id, request.prompt, duration, tuple(roles), fps=rules.fps, size=rules.size
    )
    return draft, found, notes


def _each(jobs: int, work: Callable[[T], R], items: Sequence[T]) -> Generator[R, None, None]:
    """What `work` makes of each item, in their order, several at a time.

    Threads end with the process, whatever a server keeps them waiting for, and run ahead only so
    far.
    """
    todo: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
    ahead, ended = threading.Semaphore(_AHEAD * jobs), threading.Event()
    for pair in enumerate(items):
        todo.put(pair)

    def run() -> None:
        with contextlib.suppress(queue.Empty):
            while ahead.acquire() and not ended.is_set():
                number, item = todo.get_nowait()
                try:
                    done.put((number, work(item), None))
                except BaseException as error:
                    done.put((number, None, error))

    for _ in range(max(1, min(jobs, len(items)))):
        threading.Thread(target=run, daemon=True).start()
    waiting: dict[int, Any] = {}
    try:
        for number in range(len(items)):
            while number not in waiting:
                place, made, error = done.get()
                if error is not None:
                    raise error
                waiting[place] = made
            yield waiting.pop(number)
            ahead.release()
    finally:
        ended.set()
        ahead.release(jobs)  # those that wait see that it is over
