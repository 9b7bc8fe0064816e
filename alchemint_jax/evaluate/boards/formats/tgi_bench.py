"""TGI-Bench (use08174/TGI-Benchmark): the first and the last picture of a sequence, and a caption.

    aerobatics/00000.jpg, 00001.jpg, ...
    25_dataset_caption.json, 33_..., 65_..., 81_...:
        [{"folder": "aerobatics", "first_image_desc": "...", "last_image_desc": "...",
          "challenge": "Large motion", "caption": "..."}]

The card of the dataset was read, not its files. It does not say how fast sequences go: 15 frames a
second is what the inference script of TGI writes, and `fps` changes it; nor which of the frames a
shorter sequence has: the first ones are taken. Boards hold neither the descriptions of the two
pictures nor the challenge, so these are written empty; and they have no subjects, so nobody's time
can be measured: they are for models that continue pictures.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from alchemint_jax import images
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.evaluate.boards.board import Board, name_of
from alchemint_jax.evaluate.boards.draft import Draft
from alchemint_jax.evaluate.boards.formats import common
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.evaluate.boards.pictures import SUFFIXES, inside
from alchemint_jax.scene.clock import WAN_STRIDE, Clock

READS = ("fps", "frames")
WRITES = ("fps",)
LENGTHS = (25, 33, 65, 81)
FPS = 15


def read(source: Path, options: Options, notes: Notes) -> Iterator[Draft]:
    """The boards of a folder: one for each sequence and each of its lengths."""
    if options.frames not in (None, *LENGTHS):
        raise DataError(f"frames: sequences have {', '.join(map(str, LENGTHS))} frames")
    lengths = LENGTHS if options.frames is None else (options.frames,)
    files = [(n, source / f"{n}_dataset_caption.json") for n in lengths]
    files = [(n, path) for n, path in files if path.is_file()]
    if not files:
        raise DataError(f"{source}: holds no {lengths[0]}_dataset_caption.json")
    for length, path in files:
        try:
            entries = common.list_in(json.loads(common.text_of(path)), str(path))
        except (ValueError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: is not JSON: {error}") from error
        for number, entry in enumerate(entries):
            try:
                yield _draft(entry, f"{path}: entry {number}", source, length, options.fps or FPS)
            except DataError as error:
                notes.left_out.append(str(error))


def _draft(entry: object, where: str, source: Path, length: int, fps: float | int) -> Draft:
    fields = common.mapping_in(entry, where)
    name = common.words_in(fields.get("folder"), f"{where}: folder")
    folder = inside(source, name)
    if folder is None or not folder.is_dir():
        raise DataError(f"{where}: folder: there is no {name!r:.60} here")
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    numbered = {int(path.stem): path for path in pictures if path.stem.isdecimal()}
    first, last = numbered.get(0), numbered.get(length - 1)
    if (first is None or last is None) and len(pictures) >= length:
        first, last = pictures[0], pictures[length - 1]
    if first is None or last is None:
        raise DataError(f"{where}: {name!r:.60} has {len(pictures)} pictures, not {length}")
    clock = Clock(fps, length, WAN_STRIDE)
    return Draft(
        f"{name_of(name)}-{length}",
        common.words_in(fields.get("caption"), f"{where}: caption"),
        clock.duration,
        fps=fps,
        first_frame=first,
        last_frame=last,
    )


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """The two pictures of each board that has both, and the files of captions."""
    entries: dict[int, list[dict[str, str]]] = {}
    for board in boards:
        story = board.storyboard
        if story.first_frame is None or story.last_frame is None:
            notes.left_out.append(f"{board.id}: has no first_frame and last_frame")
            continue
        fps = story.fps or options.fps or FPS
        length = int(Clock.for_duration(story.duration, fps, WAN_STRIDE).frames)
        if length not in LENGTHS:
            notes.left_out.append(
                f"{board.id}: has {length} frames at {fps:g} fps, not one of {LENGTHS}"
            )
            continue
        yield f"{board.id}/00000.jpg", _jpeg(story.first_frame)
        yield f"{board.id}/{length - 1:05d}.jpg", _jpeg(story.last_frame)
        empty = dict.fromkeys(("first_image_desc", "last_image_desc", "challenge"), "")
        entry = {"folder": board.id, **empty, "caption": story.prompt}
        entries.setdefault(length, []).append(entry)
    for length, some in sorted(entries.items()):
        text = json.dumps(some, ensure_ascii=False, indent=2)
        yield f"{length}_dataset_caption.json", text + "\n"


def _jpeg(path: Path) -> Content:
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return path
    try:
        pixels = images.load_picture(path, 8192)
    except StoryboardError as error:
        raise DataError(str(error)) from error
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()
