"""How diffusers' `scheduler_config.json` says that a model is to be sampled, field by field.

Every field of the two schedulers that Wan's repositories have is in one of two tables: `_READ`, of
what decides about the result, with the values that can be followed; and `_UNREAD`, of what changes
nothing where the first table's values hold, with the reason. Any other field is refused, for
nobody could say what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alchemint_jax.errors import WeightsError
from alchemint_jax.sampling.solvers import UniPC
from alchemint_jax.weights import files

UNIPC, EULER = "UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"


class _Field(NamedTuple):
    """One that is read.

    Attributes:
        default: diffusers' own, where the file leaves the field out.
        fits: whether a value can be followed.
        wanted: which can, for people.
    """

    default: Any
    fits: Callable[[Any], bool]
    wanted: str


class _Unread(NamedTuple):
    """One that changes nothing.

    Attributes:
        default: diffusers' own.
        reason: why it changes nothing.
        fits: whether diffusers takes a value at all.
    """

    default: Any
    reason: str
    fits: Callable[[Any], bool] = lambda value: True


def _only(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(type(value) is type(v) and value == v for v in values)


def _fixed(default: Any, value: Any, why: str = "") -> _Field:
    return _Field(default, _only(value), f"only {value!r} is supported{why and f': {why}'}")


def _choice(default: Any, *values: Any) -> _Field:
    return _Field(default, _only(*values), f"it must be one of {', '.join(map(repr, values))}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e300 < value < 1e300


def _is_size(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_steps(value: Any) -> bool:
    return isinstance(value, list) and all(type(step) is int for step in value)


def _is_betas(value: Any) -> bool:
    return value is None or (isinstance(value, list) and value != [] and all(map(_is_size, value)))


_SHIFT = _Field(1.0, lambda x: _is_number(x) and x > 0, "it must be a positive number")
_TERMINAL = _Field(
    None,
    lambda x: x is None or (_is_number(x) and 0 <= x < 1),
    "it must be null or a number from 0 (none) to below 1",
)
_BY_SIZE = _fixed(False, False, "shifts that go with the size of a video are unknown for Wan")
_THOUSAND = _fixed(1000, 1000, "Wan is told times in thousandths")
_NO_NUMBER = "on levels of a flow diffusers itself finds no number; use_karras_sigmas is supported"
_SWITCH = _choice(False, False, True)
# diffusers runs bh2 where a file made for another scheduler names one of that one's variants.
_VARIANTS = {"bh1": "bh1", **dict.fromkeys(("bh2", "midpoint", "heun", "logrho"), "bh2")}

_READ: dict[str, dict[str, _Field]] = {
    UNIPC: {
        "num_train_timesteps": _THOUSAND,
        "solver_order": _choice(2, 1, 2, 3),
        "prediction_type": _fixed("epsilon", "flow_prediction", "Wan predicts velocities"),
        "thresholding": _fixed(False, False, "latents have no bounds to be held to"),
        "predict_x0": _fixed(True, True, "diffusers has no other way for velocities"),
        "solver_type": _choice("bh2", *_VARIANTS),
        "lower_order_final": _choice(True, True, False),
        "disable_corrector": _Field([], _is_steps, "it must be a list of whole numbers"),
        "solver_p": _fixed(None, None),
        "use_karras_sigmas": _SWITCH,
        "use_exponential_sigmas": _fixed(False, False, _NO_NUMBER),
        "use_beta_sigmas": _fixed(False, False, _NO_NUMBER),
        "use_flow_sigmas": _fixed(False, True, "Wan's path is a flow"),
        "flow_shift": _SHIFT,
        "final_sigmas_type": _choice("zero", "zero", "sigma_min"),
        "use_dynamic_shifting": _BY_SIZE,
        "shift_terminal": _TERMINAL,
    },
    EULER: {
        "num_train_timesteps": _THOUSAND,
        "shift": _SHIFT,
        "use_dynamic_shifting": _BY_SIZE,
        "invert_sigmas": _fixed(False, False, "Wan's level 1 is noise"),
        "shift_terminal": _TERMINAL,
        "use_karras_sigmas": _SWITCH,
        "use_exponential_sigmas": _SWITCH,
        "use_beta_sigmas": _SWITCH,
        "time_shift_type": _choice("exponential", "exponential", "linear"),
        "stochastic_sampling": _fixed(False, False, "steps draw no noise here"),
    },
}

_BETAS = "levels of a flow are not made of betas, but for the ends of Karras's"
_ENDS = "only Karras's, exponential and beta levels begin or end there"
_LAID = "a flow has times of its own"
_BOUNDS = "read for thresholding alone, which is refused"
_SIZES = "read for dynamic shifting alone, which is refused"
_NOT_ITS_OWN = "a field of the other scheduler, left by a conversion; diffusers does not read it"

_OWN_UNREAD: dict[str, dict[str, _Unread]] = {
    UNIPC: {
        "beta_start": _Unread(0.0001, _BETAS, _is_size),
        "beta_end": _Unread(0.02, _BETAS, _is_size),
        "beta_schedule": _Unread(
            "linear", _BETAS, _only("linear", "scaled_linear", "squaredcos_cap_v2")
        ),
        "trained_betas": _Unread(None, _BETAS, _is_betas),
        "rescale_betas_zero_snr": _Unread(False, _BETAS),
        "sigma_min": _Unread(None, _ENDS),
        "sigma_max": _Unread(None, _ENDS),
        "timestep_spacing": _Unread("linspace", _LAID, _only("linspace", "leading", "trailing")),
        "steps_offset": _Unread(0, _LAID, lambda value: type(value) is int),
        "dynamic_thresholding_ratio": _Unread(0.995, _BOUNDS),
        "sample_max_value": _Unread(1.0, _BOUNDS),
        "time_shift_type": _Unread("exponential", _SIZES),
    },
    EULER: {
        "base_shift": _Unread(0.5, _SIZES),
        "max_shift": _Unread(1.15, _SIZES),
        "base_image_seq_len": _Unread(256, _SIZES),
        "max_image_seq_len": _Unread(4096, _SIZES),
        # Not its own, yet obeyed where a file converted from UniPC's has them.
        "sigma_min": _Unread(None, _ENDS),
        "sigma_max": _Unread(None, _ENDS),
    },
}
_UNREAD = {
    kind: {
        field: _Unread(None, _NOT_ITS_OWN)
        for field in {**_READ[other], **_OWN_UNREAD[other]}
        if field not in _READ[kind]
    }
    | _OWN_UNREAD[kind]
    for kind, other in ((UNIPC, EULER), (EULER, UNIPC))
}


def read_scheduler(file: Path) -> dict[str, Any]:
    """The fields of `Settings` that a scheduler's configuration decides about.

    Raises:
        WeightsError: it is damaged, of another scheduler, or asks for what cannot be followed
            exactly; all such fields are listed.
    """
    try:
        values = files.read_json(file)
        kind = values["_class_name"]
        # diffusers passes over what is listed there.
        unset = set(values.get("_use_default_values", ()))
    except (OSError, TypeError, KeyError) as e:
        raise WeightsError(f"{file} is damaged: {e}") from e
    if kind not in (UNIPC, EULER):
        raise WeightsError(f"{file}: _class_name is {kind!r}; only {UNIPC}, {EULER} can be run")
    given = {k: v for k, v in values.items() if not k.startswith("_") and k not in unset}
    fields = {name: given.get(name, field.default) for name, field in _READ[kind].items()}
    if problems := [*_problems(kind, given), *_together(kind, fields, given)]:
        raise WeightsError("\n  ".join([f"{file} cannot be followed:", *problems]))
    settings = _unipc(fields) if kind == UNIPC else _euler(fields)
    # 0 is none, as in diffusers.
    return {"shift_terminal": float(fields["shift_terminal"] or 0) or None, **settings}


def _problems(kind: str, given: dict[str, Any]) -> list[str]:
    """What is wrong with single fields."""
    found = []
    for name, field in _READ[kind].items():
        if name not in given and not field.fits(field.default):
            found.append(
                f"{name} is left out, which is {field.default!r} to diffusers; {field.wanted}"
            )
        elif name in given and not field.fits(given[name]):
            found.append(f"{name} is {given[name]!r}; {field.wanted}")
    for name, value in given.items():
        if name in _READ[kind]:
            continue
        if name not in _UNREAD[kind]:
            found.append(f"{name} is {value!r}; {kind} has no such field known here; remove it")
        elif not _UNREAD[kind][name].fits(value):
            found.append(f"{name} is {value!r}, which diffusers does not take; remove it")
    return found


def _together(kind: str, fields: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """What is wrong with fields beside others."""
    laid = [x for x in fields if x.endswith("_sigmas") and x.startswith("use_") and fields[x]]
    laid = [x for x in laid if x != "use_flow_sigmas"]
    if len(laid) > 1:
        return [f"{' and '.join(laid)} are true; only one can be"]
    if laid:
        return [
            f"{name} is {given[name]!r}; with {laid[0]} only {field.default!r} is supported"
            for name, field in _OWN_UNREAD[kind].items()
            if field.reason in (_BETAS, _ENDS) and given.get(name, field.default) != field.default
        ]
    return []


def _unipc(fields: dict[str, Any]) -> dict[str, Any]:
    karras = fields["use_karras_sigmas"]
    return {
        "solver": "unipc",
        "grid": "diffusers-unipc-karras" if karras else "diffusers-unipc",
        "shift": float(fields["flow_shift"]),
        "final_sigmas_type": fields["final_sigmas_type"],
        "unipc": UniPC(
            fields["solver_order"],
            _VARIANTS[fields["solver_type"]],
            fields["lower_order_final"],
            tuple(fields["disable_corrector"]),
        ),
        # diffusers does not stretch Karras's levels.
        **({"shift_terminal": None} if karras else {}),
    }


def _euler(fields: dict[str, Any]) -> dict[str, Any]:
    laid = [x for x in ("karras", "exponential", "beta") if fields[f"use_{x}_sigmas"]]
    return {
        "solver": "euler",
        "grid": "-".join(["diffusers-euler", *laid]),
        "shift": float(fields["shift"]),
    }
