"""Text in pictures is readable with whatever fonts there are: never boxes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import ImageFont

from alchemint_jax import lettering, media
from alchemint_jax.scene import Clock, Scene, Spans, Subject

TEXTS = ("disc", "étoile", "красный", "円盤", "แผ่น", "القرص", "a ★ \U0001f389", "\U0010fffe")


@pytest.fixture(params=["the system's", "none"], autouse=True)
def fonts(request, monkeypatch):
    lettering._found.cache_clear()
    if request.param == "none":
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.setattr(lettering, "_OF_MACOS", ("no such font.ttf",))
    yield request.param
    lettering._found.cache_clear()


@pytest.mark.parametrize("text", TEXTS)
def test_no_letter_is_a_box(text):
    shown, font, whole = lettering.fitted(text, 20, "subject 3")
    box = [bytes(font.getmask(c)) for c in ("\U0010ffff", "\U0010fffd")]
    assert box[0] == box[1]
    assert shown and not any(bytes(font.getmask(c)) in box for c in shown if c != " ")
    assert shown == text if whole else shown != text


def test_without_a_font_as_much_as_can_be_read_stays(fonts):
    assert lettering.fitted("red disc", 20)[::2] == ("red disc", True)
    if fonts == "none":
        assert lettering.fitted("une étoile", 20)[::2] == ("une etoile", False)
        assert lettering.fitted("disc \U0001f389 flies", 20)[::2] == ("disc flies", False)
        assert lettering.fitted("円盤 a", 20, "subject 3")[::2] == ("subject 3", False)


def test_text_of_many_lines_and_control_characters_is_one_line():
    assert lettering.fitted("one\n two\tthree\x07", 20)[::2] == ("one two three", True)


def test_a_font_that_cannot_be_asked_for_is_done_without(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/no/such/program")
    assert lettering.fitted("円盤", 20, "subject 0")[0] == "subject 0"


def test_letters_in_the_wrong_order_are_no_text():
    basic = ImageFont.load_default(20)
    assert basic.layout_engine == ImageFont.Layout.BASIC
    assert lettering._missing("אב", basic) == {"א", "ב"}


def test_a_sheet_says_what_it_leaves_out(fonts):
    def sheet(word, caption=""):
        clip = np.full((9, 24, 24, 3), 90, np.uint8)
        subject = Subject(word, Spans([(0, 8)]))
        return np.asarray(media.contact_sheet(clip, Scene("", caption, Clock(8, 9, 4), (subject,))))

    unknown, slot, whole = sheet("\U0010fffe"), sheet("subject 0"), sheet("a\nb", caption="a\nb")
    np.testing.assert_array_equal(unknown[:-40], slot[:-40])
    assert np.any(unknown[-40:] != slot[-40:])  # a note
    assert np.all(whole[-40:, :200] == 255)
