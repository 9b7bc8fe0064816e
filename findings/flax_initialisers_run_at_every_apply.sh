#!/usr/bin/env bash
# Surprise: a Flax module calls the initialiser of each parameter whenever it is applied, also with
#   parameters that are there: it is traced, to compare the shape of what it would make. Tracing a
#   network is mostly that where its layers are small and its initialisers take many steps.
# Guess: with the parameters given, initialisers do not run.
# Versions: flax 0.12.8, jax 0.10.2, Python 3.11.
# Source: the docstring of flax.linen.Module.param, which says of `init_fn` that only the first use of
#   the parameter in a module calls it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet flax==0.12.8 jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PY'
import time

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

print("flax", flax.__version__, "jax", jax.__version__)
calls = []
orthogonal = nn.initializers.orthogonal()


def initialiser(key, shape):
    calls.append(shape)
    return orthogonal(key, shape)


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x @ self.param("kernel", initialiser, (8, 8))


layer, x = Layer(), jnp.ones((1, 8))
variables = layer.init(jax.random.key(0), x)
print("calls of the initialiser by init:", len(calls))
assert len(calls) == 1
for _ in range(3):
    layer.apply(variables, x)
print("... after three times apply:", len(calls))
assert len(calls) == 4, "apply no longer calls it"


def seconds(function):
    began = time.process_time()
    for _ in range(100):
        jax.make_jaxpr(lambda x: function(x))(x)
    return time.process_time() - began


applied = seconds(lambda x: layer.apply(variables, x))
product = seconds(lambda x: x @ variables["params"]["kernel"])
print(f"to trace: {10 * applied:.2f} ms, of which the product takes {10 * product:.2f} ms")
PY
