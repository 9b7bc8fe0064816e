"""TempoControl: words, their times and their sounds."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax import cli
from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.sampling.control import (
    TempoControl,
    When,
    onsets,
)
from alchemint_jax.sampling.control.tempo import SIGNALS
from alchemint_jax.sampling.control.when import parse_when
from alchemint_jax.sampling.prompts import Prompts
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.scene import Clock, Scene, Spans, Subject
from alchemint_jax.tokenizers import ByteTokenizer

pytestmark = pytest.mark.slow

CLOCK = Clock(8, 17, 4)


def scene(*subjects, caption="a red disc and a blue star"):
    found = tuple(Subject(word, Spans(spans)) for word, *spans in subjects)
    return Scene("clip", caption, CLOCK, found)


TEXTS = Texts(ByteTokenizer(1), UMT5Encoder(UMT5Config(vocab=259)), dict)


def told(control, *scenes):
    prompts = Prompts(TEXTS, tuple((one.caption,) for one in scenes), 40)
    return control.told(prompts, scenes, CLOCK)


def test_words_are_those_of_subjects_or_those_that_are_named():
    scenes = [scene(("red disc", (0, 9)), ("star", (5, 7))), scene(("disc", (1, 17)))]
    found = told(TempoControl(rate=0.1), *scenes)
    assert found.words is None and found.rate == 0.1
    np.testing.assert_array_equal(
        found.followed.curves,
        [[[1, 1, 1, 0, 0], [0, 0, 0.5, 0, 0]], [[0, 1, 1, 1, 1], [0] * 5]],
    )
    texts = [
        bytes(np.frombuffer(one.caption.encode(), np.uint8)[row[: len(one.caption)]]).decode()
        for one, rows in zip(scenes, np.asarray(found.followed.tokens), strict=True)
        for row in rows
    ]
    assert texts == ["red disc", "star", "disc", ""]
    named = TempoControl([When("star"), When("Disc", seconds=[[0, 0.6], [1.9, 2]])])
    curves = told(named, scenes[0]).followed.curves[0]
    np.testing.assert_array_equal(curves, [[0, 0, 0.5, 0, 0], [1, 1, 0, 0, 0.5]])
    assert hash(named) == hash(TempoControl(named.words))


def test_curves_are_drawn_through_their_points():
    points = When("disc", curve=((0.5, 0.0), (1.0, 1.0), (1.5, 0.5)))
    pixels = [max(0.0, (i - 4) / 4) if i <= 8 else max(0.5, 1 - (i - 8) / 8) for i in range(17)]
    wanted = [pixels[0]] + [np.mean(pixels[4 * i - 3 : 4 * i + 1]) for i in range(1, 5)]
    np.testing.assert_allclose(points.over(scene(), CLOCK), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("star=0.5-2,3-4", When("star", seconds=((0.5, 2), (3, 4)))),
        (" a star = 0:0,1.5:1 ", When("a star", curve=((0, 0), (1.5, 1)))),
        ("thunder=a-b:c.wav", When("thunder", audio="a-b:c.wav")),
    ],
)
def test_the_command_line_says_when(text, when):
    assert parse_when(text) == when
    assert TempoControl.of([text, "b=1-2"]).words == (when, When("b", seconds=((1, 2),)))
    assert TempoControl.of([True]) == TempoControl() and TempoControl.of(None) is None
    for signal in SIGNALS:  # all of them can be said
        args = cli._parse(["generate", "a.yaml", "--out", "a.mp4", "--tempo-signal", signal])
        assert TempoControl.of([True], (0, 0.5), args.tempo_signal) == TempoControl(
            layers=(0, 0.5), signal=signal
        )


def test_what_is_wrong_with_words_and_times():
    for text in ("star", "=1-2", "star="):
        with pytest.raises(ConfigError, match="write WORD=WHEN"):
            parse_when(text)
    for fields, says in [
        ({"seconds": ((2, 1),)}, r"\[2, 1\) is not an interval"),
        ({"seconds": ()}, "seconds are pairs"),
        ({"curve": ((0, 0), (1, np.nan))}, "curve are pairs of finite numbers"),
        ({"curve": ((0, 0), (1, 1.5))}, "heights .* from 0 to 1"),
        ({"curve": ((1, 0), (0, 1))}, "in order of time"),
        ({"curve": ((1, 0),), "audio": "x"}, "curve or audio, not both"),
    ]:
        with pytest.raises(ConfigError, match=says):
            When("star", **fields)
    with pytest.raises(ConfigError, match="a word is empty"):
        When(" ")
    with pytest.raises(ConfigError, match="words with their times, or nothing"):
        TempoControl.of(["star=1-2", True])
    with pytest.raises(StoryboardError, match="clip: tempo: no subject is called 'disc'"):
        told(TempoControl([When("disc")]), scene())
    moon = When("moon", seconds=((0, 1),))
    with pytest.raises(StoryboardError, match="clip: tempo: the prompt does not have 'moon'"):
        told(TempoControl([moon, When("disc", seconds=((0, 1),))]), scene())
    with pytest.raises(StoryboardError, match="clip: tempo: has no subjects"):
        told(TempoControl(), scene())
    with pytest.raises(StoryboardError, match="does not have 'moon'"):
        told(TempoControl(), scene(("moon", (0, 3))))
    told(TempoControl(), scene(("moon", (0, 3)), ("disc", (0, 3))))


@pytest.mark.parametrize(
    "changes",
    [
        {"order": "mine"},
        {"signal": "sum"},
        {"steps": (0.5, 0.5)},
        {"layers": (0, 2)},
        {"rate": -1},
        {"iterations": 0},
        {"trim": -1},
    ],
)
def test_fields_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=f"TempoControl: {next(iter(changes))}"):
        TempoControl(**changes)


# -------------------------------------------------------------------------------------- sounds


def test_the_strength_of_onsets_becomes_a_curve():
    """Values at 0, 0.2, 0.4 ... s; a frame lasts 1/8 s, and latent frame 1 is frames 1 to 4."""
    values = np.array([0.0, 5.0, 1.0, 0.0, 0.0, 9.0, 0.0])
    found = onsets.per_latent_frame(values, 0.2 * np.arange(7), CLOCK)
    # Frame 9 is at 1.125 s, between the values at 1.0 and 1.2 s; then there is silence.
    np.testing.assert_allclose(found, [0, 5, 9, 9 * 0.075 / 0.2, 0], atol=1e-9)
    high = onsets.peaks(np.array([2.0, 2, 2, 2, 12, 10, 2, 2]))
    assert high[4] == 1 and high[5] == 0.8
    assert 0 < high[0] < high[3] < 0.7 and high[2] > high[1]


def test_between_peaks_a_curve_is_smoothed_by_a_gaussian_in_double_precision():
    """Of two frames, cut off after eight; the curve goes on as in a mirror."""
    given = np.random.default_rng(0).gamma(1.0, 1.0, 13)
    scaled = (given - min(given)) / (max(given) - min(given))
    weights = [math.exp(-(i**2) / 8) for i in range(-8, 9)]
    mirrored = [*scaled[::-1], *scaled, *scaled[::-1]]
    for i, found in enumerate(onsets.peaks(given)):
        window = mirrored[13 + i - 8 : 13 + i + 9]
        mean = sum(w * x for w, x in zip(weights, window, strict=True)) / sum(weights)
        assert found == pytest.approx(scaled[i] if scaled[i] >= 0.7 else mean, rel=1e-12)


def test_sound_is_read_by_librosa_or_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    thunder = When("disc", audio=str(path))
    with pytest.raises(ConfigError, match="there is no such file"):
        thunder.over(scene(), CLOCK)
    path.write_bytes(b"no sound")
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(ConfigError, match=r"install alchemint-jax\[audio\]"):
        thunder.over(scene(), CLOCK)
    strength = np.zeros(200)

    def load(name, sr, mono):
        assert (name, sr, mono) == (str(path), 22050, True)
        return np.zeros(3), sr

    onset = SimpleNamespace(onset_strength=lambda y, sr, hop_length: strength)
    monkeypatch.setitem(sys.modules, "librosa", SimpleNamespace(load=load, onset=onset))
    with pytest.raises(ConfigError, match="has no onsets in the 2 s"):
        thunder.over(scene(), CLOCK)
    strength[50] = 3.0  # 1.16 s: frame 9, latent frame 3
    assert thunder.over(scene(), CLOCK).argmax() == 3
    monkeypatch.setitem(sys.modules, "librosa", SimpleNamespace(load=None, onset=onset))
    with pytest.raises(ConfigError, match="no sound that can be read"):
        thunder.over(scene(), CLOCK)
