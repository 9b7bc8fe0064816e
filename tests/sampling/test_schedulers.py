"""Schedulers' configurations: each field followed as diffusers does, or refused by its name.

The goldens are what diffusers makes of every field, changed by itself and beside others.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.schedulers import EULER, UNIPC
from alchemint_jax.sampling.solvers import UniPC
from alchemint_jax.sampling.wan_settings import wan_settings

GOLDENS = Path(__file__).parents[1] / "goldens" / "schedulers"
FOUND = json.loads((GOLDENS / "cases.json").read_text())
CASES = {case["name"]: case for case in FOUND["cases"]}
REFUSED = {
    UNIPC: {
        "num_train_timesteps",
        "prediction_type",
        "thresholding",
        "predict_x0",
        "solver_p",
        "use_exponential_sigmas",
        "use_beta_sigmas",
        "use_flow_sigmas",
        "use_dynamic_shifting",
    },
    EULER: {"num_train_timesteps", "use_dynamic_shifting", "invert_sigmas", "stochastic_sampling"},
}
"""What is followed at one value only, which is the file's own."""


@pytest.fixture(scope="module")
def tensors():
    return load_file(GOLDENS / "io.safetensors")


def _kind(case):
    return case["name"].partition("-")[0]


def _write(directory, fields):
    (directory / "scheduler").mkdir(exist_ok=True)
    file = directory / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({k: v for k, v in fields.items() if v != "(absent)"}))
    return directory


def _loaded(directory, kind, **change):
    return wan_settings(_write(directory, FOUND["bases"][kind] | change), 16)


def _assert_follows(chosen, tensors, name):
    """Within 1e-6 of the largest value; diffusers' is computed in float64, ours in float32."""
    plan = chosen.plan(FOUND["steps"])
    levels, solver = plan.levels(), plan.method()
    golden = {key: tensors[f"{name}/{key}"] for key in ("sigmas", "times", "samples")}
    np.testing.assert_allclose(levels.sigmas, golden["sigmas"], rtol=2e-7, atol=0)
    np.testing.assert_allclose(levels.times, golden["times"], rtol=2e-7, atol=0)
    weight, noise = (jnp.asarray(tensors[key]) for key in ("weight", "noise"))

    def field(z, t):
        return jnp.tanh(z @ weight) * jnp.cos(3 * t) + z * jnp.sin(2 * t) / 2

    state, largest = solver.start(noise), np.abs(golden["samples"]).max()
    for row, expected in zip(solver.table(levels), golden["samples"], strict=True):
        state = solver.step(field, state, jnp.asarray(row))
        np.testing.assert_allclose(state[0], expected, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_followed_or_refused(name, tensors, tmp_path):
    case, kind = CASES[name], _kind(CASES[name])
    try:
        chosen = _loaded(tmp_path, kind, **case["change"])
    except WeightsError as error:
        assert case["outcome"] != "same"
        assert "scheduler_config.json" in str(error)
        assert any(field in str(error) for field in case["change"])
        return
    assert case["outcome"] != "stopped"
    _assert_follows(chosen, tensors, name if case["outcome"] == "other" else kind)


def test_what_is_refused_is_no_more_than_said(tmp_path):
    refused = {UNIPC: set(), EULER: set()}
    for case in CASES.values():
        if len(case["change"]) == 1 and case["outcome"] == "other":
            [(field, value)] = case["change"].items()
            try:
                _loaded(tmp_path, _kind(case), **case["change"])
            except WeightsError:
                refused[_kind(case)].add((field, json.dumps(value)))
    for kind, found in refused.items():
        assert {field for field, _ in found} - {"solver_order"} <= REFUSED[kind]
        assert {value for field, value in found if field == "solver_order"} <= {"4"}


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        (UNIPC, {"_class_name": "DDIMScheduler"}, "_class_name is 'DDIMScheduler'; only UniPC"),
        (UNIPC, {"stairs": 3}, "stairs is 3; UniPCMultistepScheduler has no such field"),
        (UNIPC, {"use_beta_sigmas": True}, "use_beta_sigmas is True; only False is supported"),
        (UNIPC, {"prediction_type": "(absent)"}, "prediction_type is left out.* 'epsilon'"),
        (UNIPC, {"use_flow_sigmas": 1}, "use_flow_sigmas is 1; only True"),
        (UNIPC, {"solver_order": True}, "solver_order is True; it must be one of 1, 2, 3"),
        (UNIPC, {"flow_shift": 0}, "flow_shift is 0; it must be a positive number"),
        (UNIPC, {"flow_shift": float("inf")}, "flow_shift is inf"),
        (UNIPC, {"flow_shift": 10**400}, "flow_shift is 1000"),
        (UNIPC, {"disable_corrector": [1.5]}, r"disable_corrector is \[1.5\]"),
        (UNIPC, {"beta_schedule": "x"}, "beta_schedule is 'x', which diffusers does not take"),
        (UNIPC, {"_use_default_values": 3}, "is damaged"),
        (UNIPC, {"solver_type": "bh1"}, "solver_type is 'bh1'.*use 'bh2', or final_sigmas_type"),
        (UNIPC, {"lower_order_final": False}, "lower_order_final is False.*use True"),
        (UNIPC, {"use_karras_sigmas": True, "beta_end": 1}, "beta_end is 1; with use_karras"),
        (EULER, {"shift_terminal": 1.0}, "shift_terminal is 1.0"),
        (EULER, {"use_beta_sigmas": True, "sigma_max": 2}, "sigma_max is 2; with use_beta_sigmas"),
        (
            EULER,
            {"invert_sigmas": True, "shift": None},
            "shift is None(.|\n)*invert_sigmas is True",
        ),
    ],
)
def test_refusals_name_file_field_and_way_out(tmp_path, kind, change, says):
    with pytest.raises(WeightsError, match=rf"scheduler_config\.json(.|\n)*{says}"):
        _loaded(tmp_path, kind, **change)


