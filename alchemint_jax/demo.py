"""`make demo`: render the example storyboards; measure when each subject really was on screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from alchemint_jax import evaluate, media, shipped
from alchemint_jax.errors import DataError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.spans import Spans
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.worlds.sprites.tracker import SpritesTracker


def run_demo(out: Path, examples: Path | None = None, model: str = "sprites") -> int:
    """Writes `demo.mp4` and `demo.png` to `out` and prints asked-for beside measured intervals.

    By default the storyboards are those that come with the package.
    """
    examples = shipped.root() / "examples" if examples is None else examples
    boards = [Storyboard.load(path) for path in sorted(examples.glob("*.yaml"))]
    if not boards:
        raise DataError(f"{examples}: no storyboards (*.yaml) here; reinstall the package")
    files = [(f"of {out}:", out / name) for name in ("demo.mp4", "demo.png")]
    check_outputs(files, [picture for board in boards for picture in board.pictures()])
    pipe = Pipeline.load(model)
    videos, sheets = [], []
    rows: list[tuple[str, ...]] = []
    for board in boards:
        video, scene = pipe.generate(board, progress=True), pipe.scene(board)
        sightings = SpritesTracker().track(video, scene)
        videos.append(video)
        measured = [sighting.spans for sighting in sightings]
        sheets.append(media.contact_sheet(video, scene, measured))
        for entry, subject, sighting in zip(board.subjects, scene.subjects, sightings, strict=True):
            spans = evaluate.t_iou(sighting.spans, subject.spans)
            wanted = evaluate.presence(subject.spans, len(video))
            frames = evaluate.frame_iou(sighting.presence, wanted)
            asked, shown = _text(entry.appears), _text(scene.clock.seconds(sighting.spans))
            name = Path(board.source).name
            rows.append((name, subject.word, asked, shown, f"{spans:.2f}", f"{frames:.2f}"))
    media.write_video(out / "demo.mp4", np.concatenate(videos, axis=2), pipe.fps, upscale=4)
    media.write_png(out / "demo.png", _stack(sheets))
    header = ("storyboard", "subject", "asked for (s)", "measured (s)", "t-IOU", "frame IoU")
    _print(header, rows)
    print(f"\n{out / 'demo.mp4'}\n{out / 'demo.png'}")
    return 0


def _stack(sheets: list[Image.Image]) -> Image.Image:
    width, height = max(s.width for s in sheets), sum(s.height for s in sheets)
    page = Image.new("RGB", (width, height), "white")
    top = 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    return page


def _text(seconds: Spans) -> str:
    return ", ".join(f"{start:.2f} - {end:.2f}" for start, end in seconds) or "not seen"


def _print(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, tuple("-" * width for width in widths), *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
