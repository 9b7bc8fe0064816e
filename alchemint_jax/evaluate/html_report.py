"""The report of a benchmark run: report.json for programs, report.html (one file, no network) for
people.
"""

from __future__ import annotations

import base64
import io
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from alchemint_jax import media, results
from alchemint_jax.scene.scene import Scene, Subject
from alchemint_jax.scene.spans import Spans

NOTES = {
    "t-IOU, t-L2": "Overlap of the interval asked for and the one shown (several intervals: their "
    "span), and the root mean square error of start and end as a fraction of the duration. A "
    "subject never seen scores 0 and 1.",
    "Frame IoU, presence, absence": "The same frame by frame: overlap of the two sets of frames; "
    "share of the frames asked for that show the subject; share of all other frames that do not.",
    "Boundary error": "How many seconds starts and ends are from where they were asked for, "
    "appearance by appearance; a subject never seen has none, and is told by the share detected.",
    "Appearances right": "Share of subjects that come and go as often as asked.",
    "Identity inside, leak, confusion": "How alike a subject is to its reference, frame by frame: "
    "the mean over the frames asked for (0 where it is missing), and over all others; and the "
    "share of its frames in which it is more like another subject's reference.",
    "R@x": "Share of subjects whose t-IOU is at least x.",
    "Seconds and frames": "Under each bar: seconds, and in brackets the frames, of which the last "
    "one is not part.",
    "Intervals of 95%": "Bootstrap over clips (point at a figure in the table).",
    "Baselines": "Every subject shown all the time; every subject shown from 25% to 75%.",
}
"""What is measured always: sentences by heading. What trackers add is theirs to explain."""
_SWATCH = 32, 32  # pixels of a picture whose colour is taken


def save_report(
    report: dict[str, Any],
    videos: Sequence[np.ndarray] | np.ndarray,
    cases: Sequence[Scene],
    out: str | os.PathLike[str],
    gallery: int = 24,
) -> None:
    """Writes out/report.json and out/report.html, each whole or not at all; AlchemintError if it
    cannot.

    `report` is what `benchmark.score` returns, with "settings" added if there are any; `gallery` is
    the number of clips shown: a third of them the worst, a third around the median, a third drawn
    at random.
    """
    folder = media.check_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    text = render_html(report, videos, cases, gallery)
    results.write_json(folder / "report.json", report)
    media.write_bytes(folder / "report.html", text.encode())


def render_html(
    report: dict[str, Any],
    videos: Sequence[np.ndarray] | np.ndarray,
    cases: Sequence[Scene],
    gallery: int = 24,
) -> str:
    """The whole page as text: no scripts from elsewhere, no fonts, no links.

    Everything that is put into it is escaped.
    """
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("alchemint_jax.evaluate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.tests["finite"] = math.isfinite
    settings = report.get("settings", {})
    return page.get_template("report.html").render(
        title=f"{settings.get('model', 'model')} on {settings.get('benchmark', 'benchmark')}",
        settings=_settings_line(settings),
        report=report,
        parts=[("all", report["overall"]), *report["groups"].items()],
        scatters={name: _scatter(report, name) for name in ("midpoint", "length")},
        gallery=[
            (name, [_card(cases[i], videos[i], _of(report, cases[i])) for i in picks])
            for name, picks in _choose(report, cases, gallery)
        ],
        measures=report["measures"],
        notes={**NOTES, **report["notes"]},
        times=_times,
        hues={
            case.id: [_hue(subject.picture(_SWATCH)) for subject in case.subjects] for case in cases
        },
    )


def _settings_line(settings: dict[str, Any]) -> str:
    skip = ("model", "weights", "benchmark", "t_l2", "seconds_per_clip")
    parts = [f"{key} {value}" for key, value in settings.items() if key not in skip]
    if "seconds_per_clip" in settings:
        parts.append(f"{settings['seconds_per_clip']:.2f} s per clip")
    return ", ".join(parts)


def _scatter(report: dict[str, Any], name: str) -> list[tuple[float, float, dict[str, Any]]]:
    """Midpoints or lengths asked for and shown, as fractions of the clip, with their row."""
    dots = []
    for row in report["rows"]:
        if row["shown"] and len(row["asked"]) == 1:
            spans = [(s[0][0], s[-1][1]) for s in (row["asked"], row["shown"])]
            x, y = (sum(v) / 2 if name == "midpoint" else v[1] - v[0] for v in spans)
            dots.append((x / row["n_frames"], y / row["n_frames"], row))
    return dots


def _hue(image: np.ndarray) -> str:
    """The style of marks that stand for a subject: the colour that its picture has most of."""
    pixels = image.reshape(-1, 3).astype(np.float64)
    weight = np.ptp(pixels, axis=1) ** 2 + 1e-3
    red, green, blue = np.round(weight @ pixels / weight.sum()).astype(int)
    return f"--hue: rgb({red}, {green}, {blue})"


def _card(case: Scene, video: np.ndarray, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is shown of a clip."""
    return {
        "case": case,
        "rows": rows,
        "video": _mp4(video, float(case.clock.fps)),
        "references": [(s.word, _png(_view(s, video))) for s in case.subjects],
    }


def _view(subject: Subject, video: np.ndarray) -> np.ndarray:
    """Its picture, half as large as the clip."""
    return subject.picture((video.shape[1] // 2, video.shape[2] // 2))


def _times(case: Scene, rows: Sequence[Sequence[int]]) -> str:
    """Seconds and, in brackets, frames."""
    if not (spans := Spans(rows)):
        return "never"
    seconds = ", ".join(f"{s:.2f}–{e:.2f}" for s, e in case.clock.seconds(spans))
    return f"{seconds} s ({', '.join(f'{s}–{e}' for s, e in spans)})"


def _of(report: dict[str, Any], case: Scene) -> list[dict[str, Any]]:
    return [row for row in report["rows"] if row["case"] == case.id]


def _choose(
    report: dict[str, Any], cases: Sequence[Scene], count: int
) -> list[tuple[str, list[int]]]:
    """Indices of the clips to show: the worst, those around the median, and some of the rest at
    random.
    """
    quality = [
        float(np.mean([r["t_iou"] + 0.01 * r["identity"] for r in _of(report, case)]))
        for case in cases
    ]
    order = [int(i) for i in np.argsort(quality, kind="stable")]
    count = min(count, len(order))
    each = min(count, max(1, count // 3))
    worst = order[:each]
    middle = len(order) // 2 - each // 2
    median = [i for i in order[middle : middle + each] if i not in worst][: count - len(worst)]
    rest = [i for i in order if i not in worst + median]
    drawn = np.random.default_rng(0).permutation(rest)[: count - len(worst) - len(median)]
    return [
        ("Worst", worst),
        ("Around the median", median),
        ("At random", sorted(int(i) for i in drawn)),
    ]


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _mp4(video: np.ndarray, fps: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        media.write_video(path, video, fps, upscale=max(1, 128 // video.shape[2]))
        return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
