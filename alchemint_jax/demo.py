"""`make demo`: render the example storyboards; measure when each subject really was on screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from alchemint_jax import evaluate, images, media, shipped, timebase
from alchemint_jax.errors import DataError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.storyboard import Storyboard
from alchemint_jax.worlds.sprites.tracker import track


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
        video = pipe.generate(board, progress=True)
        pictures = [images.load_reference(s.image, video.shape[1:3]) for s in board.subjects]
        sightings = track(video, pictures)
        measured = [
            timebase.frames_to_seconds(sighting.intervals, pipe.fps, len(video))
            for sighting in sightings
        ]
        videos.append(video)
        sheets.append(draw_sheet(board, video, measured, pipe.fps))
        for subject, true, sighting, found in zip(
            board.subjects, board.frame_intervals(pipe.fps), sightings, measured, strict=True
        ):
            spans = evaluate.t_iou(sighting.intervals, true)
            frames = evaluate.frame_iou(sighting.presence, evaluate.presence(true, len(video)))
            asked, shown = _text(subject.appears), _text(found)
            name = Path(board.source).name
            rows.append((name, subject.word, asked, shown, f"{spans:.2f}", f"{frames:.2f}"))
    media.write_video(out / "demo.mp4", np.concatenate(videos, axis=2), pipe.fps, upscale=4)
    media.write_png(out / "demo.png", _stack(sheets))
    header = ("storyboard", "subject", "asked for (s)", "measured (s)", "t-IOU", "frame IoU")
    _print(header, rows)
    print(f"\n{out / 'demo.mp4'}\n{out / 'demo.png'}")
    return 0


def draw_sheet(
    board: Storyboard, video: np.ndarray, measured: list | None, fps: float
) -> Image.Image:
    """Frames of a video above the intervals asked for and, unless None, those measured.

    Those asked for are drawn as they are rendered, from frame to frame.
    """
    return media.contact_sheet(
        video,
        [
            timebase.frames_to_seconds(spans, fps, len(video))
            for spans in board.frame_intervals(fps)
        ],
        measured,
        fps,
        [subject.word for subject in board.subjects],
        pictures=[images.load_reference(subject.image, (92, 92)) for subject in board.subjects],
        title=board.prompt,
        events=[(event.text, event.during) for event in board.events],
    )


def _stack(sheets: list[Image.Image]) -> Image.Image:
    width, height = max(s.width for s in sheets), sum(s.height for s in sheets)
    page = Image.new("RGB", (width, height), "white")
    top = 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    return page


def _text(intervals: tuple[tuple[float | int, float | int], ...]) -> str:
    return ", ".join(f"{start:.2f} - {end:.2f}" for start, end in intervals) or "not seen"


def _print(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, tuple("-" * width for width in widths), *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
