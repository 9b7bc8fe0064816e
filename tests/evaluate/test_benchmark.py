from __future__ import annotations

import dataclasses
import json
import re
import sys
import types
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from alchemint_jax import evaluate, media
from alchemint_jax.errors import AlchemintError, DataError, StoryboardError
from alchemint_jax.evaluate.benchmark import check_model
from alchemint_jax.evaluate.html_report import Shown, render_html, save_report
from alchemint_jax.evaluate.papers import PAPERS
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Event, Spans
from alchemint_jax.worlds import sprites
from alchemint_jax.worlds.sprites.cases import COUNTS, FIRST_SEED
from alchemint_jax.worlds.sprites.world import sample_clip

pytestmark = pytest.mark.slow

SPRITES = sprites.SpritesBenchmark()
TRACKER = SPRITES.tracker


def means(cases, videos):
    return evaluate.score(cases, videos, TRACKER, resamples=50)["overall"]


@pytest.fixture(scope="module")
def cases():
    return sprites.sprites_cases(20, seed=0)


def times(case):
    return tuple(subject.spans for subject in case.subjects)


def truth(case):
    index = int(case.id.split("-")[-1])
    return sample_clip(index, FIRST_SEED, subjects=len(case.subjects)).video


@pytest.fixture(scope="module")
def videos(cases):
    return [truth(case) for case in cases]


@pytest.fixture(scope="module")
def report(cases, videos):
    return evaluate.score(cases, videos, TRACKER, resamples=200)


def test_sprites_cases_mix_the_numbers_of_subjects_and_are_reproducible(cases):
    assert [len(case.subjects) for case in cases] == [*COUNTS] * 4
    again = sprites.sprites_cases(20, seed=0)
    assert all(
        a.caption == b.caption and times(a) == times(b) for a, b in zip(cases, again, strict=True)
    )
    assert sprites.sprites_cases(2, seed=1)[0].caption != cases[0].caption
    for case, other in zip(cases, again, strict=True):
        for subject, same in zip(case.subjects, other.subjects, strict=True):
            assert np.array_equal(subject.pictures, same.pictures)
            assert subject.picture((32, 32)).shape == (32, 32, 3)
            assert subject.word in case.caption
            assert all(0 <= s < e <= case.clock.frames for s, e in subject.spans)


def test_the_truth_scores_as_a_perfect_model(report):
    overall = report["overall"]
    assert overall["t_iou"]["mean"] > 0.97
    assert overall["t_l2"]["mean"] < 0.02
    assert overall["identity"]["mean"] > 0.95
    assert overall["likeness"]["mean"] > 0.95
    assert overall["t_iou"]["low"] <= overall["t_iou"]["mean"] <= overall["t_iou"]["high"]
    assert report["correlation"]["midpoint"] > 0.98
    assert report["baselines"]["always_present"]["t_iou"] < 0.6
    groups = report["groups"]
    assert {"1 subject", "2 subjects", "3 subjects"} <= set(groups)
    assert sum(groups[f"{n} subject{'s' * (n > 1)}"]["subjects"] for n in (1, 2, 3)) == 36
    assert groups["one interval"]["subjects"] + groups["several intervals"]["subjects"] == 36


def test_rows_and_the_page_say_seconds_frames_and_rate(cases, videos, report):
    row, clock = report["rows"][0], cases[0].clock
    assert (row["fps"], row["n_frames"]) == (clock.fps, clock.frames) == (8.0, 33)
    for kind in ("asked", "shown"):
        seconds = [list(span) for span in clock.seconds(row[kind])]
        assert row[f"{kind}_seconds"] == seconds != row[kind]
    page = render_html(report, cases, fake_clips(cases), gallery=60)
    (start, end), (begin, stop) = row["asked"][0], row["asked_seconds"][0]
    assert f"asked {begin:.2f}–{stop:.2f} s ({start}–{end})" in page
    assert "33 frames at 8 fps" in page


