"""A warning that a word is not in the prompt is right in any language, or is not given."""

from __future__ import annotations

import unicodedata

import pytest

from alchemint_jax.wording import mentions, occurrences, same_word

THERE = [
    ("two discs", "disc"),
    ("the disc's edge", "disc"),
    ("the disc’s edge", "disc"),
    ("red boxes and berries", "box"),
    ("red boxes and berries", "berry"),
    ("two ladies", "lady"),
    ("a lady", "ladies"),
    ("the ladies' hats", "lady"),
    ("grey wolves howl", "grey wolf"),
    ("a WOLF", "wolves"),
    ("two knives", "knife"),
    ("falling leaves", "leaf"),
    ("grey skies", "sky"),
    ("three elves", "elf"),
    ("two cacti", "cactus"),
    ("men and women", "man"),
    ("men and women", "woman"),
    ("people walk", "person"),
    ("three mice", "mouse"),
    ("two oxen", "ox"),
    ("a blue-star", "blue  star"),
    ("FULLWIDTH ｄｉｓｃ", "disc"),
    (unicodedata.normalize("NFD", "une étoile"), "étoile"),
    ("une étoile", unicodedata.normalize("NFD", "étoile")),
    ("des étoiles bleues", "étoile bleue"),
    ("die Äpfel", "Apfel"),
    ("im Schatten des roten Sterns", "roter Stern"),
    ("STRASSE", "Straße"),
    ("IŞIK", "ışık"),
    ("kırmızı diskin", "disk"),
    ("punaisen levyn", "levy"),
    ("piros korongokat", "korong"),
    ("красную звезду", "красная звезда"),
    ("ΔΙΣΚΟΣ", "δίσκος"),
    ("赤い円盤が飛ぶ", "円盤"),
    ("赤いdiscが飛ぶ", "disc"),
    ("一个红色圆盘滑过", "圆盘"),
    ("별이 빛난다", "별"),
    ("แผ่นดิสก์สีแดงเคลื่อนผ่าน", "ดิสก์"),
    ("القرص الأحمر", "قرص"),
    ("הכוכב הכחול", "כוכב"),
    ("एक लाल तारा", "तारा"),
    ("a ★ here", "★"),
    ("C++ and", "C++"),
]
ABSENT = [
    ("a carpet", "car"),
    ("a racecar", "car"),
    ("a catapult", "cat"),
    ("starfish", "star"),
    ("a lad", "lady"),
    ("she lies", "lady"),
    ("a wool coat", "wolf"),
    ("he knits", "knife"),
    ("she dives", "if"),
    ("I see", "us"),
    ("a mound", "mouse"),
    ("a manly coat", "men"),
    ("blue disc, red star", "red disc"),
    ("円い盤", "円盤"),
    ("a disc", "★"),
    ("a disc", "円盤"),
    ("", "disc"),
]


@pytest.mark.parametrize(("text", "word"), THERE)
def test_words_that_are_there(text, word):
    assert mentions(text, word)


@pytest.mark.parametrize(("text", "word"), ABSENT)
def test_words_that_are_not(text, word):
    assert not mentions(text, word)


def test_the_same_word():
    assert same_word("E\u0301toile") == same_word("étoile") == same_word(" ÉTOILE ")
    assert same_word("ハス") != same_word("バス") != same_word("パス")  # lotus, bus, pass


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("a star, a Star and a starfish", "star", ["star", "Star"]),
        ("two red discs and a disco", "red disc", ["red discs"]),
        ("it starts; a mustard", "star", ["starts"]),
        ("a mustard", "star", []),
        ("一只猫和一只狗", "猫", ["猫"]),
        ("a c++ book", "c++", ["c++"]),
        ("a star", "", []),
        ("a disc", "red disc", []),
    ],
)
def test_where_words_are(text, word, found):
    assert [text[start:end] for start, end in occurrences(text, word)] == found
