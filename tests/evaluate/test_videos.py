"""Folders of videos, whoever made them, against a file of boards."""

from __future__ import annotations

import dataclasses
import json
import os
import tracemalloc

import av
import numpy as np
import pytest
from colored import KINDS, ColorTracker, draw, perceivers, picture, tracker
from PIL import Image

from alchemint_jax import cli, media
from alchemint_jax.annotate import timeline
from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.evaluate import clip as clip_module
from alchemint_jax.evaluate import quality, read_benchmark
from alchemint_jax.evaluate.asks import Ask, read_asks
from alchemint_jax.evaluate.clip import Clip
from alchemint_jax.evaluate.perceived import PerceivedTracker
from alchemint_jax.evaluate.videos import find_videos, score_videos
from alchemint_jax.results import to_json
from alchemint_jax.worlds import sprites

pytestmark = pytest.mark.slow

SHOWN = {"a": {"red": [(5, 15)]}, "b": {"red": [(0, 10)], "blue": [(10, 21)]}}


@pytest.fixture
def boards(tmp_path):
    """A file of two boards of two seconds, and an empty folder."""
    lines = []
    for name, shown in SHOWN.items():
        subjects = []
        for color, spans in shown.items():
            Image.fromarray(picture(color)).save(tmp_path / f"{color}.png")
            appears = [[start / 10, min(end / 10, 2.0)] for start, end in spans]
            subjects.append({"word": color, "image": f"{color}.png", "appears": appears})
        board = {"id": name, "prompt": "red and blue", "duration": 2.0, "subjects": subjects}
        lines.append(json.dumps(board))
    (tmp_path / "boards.jsonl").write_text("\n".join(lines))
    (tmp_path / "videos").mkdir()
    return tmp_path


def asked(boards):
    return read_asks(read_benchmark(boards / "boards.jsonl", tracker()))


def write(boards, name, shown, times=1, **how):
    spans = {c: [(times * s, times * e) for s, e in some] for c, some in shown.items()}
    media.write_video(boards / "videos" / name, draw(20 * times + 1, spans, **how), 10 * times)


def score(boards, make=tracker, **options):
    options = {"workers": 0, "progress": False, **options}
    return score_videos(boards / "videos", asked(boards), make, boards / "out", **options)


def stored_after(boards, **options):
    score(boards, **options)
    return stored(boards)


def stored(boards):
    return json.loads((boards / "out" / "report.json").read_text())


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("size", [(48, 80), (96, 160)])
def test_videos_of_any_rate_and_size_score_alike(boards, times, size):
    for name, shown in SHOWN.items():
        write(boards, f"{name}.mp4", shown, times, size=size)
    found = score(boards)
    assert found["overall"]["t_iou"]["mean"] == pytest.approx(1, abs=0.02)
    assert found["settings"]["missing"] == 0
    video = stored(boards)["videos"][1]
    assert (video["fps"], video["size"], video["status"]) == (10 * times, [*size], "ok")
    assert "root mean square" in stored(boards)["settings"]["t_l2"]


def test_memory_does_not_grow_with_the_number_of_videos(boards):
    """All names are of one file; the report shows as many clips as of the larger set."""
    write(boards, "a.mp4", SHOWN["a"], size=(96, 160))
    (ask, _) = asked(boards)
    video = draw(21, {}, (96, 160)).nbytes

    def peak(count):
        asks = [dataclasses.replace(ask, id=f"{i:03}") for i in range(count)]
        for one in asks:
            if not (path := boards / "videos" / f"{one.id}.mp4").exists():
                os.link(boards / "videos" / "a.mp4", path)
        tracemalloc.start()
        where = boards / "videos", asks, tracker, boards / f"out{count}"
        found = score_videos(*where, workers=0, progress=False)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found["clips"] == count and found["settings"]["missing"] == 0
        return most

    peak(1)  # imports
    few, many = peak(4), peak(16)
    assert few > 2 * video  # what it holds at a time is seen
    assert many - few < 4 * video  # of 12