def test_bad_models_score_badly(cases, videos, report):
    nothing = means(cases, [np.full_like(v, 120) for v in videos])
    assert [nothing[k]["mean"] for k in ("t_iou", "t_l2", "detected", "identity")] == [0, 1, 0, 0]
    assert nothing["absence"]["mean"] == 1
    others = means(cases, videos[1:] + videos[:1])
    assert others["identity"]["mean"] < 0.5
    late = means(cases, [np.roll(v, 6, 0) for v in videos])
    assert nothing["t_iou"]["mean"] < late["t_iou"]["mean"] < report["overall"]["t_iou"]["mean"]
    assert late["t_l2"]["mean"] > 0.1


def test_bent_shapes_are_less_alike_and_as_well_timed(cases, videos, report):
    shifts = np.round(1.5 * np.sin(np.arange(64) * 1.1)).astype(int)
    columns = (np.arange(64) + shifts[:, None]) % 64
    bent = [video[:, np.arange(64)[:, None], columns] for video in videos]
    overall, truth = (
        means(cases, bent),
        report["overall"],
    )
    assert overall["t_iou"]["mean"] > truth["t_iou"]["mean"] - 0.03
    assert overall["likeness"]["mean"] < truth["likeness"]["mean"] - 0.04
    unseen = means(cases, [np.full_like(v, 120) for v in videos])
    assert np.isnan(unseen["likeness"]["mean"])


