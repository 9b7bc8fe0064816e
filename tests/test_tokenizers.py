"""Bytes as tokens, and the tokenizer of a tokenizer.json with a small vocabulary made here."""

from __future__ import annotations

import dataclasses
import json
import unicodedata

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.tokenizers import ByteTokenizer, UMT5Tokenizer, clean_prompt, clean_text

CORPUS = [
    "a red disc glides past while a blue star bounces in",
    "the fish & the cat swim under the old stone bridge at dawn",
    "ein roter Ball springt über die Straße",
    "\u4e00\u53ea\u732b\u5728\u8349\u5730\u4e0a\u5954\u8dd1",
]


def _saved():
    """A tokenizer.json: the corpus's characters and the first of each line's words."""
    letters = sorted({c for line in CORPUS for c in line if c != " "})
    words = [f"\u2581{word}" for line in CORPUS for word in line.split()[:3]]
    pieces = [(piece, -9.0) for piece in ["\u2581", *letters]]
    pieces += [(word, -3.0 - i / 9) for i, word in enumerate(dict.fromkeys(words)) if len(word) > 2]
    special = ["<pad>", "</s>", "<unk>"]
    made = tokenizers.Tokenizer(models.Unigram([(s, 0.0) for s in special] + pieces, 2))
    made.add_special_tokens(special)
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = _template("$A </s>")
    return made.to_str()


def _template(pattern):
    return processors.TemplateProcessing(pattern, special_tokens=[("</s>", 1)])


def _backend(**changes):
    made = tokenizers.Tokenizer.from_str(_saved())
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    _backend().save(str(path / "tokenizer.json"))
    return path


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


def test_bytes_of_a_word():
    tokenizer = ByteTokenizer(12)
    text = "a  café, a café"
    (ids,), _ = tokenizer.encode([text])
    found = tokenizer.tokens_of(text, "Café ")
    assert found.tolist() == [False] * 2 + [True] * 5 + [False] * 5
    assert tokenizer.decode([ids[found]]) == ["café"]  # the second one is cut off
    assert dataclasses.replace(tokenizer, length=40).tokens_of(text, "café").sum() == 10
    assert not tokenizer.tokens_of(text, "tea").any() and not tokenizer.tokens_of("", "tea").any()


def test_misuse_of_bytes():
    with pytest.raises(TypeError, match=r"\[text\]"):
        ByteTokenizer(4).encode("disc")
    with pytest.raises(ConfigError, match="at least 1"):
        ByteTokenizer(0)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("  a\t red\n\n disc\u00a0\u3000 ", "a red disc"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("it\u2019s \u201cred\u201d", 'it\'s "red"'),  # ftfy straightens quotes
        ("schÃ¶n", "sch\u00f6n"),  # UTF-8 read as Latin-1
        ("\ufb01sh", "fish"),
        ("cafe\u0301", "caf\u00e9"),
        ("<cafe&amp;#769;>", "<cafe\u0301>"),  # unescaped last, and not composed, as in Wan
        ("a\x1c\x00b", "ab"),
        ("\ud800", "\ufffd"),
        ("", ""),
    ],
)
def test_clean_prompt(dirty, clean):
    assert clean_prompt(dirty) == clean


def test_pieces_end_and_padding(directory):
    tokenizer = UMT5Tokenizer.load(directory, 24)
    text = "a red disc"
    ids, mask = tokenizer.encode([text, "", "  a &amp;\n cat "])
    assert ids.shape == mask.shape == (3, 24)
    assert ids.dtype == np.int32 and mask.dtype == np.bool_
    for row, seen, clean in zip(ids, mask, [text, "", "a & cat"], strict=True):
        wanted = tokenizer.backend.encode(clean).ids  # the file's own end token
        assert row[seen].tolist() == wanted and wanted[-1] == 1
        assert seen[: len(wanted)].all() and not row[len(wanted) :].any()
    assert tokenizer.backend.decode(ids[0].tolist()) == text


def test_pieces_of_a_word(directory):
    tokenizer = UMT5Tokenizer.load(directory, 40)
    text = "a red disc  and a blue disc"
    (ids,), (mask,) = tokenizer.encode([text])

    def said(word, tokenizer=tokenizer):
        found = tokenizer.tokens_of(text, word)
        assert found.shape == (tokenizer.length,) and not (found & ~mask[: tokenizer.length]).any()
        return tokenizer.backend.decode(ids[: tokenizer.length][found].tolist())

    assert said("disc") == "disc disc" and said("red disc") == "red disc" and said("cat") == ""
    short = dataclasses.replace(tokenizer, length=1)  # of which the end token is all
    assert said("disc", short) == ""