def test_missing_and_broken_videos_count_and_say_why(boards):
    (boards / "videos" / "b.mp4").write_bytes(b"not a video at all" * 99)
    write(boards, "other.mp4", {})
    found = score(boards)
    assert found["overall"]["t_iou"] == {"mean": 0, "low": 0, "high": 0}
    assert found["others"] == ["other.mp4"] and found["settings"]["missing"] == 2
    missing, broken = stored(boards)["videos"]
    assert (missing["status"], missing["reason"]) == ("missing", "there is no a.mp4")
    assert broken["status"] == "broken" and "cannot be decoded" in broken["reason"]
    rows = stored(boards)["rows"]
    assert [row["status"] for row in rows] == ["missing"] * 3
    assert [row["t_l2"] for row in rows] == [1] * 3 and rows[0]["absence"] == 0
    assert "<video" in (boards / "out" / "report.html").read_text()


def test_boards_without_pictures_are_for_those_who_know_words(boards):
    lines = [json.loads(line) for line in (boards / "boards.jsonl").read_text().splitlines()]
    for line in lines:
        for subject in line["subjects"]:
            del subject["image"]
            subject["word"] = KINDS[subject["word"]]
    (boards / "boards.jsonl").write_text("\n".join(map(json.dumps, lines)))
    file = read_benchmark(boards / "boards.jsonl", tracker(), pictures=False)
    with pytest.raises(DataError, match=r"jsonl:1: subjects\[0\].image: is missing, and Color"):
        read_asks(file)
    knows_words = PerceivedTracker(perceivers())
    asks = read_asks(read_benchmark(boards / "boards.jsonl", knows_words, pictures=False))
    for name, shown in SHOWN.items():
        write(boards, f"{name}.mp4", shown, 3, size=(96, 160))
    where = boards / "videos", asks, lambda: knows_words, boards / "out"
    found = score_videos(*where, workers=0, progress=False)
    assert found["overall"]["t_iou"]["mean"] == pytest.approx(1, abs=0.05)
    assert np.isnan(found["overall"]["identity"]["mean"])
    assert "<video" in (boards / "out" / "report.html").read_text()


def test_a_folder_of_other_videos_is_refused(boards):
    write(boards, "other.mp4", {})
    with pytest.raises(DataError, match=r"none of its videos .* would be a\.mp4"):
        score(boards)


def test_other_containers_will_do_but_not_two_of_them(boards):
    write(boards, "a.mp4", SHOWN["a"])
    write(boards, "b.mp4", SHOWN["b"])
    (boards / "videos" / "a.mp4").rename(boards / "videos" / "a.MOV")
    assert score(boards)["settings"]["missing"] == 0
    write(boards, "a.mp4", SHOWN["a"])
    score(boards)
    assert "there twice: a.MOV and a.mp4" in stored(boards)["videos"][0]["reason"]


@dataclasses.dataclass(frozen=True)
class Counting(ColorTracker):
    calls: list = dataclasses.field(default_factory=list, repr=False)
    stop: int = dataclasses.field(default=99, repr=False)

    def track(self, video, case):
        self.calls.append(case.id)
        if len(self.calls) >= self.stop:
            raise KeyboardInterrupt
        return super().track(video, case)


def test_what_was_stopped_goes_on_and_what_changed_is_measured_again(boards):
    for name, shown in SHOWN.items():
        write(boards, f"{name}.mp4", shown)
    eyes = Counting(stop=2)
    with pytest.raises(KeyboardInterrupt):
        score(boards, lambda: eyes)
    assert not (boards / "out" / "report.json").exists()
    half = boards / "out" / ".0123456789ab.tmp"
    half.write_bytes(b"what a kill leaves")
    eyes = Counting()
    first = score(boards, lambda: eyes)
    assert eyes.calls == ["b"] and not half.exists()
    assert to_json(score(boards, lambda: eyes)) == to_json(first) and eyes.calls == ["b"]
    write(boards, "a.mp4", {"red": [(8, 18)]})
    assert score(boards, lambda: eyes)["overall"]["t_iou"]["mean"] < 0.9
    assert eyes.calls == ["b", "a"]
    other = Counting(late=1)
    score(boards, lambda: other)
    assert other.calls == ["a", "b"]


