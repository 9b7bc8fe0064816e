"""What is wrong with a set is found with its line; the sets of the package are right."""

from __future__ import annotations

import json

import numpy as np
import pytest
from openai_server import png
from PIL import Image

from alchemint_jax import cli, shipped
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.evaluate import boards, read_benchmark
from alchemint_jax.evaluate.boards.board import names
from alchemint_jax.scene.limits import Limits
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.worlds.sprites import SpritesTracker, sprites_cases

LIMITS = Limits(max_subjects=3, max_frames=33, fps=(8,), sizes=((64, 64),), stride=4)


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(("dog.png", "cat.png")):
        (tmp_path / name).write_bytes(png(i, (64, 64)))
    Image.new("RGB", (64, 64), "black").save(tmp_path / "black.png")
    return tmp_path


def board(name, *subjects, prompt="a dog and a cat", **more):
    entries = [
        {"word": word, "image": f"{word}.png", "appears": appears, **others}
        for word, appears, others in subjects
    ]
    return {"id": name, "prompt": prompt, "duration": 4.0, "subjects": entries, **more}


def save(folder, *lines):
    path = folder / "boards.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
    return path


DOG = ("dog", [[0.5, 2.0]], {})


def test_a_good_set_and_its_figures(folder):
    cat = ("cat", [[0.0, 1.0], [3.0, 4.0]], {})
    path = save(folder, board("a", DOG), "", board("b", DOG, cat))
    report = boards.check(path)
    assert report.problems == report.remarks == ()
    assert report.figures == {
        "boards": 2, "subjects": 3, "subjects_of_a_board": {1: 1, 2: 1}, "words": 2,
        "words_the_packaged_detector_knows": 2, "pictures": 2, "several_times": 1, "events": 0,
        "seconds": [4.0, 4.0],
        "share_of_time_on_screen": pytest.approx((1.5 + 1.5 + 2) / 12, abs=1e-4),
        "t_iou_of_always_present": pytest.approx((0.375 + 0.375 + 1) / 3, abs=1e-4),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", ":2: not JSON"),
        ("[]", ":2: expected an object"),
        ("[" * 100_000, ":2: not JSON"),
        (board("../x", DOG), ":2: id: videos are named by it"),
        (board("", DOG), ":2: id"),
        ({**board("x", DOG), "id": 7}, ":2: id"),
        (board("A", DOG), "is that of"),
        (board("b", ("dog", [[3, 9]], {})), ":2: subjects[0].appears[0]: ends (9.0) after"),
        (board("b", ("dog", [[1, 1.2]], {})), ":2: subjects[0].appears: [1, 1.2] is shorter"),
        (board("b", ("dog", [[1, 2]], {"image": "gone.png"})), "gone.png: No such file"),
        (board("b", ("dog", [[1, 2]], {"image": "black.png"})), "of one colour"),
        (board("b", DOG, seed=3), ":2: seed"),
        (board("b", DOG, negative_prompt="blurry"), ":2: negative_prompt"),
        (board("b", DOG, colour="red"), ":2: colour: unknown field"),
    ],
)
def test_problems_name_the_line(folder, line, why, capsys):
    path = save(folder, board("a", DOG), line)
    report = boards.check(path)
    assert len(report.problems) == 1 and why in report.problems[0]
    assert cli.main(["benchmark", "check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert why in err and "Traceback" not in err and "boards: " in out


def test_all_problems_are_told_at_once(folder):
    lines = [board("a", ("dog", [[3, 9]], {})), "{", board("c", DOG), board("c", DOG)]
    assert len(boards.check(save(folder, *lines)).problems) == 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (board("a", ("dog", [[0, 4]], {})), "everybody is always on screen"),
        (board("a", DOG, prompt="a horse"), "neither in the prompt nor in an event"),
        (board("a"), "has no subjects"),
        (board("a", DOG, ("cat", [[0, 1]], {"image": "dog.png"})), "share a picture"),
        (board("a", ("dog", [[0, 1]], {"image": None})), "without pictures"),
    ],
)
def test_what_is_odd_is_a_remark(folder, line, why, capsys):
    path = save(folder, line)
    report = boards.check(path)
    assert not report.problems and any(why in one for one in report.remarks)
    assert cli.main(["benchmark", "check", str(path)]) == 0
    assert why in capsys.readouterr().err
    assert cli.main(["benchmark", "check", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["figures"]["boards"] == 1 and any(why in one for one in said["remarks"])


def test_boards_of_several_kinds_are_a_remark(folder):
    path = save(folder, board("a", DOG), board("b", DOG, fps=8))
    (remark,) = boards.check(path).remarks
    assert "differ in duration, fps or size" in remark


def test_a_file_that_is_none(tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    for name, why in (("empty.jsonl", "holds no storyboards"), ("bytes.jsonl", "not UTF-8")):
        with pytest.raises(DataError, match=why):
            boards.check(tmp_path / name)
    assert cli.main(["benchmark", "check", "nobody"]) == 2
    assert "nor a set of this package (everyday, sprites)" in capsys.readouterr().err


def test_a_board_without_pictures_is_for_readers_of_text():
    entry = {"word": "dog", "appears": [[0, 1]]}
    fields = {"prompt": "a dog", "duration": 4.0, "subjects": [entry]}
    with pytest.raises(StoryboardError, match=r"subjects\[0\].image: is missing"):
        Storyboard.from_dict(fields)
    story = Storyboard.from_dict(fields, pictures=False)
    assert story.subjects[0].image is None and story.pictures() == []
    with pytest.raises(StoryboardError, match="draws from pictures"):
        story.scene(LIMITS)


# ------------------------------------------------------------------ the sets of the package


def test_the_sets_of_the_package_are_found_and_right(tmp_path, monkeypatch):
    assert names() == ["everyday", "sprites"]
    root = shipped.root() / "benchmarks"
    monkeypatch.chdir(tmp_path)
    for name in names():
        path = boards.find(name)
        assert (
            path == boards.find(f"benchmarks/{name}/boards.jsonl") == root / name / "boards.jsonl"
        )
        report = boards.check(path)
        assert not report.problems and report.figures["boards"] == 24
        assert report.figures["t_iou_of_always_present"] < 0.5
        assert {line.partition(": ")[2] for line in report.remarks} <= {
            "everybody is always on screen; no time is asked for"  # of one drawn clip
        }
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 400_000
    assert boards.find("nobody") is None
    (tmp_path / "sprites").mkdir()
    assert boards.find("sprites") is None  # a folder of one's own comes first


def test_every_picture_has_an_author_and_a_licence():
    folder = boards.find("everyday").parent
    table = json.loads((folder / "SOURCES.json").read_text())
    files = sorted(path.name.rpartition("-")[0] for path in (folder / "pictures").iterdir())
    assert sorted(entry["word"] for entry in table) == files and len(files) == 5
    for entry in table:
        assert all(entry[key] for key in ("author", "licence", "origin", "package", "sha256"))
        assert entry["licence"].startswith(("CC0", "public domain"))
    report = boards.check(folder / "boards.jsonl")
    assert report.figures["words_the_packaged_detector_knows"] == report.figures["words"] == 5


def test_the_file_of_sprites_is_what_the_world_asks_for():
    path = boards.find("sprites")
    found = read_benchmark(path, SpritesTracker()).boards
    cases = sprites_cases(len(found))
    assert [name for name, _ in found] == [case.id for case in cases]
    for (_, story), case in zip(found, cases, strict=True):
        scene = story.scene(LIMITS)
        assert (scene.caption, scene.clock, scene.size) == (case.caption, case.clock, case.size)
        for one, other in zip(scene.subjects, case.subjects, strict=True):
            assert (one.word, one.spans) == (other.word, other.spans)
            assert np.array_equal(one.picture((64, 64)), other.picture((64, 64)))
