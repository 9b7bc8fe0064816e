"""The report of a benchmark run: report.json for programs, report.html (one file, no network) for
people.
"""

from __future__ import annotations

import base64
import html
import io
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alchemint_jax import media, results
from alchemint_jax.evaluate import page
from alchemint_jax.evaluate.scores import MEASURES
from alchemint_jax.worlds.sprites.cases import Case

_LOW_IS_GOOD = {"t_l2"}


def save_report(
    report: dict[str, Any],
    videos: Sequence[np.ndarray] | np.ndarray,
    cases: Sequence[Case],
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
    cases: Sequence[Case],
    gallery: int = 24,
) -> str:
    """The whole page as text: no scripts from elsewhere, no fonts, no links."""
    settings = report.get("settings", {})
    title = f"{settings.get('model', 'model')} on {settings.get('benchmark', 'benchmark')}"
    cards = "".join(
        f"<h3>{_text(name)}</h3><div class=gallery>"
        + "".join(_card(cases[i], videos[i], _of(report, cases[i])) for i in picks)
        + "</div>"
        for name, picks in _choose(report, cases, gallery)
        if picks
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{_text(title)}</title><style>{page.CSS}{page.HUES}</style></head><body><main>"
        f"<header><p class=over>Timed subjects benchmark</p><h1>{_text(title)}</h1>"
        f"<p>{report['clips']} clips, {report['subjects']} subjects. "
        f"{_text(_settings_line(settings))}</p></header>"
        f"{_tiles(report)}"
        f"<h2>When it was asked for, when it was shown</h2>{_scatters(report)}"
        f"<h2>By kind of clip</h2>{_table(report)}"
        "<h2>Clips</h2><p>Bars: hollow is asked for, solid is measured. "
        f"Click a clip to pause it.</p>{cards}"
        f"<h2>How to read this</h2>{page.NOTES}"
        f"</main><script>{page.JS}</script></body></html>"
    )


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _settings_line(settings: dict[str, Any]) -> str:
    skip = ("model", "weights", "benchmark", "t_l2", "seconds_per_clip")
    parts = [f"{key} {value}" for key, value in settings.items() if key not in skip]
    if "seconds_per_clip" in settings:
        parts.append(f"{settings['seconds_per_clip']:.2f} s per clip")
    return ", ".join(parts)


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _tiles(report: dict[str, Any]) -> str:
    bars = {name.replace("_", " "): base for name, base in report["baselines"].items()}
    tiles = []
    for name in ("t_iou", "t_l2", "frame_iou", "detected", "identity"):
        figure = report["overall"][name]
        known = [f"{label}: {_number(base[name])}" for label, base in bars.items() if name in base]
        bar = "<br>".join(known) or "&nbsp;"
        tiles.append(
            f"<div class=tile><span>{_label(name)}</span><b>{_number(figure['mean'])}</b>"
            f"<small>95% {_number(figure['low'])} – {_number(figure['high'])}</small>"
            f"<small>{bar}</small></div>"
        )
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _label(name: str) -> str:
    return _text(MEASURES[name]) + (" ↓" if name in _LOW_IS_GOOD else "")


