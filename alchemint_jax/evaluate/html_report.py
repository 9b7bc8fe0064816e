"""The report of a benchmark run: report.json for programs, and for people report.html, which shows
the clips in videos/ beside it. It needs no network.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alchemint_jax import media, results
from alchemint_jax.evaluate.clip import Clip, Video, read
from alchemint_jax.evaluate.pages import known, page
from alchemint_jax.evaluate.papers import PAPERS
from alchemint_jax.evaluate.reports import chosen, less_is_better
from alchemint_jax.evaluate.scores import summarise
from alchemint_jax.scene.scene import Scene, Subject
from alchemint_jax.scene.spans import Spans

FILES = ("report.json", "report.html", "videos")
"""What a report is made of, in its folder."""
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
    "Seconds and frames": "Under each pair of bars: seconds, and in brackets the frames, of which "
    "the last one is not part.",
    "Intervals of 95 %": "Bootstrap over clips.",
    "Baselines": "Every subject shown all the time; every subject shown from 25% to 75%.",
}
"""What is measured always: sentences by heading. What trackers add is theirs to explain."""
TILES = 8
_AT_ONCE = 4  # clips that are read and written, which Python's threads do side by side
_SMALL = 128  # pixels: narrower clips are enlarged, by whole pixels
_SIDE = 88  # pixels of a reference's picture
_SWATCH = 32  # pixels of one whose colour is taken


@dataclasses.dataclass(frozen=True)
class Shown:
    """Files of a clip that a page shows, relative to the page.

    Attributes:
        video: the mp4.
        poster: a picture of a frame that should show the first subject.
        width: in pixels, of both.
        height: in pixels, of both.
        small: whether it was so small that it is enlarged.
    """

    video: str
    poster: str
    width: int
    height: int
    small: bool


def save_report(
    report: dict[str, Any],
    videos: Sequence[Video] | np.ndarray,
    cases: Sequence[Scene],
    out: str | os.PathLike[str],
    gallery: int = 24,
) -> None:
    """Writes report.json, report.html and videos/ into a folder, each file whole or not at all.

    Args:
        report: what `score` returns, with "settings" added if there are any.
        videos: uint8 [f h w 3] of each case. Those that the page shows are looked at, a few at a
            time, and no others: a sequence may read them when it is asked for them. Of one that is
            a `clip.Clip`, the page shows the file itself where browsers can play it.
        cases: what was asked for.
        out: the folder.
        gallery: the number of clips shown: a third of them the worst, a third around the median, a
            third drawn at random.

    Raises:
        AlchemintError: the folder cannot be written.

    Examples:
        >>> import pathlib, tempfile
        >>> from types import SimpleNamespace
        >>> from alchemint_jax.scene import Clock, Scene, Spans, Subject
        >>> scene = Scene("a", "a disc", Clock(8.0, 5, 4), (Subject("disc", Spans([(1, 4)])),))
        >>> seen = al.evaluate.Sighting(np.arange(5) >= 2, "disc", "disc")
        >>> tracker = SimpleNamespace(
        ...     measures={},
        ...     notes={},
        ...     check=lambda image: None,
        ...     track=lambda video, case: [seen],
        ... )
        >>> videos = np.zeros((1, 5, 16, 16, 3), np.uint8)
        >>> report = al.evaluate.score([scene], videos, tracker)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     al.evaluate.save_report(report, videos, [scene], folder)
        ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
        ['report.html', 'report.json', 'videos']

    Source:
        This repository.
    """
    folder = media.check_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    shown = [i for _, picks in choose(report, cases, gallery) for i in picks]

    def write(index: int) -> Shown:
        return write_clip(videos[index], cases[index], folder, index)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _AT_ONCE)) as threads:
        clips = dict(zip(shown, threads.map(write, shown), strict=True))
    text = render_html(report, cases, clips, gallery)
    results.write_json(folder / "report.json", report)
    media.write_bytes(folder / "report.html", text.encode())


def write_clip(video: Video, case: Scene, folder: Path, index: int) -> Shown:
    """Writes the files of one clip into folder/videos; `index` is that of its case."""
    name = f"{index:04d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', case.id)[-80:]}"
    upscale = max(1, _SMALL // video.shape[2])
    place = folder / "videos" / f"{name}.mp4"
    if isinstance(video, Clip) and video.plays and upscale == 1:
        media.write_bytes(place, video.path.read_bytes())
    else:
        frames = np.asarray(video)
        media.write_video(place, frames, float(case.clock.fps), upscale, preset="veryfast")
    spans = next((subject.spans for subject in case.subjects if subject.spans), None)
    moment = (spans[0][0] + spans[0][1]) // 2 if spans else 0
    ((_, frame),) = read(video, [min(moment, len(video) - 1)])
    poster = Image.fromarray(np.ascontiguousarray(frame))
    size = (upscale * poster.width, upscale * poster.height)
    poster = poster.resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    poster.save(buffer, format="JPEG", quality=88)
    media.write_bytes(place.with_suffix(".jpg"), buffer.getvalue())
    return Shown(f"videos/{name}.mp4", f"videos/{name}.jpg", *poster.size, upscale > 1)


def render_html(
    report: dict[str, Any],
    cases: Sequence[Scene],
    clips: Mapping[int, Shown],
    gallery: int = 24,
) -> str:
    """The whole page as text: but for the `clips`, by index of their case, all is in it.

    It shows every figure that the report names among its `measures` and `video_measures`.
    """
    settings = report.get("settings", {})
    measures = report["measures"]
    lower = less_is_better(report)
    headline = next(iter(measures))
    of_case: dict[str, list[dict[str, Any]]] = {}
    for row in report["rows"]:
        of_case.setdefault(row["case"], []).append(row)
    hues = {case.id: [_hue(s, i) for i, s in enumerate(case.subjects)] for case in cases}
    return page(
        "report.html",
        title=f"{settings.get('model', 'model')} on {settings.get('benchmark', 'benchmark')}",
        settings=_settings_line(settings),
        report=report,
        measures=measures,
        lower=lower,
        headline=headline,
        tiles=[name for name in measures if name in report["overall"]][:TILES],
        parts=[("all", report["overall"]), *report["groups"].items()],
        of_videos=_of_videos(report),
        scatters={name: _scatter(report, name) for name in ("midpoint", "length")},
        gallery=[
            (name, [_card(cases[i], clips[i], of_case.get(cases[i].id, []), hues) for i in picks])
            for name, picks in choose(report, cases, gallery)
        ],
        rows=sorted(report["rows"], key=lambda row: _badness(row, headline, lower), reverse=True),
        papers=PAPERS,
        notes={**NOTES, **report["notes"]},
        times=_times,
        hues=hues,
    )


def _of_videos(report: dict[str, Any]) -> list[tuple[str, str, int, dict[str, float]]]:
    """Of each figure of whole videos: its name, title, of how many it is known, and the mean."""
    titles = report.get("video_measures", {})
    by_case = {row["case"]: row for row in report.get("videos", ())}
    rows = chosen(by_case, by_case, titles)
    means = summarise(rows, titles) if titles else {}
    return [
        (name, title, sum(known(row[name]) for row in rows), means[name])
        for name, title in titles.items()
    ]


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


def _hue(subject: Subject, number: int) -> str:
    """The style of marks that stand for a subject: the colour that its picture has most of."""
    if len(subject.pictures) == 0:
        color = media.PALETTE[number % len(media.PALETTE)]
    else:
        pixels = subject.picture((_SWATCH, _SWATCH)).reshape(-1, 3).astype(np.float64)
        weight = np.ptp(pixels, axis=1) ** 2 + 1e-3
        red, green, blue = np.round(weight @ pixels / weight.sum()).astype(int)
        color = (red, green, blue)
    return f"--hue: rgb({color[0]}, {color[1]}, {color[2]})"


def _card(
    case: Scene, clip: Shown, rows: list[dict[str, Any]], hues: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What is shown of a clip."""
    return {
        "case": case,
        "rows": rows,
        "clip": clip,
        "references": [
            (subject.word, _picture(subject), hue)
            for subject, hue in zip(case.subjects, hues[case.id], strict=True)
        ],
    }


