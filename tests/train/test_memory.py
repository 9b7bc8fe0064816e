"""What training keeps where and in which precision, read from the programs themselves."""

from __future__ import annotations

import dataclasses
import importlib.util

import dit_setup
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies

from alchemint_jax import sharding
from alchemint_jax.compilation import fresh_compilations
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs

pytestmark = pytest.mark.slow


def operations(jaxpr):
    """All operations of a program, those inside of loops and calls too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from operations(getattr(inner, "jaxpr", inner))


def _is_jaxpr(x):
    return isinstance(x, jax.extend.core.Jaxpr | jax.extend.core.ClosedJaxpr)


def test_half_precision_is_where_it_costs_nothing():
    """Products in bfloat16; norms, softmax, rotary gains, time and gradients in float32."""
    task = dataclasses.replace(dit_setup.TASK, compute="bfloat16")
    state = dit_setup.trained(dit_setup.plan_of(sharding.make_mesh(devices=jax.devices()[:1])))
    batch, rng = jax.device_put(dit_setup.batch()), np.random.default_rng(2)
    words, caption = (
        jax.device_put(np.float32(rng.normal(size=n))) for n in ((8, 2, 2, 16), (8, 4, 16))
    )
    given = Conditions(
        text=caption,
        null_text=0 * caption,
        references=batch["references"],
        used=batch["used"],
        intervals=batch["intervals"],
        tags=words,
        tag_mask=batch["tag_mask"],
    )
    keep = jax.device_put(np.ones(len(batch["used"]), bool))

    def loss(transformer, half=True):
        """`DiTTask.loss` without the text encoder, which has a precision of its own."""
        dtype = jnp.dtype(task.compute if half else "float32")
        text, extra = model_inputs(given, keep, keep)
        time = jnp.linspace(0, 1, len(keep))
        v = DiT(task.model, dtype).apply(
            {"params": transformer}, batch["latents"], time, text, **extra
        )
        return jnp.mean((v - batch["latents"]) ** 2)

    params = state["params"]["transformer"]
    closed = jax.make_jaxpr(jax.grad(loss))(params)
    found = {}
    for eqn in operations(closed.jaxpr):
        dtypes = {v.aval.dtype for v in eqn.invars if v.aval.shape}
        in_time = "time" in str(eqn.source_info.name_stack)
        found.setdefault(eqn.primitive.name, []).append((in_time, dtypes))
    single, half = {jnp.dtype(jnp.float32)}, {jnp.dtype(jnp.bfloat16)}
    products = found["dot_general"]
    assert sum(dtypes == half for _, dtypes in products) > 50
    assert all(dtypes == (single if in_time else half) for in_time, dtypes in products)
    for name in ("rsqrt", "exp", "cos"):
        assert all(dtypes == single for _, dtypes in found[name])
    (layers,) = (
        e for e in closed.jaxpr.eqns if e.primitive.name == "scan" and not e.params["reverse"]
    )
    carried = layers.outvars[0].aval  # the tokens, from layer to layer
    assert carried.shape == (8, 24, task.model.dim) and {carried.dtype} == half
    assert {v.aval.dtype for v in closed.jaxpr.outvars} == single
    a, b = (float(jax.jit(loss, static_argnums=1)(params, half)) for half in (True, False))
    assert 0 < abs(a - b) < 0.01 * b


@pytest.mark.usefixtures("optimised")
def test_layers_inputs_wait_in_the_host_memory_of_a_tpu():
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("needs libtpu, the compiler")
    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
    mesh = sharding.make_mesh(data=1, fsdp=2, context=2, devices=devices)
    config = dataclasses.replace(dit_setup.MODEL, slots=0, remat="offload")
    model = DiT(config, jnp.dtype("bfloat16"))
    boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), **model.example_inputs()))
    shardings = sharding.state_shardings(boxed, mesh)
    inputs = {"latents": (2, 4, 8, 8, 4), "time": (2,), "text": (2, 4, 16)}
    place = sharding.batch_sharding(mesh)

    def loss(variables, inputs):
        return jnp.mean(model.apply(variables, **inputs) ** 2)

    with sharding.use_mesh(mesh):
        gradient = jax.jit(jax.grad(loss), in_shardings=(shardings, place), out_shardings=shardings)
        shapes = {k: jax.ShapeDtypeStruct(v, jnp.float32) for k, v in inputs.items()}
        lowered = gradient.lower(sharding.unbox(boxed), shapes)
    with fresh_compilations():
        memory = lowered.compile().memory_analysis()
    # Two layers; of 2 x 64 tokens a device has a quarter.
    assert memory.host_temp_size_in_bytes >= 2 * (2 * 64 // 4) * config.dim * 2
