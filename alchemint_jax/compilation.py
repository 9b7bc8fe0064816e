"""Where compiled programs are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_jax() -> None:
    """Keep compiled programs between runs, so that only the first one waits for the compiler.

    They go to ``$XDG_CACHE_HOME/alchemint_jax`` (``~/.cache``), or where
    ``$JAX_COMPILATION_CACHE_DIR`` says. A place that cannot be written is done without.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        cache = Path(base).expanduser() / "alchemint_jax"
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(cache, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(cache))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