def test_always_present_scores_its_baseline(cases):
    single = [case for case in cases if len(case.subjects) == 1]
    stills = []
    for case in single:
        start, end = case.subjects[0].spans[-1]
        stills.append(np.repeat(truth(case)[None, end // 2 + start // 2], case.clock.frames, 0))
    report = evaluate.score(single, stills, TRACKER, resamples=50)
    bar = report["baselines"]["always_present"]
    assert report["overall"]["t_iou"]["mean"] == pytest.approx(bar["t_iou"])
    assert report["overall"]["t_l2"]["mean"] == pytest.approx(bar["t_l2"])
    assert report["overall"]["absence"]["mean"] == 0


def test_videos_must_fit_the_cases(cases, videos):
    with pytest.raises(DataError, match="9 videos"):
        evaluate.score(cases, videos[:9], TRACKER)
    with pytest.raises(DataError, match="32 frames"):
        evaluate.score(cases[:1], [videos[0][:-1]], TRACKER)


class FakePipeline:
    """Knows the truth by heart; notes what it was asked."""

    calls: list = []
    settings = Settings(steps=9, guidance=Guidance(both=2.0))
    limits = settings.limits(slots=3, events=False, stride=4)
    refuses = ""

    @classmethod
    def load(cls, model, **options):
        assert options == {"relay": None, "clean_keyframes": False, "cache": None}
        cls.calls = []
        return cls()

    def check(self, scene):
        scene.check(self.limits)
        if self.refuses in scene.caption and self.refuses:
            raise StoryboardError(f"{scene.id}: prompt: too long")

    def render(self, scenes, *, seed, steps, **how):
        self.calls.append((len(scenes), seed, steps, how))
        known = {case.caption: truth(case) for case in sprites.sprites_cases(5, 0)}
        return np.stack([known[scene.caption] for scene in scenes])


def test_run_benchmark_renders_in_batches_and_writes_the_report(monkeypatch, tmp_path, capsys):
    fake = types.ModuleType("alchemint_jax.sampling.pipeline")
    fake.Pipeline = FakePipeline
    monkeypatch.setitem(sys.modules, "alchemint_jax.sampling.pipeline", fake)
    out = tmp_path / "report"
    options = {"limit": 5, "steps": 7, "batch": 2, "solver": "unipc"}
    returned = evaluate.run_benchmark("sprites", SPRITES, out, **options)
    # The guidance is of the model, since none is asked for.
    how = {"guidance": Guidance(both=2.0), "control": None, "solver": "unipc"}
    assert FakePipeline.calls == [(2, 0, 7, how), (2, 1, 7, how), (2, 2, 7, how)]
    assert returned["settings"]["solver"] == "unipc"
    weights = {"text": 0.0, "image": 0.0, "both": 2.0}
    assert returned["settings"]["guidance"] == weights | {"interval": (0.0, 1.0)}
    assert returned["overall"]["t_iou"]["mean"] > 0.95
    assert returned["settings"]["seconds_per_clip"] > 0 and "measures" not in returned
    stored = json.loads((out / "report.json").read_text())
    assert stored["clips"] == 5
    assert len(stored["rows"]) == 9
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json", "videos"]
    assert "5/5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"limits": Settings(size=(32, 32)).limits(3, False, 4)}, "sprites-0-.*: size: 64x64"),
        ({"limits": Settings(fps=12.0).limits(3, False, 4)}, "fps: 8"),
        ({"limits": Settings(max_frames=17).limits(3, False, 4)}, "duration: 4 s"),
        ({"limits": Settings().limits(1, False, 4)}, "subjects: 2 subjects are too many"),
        ({"refuses": "a"}, "prompt: too long"),
    ],
)
def test_a_model_that_cannot_render_the_benchmark_is_refused_first(monkeypatch, change, says):
    fake = types.ModuleType("alchemint_jax.sampling.pipeline")
    fake.Pipeline = FakePipeline
    monkeypatch.setitem(sys.modules, "alchemint_jax.sampling.pipeline", fake)
    for name, value in change.items():
        monkeypatch.setattr(FakePipeline, name, value)
    with pytest.raises(AlchemintError, match=says):
        evaluate.run_benchmark("sprites", SPRITES, limit=5, progress=False)
    assert FakePipeline.calls == []


def test_cases_are_rendered_together_or_not_at_all(cases):
    model = types.SimpleNamespace(limits=FakePipeline.limits, check=lambda _: None)
    check_model(model, cases)
    with pytest.raises(DataError, match="no cases"):
        check_model(model, [])
    with pytest.raises(DataError, match="sprites-0-.*: .* one length, one fps and one size"):
        shorter = dataclasses.replace(cases[0].clock, frames=29)
        check_model(model, [*cases, dataclasses.replace(cases[0], clock=shorter)])


def test_captions_that_models_would_cut_off_lose_their_background(monkeypatch):
    short = sprites.sprites_cases(6)
    longest = min(len(case.caption.encode()) for case in short if "background" in case.caption) - 1
    monkeypatch.setattr("alchemint_jax.worlds.sprites.cases.MAX_PROMPT", longest)
    for before, after in zip(short, sprites.sprites_cases(6), strict=True):
        if "background" in before.caption:
            assert before.caption.startswith(after.caption)
            assert "background" not in after.caption
        else:
            assert after.caption == before.caption
        assert times(after) == times(before)
    assert any("background" in case.caption for case in short)


@pytest.fixture
def board_file(tmp_path, cases):
    Image.fromarray(cases[0].subjects[0].pictures[0]).save(tmp_path / "r.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "grey.png")

    def write(*changes):
        lines = []
        for change in changes:
            board = {
                "prompt": "a disc glides",
                "duration": 4.0,
                "subjects": [{"word": "disc", "image": "r.png", "appears": [[0.5, 2.0]]}],
            }
            if isinstance(change, dict):
                board.update(change)
                lines.append(json.dumps({k: v for k, v in board.items() if v is not None}))
            else:
                lines.append(change)
        path = tmp_path / "boards.jsonl"
        path.write_text("\n".join(lines))
        return path

    return write


def read(path, limit=None):
    """The cases of a file, for a model of the sprites' sizes with events."""
    chosen = Settings(reference_size=(32, 32), min_frames=33)
    limits = chosen.limits(slots=3, events=True, stride=4)
    model = types.SimpleNamespace(settings=chosen, limits=limits)
    return evaluate.read_benchmark(path, TRACKER, limit).cases(model, limit, seed=0)


def test_boards_are_read_from_json_lines(board_file, cases):
    path = board_file({"id": "first"}, "", {})
    first, second = read(path)
    assert (first.id, first.clock.frames, times(first)) == ("first", 33, (((4, 16),),))
    assert second.id == f"{path}:3"
    assert np.array_equal(first.subjects[0].pictures, cases[0].subjects[0].pictures[:1])
    assert len(read(path, limit=1)) == 1
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"glides", "é\u2028".encode()))
    assert [case.caption for case in read(path)] == ["a disc é"] * 2


