"""What other systems are asked with: small cases by hand."""

from __future__ import annotations

import json

from boards_kit import PAIR, board, picture, pictured, role, size_of, written

from alchemint_jax.evaluate.boards import Draft, Options, export_boards
from alchemint_jax.evaluate.boards.timeline import clock_time, described, stretches, the

# ---------------------------------------------------------------------------- the timeline


def test_a_board_falls_into_stretches():
    story = board(PAIR)
    found = [(s.start, s.end, s.present, s.events) for s in stretches(story)]
    assert found == [
        (0.0, 1.0, (0,), ()),
        (1.0, 2.0, (1,), (0,)),
        (2.0, 3.0, (0, 1), ()),
        (3.0, 5.0, (0,), ()),
    ]
    assert [described(story, one) for one in stretches(story)] == [
        "The dog is in view; the cat is not in view.",
        "The cat is in view; the dog is not in view. The cat leaps.",
        "The dog and the cat are in view.",
        "The dog is in view; the cat is not in view.",
    ]


def test_boundaries_that_nobody_could_tell_apart_are_one():
    story = board(
        Draft("x", "a dog and a cat", 2.0, (role("dog", (0, 1)), role("cat", (1.0004, 2))))
    )
    assert [(s.start, s.end, s.present) for s in stretches(story)] == [
        (0.0, 1.0, (0,)),
        (1.0, 2.0, (1,)),
    ]
    always = board(Draft("x", "a dog", 2.0, (role("dog", (0, 2)),)))
    assert len(stretches(always)) == 1


def test_names_and_times_in_words():
    assert [the(w) for w in ("dog", "Min-jun", "the small table")] == [
        "the dog", "Min-jun", "the small table"
    ]  # fmt: skip
    assert clock_time(0) == "00:00.000" and clock_time(61.5) == "01:01.500"
    assert clock_time(59.9996) == "01:00.000"


# -------------------------------------------------------------------- what others are asked


def test_segments_of_prompt_relay(tmp_path):
    path = written(tmp_path, PAIR)
    made = export_boards(path, "prompt-relay", tmp_path / "relay")
    assert json.loads((made.folder / "pair.json").read_text()) == {
        "global_prompt": "a dog chases a cat",
        "local_prompts": [
            "The dog is in view.", "The cat leaps.", "The cat is in view.", "The dog is in view."
        ],
        "segment_intervals": [[0.0, 1.0], [1.0, 2.0], [1.0, 3.0], [2.0, 5.0]],
        "time_unit": "seconds",
    }  # fmt: skip
    wan = export_boards(path, "prompt-relay-wan", tmp_path / "wan")
    content = json.loads((wan.folder / "pair.json").read_text())
    # 81 frames; latent frame 0 holds frame 0, frame i holds 4i-3 to 4i, second s is frame 16s.
    # So 0 to 3 are of the first stretch; 4 holds 13 to 16, of which three are.
    assert content["segment_lengths"] == [5, 4, 4, 8] and sum(content["segment_lengths"]) == 21
    eight = export_boards(path, "prompt-relay-wan", tmp_path / "eight", Options(fps=8))
    content = json.loads((eight.folder / "pair.json").read_text())
    assert sum(content["segment_lengths"]) == 11


def test_segments_of_ltx_director(tmp_path):
    path = written(tmp_path, PAIR)
    made = export_boards(path, "ltx-director", tmp_path / "ltx", Options(fps=8))
    content = json.loads((made.folder / "pair.json").read_text())
    # 41 frames; second s is frame 8s, and the last stretch has the last frame too.
    segments = content["timeline_data"]["segments"]
    times = [(one["start"], one["length"]) for one in segments]
    assert times == [(0, 8), (8, 8), (16, 8), (24, 17)]
    assert content["segment_lengths"] == "8,8,8,17" and content["duration_frames"] == 41
    assert segments[2]["prompt"] == "A dog chases a cat. The dog and the cat are in view."
    assert content["local_prompts"].split(" | ") == [one["prompt"] for one in segments]
    assert made.remarks == ()
    brief = Draft("brief", "a dog", 2.0, (role("dog", (0, 0.3)),))
    path = written(tmp_path / "other", brief)
    made = export_boards(path, "ltx-director", tmp_path / "brief")
    assert made.remarks == ()  # 7 of 49 frames
    slow = Options(fps=8)
    made = export_boards(path, "ltx-director", tmp_path / "slow", slow)
    assert made.remarks == ("brief: segments that are shorter than 6 frames: 1",)


