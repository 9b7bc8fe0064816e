from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from alchemint_jax.errors import AlchemintError, StoryboardError
from alchemint_jax.scene.limits import Limits
from alchemint_jax.scene.storyboard import Storyboard

SPRITES = Limits(3, 33, min_frames=5, fps=(8.0,), sizes=((64, 64),), stride=4)
WAN = Limits(
    stride=4,
    max_subjects=4,
    max_frames=81,
    fps=(16.0, 24.0),
    sizes=((480, 832),),
    size_multiple=16,
    max_pixels=832 * 480,
    events=True,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    (folder / "refs").mkdir()
    Image.new("RGB", (9, 9), "red").save(folder / "refs" / "disc.png")
    (folder / "dir.png").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    Image.effect_noise((64, 64), 50).save(folder / "half.png")
    whole = (folder / "half.png").read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "note.png").write_text("not a picture")
    return folder


def good() -> dict:
    return {
        "prompt": "a red disc passes a blue star",
        "duration": 4.0,
        "subjects": [
            {"word": "disc", "image": "refs/disc.png", "appears": [[0.5, 2.0]]},
            {"word": "star", "image": "refs/disc.png", "appears": [[1.5, 2], [3, 4.0]]},
        ],
        "events": [{"text": "the disc slows down", "during": [1, 2.0]}],
        "fps": 8,
        "size": [64, 64],
        "seed": 3,
        "negative_prompt": "blurry",
    }


def changed(path: str, value) -> dict:
    """The good board with the value at a dotted path replaced."""
    board = at = good()
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for key in parents:
        at = at[key]
    at[last] = value
    return board


