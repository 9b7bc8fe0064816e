#!/usr/bin/env bash
# Surprise: once a program of a process has been compiled with JAX's persistent cache in use, neither
#   jax_enable_compilation_cache=False nor another jax_compilation_cache_dir has any effect. Programs
#   are still written to the first folder and read from it, without a word, so that what is measured
#   as "compilation without the cache" is a read. reset_cache() makes JAX look at its settings again.
# Guess: a setting that jax.config.update takes holds for the next compilation.
# Versions: jax 0.10.2 (CPU), Python 3.11; 0.12.0.1 on Python 3.12 does the same.
# Source: is_cache_used and _initialize_cache in jax/_src/compilation_cache.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import jax
from jax import monitoring
from jax.experimental.compilation_cache.compilation_cache import reset_cache

print("jax", jax.__version__)
first, second = (Path(sys.argv[1]) / name for name in ("first", "second"))
reads = []
monitoring.register_event_listener(lambda name, **_: reads.append(name) if name.endswith("/cache_hits") else None)


def compiled(factor):
    """Entries in the two folders, and reads so far, after one more program."""
    jax.jit(lambda x: x * factor).lower(1.0).compile()
    counts = [len(list(place.glob("*-cache"))) if place.is_dir() else 0 for place in (first, second)]
    print(f"factor {factor}: {counts} entries, {len(reads)} reads")
    return *counts, len(reads)


jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_compilation_cache_dir", str(first))
assert compiled(2) == (1, 0, 0)
print("switched off")
jax.config.update("jax_enable_compilation_cache", False)
assert compiled(3) == (2, 0, 0), "this has changed"
assert compiled(3) == (2, 0, 1), "this has changed"
print("another folder")
jax.config.update("jax_compilation_cache_dir", str(second))
assert compiled(4) == (3, 0, 1), "this has changed"
print("after reset_cache()")
reset_cache()
assert compiled(5) == (3, 0, 1), "this has changed"
PY