def test_shots_of_minimax_h3(tmp_path):
    draft = pictured(PAIR, picture(1), picture(2))
    bare = Draft("bare", "a dog", 5.0, (role("dog", (0, 2)),))
    short = Draft("short", "a dog", 3.0, (role("dog", (0, 2)),))
    made = export_boards(written(tmp_path, draft, bare, short), "minimax-h3", tmp_path / "out")
    assert made.boards == 2 and "short: lasts 3 s" in made.left_out[0]
    text = (made.folder / "pair.txt").read_text()
    assert "<Subject 2> is the cat in <Picture 2>." in text
    assert "<Subject 1> (appears in [Shot 1], [Shot 3], [Shot 4]): fully_preserved - " in text
    cut = "[Shot 2] At 00:01.000, the shot cuts to a new view. "
    assert f"{cut}<Subject 2> is in view; the dog is not in view. The cat leaps.\n" in text
    order = [
        "subject_definitions:", "summary:", "retention_analysis:", "detailed_description:",
        "overall_soundscape:", "non_diegetic_music:",
    ]  # fmt: skip
    assert [part.split("\n")[0] for part in text.split("\n\n")] == order
    assert size_of(made.folder / "pair-2.png") == (40, 60)
    alone = (made.folder / "bare.txt").read_text()
    assert alone.startswith(
        "integrated_multimodal_description: [Shot 1] A dog. The dog is in view."
    )
    assert "[Shot 2] At 00:02.000, the shot cuts to a new view. The dog is not in view." in alone


def test_requests_of_kling(tmp_path):
    draft = pictured(PAIR, picture(1), None)
    late = Draft("late", "a dog", 5.0, (role("dog", (1.3, 3.6)),))
    many = Draft("many", "a dog", 15.0, (role("dog", *((2 * i, 2 * i + 1) for i in range(7))),))
    wordy = Draft("wordy", "dog " * 200, 5.0, (role("dog", (0, 1)),))
    brief = Draft("brief", "a dog", 2.0, (role("dog", (0, 1)),))
    path = written(tmp_path, draft, late, many, wordy, brief)
    made = export_boards(path, "kling", tmp_path / "out")
    request = json.loads((made.folder / "pair.json").read_text())
    assert [one["duration"] for one in request["multi_prompt"]] == ["1", "1", "1", "2"]
    assert [one["index"] for one in request["multi_prompt"]] == [1, 2, 3, 4]
    assert request["duration"] == "5" and request["image_list"] == [{"image_url": "pair-1.png"}]
    texts = [one["prompt"] for one in request["multi_prompt"]]
    assert texts[0].endswith("The dog (<<<image_1>>>) is in view; the cat is not in view.")
    assert "image_1" not in texts[1]  # who is away is not shown to it
    assert min(size_of(made.folder / "pair-1.png")) >= 300
    shots = json.loads((made.folder / "late.json").read_text())["multi_prompt"]
    assert [one["duration"] for one in shots] == ["1", "3", "1"]
    assert made.remarks == ("late: times move by up to 0.40 s to whole seconds",)
    assert len(made.left_out) == 3
    for name, why in (("many", "6 shots"), ("wordy", "512 characters"), ("brief", "3 to 15 s")):
        assert any(one.startswith(name) and why in one for one in made.left_out)


def test_times_in_words(tmp_path):
    made = export_boards(written(tmp_path, PAIR), "text", tmp_path / "out")
    assert (made.folder / "pair.txt").read_text().split("\n")[:3] == [
        "A dog chases a cat.",
        "[00:00.000 - 00:01.000] The dog is in view; the cat is not in view.",
        "[00:01.000 - 00:02.000] The cat is in view; the dog is not in view. The cat leaps.",
    ]