def _picture(subject: Subject) -> str:
    """A reference as a data URI; nothing where a subject has none."""
    if len(subject.pictures) == 0:
        return ""
    buffer = io.BytesIO()
    image = Image.fromarray(subject.picture((_SIDE, _SIDE)))
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _times(case: Scene, rows: Sequence[Sequence[int]]) -> str:
    """Seconds and, in brackets, frames."""
    if not (spans := Spans(rows)):
        return "never"
    seconds = ", ".join(f"{s:.2f}–{e:.2f}" for s, e in case.clock.seconds(spans))
    return f"{seconds} s ({', '.join(f'{s}–{e}' for s, e in spans)})"


def _badness(row: dict[str, Any], headline: str, lower: Sequence[str]) -> float:
    """Large where a subject went wrong; what is not known is worst."""
    value = row.get(headline)
    if value is None or not known(value):
        return float("inf")
    return float(value if headline in lower else -value) - 0.01 * float(row.get("identity") or 0)


def choose(
    report: dict[str, Any], cases: Sequence[Scene], count: int
) -> list[tuple[str, list[int]]]:
    """Indices of the clips to show: the worst, those around the median, and some of the rest at
    random.
    """
    headline, lower = next(iter(report["measures"])), less_is_better(report)
    bad: dict[str, list[float]] = {case.id: [] for case in cases}
    for row in report["rows"]:
        bad[row["case"]].append(_badness(row, headline, lower))
    means = [-float(np.mean(bad[case.id] or [np.inf])) for case in cases]
    order = [int(i) for i in np.argsort(means, kind="stable")]
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