def test_whole_videos_are_judged_where_somebody_does(boards):
    write(boards, "a.mp4", SHOWN["a"])
    assert "video_measures" not in stored_after(boards)
    judge = quality.Judges
    found = stored_after(boards, judge=judge)
    assert found["video_measures"] == {"temporal_flickering": "temporal flickering"}
    a, b = (video["temporal_flickering"] for video in found["videos"])
    frames = np.asarray(Clip(boards / "videos" / "a.mp4"))
    assert a == pytest.approx(quality.temporal_flickering(frames), rel=1e-5) and b is None
    page = (boards / "out" / "report.html").read_text()
    assert "temporal flickering" in page
    # What lacks frames is not judged by those that it has.
    media.write_video(boards / "videos" / "a.mp4", draw(8, {"red": [(5, 8)]}), 10)
    assert stored_after(boards, judge=judge).get("video_measures") is None


def test_an_untimed_judge_has_no_part_in_a_calibration(boards, capsys):
    words = ["evaluate", "--calibrate", "--quality", "--out", str(boards / "out")]
    assert cli.main(words) == 2
    assert "--quality is not for --calibrate" in capsys.readouterr().err


def test_longer_videos_end_later_and_shorter_ones_lack_their_end(boards):
    longer = {"red": [(0, 10)], "blue": [(10, 30)]}
    video = draw(30, longer)
    media.write_video(boards / "videos" / "b.mp4", video, 10)
    media.write_video(boards / "videos" / "a.mp4", draw(8, {"red": [(5, 8)]}), 10)
    score(boards)
    red, _, blue = stored(boards)["rows"]
    assert blue["asked"] == [[10, 30]] and blue["t_iou"] == 1
    assert red["n_frames"] == 21 and red["shown"] == [[5, 8]] and red["t_iou"] == 0.3
    assert "1.30 s shorter than asked" in stored(boards)["videos"][0]["remarks"][0]