def test_a_long_text_is_cut_and_still_ends(directory):
    long = " ".join(CORPUS)
    tokenizer = UMT5Tokenizer.load(directory)
    short = dataclasses.replace(tokenizer, length=9)
    assert tokenizer.length == 512
    (whole,), _ = tokenizer.encode([long])
    (cut,), mask = short.encode([long])
    assert cut.tolist() == [*whole[:8], 1] and mask.all()
    assert dataclasses.replace(tokenizer, length=1).encode([long])[0].tolist() == [[1]]


def test_pads_written_in_a_text_are_seen(directory):
    """As transformers has it: what is no padding is not masked, whatever its id."""
    ids, mask = UMT5Tokenizer.load(directory, 8).encode(["<pad> a"])
    assert ids[0, 0] == 0 and mask[0, 0]


def test_saved_truncation_and_padding_do_not_act(directory, tmp_path):
    backend = _backend()
    backend.enable_truncation(3)
    backend.enable_padding(length=40, direction="left")
    backend.save(str(tmp_path / "tokenizer.json"))
    for mine, theirs in zip(
        UMT5Tokenizer.load(tmp_path, 30).encode(CORPUS[:4]),
        UMT5Tokenizer.load(directory, 30).encode(CORPUS[:4]),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_any_text_can_be_encoded(directory):
    texts = ["\U0001f680\u2728", "\ud83d", "\u0645\u0631\u062d\u0628\u0627", "\x00", "&#x110000;"]
    tokenizer = UMT5Tokenizer.load(directory, 32)
    ids, mask = tokenizer.encode(texts)
    assert (ids[mask] < tokenizer.vocab_size).all() and (ids >= 0).all()


def test_missing_files(tmp_path):
    with pytest.raises(WeightsError, match=r"tokenizer\.json is missing.*Diffusers"):
        UMT5Tokenizer.load(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"\n")
    with pytest.raises(WeightsError, match=r"spiece\.model alone.*save_pretrained"):
        UMT5Tokenizer.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": 3}', "\x80"])
def test_corrupt_files(tmp_path, text):
    (tmp_path / "tokenizer.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=r"tokenizer\.json is (truncated or|an empty file,) not"):
        UMT5Tokenizer.load(tmp_path)


def test_a_truncated_file(directory, tmp_path):
    data = (directory / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match=r"tokenizer\.json is truncated or not"):
        UMT5Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(WeightsError, match=r"cannot read .*tokenizer\.json"):
        UMT5Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (lambda: _backend(post_processor=_template("$A")), "end token"),
        (lambda: _backend(post_processor=_template("</s> $A </s>")), "end token"),
        (lambda: tokenizers.Tokenizer(models.BPE()), "BPE, not Unigram; the id of <pad> is None"),
        (lambda: tokenizers.Tokenizer(models.Unigram([("a", -1.0)], 0)), "<pad> is None, not 0"),
    ],
)
def test_other_kinds_are_refused(tmp_path, backend, words):
    backend().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        WeightsError, match=r"tokenizer\.json is not a tokenizer of UMT5's kind"
    ) as e:
        UMT5Tokenizer.load(tmp_path)
    assert words in str(e.value)


def test_misuse(directory):
    with pytest.raises(TypeError, match=r"\[text\]"):
        UMT5Tokenizer.load(directory).encode("disc")
    with pytest.raises(ConfigError, match="at least 1"):
        UMT5Tokenizer.load(directory, 0)


def test_the_file_decides_about_unknown_characters(tmp_path):
    """Bytes where it says so (Google's does), one unknown id where not."""
    saved = json.loads(_saved())
    (plain,), seen = _load(tmp_path, saved).encode(["\u03a9"])
    assert 2 in plain[seen[0]]
    first = len(saved["model"]["vocab"])
    saved["model"]["vocab"] += [[f"<0x{b:02X}>", -9.0] for b in range(256)]
    saved["model"]["byte_fallback"] = True
    (ids,), _ = _load(tmp_path, saved).encode(["\u03a9"])
    assert [first + b for b in "\u03a9".encode()] == [i for i in ids if i >= first]


def _load(directory, saved):
    (directory / "tokenizer.json").write_text(json.dumps(saved), encoding="utf-8")
    return UMT5Tokenizer.load(directory, 8)
