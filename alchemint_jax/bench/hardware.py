"""The hardware that is here: its name, its peak, its memory, and the kernels a program calls."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import alchemint_jax
from alchemint_jax.plan.targets import CHIPS

# What JAX calls a chip: its name in `plan.targets.CHIPS`. Cards that share a part of their name
# may have another peak (an H100 on PCIe has), so names are compared whole.
_KINDS = {
    "TPU v3": "v3",
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v6 lite": "v6e",
    "TPU7x": "tpu7x",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H200": "h200",
}
# Variables that make the same program faster or slower.
_VARIABLES = (
    "XLA_FLAGS",
    "LIBTPU_INIT_ARGS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "OMP_NUM_THREADS",
    "LD_PRELOAD",
    "MALLOC_CONF",
    "GLIBC_TUNABLES",
)


def peak_flops(devices: Sequence[Any], dtype: str) -> float | None:
    """Operations per second that these devices can do together; None where that is not known.

    Args:
        devices: of JAX, all of one kind.
        dtype: of the products; only the peaks of bfloat16 are known.
    """
    model = _KINDS.get(devices[0].device_kind)
    if model is None or dtype != "bfloat16":
        return None
    return CHIPS[model].flops * len(devices) / CHIPS[model].devices


def threads() -> int:
    """CPU threads that this process may run at once, as many as XLA uses."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine(devices: Sequence[Any], packages: Sequence[str]) -> dict[str, Any]:
    """What was measured on, in JSON's types.

    Args:
        devices: of JAX, all of one kind.
        packages: whose versions to state.
    """
    first = devices[0]
    found = {
        "platform": first.platform,
        "device": _processor() if first.platform == "cpu" else first.device_kind,
        "devices": len(devices),
        "threads": threads(),
        "python": platform.python_version(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    found |= {name: importlib.metadata.version(name) for name in packages}
    if first.platform == "gpu":
        found |= _cuda()
    found["alchemint_jax"] = alchemint_jax.__version__
    if hasattr(os, "getloadavg"):  # of others: what else runs makes everything slower
        found["load_before"] = round(os.getloadavg()[0], 2)
    return found


def _cuda(driver: Path = Path("/proc/driver/nvidia/version")) -> dict[str, str]:
    """Versions of the driver, where the system tells it, and of what computes in the end."""
    found = {}
    with contextlib.suppress(OSError):
        if said := re.search(r"\b\d+\.\d+(\.\d+)?\b", driver.read_text(encoding="utf-8")):
            found["driver"] = said[0]
    for one in importlib.metadata.distributions():
        if re.match(
            r"(jax-cuda|nvidia-(cudnn|cublas|cuda-runtime)\b)", name := one.metadata["Name"]
        ):
            found[name] = one.version
    return found


def _processor() -> str:
    """The CPU's own name, where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


# ---------------------------------------------------------------------------------------- memory


def peak_memory(call: Callable[[], Any], device: Any = None) -> dict[str, Any]:
    """Runs `call` to its end and says the most memory that there was meanwhile.

    Devices count their own memory, but from the start of the process. For a CPU it is the
    resident memory of the whole process, and of this call alone where Linux lets us reset its
    high-water mark.

    Args:
        call: does its work before it returns.
        device: of JAX; None for a CPU.

    Returns:
        `bytes`; `of`, "device" or "process"; `scope`, "this call" or "process so far"; and
        `before`, bytes of the process before the call, where that is known.
    """
    alone = _restart_high_water()
    before, _ = _resident()
    call()
    stats = (device.memory_stats() if device is not None else None) or {}
    if "peak_bytes_in_use" in stats:
        peak = int(stats["peak_bytes_in_use"])
        return {"bytes": peak, "of": "device", "scope": "process so far", "before": None}
    scope = "this call" if alone else "process so far"
    return {"bytes": _resident()[1], "of": "process", "scope": scope, "before": before}


def program_bytes(analysis: Any, platform: str) -> int:
    """Bytes that a compiled program needs at once, as the compiler says; of one device.

    Args:
        analysis: of `compiled.memory_analysis()`.
        platform: that it is compiled for.
    """
    if platform != "cpu":
        return int(analysis.peak_memory_in_bytes)
    # There the peak leaves out what is neither given nor returned.
    given = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return int(given - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes)


def _restart_high_water() -> bool:
    """Forgets the largest resident size so far; whether that worked."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    now, most = _resident()
    return now is not None and most - now < 2**24  # some systems take the command and do nothing


def _resident() -> tuple[int | None, int]:
    """Bytes of resident memory, None where that is not known, and the most there has been."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        sizes = {name: 1024 * int(size) for name, size in re.findall(r"(Vm\w+):\s*(\d+) kB", text)}
        return sizes["VmRSS"], sizes["VmHWM"]
    except (OSError, KeyError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return None, most if sys.platform == "darwin" else 1024 * most


# --------------------------------------------------------------------------------------- kernels


def custom_calls(program: str) -> dict[str, int]:
    """Kernels that a compiled program calls, and in how many places.

    Args:
        program: its text, of `compiled.as_text()`.
    """
    return dict(sorted(Counter(re.findall(r'custom_call_target="([^"]+)"', program)).items()))


def attention_kernel(calls: Mapping[str, int]) -> str:
    """What attends in a program that calls these kernels: "cudnn", "splash", or "xla" (none)."""
    if any(name.startswith("__cudnn$fmha") for name in calls):
        return "cudnn"
    # The only kernel of Pallas that is ours.
    return "splash" if "tpu_custom_call" in calls else "xla"