def test_boards_of_a_file_may_have_events(board_file):
    said = [{"text": "the disc turns red", "during": [1.0, 2.0]}]
    silent, heard = read(board_file({}, {"events": said}))
    assert silent.events == () and heard.events == (Event("the disc turns red", Spans([(8, 16)])),)


def test_intervals_that_meet_in_one_frame_are_one_as_in_generation(board_file):
    meet = {"word": "disc", "image": "r.png", "appears": [[0.5, 1.0], [1.05, 2.0]]}
    (case,) = read(board_file({"subjects": [meet]}))
    assert times(case) == (((4, 16),),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        ("[" * 10**5, "not JSON that can be read"),
        ('{"duration": ' + "9" * 5000 + "}", "not JSON that can be read"),
        ({"negative_prompt": "blurred"}, "negative_prompt"),
        ({"seed": 5}, "seed: .*--seed"),
        ({"prompt": None}, "prompt"),
        ({"subjects": []}, "nothing to measure"),
        ({"duration": 9.0}, "duration"),
        (
            {"subjects": [{"word": "a", "image": "no.png", "appears": [[0, 1]]}]},
            r"subjects\[0\]\.image",
        ),
        (
            {"subjects": [{"word": "a", "image": "grey.png", "appears": [[0, 1]]}]},
            r"subjects\[0\]\.image.*no subject of the sprites world",
        ),
        (
            {"subjects": [{"word": "a", "image": "r.png", "appears": [[2, 1]]}]},
            r"subjects\[0\]\.appears",
        ),
    ],
)
def test_a_bad_line_is_named(board_file, change, says):
    with pytest.raises(DataError, match=rf"boards\.jsonl:2: .*{says}"):
        read(board_file({}, change))


def test_useless_files_are_refused(board_file, tmp_path):
    with pytest.raises(DataError, match="no storyboards"):
        read(board_file(""))
    with pytest.raises(DataError, match="twice"):
        read(board_file({"id": "a"}, {"id": "a"}))
    with pytest.raises(DataError, match="cannot read"):
        read(tmp_path / "none.jsonl")


class Page(HTMLParser):
    """Collects what a browser would load, and checks that tags close."""

    void = {"meta", "img", "br", "link", "input"}

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.videos, self.text = [], [], 0, ""

    def handle_starttag(self, tag, attrs):
        self.sources += [v for k, v in attrs if k in ("src", "href")]
        self.videos += tag == "video"
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        # Omitting the end of table parts and terms is legal HTML; we do not.
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_self_contained_and_escapes(cases, videos, report):
    nasty = "<script>alert(1)</script> & 'quotes'"
    subject = dataclasses.replace(cases[0].subjects[0], word=nasty)
    odd = [dataclasses.replace(cases[0], caption=nasty, subjects=(subject,)), *cases[1:]]
    text = render_html({"settings": {"model": nasty}, **report}, odd, fake_clips(odd), gallery=30)
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.videos == len(cases)
    assert page.sources
    assert all(source.startswith(("data:image/png", "videos/")) for source in page.sources)
    assert "http" not in text
    assert "<script>alert" not in text
    assert page.text.count("alert(1)") >= 3  # title, heading, prompt
    assert "prefers-color-scheme:dark" in text and "width=device-width" in text
    assert text.count("controls") >= len(cases) and "autoplay" not in text
    assert all(paper.citation in page.text for paper in PAPERS)


