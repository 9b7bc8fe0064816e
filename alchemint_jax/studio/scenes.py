"""Scenes of an annotated video as boards, and boards back as lines of scenes.jsonl."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media
from alchemint_jax.evaluate.boards.pictures import best_pictures, inside
from alchemint_jax.evaluate.clip import Clip, read
from alchemint_jax.results import plain
from alchemint_jax.scene.clock import Clock
from alchemint_jax.studio import pictures
from alchemint_jax.studio.drafts import Draft, draft_of
from alchemint_jax.studio.rulers import rulers
from alchemint_jax.studio.strips import as_png, strip_of
from alchemint_jax.studio.workspace import Workspace, write_json

_SHOWN = 320  # pixels, the longer side of frames on the page


@dataclass
class Scene:
    """A scene that became a board.

    Attributes:
        line: its number in scenes.jsonl.
        fps, frames: of its clip.
        board: the board.
        job: the result that shows the clip.
        subjects: which subject of the line a picture of the board is of.
    """

    line: int
    fps: float
    frames: int
    board: str = ""
    job: str = ""
    subjects: dict[str, int] = field(default_factory=dict)

    @property
    def clock(self) -> Clock:
        """The time of its clip, in which every frame counts."""
        return Clock(self.fps, self.frames, 1)


def scene_of(line: dict[str, Any], number: int, out: Path, folder: Path) -> tuple[Draft, Scene]:
    """A line of scenes.jsonl as a board, whose bars are what was found.

    Args:
        line: the line.
        number: of the line.
        out: the folder of the annotation.
        folder: of the pictures of the workspace, where those of its subjects are kept.
    """
    scene = Scene(number, float(line["fps"]), int(line["frames"]))
    subjects = []
    for index, subject in enumerate(line["subjects"]):
        entry: dict[str, Any] = {"word": subject["word"]}
        files = (inside(out, str(best["file"])) for best in best_pictures(subject))
        if (file := next((f for f in files if f is not None and f.is_file()), None)) is not None:
            entry["image"] = pictures.keep(folder, file.read_bytes()).name
            scene.subjects[entry["image"]] = index
        entry["appears"] = _seconds(scene.clock, subject["frames"])
        subjects.append(entry)
    events = [{"text": one["text"], "during": list(one["during"])} for one in line["events"]]
    draft = {
        "prompt": line["caption"] or "",
        "duration": round(scene.clock.duration, 6),
        "fps": scene.fps,
        "size": line["size"],
        "subjects": subjects,
        "events": events,
    }
    return draft_of(draft), scene


def write_result(folder: Path, line: dict[str, Any], draft: Draft, out: Path, name: str) -> None:
    """Writes what the page shows of a scene as it shows renders: the clip, and what was found."""
    clip = Clip(out / line["clip"])
    frames = np.stack([frame for _, frame in read(clip, range(len(clip)), _SHOWN)])
    strip, layout = strip_of(frames)
    media.write_bytes(folder / "strip.png", as_png(strip))
    shutil.copyfile(out / line["clip"], folder / "clip.mp4")
    rows = []
    for subject, entry in zip(line["subjects"], draft["subjects"], strict=True):
        spans = entry["appears"]
        rows.append(
            {
                "word": subject["word"],
                "image": entry.get("image"),
                "asked": subject["frames"],
                "seen": subject["frames"],
                "asked_seconds": spans,
                "seen_seconds": spans,
                "starts": [],
                "ends": [],
                "error": None,
                "iou": None,
                "identity": None,
                "attention": None,
                "remark": f"found, score {subject['score']:.2f}",
            }
        )
    clock = Clock(line["fps"], line["frames"], 1)
    said = {"video": name, "size": line["size"], "strip": layout, "subjects": rows}
    write_json(folder / "result.json", {**plain(said), **rulers(clock)})


def corrected(
    line: dict[str, Any], draft: Draft, scene: Scene, place: Workspace, out: Path
) -> dict[str, Any]:
    """A line with the words and times of a board that somebody has corrected.

    A subject that is recognised by its picture keeps what else is known of it; one that was added
    is named by hand, and its picture is copied to the others.
    """
    clock = scene.clock

    def timed(rows: list[Any]) -> dict[str, Any]:
        frames = clock.spans(rows, draft["duration"])
        return {"frames": [list(span) for span in frames], "appears": _seconds(clock, frames)}

    subjects, used = [], set()
    for entry in draft.get("subjects", []):
        if not entry["appears"]:
            continue
        image = entry.get("image")
        index = scene.subjects.get(image or "")
        if index is not None and index not in used:
            used.add(index)
            known = line["subjects"][index]
        else:
            known = {"category": None, "score": None, "named_by": "hand", "pictures": []}
            if image:
                file = Path("pictures") / image
                (out / file.parent).mkdir(exist_ok=True)
                shutil.copyfile(pictures.found(place.pictures, image), out / file)
                known["pictures"] = [{"file": file.as_posix(), "kind": "crop", "frame": None}]
        subjects.append({**known, "word": entry["word"].strip(), **timed(entry["appears"])})
    events = []
    for event in draft.get("events", []):
        times = timed([event["during"]])
        during, frames = times["appears"][0], times["frames"][0]
        events.append({"text": event["text"], "during": during, "frames": frames})
    caption = draft["prompt"].strip()
    return {**line, "caption": caption, "subjects": subjects, "events": events}


def _seconds(clock: Clock, frames: Any) -> list[list[float]]:
    """Spans of frames in seconds, to the microsecond: files show them to people."""
    return [[round(start, 6), round(end, 6)] for start, end in clock.seconds(frames)]
