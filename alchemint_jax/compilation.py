"""What commands ask of JAX before they use it."""

from __future__ import annotations

import contextlib
import glob
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alchemint_jax.caches import cache_root, can_keep

# What a TPU may be found by: its devices, Google as the vendor of one on the bus, and what the
# machines that have one, or tunnels to it, say in the environment.
_TPU_DEVICES = ("/dev/accel*", "/dev/vfio/[0-9]*")
_GOOGLE = "0x1ae0"
_TPU_VARIABLES = (
    "CLOUD_TPU_TASK_ID",
    "COLAB_TPU_ADDR",
    "JAX_FORCE_TPU_INIT",
    "TPU_ACCELERATOR_TYPE",
    "TPU_CHIPS_PER_HOST_BOUNDS",
    "TPU_HOST_BOUNDS",
    "TPU_NAME",
    "TPU_PROCESS_ADDRESSES",
    "TPU_TOPOLOGY",
    "TPU_VISIBLE_CHIPS",
    "TPU_VISIBLE_DEVICES",
    "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
)

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)"
# What TPU's compiler says of a program that is too large, in its two ways. The first speaks of
# temporaries, but arguments and results are in its figure.
_TOO_LARGE = (
    re.compile(rf"HLO temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)"),
    re.compile(rf"Used {_SIZE} of {_SIZE} hbm"),
)


def prepare_jax() -> None:
    """Says where JAX keeps compiled programs, and has it look for no TPU where there is none.

    So only the first of several runs waits for the compiler, and for Python to ask it (see
    ``programs``). All programs are kept, also small ones, in the user's cache folder (see
    ``caches.cache_root``) or where ``$JAX_COMPILATION_CACHE_DIR`` says. A place that cannot be
    written is done without. ``$JAX_PLATFORMS``, where it is set, alone says which devices are
    looked for.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = cache_root()
        if cache is not None and can_keep(cache):
            jax.config.update("jax_compilation_cache_dir", str(cache))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # One for every program, where the disk fills up or an entry is damaged: it is compiled again.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    spare_libtpu()


def work_beside(workers: int) -> None:
    """For one of so many processes that work side by side, before JAX computes anything in it.

    Several cannot share an accelerator. And each has its share of the cores: threads of all of them
    in each process would wait for each other. Whoever has set these variables knows better.
    """
    if workers > 1:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        os.environ.setdefault("PJRT_NPROC", str(max(1, _cores() // workers)))


def _cores() -> int:
    """That this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def fresh_compilations() -> Iterator[None]:
    """Programs are compiled, neither found in the cache nor kept there.

    For those whose compilation is measured, and for those of hardware that is not there, which
    can be written to the cache but not read.
    """
    import jax
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    config: Any = jax.config  # knows its fields only when it runs
    before = config.jax_enable_compilation_cache

    def enable(cache: bool) -> None:
        config.update("jax_enable_compilation_cache", cache)
        reset_cache()  # JAX looks at its settings once

    enable(False)
    try:
        yield
    finally:
        enable(before)


def refused(message: str) -> tuple[float, float] | None:
    """Bytes that a refused program needs and those there are; None for other errors.

    Args:
        message: of the compiler.
    """
    if "RESOURCE_EXHAUSTED" in message:
        for pattern in _TOO_LARGE:
            if found := pattern.search(message):
                needed, there = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
                return needed, there
    return None


def spare_libtpu() -> None:
    """Has JAX start without libtpu where that is installed, to plan with it, but there is no TPU.

    Loaded without a TPU it takes seconds, complains on standard error, and holds a lock. Nothing is
    changed where `$JAX_PLATFORMS` says what to use or anything hints at a TPU. Where JAX has
    plugins, for GPUs for example, which of them serve is left to JAX: libtpu is loaded, but quiet.
    """
    import jax

    config: Any = jax.config  # knows its fields only when it runs
    if os.environ.get("JAX_PLATFORMS") or config.jax_platforms or may_have_tpu():
        return
    if _has_plugins():
        quiet_libtpu()
    else:
        config.update("jax_platforms", "cpu")


def quiet_libtpu() -> None:
    """What libtpu wants to know of a TPU machine, for one that has none.

    Without the last, a second process that loads it at the same time would be ended.
    """
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5p-8")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")


def may_have_tpu(root: Path = Path("/"), environment: dict[str, str] | None = None) -> bool:
    """Whether anything hints at a TPU: a device, the bus, or the environment.

    Args:
        root: below which devices and the bus are looked for.
        environment: variables; by default those of this process.
    """
    variables = os.environ if environment is None else environment
    if any(variables.get(name) for name in _TPU_VARIABLES):
        return True
    if variables.get("PJRT_DEVICE", "").upper() == "TPU":
        return True
    if any(glob.glob(str(root / pattern.lstrip("/"))) for pattern in _TPU_DEVICES):
        return True
    vendors = glob.glob(str(root / "sys/bus/pci/devices/*/vendor"))
    return any(_read(vendor) == _GOOGLE for vendor in vendors)


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _has_plugins() -> bool:
    """Whether JAX has plugins, by the two ways in which it finds them."""
    from importlib import metadata

    try:
        import jax_plugins
    except ImportError:
        found = False
    else:
        found = any(True for _ in pkgutil.iter_modules(jax_plugins.__path__))
    return found or bool(metadata.entry_points(group="jax_plugins"))
