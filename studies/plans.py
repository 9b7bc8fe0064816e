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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import media
from alchemint_jax.plan.picture import draw


@dataclasses.dataclass(frozen=True)
class Case:
    """One plan.

    Attributes:
        name: of its file.
        arguments: of `alchemint plan`.
    """

    name: str
    arguments: tuple[str, ...]


_480P = "--size 480x832 --frames 81"
_720P = "--size 720x1280 --frames 81"
_WHOLE = "--config.train.optimizer.accumulate=1"
_TEXT = "--config.cached_text=False"  # the text encoder is in the step
_SMALL, _LARGE = "configs/wan_1_3b.py", "configs/wan_14b.py"

# Config, target, size, references and how: what is not said of remat is the fastest that fits.
# Twelve heads (1.3B) cannot be shared by eight or sixteen, forty (14B) can.
TRAINING = {
    "wan_1_3b_480p_2refs_v5p-8": (_SMALL, "v5p-8", _480P, 2, "--mesh fsdp=4 --batch 4"),
    "wan_1_3b_480p_2refs_tpu7x-8": (_SMALL, "tpu7x-8", _480P, 2, "--mesh fsdp=8 --batch 8"),
    "wan_1_3b_480p_0refs_h100-8": (_SMALL, "h100:8", _480P, 0, "--mesh fsdp=8 --batch 8"),
    "wan_1_3b_480p_2refs_h100-8": (_SMALL, "h100:8", _480P, 2, "--mesh fsdp=8 --batch 8"),
    "wan_1_3b_text_480p_2refs_v5p-8": (
        *(_SMALL, "v5p-8", _480P, 2),
        f"--mesh fsdp=4 --batch 4 {_TEXT}",
    ),
    "wan_1_3b_text_480p_2refs_h100-8": (
        *(_SMALL, "h100:8", _480P, 2),
        f"--mesh fsdp=8 --batch 8 {_TEXT}",
    ),
    "wan_14b_720p_2refs_v5p-4x4x4": (
        *(_LARGE, "v5p:4x4x4", _720P, 2),
        f"--mesh fsdp=8,context=8 --batch 8 {_WHOLE}",
    ),
    "wan_14b_720p_2refs_tpu7x-4x4x4": (
        *(_LARGE, "tpu7x:4x4x4", _720P, 2),
        f"--mesh fsdp=16,context=8 --batch 16 {_WHOLE}",
    ),
    "wan_14b_720p_2refs_h100-8x8": (
        *(_LARGE, "h100:8x8", _720P, 2),
        f"--mesh fsdp=8,context=8 --batch 8 {_WHOLE}",
    ),
}

# One step of the solver with all branches of guidance; gated, too, and of the student.
_STEP = "--step sample --batch 1"
SAMPLING = {
    "wan_1_3b_sample_480p_2refs_v5p-8": (_SMALL, "v5p-8", _480P, 2, f"--mesh context=4 {_STEP}"),
    "wan_1_3b_sample_480p_2refs_tpu7x-2": (
        *(_SMALL, "tpu7x-2", _480P, 2),
        f"--mesh context=2 {_STEP}",
    ),
    "wan_1_3b_sample_480p_2refs_h100-4": (_SMALL, "h100:4", _480P, 2, f"--mesh context=4 {_STEP}"),
    "wan_1_3b_sample_480p_2refs_h100-4_fast": (
        *(f"{_SMALL}:fast", "h100:4", _480P, 2),
        f"--mesh context=4 {_STEP}",
    ),
    "wan_14b_sample_720p_2refs_v5p-8": (_LARGE, "v5p-8", _720P, 2, f"--mesh context=4 {_STEP}"),
    "wan_14b_sample_720p_2refs_v5p-8_gated": (
        *(_LARGE, "v5p-8", _720P, 2),
        f"--mesh context=4 {_STEP} --gating",
    ),
}

# What collectives send as the data axis grows. Nothing else of these two is looked at.
DATA_AXIS = {
    "data_axis_8": (_SMALL, "v5p:2x2x2", _480P, 2, "--mesh data=8 --remat full"),
    "data_axis_64": (_SMALL, "v5p:4x4x4", _480P, 2, "--mesh data=64 --remat full"),
}
SEARCH = {
    "search_14b_720p_2refs_v5p-8": (_LARGE, "v5p-8", _720P, 2, f"--batch 1 --search {_WHOLE}"),
}


def cases() -> list[Case]:
    """All plans, in the table's order."""
    found = []
    for name, case in (TRAINING | SEARCH | DATA_AXIS | SAMPLING).items():
        config, target, size, references, how = case
        said = f"--config {config} --target {target} {size} --references {references} {how}"
        found.append(Case(name, tuple(said.split())))
    return found


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


def table(plans: dict[str, dict[str, Any]]) -> str:
    """The plans as a page of Markdown."""
    training = {name: plan for name, plan in plans.items() if plan["step"] == "train"}
    sampling = {name: plan for name, plan in plans.items() if plan["step"] == "sample"}
    parts = [_INTRODUCTION, _TRAINED, _rows(training, _training_cells)]
    if sampling:
        parts += [_SAMPLED, _rows(sampling, _sampling_cells)]
    lines = _comparisons(plans)
    parts += ["## Comparisons\n", "".join(f"- {line}\n" for line in lines)] if lines else []
    return "\n".join(parts)


def _rows(plans: dict[str, dict[str, Any]], cells: Callable[..., dict[str, str]]) -> str:
    """A table with a line for each plan."""
    found = [{"plan": f"[{name}]({name}.json)", **cells(plan)} for name, plan in plans.items()]
    titles = list(found[0]) if found else []
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in found]) + "\n"


