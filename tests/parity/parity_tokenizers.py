"""Our tokenizer against transformers' and sentencepiece, on a vocabulary trained here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sentencepiece
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, T5Tokenizer

from alchemint_jax.tokenizers import UMT5Tokenizer, clean_prompt

TEXTS = [
    "a red disc glides past while a blue star bounces in",
    "",
    "  leading,\ttabs \r\n and   trailing  ",
    "salt &amp;amp; pepper &lt;b&gt; &#233; &hearts; &#x1F600; <cafe&#769;>",
    "the \u201cquoted\u201d fish \u2014 it\u2019s \ufb01ne\u2026 \uff21\uff22\uff23 \u2460",
    "schÃ¶n, dÃ©jÃ\xa0 vu",
    "\u4e00\u53ea\u732b\u5728\u8349\u5730\u4e0a\u5954\u8dd1\uff0c\u955c\u5934\u62c9\u8fdc\u3002",
    "\u0645\u0631\u062d\u0628\u0627 \u043f\u0440\u0438\u0432\u0435\u0442 \u03b3\u03b5\u03b9\u03b1",
    "\U0001f680\u2728 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f",
    "cafe\u0301 nai\u0308ve \u1100\u1161\u11a8 a\u200bb a\u00adb x\x00y\x1c",
    "</s> in the middle <pad> and <unk> ",
    "a long one " * 300,
]
CORPUS = [*TEXTS[:1], *TEXTS[2:10], "the old stone bridge at dawn", "ein roter Ball springt"] * 3
SETTINGS = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A Unigram model trained by the tokenizers library."""
    path = tmp_path_factory.mktemp("library")
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    made.save(str(path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **SETTINGS}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A sentencepiece model, made into a tokenizer.json by transformers, as Wan's was."""
    path = tmp_path_factory.mktemp("converted")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_prefix=str(path / "spiece"),
        vocab_size=300,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        minloglevel=2,
    )
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0, **SETTINGS})
    )
    T5Tokenizer.from_pretrained(path).save_pretrained(path)
    return path


@pytest.mark.parametrize("kind", ["library", "converted"])
@pytest.mark.parametrize("length", [512, 33, 5])
def test_ids_and_masks_are_transformers(kind, length, request):
    path = request.getfixturevalue(kind)
    theirs = AutoTokenizer.from_pretrained(path)(
        [prompt_clean(text) for text in TEXTS],
        padding="max_length",
        max_length=length,
        truncation=True,
        add_special_tokens=True,
        return_attention_mask=True,
        return_tensors="np",
    )
    ids, mask = UMT5Tokenizer.load(path, length).encode(TEXTS)
    np.testing.assert_array_equal(ids, theirs["input_ids"])
    np.testing.assert_array_equal(mask, theirs["attention_mask"].astype(bool))
    assert len(np.unique(ids)) > 20 or length == 5


def test_ids_are_sentencepieces(converted):
    spm = sentencepiece.SentencePieceProcessor(model_file=str(converted / "spiece.model"))
    # Without what sentencepiece reads as letters, and "..." of which two readings score the same.
    plain = [text.replace("\u2026", "") for text in TEXTS if "</s>" not in text]
    ids, mask = UMT5Tokenizer.load(converted, 4096).encode(plain)
    for row, seen, text in zip(ids, mask, plain, strict=True):
        assert row[seen].tolist() == [*spm.encode(prompt_clean(text)), 1], text


@pytest.mark.parametrize("text", TEXTS)
def test_cleaning_is_diffusers(text):
    assert clean_prompt(text) == prompt_clean(text)


def test_every_character_is_cleaned_as_diffusers_does():
    for start in range(0, 0x110000, 0x400):
        text = "".join(f"{chr(c)} x" for c in range(start, start + 0x400))
        assert clean_prompt(text) == prompt_clean(text)
        escaped = "".join(f"&#{c}; x" for c in range(start, start + 0x400))
        assert clean_prompt(escaped) == prompt_clean(escaped)
