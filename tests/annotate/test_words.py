"""Words of captions: what the taxonomy finds, and the rules that hold for everyone."""

from __future__ import annotations

import pytest

from alchemint_jax.annotate.words import (
    caption_of,
    category_of,
    choose,
    extract,
    in_order,
    kind_of,
    taxonomy,
)
from alchemint_jax.perceive.coco import COCO


def chosen(caption, candidates=None, most=6):
    kept, lost = choose(caption, extract(caption) if candidates is None else candidates, most)
    return [one["word"] for one in kept], {one["word"]: one["reason"] for one in lost}


def test_the_taxonomy_is_large_and_knows_all_that_detectors_know():
    categories = {category.name for category in taxonomy().values()}
    assert len(categories) >= 100 and len(taxonomy()) >= 800
    assert {c.detector for c in taxonomy().values()} - {None} == set(COCO)
    assert {c.kind for c in taxonomy().values()} == {
        *("human", "animal", "vehicle", "object", "logo", "background")
    }
    assert kind_of("mouse") == "object"  # as a detector says it: the one of a computer


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A woman in a white t-shirt throws a ball.", ["woman", "white t-shirt", "ball"]),
        ("the old red car stops; the car is gone", ["old red car"]),
        ("a red disc passes a blue disc", ["red disc", "blue disc"]),
        ("A golden retriever and two cats.", ["golden retriever"]),
        ("A fire truck, a hot dog.", ["fire truck", "hot dog"]),
        ("her hand on the head of a horse, in a field", ["horse"]),
        ("A crowd of people; several buses; wolves", []),
        ("cats", []),
        ("glasses on a table", ["glasses", "table"]),
        ("", []),
    ],
)
def test_words_of_captions(caption, words):
    kept, lost = chosen(caption)
    assert sorted(kept) == sorted(words)
    assert not set(kept) & set(lost)


def test_each_word_that_is_dropped_has_its_reason():
    _, lost = chosen("A crowd looks at two dogs on the beach; a boy lifts his arm.")
    assert lost == {
        "crowd": "is a group, or more than one",
        "dogs": "is a group, or more than one",
        "beach": "is background",
        "arm": "is a part of a body",
    }


def test_people_and_animals_come_first_and_there_are_not_too_many():
    kept, lost = chosen("a lamp, a chair, a dog and a car", most=3)
    assert kept == ["dog", "lamp", "chair"]
    assert lost == {"car": "is one of more than 3 subjects"}


def entity(word, phrase=None, kind="object", count="one"):
    return {"word": word, "phrase": phrase or word, "kind": kind, "count": count}


def test_the_same_rules_hold_for_what_a_server_says():
    caption = "A Boy in a red cap feeds two ducks near a lake."
    said = [
        entity("boy", "A Boy", "human"),
        entity("red  cap"),
        entity("ducks", "two ducks", "animal", "many"),
        entity("lake", kind="background"),
        entity("dragon"),
        entity("bo"),
        entity("cap", "a blue cap"),
        entity(""),
        entity("boy", kind="human"),
        entity("mystery", "near a lake"),
    ]
    kept, lost = chosen(caption, said)
    assert kept == ["boy", "red cap"]
    assert lost["dragon"] == lost["bo"] == lost["cap"] == "is not in the caption"
    assert lost["lake"] == "is background" and "more than one" in lost["ducks"]


def test_kinds_and_captions():
    assert kind_of("traffic light") == "object" and kind_of("big brown dog") == "animal"
    assert kind_of("gizmo") == "object" and category_of("gizmo") is None
    assert category_of("wolves").name == "wolf" and category_of("buses").name == "bus"
    assert caption_of(["dog", "umbrella", "dog", "cat"]) == "a dog, an umbrella and a cat"
    assert caption_of([]) == ""


def test_words_in_the_order_of_a_caption():
    caption = "A red Disc, a star and  a disc pass the old red car of a man."
    assert in_order(["man", "disc", "red car", "star", "red disc"], caption) == [
        *("red disc", "star", "disc", "red car", "man")
    ]
    assert in_order(["sun", "star"], caption) == ["star", "sun"]  # what it does not name is last
    assert in_order([], caption) == [] and in_order(["disc"], "") == ["disc"]
