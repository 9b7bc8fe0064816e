"""How a model relies on word tags: the same boards with them, without, and with one another's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax.evaluate import tags
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.worlds.sprites.cases import FIRST_SEED
from alchemint_jax.worlds.sprites.world import sample_clip

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def test_boards_are_those_of_similar_subjects():
    cases = tags.similar_cases(6, seed=3)
    assert len(cases) == 6 and len({case.id for case in cases}) == 6
    assert all(len(case.words) > 1 for case in cases)
    for case in cases:
        clip = _clip(case)
        looks = [subject.look for subject in clip.subjects]
        shapes, colors = {look.shape for look in looks}, {look.color for look in looks}
        assert min(len(shapes), len(colors)) < len(looks)


def test_only_the_tags_differ_and_identity_is_compared_board_by_board():
    cases = tags.similar_cases(4, seed=3)
    truth = {case.prompt: _clip(case).video for case in cases}
    asked = []

    def draw(prompts, references, words, intervals, **settings):
        asked.append((prompts, references, intervals, settings))
        blank = np.full_like(truth[prompts[0]], 120)
        own = [[word for word in video if word] for video in words]
        right = [tuple(video) == case.words for video, case in zip(own, cases, strict=True)]
        return np.stack([truth[p] if ok else blank for p, ok in zip(prompts, right, strict=True)])

    found = tags.measure(draw, cases, seed=3, batch=4, progress=False)
    first, *others = asked
    for other in others:
        assert other[0] == first[0] and other[2:] == first[2:]
        np.testing.assert_array_equal(other[1], first[1])
    assert len(asked) == 3
    assert found["variants"]["tags"]["identity"]["mean"] > 0.9
    for name in ("no tags", "exchanged"):
        assert found["variants"][name]["identity"]["mean"] == 0
        assert found["differences"][name]["identity"]["high"] < -0.9


def test_what_cannot_be_measured_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tags, "prepare_jax", lambda: None)
    for more, message in (
        (["--limit", "0"], "whole number of at least 1"),
        (["--model", str(tmp_path / "none")], "none"),
        (["--out", str(tmp_path)], "folder"),
    ):
        with pytest.raises(SystemExit) as error:
            tags.main(["--out", str(tmp_path / "tags.json"), *more])
        assert error.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_without_tags_is_refused(tmp_path, capsys, monkeypatch):
    config = SimpleNamespace(tags=False)
    without = SimpleNamespace(models=SimpleNamespace(dit=SimpleNamespace(config=config)))
    monkeypatch.setattr(tags, "prepare_jax", lambda: None)
    monkeypatch.setattr(tags.Pipeline, "load", lambda model: without)
    with pytest.raises(SystemExit) as error:
        tags.main(["--model", "mine", "--out", str(tmp_path / "tags.json")])
    assert error.value.code == 2 and "--model mine: has no word tags" in capsys.readouterr().err


def test_the_committed_figures_are_of_the_bundled_model():
    found = json.loads((RESULTS / "sprites_tags.json").read_text())
    assert found["weights"] == fingerprints("sprites")
    readme = " ".join((RESULTS.parents[1] / "README.md").read_text().split())
    settings = f"On {found['limit']} boards of similar subjects, in {found['steps']} sampling steps"
    assert settings in readme
    for name, said in (("no tags", "without"), ("exchanged", "where subjects have one another's")):
        less, identity = (found[of][name]["identity"] for of in ("differences", "variants"))
        span = "{mean:.2f}, {low:.2f} to {high:.2f}".format(**less)
        assert f"{identity['mean']:.2f} {said} ({span})" in readme
        assert less["high"] < 0


def _clip(case):
    """The clip that the board asks for."""
    index = int(case.id.split("-")[-1])
    return sample_clip(index, seed=FIRST_SEED + 3, subjects=len(case.words))