def test_boards_need_ids(boards):
    text = (boards / "boards.jsonl").read_text().replace('"id": "a", ', "")
    (boards / "boards.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"boards\.jsonl:1: id: is missing"):
        asked(boards)


def test_cases_of_a_world_are_asked_in_seconds():
    (scene,) = sprites.sprites_cases(1)
    ask = Ask.of_scene(scene)
    same = ask.scene(float(scene.clock.fps), int(scene.clock.frames))
    assert [s.spans for s in same.subjects] == [s.spans for s in scene.subjects]
    assert ask.content() == Ask.of_scene(scene).content()


def test_clips_are_decoded_as_they_are_needed(boards):
    write(boards, "a.mp4", SHOWN["a"])
    clip = Clip(boards / "videos" / "a.mp4")
    assert clip.shape == (21, 48, 80, 3) and len(clip) == 21
    whole = np.asarray(clip)
    assert [n for n, _ in clip.read([7, 3])] == [3, 7]
    assert all(np.array_equal(frame, whole[n]) for n, frame in clip.read([7, 3]))
    assert Clip(clip.path, 40).shape == (21, 24, 40, 3)
    assert next(iter(Clip(clip.path, 40))).shape == (24, 40, 3)


def test_short_clips_are_decoded_once(boards, monkeypatch):
    write(boards, "a.mp4", SHOWN["a"])
    passes = []
    decoded = timeline.decoded

    def counted(path, numbers):
        passes.append(sorted({*numbers}))
        return decoded(path, numbers)

    path = boards / "videos" / "a.mp4"
    clip, streamed = Clip(path), Clip(path)
    wanted = [(numbers, side) for numbers in ([3, 9, 9], [20, 0]) for side in (40, 20)]
    whole = [list(timeline.frames(path, numbers, side)) for numbers, side in wanted]
    monkeypatch.setattr(timeline, "decoded", counted)
    for (numbers, side), frames in zip(wanted, whole, strict=True):
        for (n, one), (k, other) in zip(clip.read(numbers, side), frames, strict=True):
            assert n == k and np.array_equal(one, other) and one.shape == (side * 3 // 5, side, 3)
    assert passes == [[*range(21)]]
    monkeypatch.setattr(clip_module, "HELD", 21 * 24 * 40 * 3)  # not as they were decoded
    clip = Clip(path)
    for (numbers, side), frames in zip(wanted, whole, strict=True):
        for (n, one), (k, other) in zip(clip.read(numbers, side), frames, strict=True):
            assert n == k and np.array_equal(one, other)
    assert passes[1:] == 4 * [[*range(21)]]  # for each change of the side
    monkeypatch.setattr(clip_module, "HELD", 21 * 24 * 40 * 3 - 1)
    for _ in range(2):
        assert [n for n, _ in streamed.read([2, 4], 40)] == [2, 4]
    assert passes[5:] == [[2, 4], [2, 4]]


def test_the_page_shows_files_as_they_are_where_browsers_play_them(boards):
    """And makes others small: of pixels that few of them know, or too large for a page."""
    videos = boards / "videos"
    write(boards, "a.mp4", SHOWN["a"], size=(288, 480))
    frames = draw(21, SHOWN["b"], (288, 480))
    with av.open(str(videos / "b.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 480, 288, "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert Clip(videos / "a.mp4").plays and not Clip(videos / "b.mp4").plays
    score(boards)
    shown = boards / "out" / "videos"
    assert (shown / "0000_a.mp4").read_bytes() == (videos / "a.mp4").read_bytes()
    assert Clip(shown / "0001_b.mp4").plays and Clip(shown / "0001_b.mp4").size == (154, 256)
    with Image.open(shown / "0000_a.jpg") as poster:
        assert poster.size == (480, 288)
    page = (boards / "out" / "report.html").read_text()
    assert 'width="480" height="288"' in page and 'width="256" height="154"' in page


def test_names_are_paths_in_the_folder(boards):
    (boards / "videos" / "set").mkdir()
    write(boards, "set/x.1.mp4", {})
    found, others = find_videos(boards / "videos", ["set/x.1", "y"])
    assert found == {"set/x.1": [boards / "videos" / "set" / "x.1.mp4"], "y": []} and not others
    with pytest.raises(DataError, match="no such folder"):
        find_videos(boards / "nowhere", [])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "9"], "--steps is for models"),
        (["--model", "elsewhere"], "not allowed with argument"),
        (["--perceivers", "detector"], "write KIND=NAME"),
        (["--perceivers", "eye=x"], "write KIND=NAME"),
        (["--perceivers", "detector=nobody"], "neither 'yolov3-tiny' nor"),
        (["--tracker", "sprites", "--perceivers", "embedder=clip"], "are for --tracker perceived"),
        (["--tracker", "someone"], "neither 'sprites' nor 'perceived' nor"),
    ],
)
def test_mistakes_on_the_command_line_are_explained(boards, capsys, words, says):
    write(boards, "a.mp4", SHOWN["a"])
    base = ["--videos", str(boards / "videos"), "--benchmark", str(boards / "boards.jsonl")]
    try:
        status = cli.main(["evaluate", "--out", str(boards / "o"), *base, *words])
    except SystemExit as error:
        status = error.code
    assert status == 2 and says in capsys.readouterr().err
    assert not (boards / "o" / "report.json").exists()


def test_out_may_not_be_what_is_read(boards, capsys):
    write(boards, "a.mp4", SHOWN["a"])
    videos = str(boards / "videos")
    words = ["--videos", videos, "--benchmark", str(boards / "boards.jsonl"), "--out", videos]
    assert cli.main(["evaluate", "--tracker", "colored:TRACKER", *words]) == 2
    assert "lies inside --videos" in capsys.readouterr().err


def test_two_runs_do_not_write_into_one_folder(boards):
    write(boards, "a.mp4", SHOWN["a"])

    class Greedy(ColorTracker):
        def track(self, video, case):
            with pytest.raises(AlchemintError, match="another run"):
                score(boards)
            return super().track(video, case)

    score(boards, Greedy)