def _common(p: dict[str, Any]) -> dict[str, str]:
    parts = f", {p['accumulate']} parts" if p["accumulate"] > 1 and p["step"] == "train" else ""
    return {
        "clips": str(p["batch"]),
        "mesh": p["mesh"] + parts,
        "peak GiB": f"{p['peak_gib']:.1f}",
        "of": f"{p['available_gib']:.1f}",
        "fits": "yes" if p["fits"] else f"no, {-p['spare_gib']:.1f} missing",
        "step s": f"{p['step_seconds']:.3g}" if p["fits"] else "-",
    }


def _training_cells(p: dict[str, Any]) -> dict[str, str]:
    sent = bool(p["collectives"])
    return {
        **_common(p),
        "remat": p["remat"],
        "MFU at most": f"{100 * p['mfu_bound']:.1f} %" if p["fits"] else "-",
        "tokens/s at most": f"{p['tokens_per_second']:,}" if p["fits"] else "-",
        "collectives GiB": f"{p['collective_sent'] / 2**30:.2f}" if sent else "-",
        "ms": f"{1e3 * p['seconds']['collectives']:.0f}" if sent else "-",
    }


def _sampling_cells(p: dict[str, Any]) -> dict[str, str]:
    video, attention = p.get("video"), p.get("attention")
    return {
        **_common(p),
        "steps": str(video["steps"]) if video else "-",
        "passes": str(video["passes"]) if video else "-",
        "operations of a video": f"{video['flops']:.3g}" if video else "-",
        "video s at least": f"{video['seconds']:.3g}" if video else "-",
        "attention for a pair": f"{attention['per_pair']:.3f} x" if attention else "-",
        "for a token": f"{attention['per_token']:.3f} x" if attention else "-",
    }


def _comparisons(plans: dict[str, dict[str, Any]]) -> list[str]:
    """What plans say beside each other."""
    lines = []
    for name, plan in plans.items():
        if "_2refs_" in name and (other := plans.get(name.replace("_2refs_", "_0refs_"))):
            ratio = plan["model_flops"] / plan["batch"] / other["model_flops"] * other["batch"]
            lines.append(f"{name}: two references cost {ratio:.3f} x the operations of none.")
        if name.endswith("_gated") and (other := plans.get(name.removesuffix("_gated"))):
            memory, bound = (plan[key] / other[key] for key in ("peak_gib", "step_seconds"))
            lines.append(
                f"{name}: gating takes {memory:.3f} x the memory and {bound:.3f} x the least "
                "time of the same step without it."
            )
        if name.endswith("_fast") and (other := plans.get(name.removesuffix("_fast"))):
            steps, passes = plan["video"]["steps"], plan["video"]["passes"]
            less = other["video"]["flops"] / plan["video"]["flops"]
            fifty = 100 / passes
            lines.append(
                f"{name}: a video in {steps} steps of one pass takes 1/{less:.3g} of the "
                f"operations of {other['video']['steps']} steps of two, and 1/{fifty:.3g} of those "
                "of 50 steps of two."
            )
        if "_text_" in name and (other := plans.get(name.replace("_text_", "_"))):
            more, held = plan["peak_gib"] - other["peak_gib"], plan["memory_gib"]["frozen weights"]
            lines.append(
                f"{name}: with the text encoder in the step a device needs "
                f"{plan['peak_gib']:.1f} GiB, {more:.1f} more than with cached texts, which need "
                f"{other['peak_gib']:.1f} ({held:.1f} are its weights), and the step at least "
                f"{plan['step_seconds'] / other['step_seconds']:.3f} x the time."
            )
    eight, many = plans.get("data_axis_8"), plans.get("data_axis_64")
    if eight and many:
        payload, sent = (
            many[f"collective_{kind}"] / eight[f"collective_{kind}"] for kind in ("payload", "sent")
        )
        lines.append(
            f"Eight times the data axis (8 to 64 chips, 1.3B): {payload:.4f} x the bytes that "
            f"collectives work on per chip, {sent:.4f} x the bytes that rings of that size send."
        )
    return lines


_INTRODUCTION = """# Plans

Steps of Wan2.1's two sizes with timed references, compiled for hardware that was not there:
`make plans` writes this page and its files, each with the command that made it. Memory is the
compiler's. Times are bounds from the makers' figures (`alchemint_jax/plan/targets.py`), not
measurements: `step` is the least that compute or collectives take, whichever is longer, and the
bounds of MFU and tokens follow from it. References are 0 or 2 pictures with their words.

![memory per device and least time of each plan](plans.png)
"""
_TRAINED = """## Training

What layers keep (`remat`) is the fastest policy that fits, which is the default of the recipes.
Only the two plans of a data axis were asked for `full`: they compare collectives and nothing else.
GiB and ms of collectives are of one chip and step. Texts are encoded beforehand, but for plans with
`text` in their name.
"""
_SAMPLED = """## Sampling

One step of the solver with all branches of guidance is compiled. A video is all steps of the
recipe: 40 of two passes, or 4 of one for the student (`fast`). Texts and the autoencoder are not in
it.

The last two columns are of the kernels of attention: their operations for each pair of a query and
a key, over those of plain attention; and for each token, over those of a video without references.
References are further tokens that every token attends to, so a token's share grows with the
sequence. The plans of 14B were made before these columns and those of a video. Gating widens
queries and keys by some channels, which the bounds of time count as they are. A TPU's tiles have
128 channels: there the products of queries and keys take up to twice as long. These files count
weights in float32; pipelines hold them in bfloat16, which is half of it.
"""


if __name__ == "__main__":
    sys.exit(main())