@pytest.mark.parametrize("gallery", [0, 1, 2, 4, 7])
def test_the_page_shows_as_many_clips_as_asked(cases, videos, report, gallery):
    assert len(cases) > 7
    assert render_html(report, cases, fake_clips(cases), gallery).count("<video") == gallery


def test_the_page_shows_every_figure_that_a_report_names(cases, report):
    rows = [row | {"gloss": 0.125 + 0.0625 * (i % 2)} for i, row in enumerate(report["rows"])]
    measured = {**report["measures"], "gloss": "how it shines"}
    estimate = {"gloss": {"mean": 0.1375, "low": 0.1, "high": 0.2}}
    groups = {name: part | estimate for name, part in report["groups"].items()}
    more = {
        "measures": measured,
        "rows": rows,
        "overall": report["overall"] | estimate,
        "groups": groups,
        "less_is_better": ["t_l2", "gloss"],
        "smallest_difference": {"gloss": 0.0421},
        "boundaries": {"start": {"errors": 7, "bias": 0.0312, "median": None, "p90": 0.5}},
    }
    more["rows"][0]["remark"] = "it is 0.42 s shorter than asked"
    more["video_measures"] = {"shake": "how it shakes"}
    more["videos"] = [{"case": cases[0].id, "shake": 0.3125}, {"case": "x", "shake": None}]
    text = render_html(report | more, cases, fake_clips(cases), 20)
    assert text.count("how it shines (lower is better)") >= 3  # tables, cards
    assert "how it shakes" in text and "0.312" in text
    assert "0.042" in text and "0.031" in text and "0.42 s shorter" in text
    assert "0.1375" not in text and "0.138" in text and "0.125" in text and "0.188" in text


def test_clips_lie_beside_the_page_the_worst_first(cases, videos, tmp_path):
    """And only those that are shown are looked at."""

    class Lazily(Sequence):
        read: list = []

        def __len__(self):
            return 6

        def __getitem__(self, index):
            self.read.append(index)
            return videos[index]

    spoilt = [videos[0], np.full_like(videos[1], 120), *videos[2:6]]
    scored = evaluate.score(cases[:6], spoilt, TRACKER, resamples=20)
    save_report(scored, Lazily(), cases[:6], tmp_path, gallery=3)
    assert len(Lazily.read) <= 5  # of which the check of types reads two
    page = (tmp_path / "report.html").read_text()
    shown = re.findall(r'<video [^>]*src="(videos/[^"]+)" poster="(videos/[^"]+)"', page)
    assert len(shown) == 3 and cases[1].id in shown[0][0]
    for video, poster in shown:
        frames, _ = media.read_video(tmp_path / video)
        assert frames.shape == (33, 128, 128, 3)  # twice as large: players blur small ones
        with Image.open(tmp_path / poster) as picture:
            assert picture.size == (128, 128)
    assert len(list((tmp_path / "videos").iterdir())) == 6
    below = page[page.index("All subjects") :]
    assert below.index(cases[1].id) < below.index(cases[0].id)


def fake_clips(cases):
    return {i: Shown(f"videos/{i}.mp4", f"videos/{i}.jpg", 64, 64, True) for i in range(len(cases))}


def test_the_report_is_plain_json(cases, videos, report, tmp_path):
    one = evaluate.score(
        cases[:1], videos[:1], TRACKER, resamples=20
    )  # groups without subjects: NaN
    folder = tmp_path / "not" / "yet" / "there"
    save_report(one, videos[:1], cases[:1], folder, gallery=1)
    stored = json.loads(
        (folder / "report.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )
    assert stored["groups"]["similar subjects"]["t_iou"]["mean"] is None
