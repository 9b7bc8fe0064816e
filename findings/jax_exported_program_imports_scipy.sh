#!/usr/bin/env bash
# Surprise: a program that was made by jax.export and read back imports scipy.linalg when it is
#   lowered for a CPU, though there is no linear algebra in it. The same function, jitted, does not. So
#   whoever keeps programs on disk, to have a process start sooner, pays for the import of SciPy: a
#   fifth of a second here, more than it takes to trace a small network.
# Guess: an exported program needs what is in it, and less of Python than the function it was made of.
# Versions: jax 0.10.2, jaxlib 0.10.2, scipy 1.17.1, flatbuffers 25.12.19, Python 3.11.
# Source: the documentation of jax.export (docs.jax.dev/en/latest/export/export.html) says nothing of
#   SciPy. Lowering a call of an exported program initialises all of LAPACK for CPUs, and jaxlib
#   takes LAPACK from SciPy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 scipy==1.17.1 \
  flatbuffers==25.12.19
cat > "$folder/run.py" <<'PY'
"""Doubles a number, by a jitted function or by an exported program; says whether SciPy is there."""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export


def double(x):
    return 2 * x


how, file = sys.argv[1], Path(sys.argv[2])
one = jnp.ones(())
if how == "write":
    file.write_bytes(export.export(jax.jit(double))(one).serialize())
    sys.exit()
call = double if how == "jitted" else export.deserialize(bytearray(file.read_bytes())).call
before = "scipy.linalg" in sys.modules
began = time.process_time()
assert jax.jit(call)(one) == 2
taken = time.process_time() - began
print(f"{how}: scipy.linalg imported before: {before}, after: {'scipy.linalg' in sys.modules}; "
      f"{1e3 * taken:.0f} ms")
assert not before
sys.exit(0 if ("scipy.linalg" in sys.modules) == (how == "exported") else "this has changed")
PY
export JAX_PLATFORMS=cpu
"$folder/venv/bin/python" -c "import jax, scipy; print('jax', jax.__version__, 'scipy', scipy.__version__)"
for how in write jitted exported; do
  "$folder/venv/bin/python" "$folder/run.py" "$how" "$folder/double.bin"
done
