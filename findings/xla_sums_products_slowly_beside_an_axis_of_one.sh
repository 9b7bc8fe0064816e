#!/usr/bin/env bash
# Surprise: on a CPU, XLA sums the product of two arrays over an axis many times more slowly where an
#   axis of length 1 leads: (x * y).sum(1) of [1, 1024, 512] takes longer than that of [8, 1024, 512],
#   eight times the work, and more than 50 times as long as the same numbers as [1024, 512]. Batches
#   of one sample have that axis, and a gradient by a gain or a shift is such a sum.
# Guess: an axis of length 1 changes nothing.
# Versions: jax and jaxlib 0.10.2, Python 3.11, x86-64.
# Source: the compiled program has one fusion of kind __ynn_fusion for product and sum in all three
#   cases. optimization_barrier between both changes nothing; a sum of one array alone is fast.
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


def milliseconds(shape, repeats=31):
    """Median time of the sum of a product over the rows."""
    x, y = (jax.random.normal(jax.random.key(seed), shape) for seed in (0, 1))
    total = jax.jit(lambda x, y: (x * y).sum(len(shape) - 2)).lower(x, y).compile()
    assert "__ynn_fusion" in total.as_text(), "product and sum are no longer given to YNNPACK"
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(total(x, y))
        times.append(time.perf_counter() - began)
    found = 1e3 * sorted(times)[repeats // 2]
    print(f"{found:.3f} ms for {list(shape)}")
    return found


plain, one, many = (milliseconds((*lead, 1024, 512)) for lead in ((), (1,), (8,)))
assert one > 5 * plain, "an axis of length 1 no longer makes the sum slow"
assert one > many, "one sample no longer takes longer than eight"
PY
