"""Several words of a caption for what a detector has one word for."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.annotate.naming import name_subjects

PAIR = [
    {"word": "man", "category": "man", "ask": "person"},
    {"word": "woman", "category": "woman", "ask": "person"},
]
DOG = {"word": "brown dog", "category": "dog", "ask": "dog"}


def subject(frame, left, asked="person"):
    return {"asked": asked, "detected_as": asked or "cat", "seen": [[frame, left, 0, 9, 9, 0.9]]}


def named(subjects, entities, vectors=None, texts=None):
    vectors = np.eye(4)[: len(subjects)] if vectors is None else np.array(vectors)
    found = name_subjects(subjects, entities, vectors, texts)
    return [(one["word"], one["named_by"], one["reason"] is None) for one in found]


def test_one_word_is_that_of_all_who_fit_it():
    found = named([subject(0, 5, "dog"), subject(3, 9, "dog")], [DOG])
    assert found == [("brown dog", "detector", True)] * 2


def test_two_are_named_in_the_order_in_which_they_appear_and_then_from_the_left():
    assert named([subject(0, 50), subject(0, 5)], PAIR) == [
        ("woman", "order", True),
        ("man", "order", True),
    ]
    assert named([subject(7, 5), subject(0, 50)], PAIR)[1][0] == "man"
    mixed = named([subject(0, 5, "dog"), subject(9, 0), subject(2, 0)], [*PAIR, DOG])
    assert [word for word, _, _ in mixed] == ["brown dog", "woman", "man"]


@pytest.mark.parametrize("count", [1, 3])
def test_more_or_fewer_than_the_caption_has_words_for_cannot_be_guessed(count):
    (*_, last) = name_subjects([subject(i, 0) for i in range(count)], PAIR, np.eye(4), None)
    assert last["reason"] == f"the detector cannot tell man and woman apart: {count} were seen"
    assert last["word"] == "person"


def test_an_embedder_that_reads_says_who_is_who():
    asked = []

    def texts(words):
        asked.extend(words)
        return np.array([[1.0, 0.0], [0.0, 1.0]])

    some = [subject(0, 5), subject(1, 5), subject(2, 5)]
    found = named(some, PAIR, [[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]], texts)
    assert [word for word, *_ in found] == ["woman", "person", "man"]
    assert [kept for *_, kept in found] == [True, False, True]
    assert {by for _, by, kept in found if kept} == {"text"}
    assert asked == ["a photo of a man", "a photo of a woman"]


def test_what_the_caption_has_no_word_for():
    (one,) = name_subjects([subject(0, 0, None)], PAIR, np.eye(1), None)
    assert one["word"] == "cat" and "no word for it" in one["reason"]
