"""Plans in words, for people, and as JSON."""

from __future__ import annotations

import json

from alchemint_jax.plan.estimate import Plan
from alchemint_jax.plan.targets import GIB


def as_json(plan: Plan) -> str:
    """The plan as one JSON object."""
    return json.dumps(plan.as_dict(), indent=1)


def as_text(plan: Plan) -> str:
    """The plan for people."""
    what = plan.what
    spare = (plan.available - plan.peak) / GIB
    verdict = f"fits, {spare:.1f} GiB to spare" if plan.fits else f"does not fit: {-spare:.1f} GiB"
    verdict = verdict if plan.fits else verdict + " are missing"
    lines = [
        f"{what['config']} on {what['target']} ({plan.chips} chips): {verdict}",
        f"  {what['step']} step of {what['batch']} clips of {what['size']} x {what['frames']} "
        f"frames with {what['references']} references"
        + (f" and {what['events']} events" if "events" in what else ""),
        f"  mesh {what['mesh']}, remat {what['remat']}, micro-batches {what['accumulate']}",
        f"  memory per device: peak {plan.peak / GIB:.2f} of {plan.available / GIB:.2f} GiB",
        *(f"    {kind:<16}{size / GIB:8.2f} GiB" for kind, size in plan.memory.items()),
    ]
    if plan.host:
        lines.append(f"    in host memory  {plan.host / GIB:8.2f} GiB")
    ratio = plan.program_flops / plan.model_flops
    lines.append(
        f"  operations per step: {plan.model_flops:.4g} needed, {plan.program_flops:.4g} in the "
        f"program ({ratio:.2f}x: what is recomputed)"
    )
    if not plan.collectives:
        lines.append("  collectives: none" if plan.fits else "  collectives: not compiled")
    else:
        lines.append("  collectives, sent per chip and step:")
    for name, entry in plan.collectives.items():
        lines.append(
            f"    {name:<32}{entry['sent'] / GIB:9.3f} GiB {1e3 * entry['seconds']:9.2f} ms "
            f"({entry['count']:.0f} runs)"
        )
    times = ", ".join(f"{name} {1e3 * x:.4g} ms" for name, x in plan.seconds.items())
    lines += [
        f"  least time: {times}",
        f"  step: at least {plan.step_seconds:.4g} s ({plan.serial_seconds:.4g} s if collectives "
        f"are waited for); MFU at most {100 * plan.mfu:.1f} %, "
        f"{plan.tokens / plan.step_seconds:.4g} video tokens/s at most",
    ]
    if plan.attention:
        cost = plan.attention
        lines.append(
            f"  attention's kernels: {cost.flops:.4g} operations; {cost.pair:.3f} x plain "
            f"attention's for a pair of tokens, {cost.token:.3f} x a video's alone for a token"
        )
    if plan.video:
        of = plan.video.as_dict(plan.step_seconds)
        lines.append(
            f"  video: {of['steps']} steps, {of['passes']} passes, {of['flops']:.4g} operations; "
            f"at least {of['seconds']:.4g} s, without texts and autoencoder"
        )
    lines.append(f"  compiled in {plan.compile_seconds:.0f} s")
    return "\n".join(lines)
