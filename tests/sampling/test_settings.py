"""pipeline.json: written whole, read back the same, and refused with its name."""

from __future__ import annotations

import json

import pytest

from alchemint_jax.errors import WeightsError
from alchemint_jax.sampling import Guidance, settings
from alchemint_jax.sampling.settings import Plan, Settings

ODD = Settings(
    size=(32, 48),
    fps=6.0,
    max_frames=17,
    text_length=20,
    tag_length=5,
    steps=7,
    shift=2.5,
    guidance=Guidance(1.0, 2.0, 3.5),
)


def test_saved_settings_are_loaded(tmp_path):
    settings.save(tmp_path, ODD)
    assert settings.load(tmp_path) == ODD
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.json"]


def test_plan_takes_what_is_given_and_keeps_the_rest():
    assert ODD.plan() == Plan(7, 2.5, Guidance(1.0, 2.0, 3.5))
    assert ODD.plan(steps=3) == Plan(3, 2.5, Guidance(1.0, 2.0, 3.5))
    assert ODD.plan(guidance=Guidance(0, 0, 1)) == Plan(7, 2.5, Guidance(0, 0, 1))


def test_limits_are_those_of_the_settings():
    limits = ODD.limits(slots=2, events=True)
    assert (limits.max_subjects, limits.max_frames, limits.events) == (2, 17, True)
    assert (limits.sizes, limits.fps) == (((32, 48),), (6.0,))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"pipeline\.json: missing"):
        settings.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-10],
        lambda text: "[]",
        lambda text: "7",
        lambda text: text.replace('"steps"', '"stairs"'),
        lambda text: text.replace('"guidance"', '"guide"'),
        lambda text: json.dumps(json.loads(text) | {"size": 3}),
        lambda text: json.dumps(json.loads(text) | {"guidance": {"text": None}}),
        lambda text: json.dumps(json.loads(text) | {"guidance": {"text": float("nan")}}),
    ],
)
def test_damaged_files_are_named(tmp_path, change):
    settings.save(tmp_path, ODD)
    path = tmp_path / "pipeline.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(WeightsError, match=r"pipeline\.json: cannot be used"):
        settings.load(tmp_path)
