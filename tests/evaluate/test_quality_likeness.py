"""Subj-S, S2V consistency and decoupling, and Text-S, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alchemint_jax.evaluate.quality import (
    s2v_consistency,
    s2v_decoupling,
    subject_similarity,
    text_similarity,
)

NAN = float("nan")
# Three frames and two pictures; the subject is not seen in the second one.
TABLE = np.array([[0.8, 0.4], [NAN, NAN], [0.2, 0.6]])


def test_they_are_what_they_are_by_hand():
    assert subject_similarity(TABLE) == pytest.approx((0.8 + 0.4 + 0.2 + 0.6) / 6)
    assert s2v_consistency(TABLE) == pytest.approx((0.8 + 0.6) / 2)
    assert s2v_decoupling(TABLE) == pytest.approx(1 - (0.8 + 0.4 + 0.2 + 0.6) / 4)


def test_a_subject_that_is_never_seen():
    never = np.full((3, 2), NAN)
    assert subject_similarity(never) == s2v_consistency(never) == 0
    assert math.isnan(s2v_decoupling(never))


def test_nothing_to_look_at():
    for empty in (np.zeros((0, 2)), np.zeros((3, 0))):
        for figure in (subject_similarity, s2v_consistency, s2v_decoupling):
            assert math.isnan(figure(empty))


def test_one_frame_and_one_picture():
    one = np.array([[0.25]])
    assert subject_similarity(one) == s2v_consistency(one) == 0.25
    assert s2v_decoupling(one) == 0.75


@pytest.mark.parametrize("figure", [subject_similarity, s2v_consistency, s2v_decoupling])
def test_the_order_of_frames_and_pictures_does_not_matter(figure):
    assert figure(TABLE[::-1]) == pytest.approx(figure(TABLE))
    assert figure(TABLE[:, ::-1]) == pytest.approx(figure(TABLE))
    assert figure(TABLE[:1]) != pytest.approx(figure(TABLE))


def test_missing_costs_presence_and_not_looks():
    seen = np.full((4, 1), 0.5)
    less = np.where(np.arange(4)[:, None] < 2, seen, NAN)
    assert s2v_consistency(less) == s2v_consistency(seen)
    assert subject_similarity(less) == subject_similarity(seen) / 2


def test_text_is_compared_with_the_frames_that_count():
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    text = np.array([1.0, 0.0])
    inside = np.array([True, True, False])
    assert text_similarity(vectors, text) == pytest.approx(1.6 / 3)
    assert text_similarity(vectors, text, inside) == pytest.approx(0.8)
    assert text_similarity(vectors[::-1], text, inside[::-1]) == pytest.approx(0.8)
    assert math.isnan(text_similarity(vectors, text, np.zeros(3, bool)))
    assert math.isnan(text_similarity(vectors[:0], text))
