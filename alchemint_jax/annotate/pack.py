"""The end of an annotation: scenes.jsonl, the dataset, and nothing that is not of this run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from alchemint_jax.annotate.rows import Row, clock_of, digest, usable, write_lines
from alchemint_jax.annotate.settings import Pack
from alchemint_jax.annotate.stages.pairs import CROSS
from alchemint_jax.data import records
from alchemint_jax.data.timed_clips import NAME, Picture, TimedClip, write_timed_clips
from alchemint_jax.errors import DataError

LINES = "scenes.jsonl"
DATASET = "dataset"


def line_of(row: Row) -> Row:
    """What scenes.jsonl says of a scene: seconds, and half-open frames of this scene."""
    known = (
        "id",
        "source",
        "start_frame",
        "fps",
        "frames",
        "size",
        "caption",
        "caption_from",
        "codec",
        "pixels",
        "clip",
        "sheet",
        "status",
        "error",
    )
    line = {name: row[name] for name in known if name in row}
    line["remarks"] = row.get("remarks", [])
    line["dropped"] = row.get("dropped", [])
    line["subjects"], line["events"] = [], []
    if "frames" not in row:
        return line
    clock = clock_of(row)

    def seconds(frames: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[round(s, 6), round(e, 6)] for s, e in clock.seconds(frames)]

    line["categories"] = {
        name: {"appears": seconds(frames), "frames": frames}
        for name, frames in row.get("categories", {}).items()
    }
    for event in row.get("events", []):
        if "frames" in event:
            line["events"].append(
                {
                    "text": event["text"],
                    "during": seconds(event["frames"])[0],
                    "frames": event["frames"],
                }
            )
    for subject in row.get("subjects", []) if usable(row) else []:
        names = (
            "word",
            "category",
            "kind",
            "named_by",
            "frames",
            "score",
            "best",
            "coverage",
            "open_start",
            "open_end",
            "identity",
            "detected_as",
        )
        line["subjects"].append(
            {
                **{name: subject[name] for name in names},
                "appears": seconds(subject["frames"]),
                "pictures": subject["pictures"],
                "track": subject["seen"],
                "areas": subject["areas"],
            }
        )
    return line


def write_scenes(out: Path, rows: Sequence[Row]) -> list[Row]:
    """Writes DIR/scenes.jsonl, and returns its lines."""
    lines = [line_of(row) for row in rows]
    write_lines(out / LINES, lines)
    return lines


class Clips(Sequence[TimedClip]):
    """Clips as the dataset takes them, read from DIR when they are asked for."""

    def __init__(self, out: Path, lines: Sequence[Row]):
        self._out = out
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> TimedClip: ...
    @overload
    def __getitem__(self, index: slice) -> list[TimedClip]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        line = self._lines[index]
        pictures = tuple(
            Picture((self._out / one["file"]).read_bytes(), number, one["kind"], one["frame"])
            for number, subject in enumerate(line["subjects"])
            for one in subject["pictures"]
        )
        return TimedClip(line, (self._out / line["clip"]).read_bytes(), pictures)


def write_dataset(out: Path, lines: Sequence[Row], settings: Pack) -> Path | None:
    """Writes DIR/dataset from the scenes that are kept; None where there are none.

    One that was made otherwise is replaced.
    """
    good = [line for line in lines if line["status"] == "ok"]
    identity = {"scenes": digest([settings.validation, good])}
    folder = out / DATASET
    mark = folder / f"{NAME}.json"
    if mark.is_file() and records.read_json(mark).get("identity") != identity:
        shutil.rmtree(folder)
    partial = out / f".{DATASET}.partial"
    plan = partial / "plan.json"
    if plan.is_file() and records.read_json(plan).get("identity") != identity:
        shutil.rmtree(partial)
    if not good:
        return None
    videos = sorted({line["source"] for line in good})
    count = int(settings.validation * len(videos))
    held = {*sorted(videos, key=digest)[:count]}
    splits = {
        "train": Clips(out, [line for line in good if line["source"] not in held]),
        "validation": Clips(out, [line for line in good if line["source"] in held]),
    }
    if not len(splits["train"]):
        raise DataError("pack.validation leaves no videos for the split train")
    return write_timed_clips(folder, splits, identity, settings.shard)


def tidy(out: Path, rows: Sequence[Row]) -> None:
    """Removes clips, pictures and sheets of earlier runs, which no row of this one knows."""
    known = {row.get("clip") for row in rows} | {row.get("sheet") for row in rows}
    known |= {
        picture["file"]
        for row in rows
        for subject in row.get("subjects", [])
        for picture in subject.get("pictures", [])
        if picture["kind"] != CROSS
    }
    for name in ("clips", "pictures", "sheets"):
        for path in sorted((out / name).rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(out).as_posix() not in known:
                path.unlink()
