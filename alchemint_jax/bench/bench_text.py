"""What was measured, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alchemint_jax.plan.targets import GIB

_WHAT = {
    "forward": "forward pass",
    "train": "training step",
    "attention": "self-attention of one layer",
    "sample": "one step of sampling",
    "video": "a video of its noise",
    "encode": "encoding",
    "decode": "decoding",
}

_BESIDE = {"torch": "PyTorch", "ungated": "work without gating"}


def as_text(result: Mapping[str, Any]) -> str:
    """The result of `runner.run`, a few lines for each case."""
    machine = result["machine"]
    versions = [
        f"{name} {machine[key]}"
        for key, name in (("jax", "JAX"), ("torch", "PyTorch"), ("diffusers", "diffusers"))
        if key in machine
    ]
    lines = [
        f"{machine['device']} ({_many(machine['devices'], machine['platform'] + ' device')}, "
        f"{_many(machine['threads'], 'CPU thread')}); {', '.join(versions)}; medians and quartiles "
        f"of {_many(result['repeats'], 'call')}"
    ]
    if (load := machine.get("load_before", 0.0)) > 0.5:
        lines.append(f"  the machine was not idle (load {load:g} before): times may be too long")
    for case in result["cases"]:
        lines += ["", *_case(case)]
    return "\n".join(lines)


def _case(case: Mapping[str, Any]) -> list[str]:
    what, ours = case["what"], case["ours"]
    line = f"{case['name']}: {_WHAT[case['kind']]}, {_many(what['batch'], 'clip')} of "
    line += f"{what['size']} x {what['frames']} frames, {what['dtype']}"
    if "video_tokens" in what:
        line += f"; in each {what['video_tokens']} video tokens"
        if what["references"]:
            references = _many(what["references"], "reference")
            line += f", {what['reference_tokens']} of {references}"
        line += f", {what['text_tokens']} of text"
        if "event_tokens" in what:
            line += f", {what['event_tokens']} of {_many(what['events'], 'event')} and gaps"
    lines = [line]
    for side in ("ours", *_BESIDE):
        if side in case:
            lines.append(_side(side, case[side], case["unit"]))
    for side, name in _BESIDE.items():
        if found := case.get(f"ours_to_{side}"):
            low, high = found["pairs"]["quartiles"]
            lines.append(
                f"  ours / {side} {found['ratio']:.3f} of medians, {low:.3f} to {high:.3f} turn by "
                "turn"
                + (f"; {found['memory']:.3f} of a call's memory" if "memory" in found else "")
            )
        elif reason := case.get(f"no_{side}"):
            lines.append(f"  no {name} beside it: {reason}")
    if case["kind"] == "sample":
        steps = what["steps"]
        seconds = steps * ours["seconds"]["median"]
        lines.append(f"  {_many(steps, 'step')} to a clip: {seconds:.3g} s, without decoding")
    last = f"  compiled in {ours['compile_seconds']:.3g} s; "
    last += f"the program itself needs {ours['program_bytes'] / GIB:.2f} GiB"
    if ours["attention"]:
        kernels = ", ".join(f"{name} x{count}" for name, count in ours["custom_calls"].items())
        last += f"; attention by {ours['attention']} (kernels called: {kernels or 'none'})"
    return [*lines, last]


def _side(name: str, side: Mapping[str, Any], unit: str) -> str:
    seconds, memory = side["seconds"], side["memory"]
    low, high = seconds["quartiles"]
    parts = [
        f"  {name:<8}{seconds['median']:.4g} s ({low:.4g} to {high:.4g})",
        f"{side['per_second']:.4g} {unit}/s",
        f"{side['flops_per_second'] / 1e9:.4g} GFLOP/s",
    ]
    if side["mfu"] is not None:
        parts.append(f"MFU {100 * side['mfu']:.1f} %")
    before = f" from {memory['before'] / GIB:.2f}" if memory["before"] is not None else ""
    parts.append(
        f"peak {memory['bytes'] / GIB:.2f} GiB{before} ({memory['of']}, {memory['scope']})"
    )
    return ", ".join(parts)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
