"""Boards and pictures of the studio: whole files that the command line reads, too."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
import yaml
from studio_kit import board_of, png, running

import alchemint_jax as al
from alchemint_jax.studio import boards, pictures
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.drafts import draft_of

# A parallel of the file below, with every field that a storyboard has.
FULL = {
    "prompt": "a red disc: “slow”, then\nfast",
    "duration": 3.5,
    "fps": 8,
    "size": [64, 64],
    "seed": 7,
    "negative_prompt": "blur # no comment",
    "keyframes": [{"image": "refs/disc.png", "at": 2.5}, {"image": "refs/disc.png", "at": 1}],
    "subjects": [
        {"word": "red disc", "image": "refs/disc.png", "appears": [[1 / 3, 1.0], [2.0, 3.5]]},
        {"word": "no", "image": "refs/disc.png", "appears": [[0, 3.5]]},
    ],
    "events": [{"text": "it turns: blue", "during": [1.0, 2.0]}],
}


def test_a_board_is_a_file_that_the_command_line_reads(client, picture):
    made = client.post("/api/boards", json={"board": board_of(picture)})
    assert made.status_code == 201
    path = client.studio.workspace.boards / f"{made.json()['id']}.yaml"
    story = al.Storyboard.load(path)
    assert story.subjects[0].appears == ((0.5, 2.0),) and story.subjects[0].image.is_file()


def test_a_file_loses_nothing_on_its_way_in_and_out(client, picture):
    text = yaml.safe_dump(FULL, allow_unicode=True)
    names = {"disc.png": picture}
    opened = client.post("/api/open", json={"text": text, "name": "x.yaml", "pictures": names})
    assert opened.status_code == 201 and opened.json()["missing"] == []
    saved = client.post("/api/export/yaml", json={"board": opened.json()["board"]})
    back = yaml.safe_load(saved.content)
    for name in ("subjects", "keyframes"):
        assert back[name] == [{**one, "image": f"pictures/{picture}"} for one in FULL[name]]
    assert {**back, "subjects": 0, "keyframes": 0} == {**FULL, "subjects": 0, "keyframes": 0}
    as_json = client.post(
        "/api/open", json={"text": json.dumps(FULL), "name": "x.json", "pictures": names}
    )
    assert as_json.json()["board"] == opened.json()["board"]


def test_a_zip_holds_the_pictures_too(client, picture, tmp_path):
    saved = client.post("/api/export/zip", json={"board": board_of(picture)}).content
    with zipfile.ZipFile(io.BytesIO(saved)) as file:
        file.extractall(tmp_path / "there")
    assert al.Storyboard.load(tmp_path / "there" / "board.yaml").subjects[0].word == "red disc"
    with running(tmp_path / "elsewhere") as other:
        opened = other.post("/api/open/zip", content=saved)
        assert opened.status_code == 201 and opened.json()["board"] == board_of(picture)
        assert other.get(f"/api/pictures/{picture}").status_code == 200


def test_a_board_that_is_deleted_while_they_are_listed_is_left_out(client):
    made = client.post("/api/boards", json={}).json()
    (client.studio.workspace.boards / "gone.yaml").symlink_to("nowhere")
    assert [one["id"] for one in client.get("/api/boards").json()["boards"]] == [made["id"]]


def test_pictures_that_are_not_there_are_named(client):
    text = yaml.safe_dump({**FULL, "first_frame": "start.png"})
    opened = client.post("/api/open", json={"text": text, "name": "x.yaml"}).json()
    assert opened["missing"] == ["start.png", "refs/disc.png"]
    assert "image" not in opened["board"]["subjects"][0]
    assert opened["board"]["keyframes"] == [{"at": 2.5}, {"at": 1}]
    problem = client.post("/api/check", json={"board": opened["board"]}).json()["problem"]
    assert problem["field"] == "subjects[0].image" and "missing" in problem["text"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prompt: [", "x.yaml: is not valid YAML"),
        ("", "x.yaml: is empty"),
        ("- 1", "x.yaml: expected prompt"),
        ("prompt: a\nduration: 1\nsubject: []", "did you mean 'subjects'?"),
        ("prompt: a\nduration: 1\nsubjects: [{word: a, appears: [[0, 5]]}]", "after the video"),
        ("prompt: a\nduration: 1\nsubjects: 3", "subjects: expected a list"),
        ("prompt: !!python/object:os.system a\nduration: 1", "tag"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_the_words_of_the_command_line(client, text, says):
    answer = client.post("/api/open", json={"text": text, "name": "x.yaml"})
    assert answer.status_code == 400 and says in answer.json()["error"]


def test_two_windows_do_not_write_over_each_other(client, picture):
    made = client.post("/api/boards", json={"board": board_of(picture)}).json()
    place, first = f"/api/boards/{made['id']}", made["revision"]
    one = {"board": board_of(picture, prompt="one"), "revision": first}
    two = {"board": board_of(picture, prompt="two"), "revision": first}
    assert client.put(place, json=one).status_code == 200
    assert client.put(place, json=two).status_code == 409
    assert client.get(place).json()["board"]["prompt"] == "one"
    assert client.delete(place).status_code == 200 and client.get(place).status_code == 404


def test_a_draft_is_kept_as_it_is_and_its_problem_told(client):
    draft = {"prompt": "", "duration": 4.0, "subjects": [{"word": "", "appears": []}]}
    made = client.post("/api/boards", json={"board": draft})
    assert made.status_code == 201 and made.json()["board"] == draft
    found = client.post("/api/check", json={"board": draft}).json()
    assert found["problem"] == {"field": "prompt", "text": "is missing or empty"} or found[
        "problem"
    ] == {"field": "prompt", "text": "is empty"}
    assert found["rulers"]["frames"] == 33 and found["rulers"]["latents"][:3] == [0, 1, 5]


def test_the_model_says_what_it_cannot_do(client, picture):
    found = client.post("/api/check", json={"board": board_of(picture, fps=30)}).json()
    assert found["problem"]["field"] == "fps"
    assert "this model can do: up to 3 subjects" in found["problem"]["text"]
    found = client.post("/api/check", json={"board": board_of(picture)}).json()
    assert found["problem"] is None and found["warnings"] == []
    found = client.post("/api/check", json={"board": board_of(picture, prompt="a cat")}).json()
    assert found["warnings"] == ["subjects[0].word: 'red disc' is not in the prompt"]


def test_pictures_are_bounded(client, monkeypatch):
    large = client.post("/api/pictures", content=png((3000, 30))).json()
    assert (large["width"], large["height"]) == (pictures.SIDE, 20)
    again = client.post("/api/pictures", content=png((3000, 30))).json()
    assert again == large
    assert client.post("/api/pictures", content=b"").status_code == 400
    broken = client.post("/api/pictures", content=png((300, 300))[:200])
    assert broken.status_code == 400 and broken.json()["error"].startswith(
        "the picture: is damaged"
    )
    monkeypatch.setattr(pictures, "MAX_BYTES", 1000)
    assert client.post("/api/pictures", content=bytes(1001)).status_code == 413
    monkeypatch.setattr(pictures, "MAX_COUNT", 1)
    assert client.post("/api/pictures", content=png((5, 5))).status_code == 409
    assert sorted(p.name for p in client.studio.workspace.pictures.iterdir()) == [large["name"]]


def test_a_zip_cannot_be_a_bomb_or_lead_elsewhere(tmp_path, monkeypatch):
    def zipped(**files):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in files.items():
                file.writestr(name, content)
        return buffer.getvalue()

    board = yaml.safe_dump({**FULL, "subjects": [{**FULL["subjects"][1], "image": "../x.png"}]})
    draft, _ = boards.unzipped(zipped(**{"b.yaml": board, "../../x.png": png()}), tmp_path)
    assert (tmp_path / draft["subjects"][0]["image"]).is_file()
    assert len([*tmp_path.iterdir()]) == 1
    monkeypatch.setattr(boards, "MAX_ZIP", 10_000)
    for content in (
        zipped(**{"b.yaml": board, "x.png": bytes(20_000)}),
        zipped(**{"b.yaml": board, "c.yaml": board}),
        zipped(**{"x.png": png()}),
        zipped(**{"b.yaml": b"\xff"}),
        b"PK\3\4 nothing",
    ):
        with pytest.raises(Refused):
            boards.unzipped(content, tmp_path)


def test_drafts_have_the_form_of_storyboards():
    assert draft_of({"prompt": "a", "duration": 1, "seed": 3.0, "fps": None}) == {
        "prompt": "a", "duration": 1, "seed": 3,
    }  # fmt: skip
    for wrong in (
        {"prompt": "a"},
        {"prompt": 1, "duration": 1},
        {"prompt": "a", "duration": 1, "size": [1, "2"]},
        {"prompt": "a", "duration": 1, "other": 1},
        {"prompt": "a", "duration": 10**400},
        {"prompt": "\ud800", "duration": 1},
        {"prompt": "a", "duration": 1, "subjects": [{"word": "a", "appears": [[0]]}]},
        {"prompt": "a", "duration": 1, "first_frame": "../x.png"},
        [],
    ):
        with pytest.raises(Refused):
            draft_of(wrong)
