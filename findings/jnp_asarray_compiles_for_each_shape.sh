#!/usr/bin/env bash
# Surprise: jnp.asarray of a NumPy array compiles a program for each shape and type that it has not
#   seen, although the array needs no conversion: some ten milliseconds of processor time for each.
#   jax.device_put of the same array compiles nothing, and its result is the same. So what is brought
#   to a device at the start, such as weights of many shapes, is faster with device_put.
# Guess: to bring an array to the device is to copy it, by either function.
# Versions: jax and jaxlib 0.10.2, numpy 2.4.2, Python 3.11, on the CPU.
# Source: the documentation of jnp.asarray says that it converts an object to an array; none of its
#   notes names a compilation. The program that the events of jax.monitoring name is "jit(stage)".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PY'
import collections
import time

import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__, "numpy", np.__version__)
compiled = collections.Counter()


def listen(event, seconds, **known):
    if event.endswith("backend_compile_duration"):
        compiled[known.get("fun_name")] += 1


jax.monitoring.register_event_duration_secs_listener(listen)
jax.block_until_ready(jax.device_put(np.ones(2, np.float32)))
jax.block_until_ready(jnp.asarray(np.ones(2, np.float32)))


def bring(how, first, count=100):
    """Programs, and milliseconds of processor time for each array; every one has another shape."""
    arrays = [np.full((first + i, 3), i, np.float32) for i in range(count)]
    before, began = compiled.total(), time.process_time()
    brought = jax.block_until_ready([how(x) for x in arrays])
    spent = 1e3 * (time.process_time() - began) / count
    assert all((np.asarray(y) == x).all() and y.dtype == x.dtype for x, y in zip(arrays, brought))
    return compiled.total() - before, spent


bring(jax.device_put, 1)
put, put_time = bring(jax.device_put, 1000)
as_array, as_array_time = bring(jnp.asarray, 2000)
print(f"jax.device_put: {put} programs for 100 shapes, {put_time:.2f} ms each")
print(f"jnp.asarray: {as_array} programs for 100 shapes, {as_array_time:.2f} ms each")
print("compiled:", dict(compiled))
assert put == 0, "device_put compiles now"
assert as_array == 100, "jnp.asarray no longer compiles a program for each shape"
assert as_array_time > 5 * put_time
PY
