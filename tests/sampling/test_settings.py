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
    solver="unipc",
    grid="wan",
    reference_size=(8, 16),
)


def test_saved_settings_are_loaded(tmp_path):
    settings.save(tmp_path, ODD)
    assert settings.load(tmp_path) == ODD
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.json"]


def test_plan_takes_what_is_given_and_keeps_the_rest():
    own = Guidance(1.0, 2.0, 3.5)
    assert ODD.plan() == Plan(7, 2.5, own, "unipc", "wan")
    assert ODD.plan(steps=3) == Plan(3, 2.5, own, "unipc", "wan")
    other = Guidance(0, 0, 1)
    assert ODD.plan(guidance=other) == Plan(7, 2.5, other, "unipc", "wan")
    assert ODD.plan(solver="euler") == Plan(7, 2.5, own, "euler", "wan")


def test_models_that_name_no_solver_keep_the_one_they_had():
    assert Settings().plan() == Plan(40, 5.66, Guidance(), "euler", "linear")


def test_limits_are_those_of_the_settings():
    limits = ODD.limits(slots=2, events=True, stride=8)
    assert (limits.max_subjects, limits.max_frames, limits.events) == (2, 17, True)
    assert limits.stride == 8
    assert (limits.sizes, limits.fps) == (((32, 48),), (6.0,))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"pipeline\.json: missing"):
        settings.load(tmp_path)
    (tmp_path / "pipeline.json").mkdir()
    with pytest.raises(WeightsError, match=r"pipeline\.json: cannot be read: Is a directory"):
        settings.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:-10], "not valid JSON"),
        (lambda text: "[" * 10**5, "not valid JSON"),
        (lambda text: "[]", "must hold an object"),
        (lambda text: "7", "must hold an object"),
        ({"guidance": 3}, "must hold an object"),
        ({"stairs": 3}, "no field 'stairs'"),
        ({"guide": {}}, "no field 'guide'"),
        ({"size": 3}, "size is 3"),
        ({"size": [64]}, "size"),
        ({"size": [64, "64"]}, r"size\[1\] is '64'"),
        ({"reference_size": [32]}, r"reference_size is \(?\[?32"),
        ({"reference_size": [32, 0]}, r"reference_size\[1\] is 0"),
        ({"max_frames": 0}, "max_frames is 0"),
        ({"min_frames": 34, "max_frames": 33}, "min_frames is 34, more than max_frames 33"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"fps": "8"}, "fps is '8'"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"shift": float("nan")}, "shift is nan"),
        ({"solver": "heun"}, "solver is 'heun'; it must be one of euler, unipc"),
        ({"solver": ["euler"]}, "solver is "),
        ({"grid": "Wan"}, "grid is 'Wan'; it must be one of linear, wan, diffusers-unipc"),
        ({"guidance": {"text": None}}, "guidance: text is None"),
        ({"guidance": {"text": float("nan")}}, "guidance.text is nan"),
        ({"guidance": {"texts": 1}}, "no field 'texts'"),
    ],
)
def test_damaged_files_are_named(tmp_path, change, says):
    settings.save(tmp_path, ODD)
    path = tmp_path / "pipeline.json"
    text = path.read_text()
    path.write_text(
        json.dumps(json.loads(text) | change) if isinstance(change, dict) else change(text)
    )
    with pytest.raises(WeightsError, match=rf"pipeline\.json.*{says}"):
        settings.load(tmp_path)


def test_absent_fields_keep_their_defaults(tmp_path):
    (tmp_path / "pipeline.json").write_text('{"fps": 6, "guidance": {"both": 2}}')
    assert settings.load(tmp_path) == Settings(fps=6.0, guidance=Guidance(both=2.0))
