#!/usr/bin/env bash
# Surprise: each program that jax.jit has compiled makes the lowering of every later one take longer,
#   whatever it is: after 1,600 small programs, a new small one takes about three times the processor
#   time that it took at the start. So the work of a long process, such as a test suite or a notebook,
#   grows with the square of the number of its programs. jax.clear_caches() gives most of it back.
# Guess: what is compiled costs memory, and no time.
# Versions: jax and jaxlib 0.10.2, Python 3.11, on the CPU.
# Source: caches of jax keep each lowered module, and with it an MLIR context. Every context has
#   entries in one map of the thread (mlir::ThreadLocalCache), which is swept through
#   (clearExpiredEntries) as the next context, made for the next program, gets its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PY'
import time

import jax
import jax.numpy as jnp

print("jax", jax.__version__)
x = jnp.zeros(3)


def program(number):
    return jax.jit(lambda y: y * number + 1)


def milliseconds(count=60):
    """Of processor time that it takes to lower a new program, which nothing keeps."""
    began = time.process_time()
    for number in range(count):
        program(number).lower(x)
    return 1e3 * (time.process_time() - began) / count


milliseconds()
first = milliseconds()
print(f"{first:.1f} ms at the start")
kept = []
for number in range(1600):
    kept.append(program(number))
    kept[-1](x)
    if number % 400 == 399:
        last = milliseconds()
        print(f"{last:.1f} ms after {number + 1} programs")
jax.clear_caches()
cleared = milliseconds()
print(f"{cleared:.1f} ms after jax.clear_caches()")
assert last > 1.5 * first, "programs no longer slow down later ones"
assert cleared < 0.9 * last, "clearing the caches no longer helps"
PY
