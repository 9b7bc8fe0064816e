"""report.html: what was found, what was not, and why; one file without anything from elsewhere."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from alchemint_jax import media
from alchemint_jax.annotate.rows import Row, clock_of

NAME = "report.html"
_THUMB = 112  # pixels, the longer side of a picture of a subject
_SHEET = 1200  # pixels, the width of a contact sheet


def write_report(out: Path, rows: Sequence[Row], most: int) -> None:
    """Writes DIR/report.html; at most `most` of the scenes that are kept are shown."""
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("alchemint_jax.annotate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    kept = [row for row in rows if row["status"] == "ok"]
    picks = np.linspace(0, len(kept) - 1, min(most, len(kept)))
    shown = [kept[round(i)] for i in picks]
    files = [p["file"] for row in shown for s in row["subjects"] for p in s["pictures"]]
    with ThreadPoolExecutor() as threads:
        sheets = threads.map(lambda row: _sheet(out / row["sheet"]), shown)
        thumbs = dict(
            zip(files, threads.map(lambda file: _thumbnail(out / file), files), strict=True)
        )
    text = page.get_template("report.html").render(
        tiles=_tiles(rows, kept),
        words=_words(kept),
        reasons=_reasons(rows),
        others=[row for row in rows if row["status"] != "ok"],
        cards=[_card(row, sheet, thumbs) for row, sheet in zip(shown, sheets, strict=True)],
        hidden=len(kept) - len(shown),
        remarks=[(row, remark) for row in rows for remark in row.get("remarks", [])],
    )
    media.write_bytes(out / NAME, text.encode())


def _tiles(rows: Sequence[Row], kept: Sequence[Row]) -> list[tuple[str, str]]:
    status = Counter(row["status"] for row in rows)
    seconds = sum(clock_of(row).duration for row in kept)
    pictures = sum(len(s["pictures"]) for row in kept for s in row["subjects"])
    return [
        ("videos", str(len({row["source"] for row in rows}))),
        ("scenes kept", f"{len(kept)} of {len(rows)}"),
        ("kept", f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.1f} s"),
        ("subjects", str(sum(len(row["subjects"]) for row in kept))),
        ("pictures", str(pictures)),
        ("failed", str(status["failed"])),
    ]


def _words(kept: Sequence[Row]) -> list[tuple[str, int, float]]:
    """Each category with its number of subjects, and their mean time on screen in seconds."""
    times: dict[str, list[float]] = {}
    for row in kept:
        clock = clock_of(row)
        for subject in row["subjects"]:
            frames = sum(end - start for start, end in subject["frames"])
            times.setdefault(subject["category"], []).append(clock.second(frames))
    found = [(word, len(some), float(np.mean(some))) for word, some in times.items()]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def _reasons(rows: Sequence[Row]) -> list[tuple[str, int, str]]:
    """Why words were dropped: the reason, how often, and some of the words."""
    words: dict[str, list[str]] = {}
    for row in rows:
        for one in row.get("dropped", []):
            words.setdefault(one["reason"].split(":")[0], []).append(one["word"])
    return sorted(
        ((why, len(some), ", ".join(sorted({*some})[:8])) for why, some in words.items()),
        key=lambda one: (-one[1], one[0]),
    )


def _card(row: Row, sheet: str, thumbs: Mapping[str, str]) -> dict[str, Any]:
    clock = clock_of(row)
    subjects = []
    for subject in row["subjects"]:
        seconds = clock.seconds(subject["frames"])
        subjects.append(
            {
                "word": subject["word"],
                "category": subject["category"],
                "score": subject["score"],
                "times": ", ".join(f"{s:.2f} to {e:.2f} s" for s, e in seconds),
                "frames": ", ".join(f"{s} to {e}" for s, e in subject["frames"]),
                "open": [
                    name
                    for name, is_open in (
                        ("from before the scene", subject["open_start"]),
                        ("until after it", subject["open_end"]),
                    )
                    if is_open
                ],
                "pictures": [
                    {
                        "data": thumbs[one["file"]],
                        "kind": one["kind"],
                        "frame": one["frame"],
                        "scores": ", ".join(f"{k} {v:.3g}" for k, v in one["scores"].items()),
                    }
                    for one in subject["pictures"]
                ],
            }
        )
    return {"row": row, "sheet": sheet, "subjects": subjects}


def _sheet(path: Path) -> str:
    with Image.open(path) as image:
        height = round(image.height * _SHEET / image.width)
        small = image.convert("RGB").resize((_SHEET, height), Image.Resampling.LANCZOS)
    return _data(small, "JPEG")


def _thumbnail(path: Path) -> str:
    with Image.open(path, formats=["PNG"]) as image:
        image.thumbnail((_THUMB, _THUMB))
        return _data(image, "WEBP")


def _data(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=80)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()
