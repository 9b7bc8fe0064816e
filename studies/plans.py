"""The plans in docs/plans: `python -m studies.plans`, which `make plans` runs.

Every plan is one run of `alchemint plan` in a process of its own. Those whose file is there are not
made again, so an interrupted run goes on; remove a file to have its plan made again.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import media
from alchemint_jax.plan.picture import draw

SIZES = {"480p": "480x832", "720p": "720x1280"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One plan.

    Attributes:
        name: of its file.
        arguments: of `alchemint plan`.
    """

    name: str
    arguments: tuple[str, ...]


def cases() -> list[Case]:
    """All plans, in the table's order."""
    found = []
    for (model, size, target), how in HOW.items():
        for references in (0, 2, 4):
            if references == 4 and (model != "wan_1_3b" or (size, target) not in FOUR):
                continue
            name = f"{model}_{size}_{references}refs_{target.replace(':', '-')}"
            arguments = (
                *("--config", CONFIGS[model], "--target", target),
                *("--size", SIZES[size], "--frames", "81"),
                *("--references", str(references), *how.split()),
                *(() if name in SEARCHED else FULL),
            )
            found.append(Case(name, arguments))
    return found + EXTRA


# Mesh and batch of each model, size and target. Twelve heads (1.3B) cannot be shared by eight or
# sixteen, forty (14B) can. Few chips train a LoRA of 14B, many the whole.
_WHOLE = "--config.train.optimizer.accumulate=1"
HOW = {
    (model, size, target): how
    for size in SIZES
    for (model, target), how in {
        ("wan_1_3b", "v5p-8"): "--mesh fsdp=4 --batch 4",
        ("wan_1_3b", "v5p:4x4x4"): "--mesh data=4,fsdp=16 --batch 64",
        ("wan_1_3b", "v6e:16x16"): "--mesh data=16,fsdp=16 --batch 256",
        ("wan_1_3b", "h100:8"): "--mesh fsdp=8 --batch 8",
        ("wan_1_3b", "h100:8x8"): "--mesh data=8,fsdp=8 --batch 64",
        ("wan_14b_lora", "v5p-8"): f"--mesh context=4 --batch 1 {_WHOLE}",
        ("wan_14b", "v5p:4x4x4"): f"--mesh fsdp=16,context=4 --batch 16 {_WHOLE}",
        ("wan_14b", "v6e:16x16"): f"--mesh fsdp=64,context=4 --batch 64 {_WHOLE}",
        ("wan_14b_lora", "h100:8"): f"--mesh context=8 --batch 1 {_WHOLE}",
        ("wan_14b", "h100:8x8"): f"--mesh fsdp=8,context=8 --batch 8 {_WHOLE}",
    }.items()
}
FULL = ("--remat", "full")
"""Everything is computed again: plans that were not searched for the fastest policy."""

SEARCHED = (
    "wan_1_3b_480p_2refs_v5p-8",
    "wan_1_3b_480p_0refs_h100-8",
    "wan_1_3b_480p_2refs_h100-8",
)
"""Plans with the fastest policy that fits, as it is in the configs."""

