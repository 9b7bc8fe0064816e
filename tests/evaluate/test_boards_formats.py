"""Formats of others: small cases by hand, and what is written reads back as it was."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from boards_kit import PAIR, role, rows, without_pictures, written
from openai_server import png

from alchemint_jax import cli
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.evaluate.boards import (
    EXPORTS,
    Draft,
    Options,
    export_boards,
    find,
    import_boards,
    read_boards,
)

# ------------------------------------------------------------------------------------ TIE


def tie(tmp_path, *prompts):
    path = tmp_path / "prompts.jsonl"
    lines = [{"video": f"v{i}.mp4", "prompt": prompt} for i, prompt in enumerate(prompts)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def event(text, start, end, name="description"):
    return {"start_time": start, "end_time": end, name: text}


def test_entities_and_events_of_tie(tmp_path):
    source = tie(
        tmp_path,
        {
            "global_description": "A fight.",
            "entities": [
                {"events": [event("The warrior steps forward.", 0, 4), event("He bows.", 6, 7)]},
                {"events": [event("It rains.", 1, 2)]},
            ],
        },
        [[0, 0, 4], [10, 4, 12.5], ["A road.", "A passenger train comes.", "person_2 waves."]],
        {
            "global_caption": {"long_caption": "A game."},
            "participants": {
                "boss_1": {
                    **event("boss_1 is the enemy.", 0, 9, "long_description"),
                    "timeline": [event("boss_1 jumps.", 3, 4, "long_caption")],
                }
            },
        },
        "a text without times",
        {"global_description": "x", "entities": [{"events": [event("a dog", 3, 2)]}]},
    )
    made = import_boards(source, "tie", tmp_path / "set")
    first, second, third = rows(made.path)
    assert first["duration"] == 10 and first["prompt"] == "A fight."
    assert first["subjects"] == [{"word": "warrior", "appears": [[0, 4], [6, 7]]}]
    assert [e["text"] for e in first["events"]] == [
        "The warrior steps forward.", "He bows.", "It rains."
    ]  # fmt: skip
    assert second["duration"] == 12.5
    assert second["subjects"] == [
        {"word": "train", "appears": [[0, 4]]},
        {"word": "person", "appears": [[4, 12.5]]},
    ]
    assert third["subjects"] == [{"word": "boss", "appears": [[0, 9]]}]
    assert len(made.left_out) == 2 and "without times" in made.left_out[0]
    assert "[3, 2] is no time" in made.left_out[1]
    assert any("nobody is named in 'It rains.'" in remark for remark in made.remarks)


def test_tie_reads_back_what_it_wrote(tmp_path):
    path = written(tmp_path, PAIR)
    made = export_boards(path, "tie", tmp_path / "out")
    (line,) = rows(made.folder / "prompts.jsonl")
    assert line["video"] == "pair.mp4" and line["prompt"]["entities"][1]["events"] == [
        event("The cat is in view.", 1.0, 3.0),
        event("the cat leaps", 1.0, 2.0),
    ]
    source = made.folder / "prompts.jsonl"
    back = import_boards(source, "tie", tmp_path / "back", Options(seconds=5.0))
    assert without_pictures(back.path) == without_pictures(path)


# --------------------------------------------------------------------------- TempoControl


def signal(first, last=21):
    return " ".join("1" if first <= i < last else "0" for i in range(21))


def tables(folder):
    folder.mkdir()
    header = "prompt,temp_object,control_signal1\n"
    (folder / "one_object.csv").write_text(f'{header}"A room, with a lamp.",lamp,{signal(5)}\n')
    two = "prompt,original_prompt,Object 1,Object 2,temp_object,static_object,"
    two += "control_signal1,control_signal2\n"
    two += f"A cow then a bear.,a bear and a cow,bear,cow,bear,cow,{signal(10)},{signal(0)}\n"
    (folder / "two_objects.csv").write_text(two)
    text = '"A video of a fox leaping high, with a strong movement at the second second."'
    three = "prompt,temp_object,static_object,control_signal1,mov_sec,control_signal2\n"
    three += f"{text},leaping,fox,{signal(5, 9)},1,{signal(0)}\n"
    (folder / "action.csv").write_text(three)
    (folder / "other.csv").write_text("a,b\n1,2\n")


def test_signals_of_tempocontrol(tmp_path):
    tables(tmp_path / "data")
    made = import_boards(tmp_path / "data", "tempocontrol", tmp_path / "set")
    action, one, two = rows(made.path)
    # Latent frame 5 holds pixel frames 17 to 20, of 81 at 16 a second.
    assert one["duration"] == 5.0
    assert one["subjects"] == [{"word": "lamp", "appears": [[17 / 16, 5.0]]}]
    assert two["subjects"] == [
        {"word": "bear", "appears": [[37 / 16, 5.0]]},
        {"word": "cow", "appears": [[0.0, 5.0]]},
    ]
    assert action["subjects"] == [{"word": "fox", "appears": [[0.0, 5.0]]}]
    assert action["events"] == [{"text": "a fox leaping high", "during": [17 / 16, 33 / 16]}]
    again = export_boards(made.path, "tempocontrol", tmp_path / "out").folder
    for name in ("one_object", "two_objects", "action"):
        tables_of = [tmp_path / "data" / f"{name}.csv", again / f"{name}.csv"]
        before, after = ([*csv.DictReader(path.read_text().splitlines())] for path in tables_of)
        assert before == after, name


@pytest.mark.parametrize("text", ["0 1", signal(0) + " 1", signal(21), "2" * 21, ""])
def test_a_signal_that_is_none(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_text(f"prompt,temp_object,control_signal1\na lamp,lamp,{text}\n")
    with pytest.raises(DataError, match="control_signal1"):
        import_boards(path, "tempocontrol", tmp_path / "set")


def test_boards_that_are_in_none_of_the_three_sets(tmp_path):
    short = Draft("short", "a dog", 4.0, (role("dog", (1, 2)),))
    both = Draft("both", "a dog, a cat", 5.0, (role("dog", (1, 2)), role("cat", (2, 3))))
    dumb = Draft("dumb", "a dog", 5.0, (role("dog", (0, 5)),), (("it barks", (1, 2)),))
    good = Draft("good", "a dog", 5.0, (role("dog", (1, 2)),))
    made = export_boards(written(tmp_path, short, both, dumb, good), "tempocontrol", tmp_path / "o")
    assert made.boards == 1 and len(made.left_out) == 3
    assert [path.name for path in made.folder.iterdir()] == ["one_object.csv"]
    text = " ".join(made.left_out)
    assert "short: lasts 4 s" in text and "does not say what the dog does" in text


# ---------------------------------------------------------------------------- EntityBench

EPISODE = {
    "story_name": "tale__1",
    "story_overview": "Two meet.",
    "scenes": [
        {
            "scene_num": 1,
            "video_prompts": ["x"],
            "cut": [True],
            "action_descriptions": ["Ann sits."],
        },
        {"scene_num": 2, "cut": [True, False], "action_descriptions": ["Bo comes.", "They talk."]},
    ],
    "entity_schedule": {
        "1:1": {"characters": ["Ann"], "places": ["The Hall"], "objects": []},
        "2:1": {"characters": ["Bo"], "places": [], "objects": ["the red bag"]},
        "2:2": {"characters": ["Ann", "Bo"], "places": [], "objects": []},
    },
    "entity_descriptions": {
        "Character 1": {"name": "Ann", "label": "Character 1", "description": "Woman in black."},
        "Character 2": {"name": "Bo", "label": "Character 2", "description": "Man in a coat."},
        "Object 1": {"name": "the red bag", "label": "Object 1", "description": "Small red bag."},
    },
}


def test_shots_of_entitybench_are_times(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "tale.json").write_text(json.dumps(EPISODE))
    (tmp_path / "scripts" / "bad.json").write_text("{")
    strange = {**EPISODE, "entity_schedule": {"9:1": {}}}
    (tmp_path / "scripts" / "strange.json").write_text(json.dumps(strange))
    options = Options(shot_seconds=2.0)
    made = import_boards(tmp_path / "scripts", "entitybench", tmp_path / "set", options)
    (line,) = rows(made.path)
    assert line["id"] == "tale__1" and line["duration"] == 6.0
    assert line["prompt"].split("\n") == [
        "Two meet.", "Ann: Woman in black.", "Bo: Man in a coat.", "the red bag: Small red bag."
    ]  # fmt: skip
    assert line["subjects"] == [
        {"word": "Ann", "appears": [[0, 2], [4, 6]]},
        {"word": "Bo", "appears": [[2, 6]]},
        {"word": "the red bag", "appears": [[2, 4]]},
    ]
    assert line["events"][1] == {"text": "Bo comes.", "during": [2, 4]}
    assert len(made.left_out) == 2 and "no shot '9:1'" in " ".join(made.left_out)

    out = export_boards(made.path, "entitybench", tmp_path / "out", options)
    episode = json.loads((out.folder / "tale__1.json").read_text())
    assert episode["entity_descriptions"] == EPISODE["entity_descriptions"]
    assert episode["story_overview"] == "Two meet." and not out.remarks
    schedule = {
        key: {**EPISODE["entity_schedule"][old], "places": []}
        for key, old in (("1:1", "1:1"), ("1:2", "2:1"), ("1:3", "2:2"))
    }
    assert episode["entity_schedule"] == schedule
    back = import_boards(out.folder, "entitybench", tmp_path / "back", options)
    assert rows(back.path) == rows(made.path)


def test_times_between_shots_move_to_them(tmp_path):
    draft = Draft("x", "a dog", 4.0, (role("dog", (0.5, 2.4)),))
    made = export_boards(
        written(tmp_path, draft), "entitybench", tmp_path / "out", Options(shot_seconds=1.0)
    )
    episode = json.loads((made.folder / "x.json").read_text())
    there = [bool(shot["characters"]) for shot in episode["entity_schedule"].values()]
    assert there == [True, True, False, False]
    assert "up to 0.50 s" in made.remarks[0]
    assert len(made.remarks) == 1
    long = Options(shot_seconds=4.0)
    lost = export_boards(tmp_path / "set" / "boards.jsonl", "entitybench", tmp_path / "one", long)
    assert "x: dog: in no shot" in lost.remarks[1] and "--shot-seconds" in lost.remarks[1]


# ------------------------------------------------------------------------------ TGI-Bench


def test_sequences_of_tgi_bench(tmp_path):
    root = tmp_path / "data"
    for name, count in (("bird", 33), ("car", 3)):
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i:05d}.jpg").write_bytes(png(i))
    entry = {"first_image_desc": "a", "last_image_desc": "b", "challenge": "Large motion"}
    names = ("bird", "car", "../secret", "a\0b")
    entries = [{"folder": name, "caption": f"A {name} moves.", **entry} for name in names]
    for length in (25, 33):
        (root / f"{length}_dataset_caption.json").write_text(json.dumps(entries))
    made = import_boards(root, "tgi-bench", tmp_path / "set")
    short, long = rows(made.path)
    assert (short["id"], long["id"]) == ("bird-25", "bird-33")
    assert short["fps"] == 15 and short["duration"] == pytest.approx(24 / 15)
    folder = made.path.parent
    assert (folder / short["first_frame"]).read_bytes() == png(0)
    assert (folder / short["last_frame"]).read_bytes() == png(24)
    assert (folder / long["last_frame"]).read_bytes() == png(32)
    assert len(made.left_out) == 6 and short["subjects"] == []
    one = import_boards(root, "tgi-bench", tmp_path / "one", Options(frames=33, fps=8))
    (line,) = rows(one.path)
    assert line["duration"] == 4.0 and line["id"] == "bird-33"
    out = export_boards(made.path, "tgi-bench", tmp_path / "out").folder
    back = import_boards(out, "tgi-bench", tmp_path / "back")
    assert [line["duration"] for line in rows(back.path)] == [24 / 15, 32 / 15]
    (entry,) = json.loads((out / "33_dataset_caption.json").read_text())
    assert entry["folder"] == "bird-33" and entry["challenge"] == ""
    with pytest.raises(DataError, match="no board fits.*first_frame"):
        export_boards(written(tmp_path / "w", PAIR), "tgi-bench", tmp_path / "no")


# ------------------------------------------------------------------------- annotated clips


def test_scenes_are_boards(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "dog.png").write_bytes(png(1))
    line = {
        "id": "abc", "fps": 10.0, "frames": 41, "size": [48, 64], "caption": "a dog runs",
        "status": "ok",
        "subjects": [
            {
                "word": "dog", "frames": [[0, 10], [20, 41]],
                "pictures": [{"file": "pictures/dog.png", "kind": "segment"}],
            }
        ],
        "events": [{"text": "it leaps", "during": [1.0, 2.0], "frames": [[10, 20]]}],
    }  # fmt: skip
    bad = {**line, "id": "bad", "fps": 0}
    failed = {"id": "no", "status": "failed", "error": "is damaged"}
    text = "\n".join(json.dumps(one) for one in (line, failed, bad))
    (tmp_path / "scenes.jsonl").write_text(text)
    made = import_boards(tmp_path, "annotated", tmp_path / "set")
    (found,) = rows(made.path)
    assert found["duration"] == 4.0 and found["subjects"][0]["appears"] == [[0.0, 1.0], [2.0, 4.0]]
    assert found["events"] == [{"text": "it leaps", "during": [1.0, 2.0]}]
    assert (made.path.parent / found["subjects"][0]["image"]).read_bytes() == png(1)
    assert len(made.left_out) == 2 and "no: is damaged" in made.left_out


# --------------------------------------------------------------------------------- for all


def test_one_set_can_be_asked_of_every_system(tmp_path):
    shutil.copytree(find("everyday").parent, tmp_path / "set")
    path, folder = tmp_path / "set" / "boards.jsonl", tmp_path / "out"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[3], lines[13]]))
    for name in sorted(EXPORTS):
        if name != "tgi-bench":  # is about given frames
            made = export_boards(path, name, folder / name)
            assert made.boards == 2 or name == "tempocontrol"
    assert len({*folder.iterdir()}) == len(EXPORTS) - 1 == 9


def test_an_option_that_says_nothing_to_a_format_is_refused(tmp_path):
    path = written(tmp_path, PAIR)
    with pytest.raises(ConfigError, match="--fps: says nothing to the format tie"):
        export_boards(path, "tie", tmp_path / "out", Options(fps=8))
    with pytest.raises(ConfigError, match="--shot-seconds: says nothing to the format annotated"):
        import_boards(tmp_path, "annotated", tmp_path / "back", Options(shot_seconds=2))
    with pytest.raises(ConfigError, match="no such format"):
        export_boards(path, "avi", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(tmp_path):
    path = written(tmp_path, PAIR)
    export_boards(path, "tie", tmp_path / "out")
    with pytest.raises(DataError, match="is not empty"):
        export_boards(path, "text", tmp_path / "out")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["prompts.jsonl"]
    path.write_text(path.read_text() + "{")
    with pytest.raises(DataError, match="boards.jsonl:2: not JSON"):
        export_boards(path, "text", tmp_path / "new")
    assert not [one for one in tmp_path.iterdir() if "new" in one.name]


def test_pictures_for_boards_that_come_without(tmp_path, capsys):
    tables(tmp_path / "data")
    (tmp_path / "pictures").mkdir()
    for i, word in enumerate(("lamp", "bear", "fox")):
        (tmp_path / "pictures" / f"{word}.png").write_bytes(png(i))
    words = ["benchmark", "import", str(tmp_path / "data"), "--from", "tempocontrol"]
    words += ["--pictures", str(tmp_path / "pictures"), "--out", str(tmp_path / "set")]
    assert cli.main(words) == 0
    err = capsys.readouterr().err
    assert "two_objects-000: 'cow' has no picture: there is none of that name" in err
    boards, problems = read_boards(tmp_path / "set" / "boards.jsonl")
    assert not problems and sum(s.image is None for b in boards for s in b.storyboard.subjects) == 1
    again = [*words[:-1], str(tmp_path / "again"), "--limit", "2"]
    assert cli.main(again) == 0
    assert capsys.readouterr().out.endswith("boards.jsonl: 2 boards\n")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("tie", "{", "not JSON"),
        ("tie", json.dumps({"video": 3, "prompt": {"entities": 3}}), "expected a list"),
        ("tempocontrol", "a,b\n1,2\n", "has not the columns"),
        ("tempocontrol", "", "has not the columns"),
        ("entitybench", "[]", "expected an object"),
        ("annotated", "[1]", "expected an object"),
    ],
)
def test_a_source_that_makes_no_sense(tmp_path, name, text, why, capsys):
    (tmp_path / "source").write_text(text)
    words = ["benchmark", "import", str(tmp_path / "source"), "--from", name]
    assert cli.main([*words, "--out", str(tmp_path / "set")]) == 2
    err = capsys.readouterr().err
    assert why in err and "Traceback" not in err
    assert not [one for one in tmp_path.iterdir() if "set" in one.name]
    gone = ["benchmark", "import", str(tmp_path / "gone"), "--from", name]
    assert cli.main([*gone, "--out", str(tmp_path / "set")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
