#!/usr/bin/env bash
# Surprise: jemalloc that is told to keep what is freed for 30 seconds (dirty_decay_ms:30000) gives
#   buffers of 8 MiB or more back to the kernel at once, and a program of JAX on a CPU, whose buffers
#   are large, faults every page of them in again at every call. With dirty_decay_ms:-1, which sounds
#   like more of the same, it keeps them; with oversize_threshold:0 the 30 seconds are true.
# Guess: a decay of half a minute holds for whatever is used again after some milliseconds; the larger
#   a buffer, the more it is worth.
# Versions: jemalloc 5.3.0 (Debian bookworm, libjemalloc2 5.3.0-1), jax 0.10.2, jaxlib 0.10.2, Linux.
# Source: the manual (jemalloc.net/jemalloc.3.html, opt.oversize_threshold) says that requests above
#   the threshold have an arena of their own, for which "the decay API guarantees [...] may be
#   overridden"; under opt.dirty_decay_ms it says nothing of that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && apt-get download libjemalloc2 >/dev/null 2>&1 && dpkg -x libjemalloc2_*.deb deb)
library=$(find "$folder/deb" -name 'libjemalloc.so.2')
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2
cat > "$folder/run.py" <<'PY'
"""Page faults of a call that adds to 256 MiB, as mebibytes of pages; most are huge ones."""

import os
import resource
import sys

import jax
import jax.numpy as jnp


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


step = jax.jit(lambda x: x + 1)
x = step(jnp.zeros(2**26)).block_until_ready()
for _ in range(3):
    step(x).block_until_ready()
before = faults()
for _ in range(10):
    step(x).block_until_ready()
each = (faults() - before) / 10
print(f"{os.environ['MALLOC_CONF']}: {each:.0f} page faults a call")
sys.exit(0 if (each > 100) == (sys.argv[1] == "again") else "this has changed")
PY
dpkg -f "$folder"/libjemalloc2_*.deb Version
export JAX_PLATFORMS=cpu LD_PRELOAD="$library"
run() { MALLOC_CONF="$2" "$folder/venv/bin/python" "$folder/run.py" "$1"; }
run again dirty_decay_ms:30000,muzzy_decay_ms:-1,thp:always
run kept dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always
run kept dirty_decay_ms:30000,muzzy_decay_ms:-1,oversize_threshold:0,thp:always