def _table(report: dict[str, Any]) -> str:
    head = "".join(f"<th>{_label(name)}</th>" for name in MEASURES)
    body = []
    for label, part in {"all": report["overall"], **report["groups"]}.items():
        if part["subjects"]:
            cells = "".join(
                f"<td title='95%: {_number(part[name]['low'])} to {_number(part[name]['high'])}'>"
                f"{_number(part[name]['mean'])}</td>"
                for name in MEASURES
            )
            body.append(f"<tr><th>{_text(label)}</th><td>{part['subjects']}</td>{cells}</tr>")
    for label, name in (("always present", "always_present"), ("middle half", "middle_half")):
        figures = report["baselines"][name]
        cells = "".join(f"<td>{_number(figures[m]) if m in figures else ''}</td>" for m in MEASURES)
        body.append(f"<tr class=base><th>baseline: {label}</th><td></td>{cells}</tr>")
    return (
        f"<div class=scroll><table><thead><tr><th></th><th>subjects</th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _scatters(report: dict[str, Any]) -> str:
    rows = [row for row in report["rows"] if row["shown"] and len(row["asked"]) == 1]
    plots = []
    for name in ("midpoint", "length"):
        dots = []
        for row in rows:
            asked, shown = (
                (s[0][0] / row["n_frames"], s[-1][1] / row["n_frames"])
                for s in (row["asked"], row["shown"])
            )
            x, y = (sum(v) / 2 if name == "midpoint" else v[1] - v[0] for v in (asked, shown))
            tip = f"{row['case']}: {row['word']}, t-IOU {row['t_iou']:.2f}"
            dots.append(
                f"<circle cx='{100 * x:.1f}' cy='{100 - 100 * y:.1f}' r=1.3 class='{_hue(row)}'>"
                f"<title>{_text(tip)}</title></circle>"
            )
        value = _number(report["correlation"][name], 2)
        plots.append(
            f"<figure><svg viewBox='-3 -3 106 106' role=img aria-label='asked and shown {name}'>"
            "<rect width=100 height=100 class=frame /><path d='M0 100L100 0' class=ideal />"
            f"{''.join(dots)}</svg><figcaption><b>{name.capitalize()}</b>, asked (right) against "
            f"shown (up), as fractions of the clip; r = {value}</figcaption></figure>"
        )
    return f"<div class=plots>{''.join(plots)}</div>"


def _hue(row: dict[str, Any]) -> str:
    return "c-" + row["asked_look"].split()[0]


def _of(report: dict[str, Any], case: Case) -> list[dict[str, Any]]:
    return [row for row in report["rows"] if row["case"] == case.id]


def _choose(
    report: dict[str, Any], cases: Sequence[Case], count: int
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


def _card(case: Case, video: np.ndarray, rows: list[dict[str, Any]]) -> str:
    references = "".join(
        f"<figure><img src='{_png(picture)}' alt=''><figcaption>{_text(word)}</figcaption></figure>"
        for picture, word in zip(case.references, case.words, strict=True)
    )
    return (
        f"<article><div class=top><video src='{_mp4(video, case.fps)}' "
        f"autoplay loop muted playsinline></video><div class=refs>{references}</div></div>"
        f"<p>{_text(case.prompt)}</p>{_timeline(case, rows)}"
        f"<small class=id>{_text(case.id)}</small></article>"
    )


def _timeline(case: Case, rows: list[dict[str, Any]]) -> str:
    parts = []
    for row in rows:
        total, hue = case.n_frames, _hue(row)
        asked = [
            f"<rect x='{s}' y=1 width='{e - s}' height=6 class='asked {hue}' />"
            for s, e in row["asked"]
        ]
        shown = [
            f"<rect x='{s}' y=8 width='{e - s}' height=6 class='shown {hue}' />"
            for s, e in row["shown"]
        ]
        seen, state = "right subject", "good"
        if not row["identity"]:
            seen = f"looks like a {row['seen_look']}" if row["seen_look"] else "never seen"
            state = "bad"
        parts.append(
            f"<div class=line><span>{_text(row['word'])}</span><span>t-IOU {row['t_iou']:.2f}, "
            f"<span class={state}>{_text(seen)}</span></span></div>"
            f"<div class=bars><svg viewBox='0 0 {total} 15' preserveAspectRatio=none>"
            f"{''.join(asked)}{''.join(shown)}</svg>"
            "<i class=head></i></div>"
        )
    for text, (s, e) in case.events:
        parts.append(
            f"<div class=line><span>{_text(text)}</span><span>event</span></div>"
            f"<div class=bars><svg viewBox='0 0 {case.n_frames} 15' preserveAspectRatio=none>"
            f"<rect x='{s}' y=1 width='{e - s}' height=6 class=event /></svg>"
            "<i class=head></i></div>"
        )
    return "".join(parts)


def _png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _mp4(video: np.ndarray, fps: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        media.write_video(path, video, fps, upscale=max(1, 128 // video.shape[2]))
        return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