def test_metadata_of_any_name_is_no_setting(tmp_path):
    _loaded(tmp_path, UNIPC, _diffusers_version="9.9", _whatever=3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", " is damaged"),
        ('"_class_name"', " is damaged"),
        ('{"flow_shift": 3}', " is damaged"),
        ("{", " is not valid JSON"),
        ("[" * 10**5, " is not valid JSON"),
        ('{"flow_shift": 1e39}', ": flow_shift is 1e\\+39; .* float32"),
    ],
)
def test_damaged_files_are_named(tmp_path, text, says):
    (_write(tmp_path, {}) / "scheduler" / "scheduler_config.json").write_text(text)
    with pytest.raises(WeightsError, match=rf"scheduler_config\.json{says}"):
        wan_settings(tmp_path, 16)


def test_one_step_cannot_end_at_a_terminal(tmp_path):
    """Its level would be the first and the last at once."""
    chosen = _loaded(tmp_path, EULER, shift_terminal=0.1)
    assert chosen.plan(steps=2).levels().sigmas.shape == (3,)
    with pytest.raises(ConfigError, match=r"steps is 1.*shift_terminal.*use 2 steps"):
        chosen.plan(steps=1)


def test_every_choice_is_kept_by_our_own_file(tmp_path):
    for case in CASES.values():
        if case["outcome"] == "other":
            try:
                chosen = _loaded(tmp_path, _kind(case), **case["change"])
            except WeightsError:
                continue
            settings.save(tmp_path, chosen)
            assert settings.load(tmp_path) == chosen


def test_another_solver_leaves_the_levels(tmp_path):
    """Options of one solver are no matter of the other."""
    chosen = _loaded(
        tmp_path, UNIPC, solver_type="bh1", final_sigmas_type="sigma_min", shift_terminal=0.1
    )
    own, euler = chosen.plan(steps=4), chosen.plan(steps=4, solver="euler")
    assert own.unipc == UniPC(solver_type="bh1")
    np.testing.assert_array_equal(own.levels().sigmas, euler.levels().sigmas)
    assert own.levels().sigmas[-1] == own.levels().sigmas[-2] > 0.09
    assert euler.method().table(euler.levels()).shape == (4, 2)
