"""Reports beside each other: what is paired, what is said, and the pages that show it."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from alchemint_jax import cli
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.comparison import compare, render_comparison, table
from alchemint_jax.evaluate.curve import render_curves
from alchemint_jax.evaluate.leaderboard import leaderboard, save_leaderboard
from alchemint_jax.evaluate.papers import PAPERS
from alchemint_jax.evaluate.reports import read_report

MEASURES = {"t_iou": "t-IOU", "t_l2": "t-L2", "gloss": "how it shines"}


def row(case, subject=0, **changes):
    given = {"word": "disc", "fps": 8.0, "asked_seconds": [[0.0, 1.0]], "t_iou": 0.5, "t_l2": 0.2}
    return {"case": case, "subject": subject, "gloss": None, **given, **changes}


def written(folder, rows, name="one", measures=MEASURES, **settings):
    content = {"settings": settings, "measures": measures, "rows": rows}
    path = folder / name / "report.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return str(path.parent)


def pair(folder, ones, others, **settings):
    a = read_report(written(folder, ones, "one", seed=0, model="m"))
    return a, read_report(written(folder, others, "other", **{"seed": 0, "model": "n"} | settings))


def test_figures_of_pairs_by_hand(tmp_path):
    """Boards in another order; four clips, of which one has two subjects."""
    keys = [("a", 0), ("b", 0), ("b", 1), ("c", 0), ("d", 0)]
    gains = dict(zip(keys, (0.1, 0.2, 0.3, 0.1, 0.3), strict=True))
    ones = [row(*key) for key in keys]
    others = [row(*key, t_iou=0.5 + gains[key], t_l2=0.1, gloss=1.0) for key in keys[::-1]]
    found = compare(*pair(tmp_path, ones, others))
    assert (found["clips"], found["subjects"]) == (4, 5)
    (few,) = found["notes"]
    assert few.startswith("4 boards are too few for 3 figures")
    iou, error, gloss = (found["figures"][name] for name in MEASURES)
    assert (iou["a"], iou["b"], iou["pairs"]) == (0.5, pytest.approx(0.7), 5)
    assert iou["difference"]["mean"] == pytest.approx(0.2)
    assert iou["p"] == 2 / 16 and iou["p_adjusted"] == 4 / 16 and iou["better"] is None
    assert error["less_is_better"] and not iou["less_is_better"]
    assert error["difference"]["mean"] == pytest.approx(-0.1)
    assert gloss["pairs"] == 0 and np.isnan(gloss["difference"]["mean"])
    assert [(r["case"], r["b"]["t_iou"]) for r in found["rows"][:2]] == [("a", 0.6), ("b", 0.7)]


def test_figures_of_whole_videos_are_paired_by_case(tmp_path):
    """One video is missing, and one board asks for other times: two pairs are left."""
    for name, gain in (("one", 0.0), ("other", 0.25)):
        cases = ["a", "b", "moved"]
        late = {"asked_seconds": [[gain * 8, 4.0]]}
        rows = [row(case, **(late if case == "moved" else {})) for case in [*cases, "c"]]
        videos = [{"case": case, "psnr": 20 + gain} for case in cases]
        videos.append({"case": "c", "psnr": None})
        content = {"measures": MEASURES, "rows": rows, "videos": videos, "settings": {}}
        (tmp_path / name).mkdir()
        content |= {"video_measures": {"psnr": "PSNR (dB)"}, "less_is_better": ["psnr", "t_l2"]}
        (tmp_path / name / "report.json").write_text(json.dumps(content))
    a, b = (read_report(str(tmp_path / name)) for name in ("one", "other"))
    found = compare(a, b)["figures"]["psnr"]
    assert (found["a"], found["b"], found["pairs"]) == (20, 20.25, 2)
    assert found["difference"] == {"mean": 0.25, "low": 0.25, "high": 0.25}
    assert found["less_is_better"] and found["title"] == "PSNR (dB)" and found["p"] == 0.5
    assert "PSNR (dB)" in render_comparison(compare(a, b))
    (section,) = leaderboard([a])
    assert section["systems"][0]["figures"]["psnr"]["mean"] == 20 and "psnr" in section["titles"]


def test_a_clear_gain_is_said_of_whom_it_is(tmp_path):
    cases = [f"c{i}" for i in range(12)]
    better = [row(case, t_iou=0.9, t_l2=0.1) for case in cases]
    found = compare(*pair(tmp_path, [row(case) for case in cases], better))
    assert [found["figures"][name]["better"] for name in MEASURES] == ["b", "b", None]
    text = table(found)
    assert "other is better" in text and "12 subjects of 12 boards" in text and "–" in text
    back = compare(*(found_report(tmp_path, name) for name in ("other", "one")))
    assert [back["figures"][name]["better"] for name in MEASURES] == ["a", "a", None]
    same = compare(*(found_report(tmp_path, "one"),) * 2)
    assert "the same" in table(same) and same["figures"]["t_iou"]["p"] == 1


def found_report(folder, name):
    return read_report(str(folder / name))


def test_other_boards_and_settings_are_told_and_left_out(tmp_path):
    ones = [row("a"), row("b"), row("only"), row("moved"), row("renamed"), row("again")]
    others = [
        row("a", fps=24.0, asked_seconds=[[0.05, 0.98]]),  # rounded to other frames
        row("b"),
        row("moved", asked_seconds=[[0.5, 1.5]]),
        row("renamed", word="star"),
        row("again", asked_seconds=[[0.0, 1.0], [2.0, 3.0]]),
    ]
    a, b = pair(tmp_path, ones, others, seed=1, steps=9)
    found = compare(a, b)
    assert [pair["case"] for pair in found["rows"]] == ["a", "b"]
    alone, changed, *settings, few = found["notes"]
    assert "2 boards are too few" in few
    assert "1 boards of one" in alone and "only" in alone
    assert "3 boards of one name" in changed and "moved, renamed, again" in changed
    assert any("seed differs: 0 of one, 1 of other" in note for note in settings)
    assert any("steps differs: not given of one, 9 of other" in note for note in settings)
    assert not any("model" in note for note in settings)


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ([row("z")], "have no board in common"),
        ([row("a", asked_seconds=[[2.0, 3.0]])], "ask for other subjects or other times"),
    ],
)
def test_reports_that_share_nothing_are_refused(tmp_path, others, says):
    with pytest.raises(DataError, match=says):
        compare(*pair(tmp_path, [row("a")], others))


def test_reports_without_a_common_figure_are_refused(tmp_path):
    a = read_report(written(tmp_path, [row("a")], "one", {"t_iou": "t-IOU"}))
    b = read_report(written(tmp_path, [row("a")], "other", {"t_l2": "t-L2"}))
    with pytest.raises(DataError, match="no figure in common"):
        compare(a, b)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 10**5, "is not JSON"),
        ("[]", "is not a report"),
        ('{"measures": {}, "rows": []}', "no rows"),
        (json.dumps({"measures": {}, "rows": [row("a"), row("a")]}), "there twice"),
        (json.dumps({"measures": {"t_iou": ""}, "rows": [row("a", t_iou="x")]}), "not a number"),
        (json.dumps({"measures": {}, "rows": [row("a", fps=None)]}), "is not a report"),
        (json.dumps({"measures": {}, "rows": [row("a")]}), "names no figures"),
        (json.dumps({"measures": {"a": ""}, "rows": [row("a")], "settings": 3}), "is not a report"),
    ],
)
def test_what_is_no_report_is_named(tmp_path, capsys, content, says):
    path = tmp_path / "report.json"
    path.write_text(content)
    assert cli.main(["compare", str(path), str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said and says in said and "Traceback" not in said


def test_the_command_prints_and_writes(tmp_path, capsys):
    cases = [f"c{i}" for i in range(3)]
    a = written(tmp_path, [row(case) for case in cases], "one", model="m")
    b = written(tmp_path, [row(case, t_iou=0.6) for case in cases], "other", model="n")
    assert cli.main(["compare", a, f"new={b}/report.json", "--out", str(tmp_path / "out")]) == 0
    assert "new" in capsys.readouterr().out
    stored = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert stored["b"]["name"] == "new" and stored["figures"]["t_iou"]["p"] == 0.25
    assert "new compared to one" in (tmp_path / "out" / "compare.html").read_text()
    assert cli.main(["compare", a, b, "--json", "--out", str(tmp_path / "c.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "c.json").read_text())
    assert cli.main(["compare", a, b, "--out", str(tmp_path / "page.html")]) == 2
    assert "give a folder" in capsys.readouterr().err
    assert cli.main(["compare", a, b, "--out", f"{a}/report.json"]) == 2
    assert "would overwrite REPORT_A" in capsys.readouterr().err
    assert cli.main(["compare", a, str(tmp_path / "none")]) == 2
    assert "cannot read this report" in capsys.readouterr().err
    page = tmp_path / "board.html"
    assert cli.main(["leaderboard", a, f"new={b}", "--out", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}\n" and "new" in page.read_text()
    assert cli.main(["leaderboard", a, a, "--out", str(page)]) == 2
    assert "two reports are called one" in capsys.readouterr().err


class Page(HTMLParser):
    """Checks that tags close; keeps cells by row, and what a browser would load."""

    void = {"meta", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


NASTY = "<script>alert(1)</script> & 'quotes'"


def test_pages_are_whole_load_nothing_and_escape(tmp_path):
    cases = ["a", "b", NASTY]
    ones, others = ([row(case, t_iou=value) for case in cases] for value in (0.5, 0.6))
    a, b = pair(tmp_path, ones, others, note=NASTY)
    save_leaderboard([a, b], tmp_path / "board.html")
    pages = [
        render_comparison(compare(a, b)),
        (tmp_path / "board.html").read_text(),
        render_curves({NASTY: [(2, 0.1, 0.0, 0.2), (4, 0.5, 0.4, 0.6)]}, NASTY, 4, NASTY),
    ]
    for text in pages:
        page = Page(text)
        assert page.loaded == [] and "http" not in text and "<script>alert" not in text
        assert "width=device-width" in text and "prefers-color-scheme:dark" in text
        assert 'lang="en"' in text
        assert "alert(1)" in page.text
        assert "h1,h2,h3,p{overflow-wrap:anywhere}" in text  # paths are wider than phones
    assert "how it shines" in pages[0] and "how it shines" in pages[1]


def test_a_leaderboard_ranks_marks_and_keeps_other_boards_apart(tmp_path):
    cases = [f"c{i}" for i in range(12)]
    noise = np.random.default_rng(0).normal(0, 0.01, 12)
    made = {
        "low": [row(case, t_iou=0.2, t_l2=0.5) for case in cases],
        "high": [row(case, t_iou=0.8 + x, t_l2=0.3) for case, x in zip(cases, noise, strict=True)],
        "near": [row(case, t_iou=0.8 - x, t_l2=0.1) for case, x in zip(cases, noise, strict=True)],
        "elsewhere": [row("other", t_iou=1.0)],
    }
    steps = {"near": 9}
    reports = [
        read_report(written(tmp_path, rows, name, model="m", steps=steps.get(name, 5)))
        for name, rows in made.items()
    ]
    first, second = leaderboard(reports)
    assert (first["clips"], second["clips"]) == (12, 1)
    order = [system["name"] for system in first["systems"]]
    assert set(order[:2]) == {"high", "near"} and order[2] == "low"
    figures = {system["name"]: system["figures"] for system in first["systems"]}
    best = order[0]
    assert figures[best]["t_iou"]["best"] and not figures[best]["t_iou"]["tied"]
    assert figures[order[1]]["t_iou"]["tied"] and not figures["low"]["t_iou"]["tied"]
    assert figures["near"]["t_l2"]["best"] and first["lower"] == ["t_l2"]
    assert not any(own["gloss"]["best"] for own in figures.values())
    assert any("steps differs: 5 (low), 5 (high), 9 (near)" in note for note in first["notes"])
    assert figures["low"]["t_iou"]["mean"] == pytest.approx(0.2)
    small = [written(tmp_path, [row("a")], name) for name in ("x", "y")]
    (section,) = leaderboard([read_report(path) for path in small])
    assert section["notes"] == [
        "1 boards are too few for 2 systems: none, however bad, could be told from the best."
    ]


def test_what_papers_print_is_whole_and_marked_as_theirs(tmp_path):
    for paper in PAPERS:
        assert "arXiv" in paper.citation and paper.about.endswith(".")
        for system, figures in paper.rows.items():
            assert len(figures) == len(paper.columns), (paper.citation, system)
            assert all(float(figure) >= 0 for figure in figures)
    save_leaderboard([read_report(written(tmp_path, [row("a")]))], tmp_path / "board.html")
    text = Page((tmp_path / "board.html").read_text()).text
    assert "These figures are theirs" in text and "system (theirs)" in text
    assert all(figure in text for paper in PAPERS for row in paper.rows.values() for figure in row)
