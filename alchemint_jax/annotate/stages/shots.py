"""Files become scenes: probed, searched for cuts, and cut where a shot is too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from alchemint_jax.annotate import timeline
from alchemint_jax.annotate.probe import Probe
from alchemint_jax.annotate.rows import Row, clock_of, dropped, scene_id
from alchemint_jax.annotate.settings import Shots
from alchemint_jax.perceive import ShotFinder
from alchemint_jax.scene.clock import Clock


def ingest(row: Row, base: Path, probe: Probe) -> Row:
    """Says what is in the file of a row."""
    return {**row, **probe(str(base / row["source"]))}


def cut(row: Row, base: Path, finder: ShotFinder, settings: Shots) -> list[Row]:
    """The scenes of a video: rows of their own, each with where it starts in its file.

    Scenes that are too short are rows, too: they say so.
    """
    path = base / row["source"]
    clock = clock_of(row)
    frames = (frame for _, frame in timeline.frames(path, range(clock.frames), settings.side))
    edges = [0, *map(int, finder.cuts(frames)), row["frames"]]
    found = []
    for start, end in zip(edges, edges[1:], strict=False):
        start, end = _trimmed(start, end, clock, settings)
        for first, last in _parts(start, end, clock.count(settings.longest)):
            found.append(_scene(row, first, last, settings))
    return found


def _trimmed(start: int, end: int, clock: Clock, settings: Shots) -> tuple[int, int]:
    """Without what is near a cut; the ends of the video are no cuts."""
    trim = clock.count(settings.trim)
    start, end = start + trim * int(start > 0), end - trim * int(end < clock.frames)
    return start, max(end, start + 1)


def _parts(start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """Equal parts that are at most so long."""
    count = -(-(end - start) // max(1, longest))
    edges = [start + (end - start) * i // count for i in range(count + 1)]
    yield from zip(edges, edges[1:], strict=False)


def _scene(row: Row, start: int, end: int, settings: Shots) -> Row:
    clock = clock_of(row)
    scene = {
        **row,
        "id": scene_id(row["id"], start, end),
        "video": row["id"],
        "start_frame": start,
        "frames": end - start,
        "whole": start == 0 and end == row["frames"],
    }
    if row.get("events"):
        scene["events"] = _inside(row["events"], clock, start, end)
    if end - start < max(2, clock.count(settings.shortest)):
        seconds = clock.second(end - start)
        return dropped(scene, f"is shorter than {settings.shortest:g} s: {seconds:.2f} s")
    return scene


def _inside(events: Sequence[Row], clock: Clock, start: int, end: int) -> list[Row]:
    """Timed captions of the video, as frames of a scene of it."""
    found = []
    for event in events:
        for s, e in clock.spans([event["during"]]):
            s, e = max(s, start) - start, min(e, end) - start
            if e > s:
                found.append({"text": event["text"], "frames": [[s, e]]})
    return found
