"""Cleaning and the byte tokenizer."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax.errors import ConfigError
from alchemint_jax.text import ByteTokenizer, clean_text


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("  a\t red\n\n disc\u00a0\u3000 ", "a red disc"),
        ("salt &amp; pepper", "salt & pepper"),
        ("salt &amp;amp; pepper", "salt & pepper"),  # escaped twice
        ("cafe\u0301", "caf\u00e9"),
        ("", ""),
    ],
)
def test_clean_text(dirty, clean):
    assert clean_text(dirty) == clean


def test_known_ids():
    ids, mask = ByteTokenizer(5).encode(["Az", ""])
    assert ids.dtype == np.int32 and mask.dtype == np.bool_
    assert ids.tolist() == [[68, 125, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert mask.tolist() == [[True, True, True, False, False], [True] + [False] * 4]


@given(st.lists(st.text(max_size=20), max_size=4), st.integers(1, 48))
def test_a_text_survives_up_to_a_character_boundary(texts, length):
    tokenizer = ByteTokenizer(length)
    ids, mask = tokenizer.encode(texts)
    assert ids.shape == mask.shape == (len(texts), length)
    assert ids.min(initial=0) >= 0 and ids.max(initial=0) < tokenizer.vocab_size == 259
    for row, seen, text, back in zip(ids, mask, texts, tokenizer.decode(ids), strict=True):
        whole = clean_text(text).encode("utf-8", "replace").decode()
        assert whole.startswith(back)
        n = int(seen.sum())
        assert seen[:n].all() and row[n - 1] == 1 and not row[n:].any()
        if len(whole.encode()) < length:
            assert back == whole
        else:  # nothing was cut that had room
            assert n > length - len(whole[len(back)].encode())


def test_a_cut_does_not_split_a_character():
    ids, mask = ByteTokenizer(3).encode(["a\u00e9"])
    assert ids.tolist() == [[100, 1, 0]] and mask.sum() == 2


def test_equal_meaning_equal_ids():
    tokenizer = ByteTokenizer(16)
    composed, decomposed = "caf\u00e9 au lait", unicodedata.normalize("NFD", "caf\u00e9  au lait ")
    assert composed != decomposed
    np.testing.assert_array_equal(
        tokenizer.encode([composed])[0], tokenizer.encode([decomposed])[0]
    )


def test_a_lone_surrogate_is_replaced_not_fatal():
    assert ByteTokenizer(4).decode(ByteTokenizer(4).encode(["\ud800"])[0]) == ["?"]


def test_decode_skips_what_is_no_byte():
    assert ByteTokenizer(4).decode([[2, 300, 68, 0, 68, 1, 68]]) == ["AA"]


def test_misuse():
    with pytest.raises(TypeError, match=r"\[text\]"):
        ByteTokenizer(4).encode("disc")
    with pytest.raises(ConfigError, match="at least 1"):
        ByteTokenizer(0)