def refusal(call) -> str:
    with pytest.raises(StoryboardError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000
    return message


def check_good(board: Storyboard, folder: Path):
    assert board.prompt == "a red disc passes a blue star" and board.duration == 4.0
    assert [s.word for s in board.subjects] == ["disc", "star"]
    assert board.subjects[0].image == folder / "refs/disc.png"
    assert board.subjects[0].appears == ((0.5, 2.0),)
    assert board.subjects[1].appears == ((1.5, 2.0), (3.0, 4.0))
    assert (board.events[0].text, board.events[0].during) == ("the disc slows down", (1.0, 2.0))
    assert (board.fps, board.size, board.seed) == (8.0, (64, 64), 3)
    assert board.negative_prompt == "blurry"
    assert board.warnings() == []
    assert hash(board) == hash(dataclasses.replace(board))  # frozen, all the way down


def test_yaml_json_and_dict_agree(folder):
    (folder / "board.yaml").write_text(yaml.safe_dump(good()))
    (folder / "board.json").write_text("\ufeff" + json.dumps(good(), indent="\t"))
    boards = [
        Storyboard.load(folder / "board.yaml"),
        Storyboard.load(str(folder / "board.json")),
        Storyboard.from_dict(good(), base=folder),
    ]
    for board in boards:
        check_good(board, folder)
        assert board == boards[0]


def test_what_may_be_left_out(folder):
    board = Storyboard.from_dict({"prompt": " a quiet sea\n", "duration": 5})
    assert board == Storyboard("a quiet sea", 5.0)
    assert (board.subjects, board.events, board.negative_prompt) == ((), (), "")
    assert (board.fps, board.size, board.seed) == (None, None, None)
    nothing = dict.fromkeys(["subjects", "events", "fps", "size", "seed", "negative_prompt"])
    assert Storyboard.from_dict({"prompt": "a quiet sea", "duration": 5, **nothing}) == board


def test_numbers_of_every_kind(folder):
    one = {**good(), "duration": np.float32(4), "seed": 3.0, "size": [64.0, np.int64(64)]}
    assert Storyboard.from_dict(one, base=folder) == Storyboard.from_dict(good(), base=folder)
    assert type(Storyboard.from_dict(one, base=folder).seed) is int


def test_intervals_are_sorted_and_those_that_touch_are_one(folder):
    board = changed("subjects.1.appears", [[3, 4], [0.5, 1], [1.0, 2]])
    appears = Storyboard.from_dict(board, base=folder).subjects[1].appears
    assert appears == ((0.5, 2.0), (3.0, 4.0))


def test_float_noise_at_the_end_is_forgiven(folder):
    board = {**changed("subjects.1.appears", [[0.1, 0.1 * 3]]), "duration": 0.3, "events": []}
    board["subjects"][0]["appears"] = [[0, 0.3]]
    assert Storyboard.from_dict(board, base=folder).subjects[1].appears == ((0.1, 0.3),)


def test_home_and_absolute_pictures(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    for image in ("~/refs/disc.png", folder / "refs/disc.png", str(folder / "refs/disc.png")):
        data = {**good(), "subjects": [{**good()["subjects"][0], "image": image}]}
        board = Storyboard.from_dict(data)
        assert board.subjects[0].image == folder / "refs/disc.png"


def test_pictures_are_relative_to_the_file_not_the_shell(folder, tmp_path, monkeypatch):
    (folder / "board.yaml").write_text(yaml.safe_dump(good()))
    monkeypatch.chdir(folder)
    assert Storyboard.load("board.yaml").subjects[0].image == Path("refs/disc.png")
    monkeypatch.chdir(tmp_path)
    Storyboard.load(folder / "board.yaml")


BIG = 10**400
BAD_FIELDS = [
    ("prompt", None, "prompt: is missing or empty"),
    ("prompt", "  ", "prompt: is empty"),
    ("prompt", 5, "prompt: expected text, got 5; put it in quotes"),
    ("prompt", ["a"], "prompt: expected text, got a list"),
    ("prompt", "a" * 100_000, "prompt: is 100000 characters long"),
    ("prompt", "\ud800", "lone surrogate"),
    ("duration", None, "duration: is missing"),
    ("duration", 0, "duration: must be more than 0"),
    ("duration", -1, "duration: must be between"),
    ("duration", 601, "duration: must be between 0 and 600"),
    ("duration", math.nan, "duration: must be between"),
    ("duration", math.inf, "duration: must be between"),
    ("duration", BIG, "duration: must be between"),
    ("duration", True, "duration: expected a number, got true"),
    ("duration", "4", "duration: expected a number, got the text '4'"),
    ("duration", [4], "duration: expected a number, got a list"),
    ("duration", 4j, "duration: expected a number, got 4j"),
    ("subjects", {"word": "disc"}, "subjects: expected a list, got a mapping"),
    ("subjects", "disc", "subjects: expected a list"),
    ("subjects", "", "subjects: expected a list"),
    ("subjects.0", "disc", "subjects[0]: expected word, image, appears, got the text 'disc'"),
    ("subjects.0", None, "subjects[0]: expected word, image, appears, got nothing"),
    ("subjects.1", {}, "subjects[1].word: is missing"),
    ("subjects.0.word", True, "subjects[0].word: expected text, got true; put it in quotes"),
    ("subjects.0.word", "x" * 201, "subjects[0].word: is 201 characters"),
    ("subjects.0.imgae", "x", "subjects[0].imgae: unknown field; did you mean 'image'?"),
    ("subject", [], "subject: unknown field; did you mean 'subjects'?"),
    ("Duration", 4, "Duration: unknown field; did you mean 'duration'?"),
    ("zzz", 4, "zzz: unknown field; known: prompt, duration, subjects"),
    ("subjects.0.appears", None, "subjects[0].appears: is missing"),
    ("subjects.0.appears", [], "subjects[0].appears: is empty; say when"),
    ("subjects.0.appears", [0.5, 2.0], "subjects[0].appears: is a list of intervals; write [["),
    ("subjects.0.appears", 3, "subjects[0].appears: expected a list of [start, end]"),
    ("subjects.0.appears", [[1, 2], 3], "subjects[0].appears[1]: expected [start, end]"),
    ("subjects.0.appears", [[1, 2, 3]], "subjects[0].appears[0]: expected [start, end]"),
    ("subjects.1.appears", [[2, 1]], "subjects[1].appears[0]: ends (1.0) before it starts (2.0)"),
    ("subjects.1.appears", [[2, 2]], "subjects[1].appears[0]: is empty: it starts and ends at 2.0"),
    ("subjects.1.appears", [[-1, 2]], "subjects[1].appears[0]: starts (-1.0) before the video"),
    ("subjects.1.appears", [[1, 5]], "subjects[1].appears[0]: ends (5.0) after the video does"),
    ("subjects.1.appears", [[7, 8]], "subjects[1].appears[0]: ends (8.0) after the video does"),
    ("subjects.1.appears", [["0", 1]], "subjects[1].appears[0][0]: expected a number"),
    ("subjects.1.appears", [[0, True]], "subjects[1].appears[0][1]: expected a number, got true"),
    ("subjects.1.appears", [[0, math.nan]], "subjects[1].appears[0][1]: must be between"),
    ("subjects.1.appears", [[-math.inf, 1]], "subjects[1].appears[0][0]: must be between"),
    (
        "subjects.1.appears",
        [[3, 4], [1, 2], [1.5, 3]],
        "appears[2]: [1.5, 3.0] overlaps [1.0, 2.0]",
    ),
    ("subjects.1.appears", [[1, 2], [1, 2]], "subjects[1].appears[1]: [1.0, 2.0] overlaps"),
    ("subjects.1.appears", [[0, 1]] * 65, "subjects[1].appears: has 65 entries"),
    ("subjects.0.image", 5, "subjects[0].image: expected text, got 5"),
    ("subjects.0.image", "no.png", "no.png: No such file"),
    ("subjects.0.image", "dir.png", "dir.png: is a folder"),
    ("subjects.1.image", "loop.png", "subjects[1].image"),
    ("subjects.1.image", "half.png", "half.png: is damaged or truncated"),
    ("subjects.1.image", "note.png", "note.png: is damaged, or no picture"),
    ("subjects.1.image", "a\0b", "null"),
    ("subjects.1.image", "~no-such-user/a.png", "subjects[1].image: '~no-such-user/a.png'"),
    ("events", 3, "events: expected a list, got 3"),
    ("events.0.during", [3, 9], "events[0].during: ends (9.0) after the video does"),
    ("events.0.during", [[1, 2]], "events[0].during: expected [start, end] in seconds, got 1"),
    ("events.0.text", "", "events[0].text: is empty"),
    ("events.0.when", [1, 2], "events[0].when: unknown field; known: text, during"),
    ("fps", 0, "fps: must be between 1 and 240"),
    ("fps", "fast", "fps: expected a number"),
    ("size", 64, "size: expected [height, width], got 64"),
    ("size", [64], "size: expected [height, width], got 1 values"),
    ("size", [64, 64.5], "size[1]: must be a whole number"),
    ("size", [64, 10**6], "size[1]: must be between 1 and 4096"),
    ("size", "64x64", "size: expected [height, width], got the text '64x64'"),
    ("seed", -1, "seed: must be between 0"),
    ("seed", 1.5, "seed: must be a whole number"),
    ("seed", 2**32, "seed: must be between 0 and 4294967295, not 4294967296.0"),
    ("negative_prompt", 0, "negative_prompt: expected text, got 0"),
]


@pytest.mark.parametrize(("path", "value", "words"), BAD_FIELDS, ids=lambda v: str(v)[:30])
def test_bad_fields_are_named(folder, path, value, words):
    board = changed(path, value)
    message = refusal(lambda: Storyboard.from_dict(board, base=folder, source="b.yaml"))
    assert message.startswith("b.yaml: ") and words in message


@pytest.mark.parametrize(
    "data", [None, [], "text", 3, {}, {"prompt": "x"}, {BIG**20: 1}, {None: 1}]
)
def test_what_is_not_a_storyboard_at_all(data):
    message = refusal(lambda: Storyboard.from_dict(data, source="b.yaml"))
    assert message.startswith("b.yaml: ")


def write(folder, text: str | bytes, name="bad.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


HEAD = "prompt: a disc\nduration: 4\n"
BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD_FILES = [
    ("", "bad.yaml: is empty"),
    ("# only a comment\n", "bad.yaml: is empty"),
    ("- a\n- b\n", "bad.yaml: expected prompt, duration"),
    ("just words", "bad.yaml: expected prompt, duration"),
    (HEAD + "seeed: 3\n", "bad.yaml: seeed: unknown field; did you mean 'seed'? (line 3)"),
    (
        HEAD + "subjects:\n- word: disc\n  appears: [[0, 1]]\n",
        "subjects[0].image: is missing or empty (line 4)",
    ),
    (
        HEAD
        + "subjects:\n- word: disc\n  image: refs/disc.png\n  appears:\n  - [0, 1]\n  - [3, 2]\n",
        "bad.yaml: subjects[0].appears[1]: ends (2.0) before it starts (3.0) (line 8)",
    ),
    (
        HEAD + "subjects:\n- word: disc\n  image: no.png\n  appears: [[0, 1]]\n",
        "No such file or directory (line 5)",
    ),
    (HEAD + "duration: 5\n", "'duration' is given twice (line 3)"),
    (HEAD + "on: 5\n", "on: unknown field"),
    (HEAD + "? [a, b]\n: 5\n", "a field name must be a word (line 3)"),
    (HEAD + "seed: !!python/object/apply:os.system ['true']\n", "not supported"),
    (HEAD + "seed: !!python/name:os.system\n", "not supported; write plain text"),
    (HEAD + "seed: !mine 3\n", "tag !mine is not supported; write plain text and numbers (line 3)"),
    (HEAD + "seed: !!set {a, b}\n", "not supported"),
    (HEAD + "seed: !!int x\n", "'x' is not a valid int (line 3)"),
    (HEAD + "seed: !!int ''\n", "is not a valid int (line 3)"),
    (HEAD + "seed: !!bool perhaps\n", "is not a valid bool"),
    (HEAD + "seed: " + "9" * 5000 + "\n", "is not a valid int (line 3)"),
    (HEAD + "seed: 0x" + "f" * 9000 + "\n", "seed: must be between"),
    (HEAD + "duration: [1\n", "is not valid YAML"),
    (HEAD + "\tseed: 3\n", "is not valid YAML"),
    (HEAD + "seed: *nobody\n", "is not valid YAML: found undefined alias 'nobody' (line 3)"),
    (HEAD + "---\n" + HEAD, "is not valid YAML"),
    (HEAD + "seed: \x01\n", "holds a control character (line 3)"),
    (HEAD + "fps: .nan\n", "fps: must be between 1 and 240, not nan (line 3)"),
    (HEAD + "subjects: &s [*s]\n", "nested too deeply"),
    (BOMB, "values once its aliases are expanded"),
    ("[" * 100_000, "nested too deeply (line 1)"),
    ("{a: " * 60_000, "nested too deeply (line 1)"),
    ("- " * 100_000, "nested too deeply (line 1)"),
    ("a" * 300_000, "larger than 256 KiB"),
    (b"prompt: caf\xe9\n", "is not UTF-8 text (line 1)"),
    (HEAD.encode("utf-16"), "is not UTF-8 text"),
    (b"\x00\x00", "control character"),
]


@pytest.mark.parametrize(("text", "words"), BAD_FILES, ids=lambda v: str(v)[-25:])
def test_bad_yaml_files(folder, text, words):
    path = write(folder, text)
    start = time.perf_counter()
    message = refusal(lambda: Storyboard.load(path))
    assert message.startswith(f"{path}: ") and words in message
    assert time.perf_counter() - start < 20  # refused, not ground through


def test_a_few_aliases_are_welcome(folder):
    text = HEAD + (
        "subjects:\n- &d {word: disc, image: refs/disc.png, appears: &when [[0, 1]]}\n- *d\n"
        "- {word: star, image: refs/disc.png, appears: *when}\n"
    )
    board = Storyboard.load(write(folder, text, "alias.yaml"))
    assert [s.word for s in board.subjects] == ["disc", "disc", "star"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("[]", "expected prompt, duration"),
        ('{"prompt": "a",\n "duration": }', "Expecting value (line 2)"),
        ('{"prompt": "a", "prompt": "b"}', "'prompt' is given twice"),
        ('{"prompt": "a", "duration": NaN}', "duration: must be between"),
        ('{"prompt": "a", "duration": 1e999}', "duration: must be between"),
        ('{"prompt": "a", "duration": ' + "9" * 5000 + "}", "bad.json: "),
        ("[" * 100_000, "bad.json: "),
        (b'{"prompt": "\xff"}', "is not UTF-8"),
    ],
    ids=lambda v: str(v)[:25],
)
def test_bad_json_files(folder, text, words):
    path = write(folder, text, "bad.json")
    assert words in refusal(lambda: Storyboard.load(path))


def test_files_that_cannot_be_read(folder, tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path, words in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "is a folder"),
        (folder / "loop.png", "symbolic links"),
        (tmp_path / "pipe.yaml", "is not a regular file"),
        (tmp_path / ("x" * 400), "too long"),
        ("a\0b.yaml", "null"),
    ):
        assert words in refusal(lambda path=path: Storyboard.load(path))


def test_warnings(folder):
    board = good()
    board["prompt"] = "Disc-shaped discs and starfish pass a DISC"
    board["subjects"].append({**board["subjects"][0], "word": "Disc"})
    first, second = Storyboard.from_dict(board, base=folder, source="b.yaml").warnings()
    assert first == "b.yaml: subjects[1].word: 'star' is not in the prompt"  # starfish is not
    assert second == "b.yaml: subjects[2].word: 'Disc' names an earlier subject too"


def test_each_word_is_worth_one_warning_of_a_kind(folder):
    board = {**good(), "prompt": "nothing of the kind"}
    board["subjects"] = [board["subjects"][0]] * 40
    absent, twice = Storyboard.from_dict(board, base=folder).warnings()
    assert "subjects[0].word" in absent and "not in the prompt" in absent
    assert "subjects[1].word" in twice and "earlier" in twice


@pytest.mark.parametrize("word", ["red disc", "C++", "*", "étoile", "星"])
def test_words_of_any_kind_are_found_in_the_prompt(folder, word):
    board = {**changed("subjects.0.word", word), "prompt": f"a {word.upper()}, and a star"}
    assert Storyboard.from_dict(board, base=folder).warnings() == []


def test_validate_for_fills_in_the_defaults(folder):
    board = Storyboard.from_dict({"prompt": "a sea", "duration": 5})
    filled = board.validate_for(WAN)
    assert (filled.fps, filled.size) == (16.0, (480, 832)) and board.fps is None
    full = {**good(), "fps": 24, "size": [256, 320], "duration": 3, "events": good()["events"]}
    full["subjects"].pop()
    kept = Storyboard.from_dict(full, base=folder)
    assert kept.validate_for(WAN) == kept


@pytest.mark.parametrize(
    ("change", "limits", "words"),
    [
        ({}, SPRITES, "events: dense captions are not possible"),
        ({"fps": 12}, WAN, "fps: 12 frames per second is not possible"),
        ({"fps": 24}, WAN, "duration: 4 s at 24 fps is 97 frames"),
        ({"events": [], "size": [32, 64]}, SPRITES, "size: 32x64 is not possible"),
        ({"fps": 16, "size": [100, 64]}, WAN, "size: 100x64 is not possible"),
        ({"fps": 16, "size": [1024, 1024]}, WAN, "size: 1024x1024 is not possible"),
        ({"events": [], "duration": 5}, SPRITES, "duration: 5 s at 8 fps is 41 frames"),
        ({"events": [], "duration": 0.2, "subjects": []}, SPRITES, "duration: 0.2 s"),
        ({"events": [], "subjects": good()["subjects"] * 25}, SPRITES, "50 subjects are too many"),
    ],
    ids=lambda v: str(v)[:25],
)
def test_what_a_model_cannot_do(folder, change, limits, words):
    board = Storyboard.from_dict({**good(), **change}, base=folder, source="b.yaml")
    message = refusal(lambda: board.validate_for(limits))
    assert message.startswith("b.yaml: ") and words in message
    assert limits.describe() in message


def test_limits_say_everything():
    assert SPRITES.describe() == (
        "up to 3 subjects; size (height x width) 64x64; fps 8; "
        "5 to 33 frames (0.5 to 4 s at 8 fps); no events"
    )
    assert "480x832 or any multiple of 16 up to 399360 pixels; fps 16 or 24" in WAN.describe()


def test_errors_are_value_errors_of_ours():
    assert issubclass(StoryboardError, AlchemintError) and issubclass(AlchemintError, ValueError)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([[0, 1]]),
    st.sampled_from(["refs/disc.png", "half.png", "disc"]),
)
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
)
PLACES = [
    "prompt",
    "duration",
    "subjects",
    "subjects.0",
    "subjects.1.word",
    "subjects.1.image",
    "subjects.1.appears",
    "subjects.1.appears.0",
    "subjects.1.appears.1.0",
    "events",
    "events.0",
    "events.0.during",
    "fps",
    "size",
    "size.0",
    "seed",
    "negative_prompt",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_anywhere_is_used_or_refused(folder, place, value):
    try:
        board = Storyboard.from_dict(changed(place, value), base=folder)
    except StoryboardError as error:
        assert str(error).startswith("storyboard: ")
    else:
        for subject in board.subjects:
            flat = [x for span in subject.appears for x in span]
            assert flat == sorted(set(flat)) and flat[0] >= 0 and flat[-1] <= board.duration


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_file_is_used_or_refused(folder, data):
    text = yaml.safe_dump(good())
    at = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.text("{}[]&*!|>%@`'\",:-? \n\tab0.é\x00", max_size=6))
    cut = data.draw(st.integers(0, 5))
    path = write(folder, text[:at] + junk + text[at + cut :], "fuzz.yaml")
    try:
        Storyboard.load(path)
    except StoryboardError as error:
        assert str(error).startswith(f"{path}: ")
