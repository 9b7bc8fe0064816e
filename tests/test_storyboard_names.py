"""Names and words of a storyboard that computers write in more than one way."""

from __future__ import annotations

import codecs
import unicodedata

import pytest
from PIL import Image

from alchemint_jax.errors import StoryboardError
from alchemint_jax.storyboard import Storyboard

TEXT = """prompt: une étoile
duration: 1.0
subjects:
  - {word: étoile, image: images/étoile.png, appears: [[0, 1]]}
"""


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_file", ["NFC", "NFD"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_picture_is_found_however_its_name_is_written(tmp_path, on_disk, in_file, line_end):
    image = tmp_path / "images" / unicodedata.normalize(on_disk, "étoile.png")
    image.parent.mkdir()
    Image.new("RGB", (8, 8)).save(image)
    text = unicodedata.normalize(in_file, TEXT).replace("\n", line_end)
    (tmp_path / "b.yaml").write_bytes(codecs.BOM_UTF8 + text.encode())
    board = Storyboard.load(tmp_path / "b.yaml")
    assert board.subjects[0].image.samefile(image) and board.warnings() == []


def test_a_missing_picture_is_named_as_it_was_written(tmp_path):
    (tmp_path / "b.yaml").write_text(TEXT, "utf-8")
    with pytest.raises(StoryboardError, match="images/étoile.png: No such file"):
        Storyboard.load(tmp_path / "b.yaml")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_files_in_other_encodings_are_refused(tmp_path, encoding):
    (tmp_path / "b.yaml").write_bytes(TEXT.encode(encoding))
    with pytest.raises(StoryboardError, match="not UTF-8|control character"):
        Storyboard.load(tmp_path / "b.yaml")


def test_words_that_differ_in_writing_alone_are_one(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = [unicodedata.normalize(form, "étoile") for form in ("NFC", "NFD")]
    subjects = [{"word": w, "image": "a.png", "appears": [[0, 1]]} for w in words]
    data = {"prompt": "une étoile", "duration": 1, "subjects": subjects}
    (warning,) = Storyboard.from_dict(data, base=tmp_path).warnings()
    assert "names an earlier subject too" in warning


def test_a_broken_colour_profile_is_a_warning(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", icc_profile=b"rubbish")
    data = {"prompt": "a cat", "duration": 1, "first_frame": "a.png", "last_frame": "a.png"}
    board = Storyboard.from_dict(data, base=tmp_path, source="b.yaml")
    (warning,) = board.warnings()
    assert warning.startswith(f"b.yaml: {tmp_path / 'a.png'}: its colour profile is broken")
    assert [name for name, _ in board.pictures()] == ["first_frame", "last_frame"]


@pytest.mark.parametrize(
    ("spans", "warned"),
    [([[0, 1], [1, 2]], []), ([[1, 2], [0, 1.5], [2, 3]], [(1, 0)]), ([[0, 1], [0, 1]], [(0, 1)])],
)
def test_events_that_overlap(spans, warned):
    events = [{"text": "x", "during": during} for during in spans]
    board = Storyboard.from_dict({"prompt": "x", "duration": 3, "events": events})
    found = board.warnings()
    assert len(found) == len(warned)
    for (first, second), said in zip(warned, found, strict=True):
        assert f"events[{first}] and events[{second}] overlap" in said