CONFIGS = {
    "wan_1_3b": "configs/wan_1_3b.py",
    "wan_14b": "configs/wan_14b.py",
    "wan_14b_lora": "configs/wan_14b.py:lora",
}
# Four references are planned only here, of the 1.3B model.
FOUR = {("480p", "v5p:4x4x4"), ("480p", "h100:8x8")}
_TWO_720P = "--size 720x1280 --frames 81 --references 2"
_TWO_480P = "--size 480x832 --frames 81 --references 2"
_TEXT = "--config.cached_text=False"  # the text encoder is in the step
EXTRA = [
    Case(name, tuple(arguments.split()))
    for name, arguments in {
        "search_14b_720p_2refs_v5p-8": "--config configs/wan_14b.py --target v5p-8 "
        f"{_TWO_720P} --batch 1 --search {_WHOLE}",
        "data_axis_8": f"--config configs/wan_1_3b.py --target v5p:2x2x2 {_TWO_480P} "
        f"--mesh data=8 {' '.join(FULL)}",
        "data_axis_64": f"--config configs/wan_1_3b.py --target v5p:4x4x4 {_TWO_480P} "
        f"--mesh data=64 {' '.join(FULL)}",
        # So many parts of a sequence leave room for what is not to be computed again.
        "wan_14b_720p_2refs_v5p-4x4x4_context8": "--config configs/wan_14b.py --target v5p:4x4x4 "
        f"{_TWO_720P} --mesh fsdp=8,context=8 --batch 8 {_WHOLE}",
        "wan_1_3b_text_480p_2refs_h100-8": "--config configs/wan_1_3b.py --target h100:8 "
        f"{_TWO_480P} {HOW['wan_1_3b', '480p', 'h100:8']} {_TEXT}",
    }.items()
]
# One step of sampling, with both branches of guidance; gated, too.
EXTRA += [
    Case(
        f"wan_14b_sample_720p_2refs_{target.replace(':', '-')}{name}",
        tuple(
            f"--config configs/wan_14b.py --target {target} {_TWO_720P} --mesh {mesh} "
            f"--step sample --batch 1{more}".split()
        ),
    )
    for target, mesh in (("v5p-8", "context=4"), ("h100:8", "context=8"))
    for name, more in (("", ""), ("_gated", " --gating"))
]


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the plans that are missing, then the table and the picture."""
    parser = argparse.ArgumentParser(description="Make the plans of docs/plans.")
    parser.add_argument("--out", type=Path, default=Path("docs/plans"))
    parser.add_argument("--workers", type=int, default=2, help="plans at once, of about 4 GB each")
    parser.add_argument("--only", default="", metavar="PART", help="of the plans' names")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = [case for case in cases() if args.only in case.name]
    missing = [case for case in wanted if not (args.out / f"{case.name}.json").exists()]
    missing.reverse()  # the search takes longest: first, so that the workers end together
    print(f"{len(wanted)} plans, {len(missing)} of them to make")
    with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
        failed = [
            case.name
            for case, ok in zip(
                missing, pool.map(lambda c: make(c, args.out), missing), strict=True
            )
            if not ok
        ]
    write_table(args.out)
    if failed:
        print(f"not made: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def make(case: Case, out: Path) -> bool:
    """Makes one plan's file; False, with a message, where `alchemint plan` cannot."""
    began = time.monotonic()
    command = [sys.executable, "-m", "alchemint_jax", "plan", *case.arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{case.name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
        return False
    plan = json.loads(done.stdout) | {"command": shlex.join(["alchemint", "plan", *case.arguments])}
    text = json.dumps(plan, indent=1) + "\n"
    media.write_bytes(out / f"{case.name}.json", text.encode())
    print(f"{case.name}: {time.monotonic() - began:.0f} s", flush=True)
    return True


def write_table(out: Path) -> None:
    """Writes README.md and plans.png of all plans that are there."""
    order = [case.name for case in cases()]
    plans = {
        name: json.loads((out / f"{name}.json").read_text("utf-8"))
        for name in order
        if (out / f"{name}.json").exists()
    }
    if plans:
        media.write_png(out / "plans.png", draw(list(plans.values())))
        media.write_bytes(out / "README.md", table(plans).encode())


COLUMNS = (
    "plan",
    "clips",
    "mesh",
    "remat",
    "peak GiB",
    "of",
    "fits",
    "collectives GiB",
    "ms",
    "step s",
    "MFU at most",
    "tokens/s at most",
)


def table(plans: dict[str, dict[str, Any]]) -> str:
    """The plans as a page of Markdown."""
    rows = []
    for name, p in plans.items():
        cells = (
            f"[{name}]({name}.json)",
            p["batch"],
            p["mesh"] + (f", {p['accumulate']} parts" if p["accumulate"] > 1 else ""),
            p["remat"],
            f"{p['peak_gib']:.1f}",
            f"{p['available_gib']:.1f}",
            "yes" if p["fits"] else f"no, {-p['spare_gib']:.1f} missing",
            f"{p['collective_sent'] / 2**30:.2f}" if p["collectives"] else "-",
            f"{1e3 * p['seconds']['collectives']:.0f}" if p["collectives"] else "-",
            f"{p['step_seconds']:.3g}" if p["fits"] else "-",
            f"{100 * p['mfu_bound']:.0f} %" if p["fits"] else "-",
            f"{p['tokens_per_second']:,}" if p["fits"] else "-",
        )
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    head = "| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS)
    return f"{_INTRODUCTION}\n{head}\n" + "\n".join(rows) + "\n" + _comparisons(plans)


def _comparisons(plans: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, plan in plans.items():
        other = plans.get(name.replace("_2refs_", "_0refs_"))
        if "_2refs_" in name and other:
            ratio = plan["model_flops"] / plan["batch"] / other["model_flops"] * other["batch"]
            lines.append(f"- {name}: two references cost {ratio:.3f} x the operations of none.")
    for name, plan in plans.items():
        if other := plans.get(name.removesuffix("_gated")) if name.endswith("_gated") else None:
            memory, bound = (plan[key] / other[key] for key in ("peak_gib", "step_seconds"))
            lines.append(
                f"- {name}: gating takes {memory:.3f} x the memory and {bound:.3f} x the least "
                "time of the same step without it."
            )
        if other := plans.get(name.replace("_text_", "_")) if "_text_" in name else None:
            more, held = plan["peak_gib"] - other["peak_gib"], plan["memory_gib"]["frozen weights"]
            lines.append(
                f"- {name}: with the text encoder in the step a device needs "
                f"{plan['peak_gib']:.1f} GiB, {more:.1f} more than with cached texts ({held:.1f} "
                "of them for its weights), and the step at least "
                f"{plan['step_seconds'] / other['step_seconds']:.3f} x the time."
            )
    eight, many = plans.get("data_axis_8"), plans.get("data_axis_64")
    if eight and many:
        payload, sent = (
            many[f"collective_{kind}"] / eight[f"collective_{kind}"] for kind in ("payload", "sent")
        )
        lines.append(
            f"- Eight times the data axis (8 to 64 chips, 1.3B): {payload:.4f} x the bytes that "
            f"collectives work on per chip, {sent:.4f} x the bytes that rings of that size send."
        )
    return "\n## Comparisons\n\n" + "\n".join(lines) + "\n" if lines else ""


_INTRODUCTION = """# Plans

Steps of Wan2.1's two sizes with timed references, compiled for hardware that was not there:
`make plans` writes this page and its files, each with the command that made it. Memory is the
compiler's. Times are bounds from the makers' figures (`alchemint_jax/plan/targets.py`), not
measurements: `step` is the least that compute or collectives take, whichever is longer, and the
bounds of MFU and tokens follow from it. GiB and ms of collectives are of one chip and step.
References are 0, 2 or 4 pictures with their words. Texts are encoded beforehand, but for plans with
`text` in their name; those with `sample` are of one step of sampling, all others of training.

Where a command has `--remat full`, everything is computed again in the backward pass; where it says
nothing of it, `remat` is the fastest policy that fits, as it is in the configs.

Gating widens queries and keys by some channels, which the bounds of time count as they are. A TPU's
tiles have 128 channels: there the products of queries and keys take up to twice as long.

![memory per device and least time of each plan](plans.png)
"""


if __name__ == "__main__":
    sys.exit(main())
