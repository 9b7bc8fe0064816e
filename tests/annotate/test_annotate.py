"""Drawn clips from file to dataset, with perceivers that know colours."""

from __future__ import annotations

import hashlib
import json

import blobs
import numpy as np
import pytest

from alchemint_jax.annotate import annotate, load_settings, on_screen
from alchemint_jax.data.timed_clips import open_timed_clips

pytestmark = pytest.mark.slow
FAST = [*blobs.FAST, "pack.report=4"]


def run(source, out, *overrides, **perceivers):
    settings = load_settings(None, [*FAST, *overrides])
    made = annotate(source, out, settings, workers=0, perceivers=blobs.perceivers(**perceivers))
    lines = [json.loads(line) for line in (out / "scenes.jsonl").read_text().splitlines()]
    return made, lines


def found(line):
    return {subject["word"]: subject["frames"] for subject in line["subjects"]}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips with cuts, absences and borders; one has a caption beside it."""
    folder = tmp_path_factory.mktemp("clips")
    dog = blobs.still(40, [(0, 13), (26, 40)])
    cat = [(80 - 3 * f, 26, 14, 14) if f < 32 else None for f in range(40)]
    first = blobs.draw(40, [("dog", dog), ("cat", cat)])
    second = blobs.draw(30, [("dog", blobs.still(30, [(5, 25)], (50, 4, 18, 18)))], ground=250)
    blobs.write(folder / "a.mp4", np.concatenate([first, second]))
    car = blobs.still(30, [(7, 30)])
    blobs.write(
        folder / "b.mp4",
        blobs.draw(30, [("car", car), ("dog", blobs.still(30, [(0, 30)], (50, 20, 14, 14)))]),
    )
    (folder / "b.txt").write_text("A shiny car drives past two horses.")
    return folder


@pytest.fixture(scope="module")
def annotated(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "set"
    return (*run(clips, out), out)


def test_spans_are_right_to_the_frame(annotated):
    _, lines, _ = annotated
    assert [line["status"] for line in lines] == ["ok"] * 3
    assert [line["start_frame"] for line in lines] == [0, 40, 0]
    frames = found(lines[0])
    assert frames["dog"] == [[0, 13], [26, 40]]
    ((start, end),) = frames["cat"]
    assert abs(start - 1) <= 1 and abs(end - 32) <= 1
    assert found(lines[1]) == {"dog": [[5, 25]]}


def test_a_caption_names_what_is_kept(annotated):
    _, lines, _ = annotated
    line = lines[2]
    assert line["caption"] == "A shiny car drives past two horses."
    assert found(line) == {"shiny car": [[7, 30]]}
    assert line["subjects"][0]["category"] == "car"
    reasons = {one["word"]: one["reason"] for one in line["dropped"]}
    assert reasons["horses"] == "is a group, or more than one"
    assert "caption" in reasons["dog"]
    assert lines[0]["caption"] == "a dog and a cat" and lines[0]["caption_from"] == "words"


def test_who_returns_in_another_scene_is_the_same(annotated):
    _, lines, _ = annotated
    dogs = [next(s for s in line["subjects"] if s["word"] == "dog") for line in lines[:2]]
    assert dogs[0]["identity"] == dogs[1]["identity"]
    cross = [one for one in dogs[0]["pictures"] if one["kind"] == "cross"]
    assert cross and all(one["scene"] == lines[1]["id"] and one["frame"] == -1 for one in cross)
    for dog in dogs:
        weights = [one["weight"] for one in dog["pictures"]]
        assert np.isclose(sum(weights), 1, atol=1e-4)
        shares = {
            kind: sum(one["weight"] for one in dog["pictures"] if one["kind"] == kind)
            for kind in ("crop", "segment", "inpaint", "cross")
        }
        assert np.isclose(shares["cross"], 0.3) and np.isclose(shares["segment"], 0.7 * 5 / 9)


def test_the_dataset_holds_what_the_lines_say(annotated):
    made, lines, out = annotated
    clips = open_timed_clips(out / "dataset", "train")
    assert len(clips) == made.kept == 3
    for clip, line in zip(clips, lines, strict=True):
        assert clip.line == line
        assert sum(1 for _ in clip.frames()) == line["frames"]
        for picture in clip.pictures:
            pixels = picture.pixels()
            word = line["subjects"][picture.subject]["word"].split()[-1]
            if picture.kind in ("segment", "cross"):
                inside = pixels[..., :3][pixels[..., 3] > 0]
                assert np.abs(inside.mean(0) - blobs.COLORS[word]).max() < 30
            assert picture.frame < line["frames"]


def test_a_caption_that_changes_is_read_again(clips, annotated, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("b.mp4", "b.txt"):
        (folder / name).write_bytes((clips / name).read_bytes())
    run(folder, tmp_path / "out", "pack.dataset=false")
    (folder / "b.txt").write_text("A car passes a dog.")
    _, lines = run(folder, tmp_path / "out", "pack.dataset=false")
    assert found(lines[0]) == {"dog": [[0, 30]], "car": [[7, 30]]}
    # As the caption names them, though the dog is there first.
    assert [subject["word"] for subject in lines[0]["subjects"]] == ["car", "dog"]


def test_two_of_one_kind_have_two_words(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    big = blobs.still(30, [(12, 30)], (8, 8, 30, 30))
    small = blobs.still(30, [(3, 30)], (56, 28, 12, 12))
    blobs.write(folder / "c.mp4", blobs.draw(30, [("dog", big), ("dog", small)]))
    (folder / "c.txt").write_text("A small dog waits for a big dog.")
    _, (line,) = run(folder, tmp_path / "out", "pack.dataset=false")
    assert found(line) == {"small dog": [[3, 30]], "big dog": [[12, 30]]}
    assert {one["named_by"] for one in line["subjects"]} == {"order"}
    assert line["categories"] == {"dog": {"frames": [[3, 30]], "appears": [[0.3, 2.9]]}}
    assert on_screen(tmp_path / "out" / "scenes.jsonl", "puppy") == {"c.mp4": ((3, 30),)}
    _, (line,) = run(folder, tmp_path / "out", "pack.dataset=false", "select.guessed=false")
    assert line["status"] == "dropped" and line["categories"]["dog"]["frames"] == [[3, 30]]


def test_the_report_is_one_file(annotated):
    _, lines, out = annotated
    text = (out / "report.html").read_text()
    assert "http" not in text.replace("http-equiv", "")
    assert all(line["id"] in text for line in lines)
    assert "is a group, or more than one" in text


def digests(out):
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_second_run_computes_nothing_and_another_threshold_only_what_depends_on_it(
    clips, annotated, tmp_path
):
    _, _, out = annotated
    before, calls = digests(out), []
    detector = blobs.BlobDetector(calls=calls)
    run(clips, out, detector=detector)
    assert not calls and digests(out) == before
    fresh = tmp_path / "fresh"
    run(clips, fresh, detector=detector)
    assert calls and digests(fresh) == before
    calls.clear()
    stamps = {p: p.stat().st_mtime_ns for p in (fresh / "stages").rglob("part-*")}
    made, lines = run(clips, fresh, "select.shortest=2.5", detector=detector)
    changed = {p.parent.name for p, t in stamps.items() if p.stat().st_mtime_ns != t}
    assert not calls and changed == {"select", "sheets"}
    assert "dog" in found(lines[0]) and made.dropped == 2  # the others are too short now
    assert len(open_timed_clips(fresh / "dataset", "train")) == made.kept
    run(clips, fresh, detector=detector)
    assert digests(fresh) == before
