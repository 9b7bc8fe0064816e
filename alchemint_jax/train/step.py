"""One training step: a pure function of state, batch and key, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.train.optimizer import FROZEN, OptimizerConfig, learning_rate, update_ema
from alchemint_jax.train.state import State, StatePlan, everything, joined
from alchemint_jax.train.task import Batch, Params, Task

Metrics = dict[str, jax.Array]

# A step is good only if these are all finite. With a finite gradient norm and parameter norm,
# the moments and the average are finite too.
GUARDED = ("loss", "grad_norm", "param_norm")


def train_step(
    state: State,
    batch: Batch,
    key: jax.Array,
    *,
    task: Task,
    tx: optax.GradientTransformation,
    config: OptimizerConfig,
    shardings: Params | None = None,
) -> tuple[State, Metrics]:
    """The state after one update, and scalar figures of the update.

    All randomness comes from ``fold_in(key, state["step"])``, so a resumed run repeats it.
    Gradients, and their sums over the parts of a batch, have the parameters' dtype (float32) and
    lie where ``shardings`` says that each parameter does.

    Raises:
        ConfigError: the batch does not divide into ``config.accumulate`` parts on this mesh.
    """
    step = state["step"]
    key = jax.random.fold_in(key, step)
    frozen = state.get(FROZEN, {})

    def loss_of(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        return task.loss(joined(params, frozen), batch, key)

    def value_and_grad(*args: Any) -> Any:
        value, grads = jax.value_and_grad(loss_of, has_aux=True)(*args)
        if shardings is not None:
            grads = jax.lax.with_sharding_constraint(grads, shardings)
        return value, grads

    (loss, figures), grads = _averaged(
        value_and_grad, state["params"], batch, key, config.accumulate
    )
    updates, opt = tx.update(grads, state["opt"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    new = {
        **state,
        "params": params,
        "ema": update_ema(state["ema"], params, step, config.ema_decay),
        "opt": opt,
        "step": step + 1,
    }
    norms = {"grad_norm": optax.tree.norm(grads), "param_norm": optax.tree.norm(params)}
    names = ["lr"] if len(config.groups) == 1 else [f"lr/{name}" for name, _ in config.groups]
    rates = {
        name: learning_rate(config, peak)(step)
        for name, (_, peak) in zip(names, config.groups, strict=True)
    }
    return new, {**figures, "loss": loss, **norms, **rates}


def jit_train_step(plan: StatePlan, config: OptimizerConfig) -> jax.stages.Wrapped:
    """``train_step`` compiled for a mesh; the state is donated and its shardings are pinned.

    Call it, or lower it, inside ``sharding.use_mesh(plan.mesh)``.
    """
    whole = sharding.replicated(plan.mesh)
    return jax.jit(
        partial(
            train_step,
            task=plan.task,
            tx=plan.tx,
            config=config,
            shardings=plan.shardings["params"],
        ),
        in_shardings=(plan.shardings, sharding.batch_sharding(plan.mesh), whole),
        out_shardings=(plan.shardings, whole),
        donate_argnums=0,
    )


def jit_validation_step(plan: StatePlan) -> Callable[[Params, Batch, jax.Array], Metrics]:
    """The loss and figures of one batch, without an update; of all parameters, frozen ones too."""

    def validate(params: Params, batch: Batch, key: jax.Array) -> Metrics:
        loss, figures = plan.task.loss(params, batch, key)
        return {**figures, "loss": loss}

    whole = sharding.replicated(plan.mesh)
    batch = sharding.batch_sharding(plan.mesh)
    return jax.jit(
        validate,
        in_shardings=(everything(plan.shardings, "params"), batch, whole),
        out_shardings=whole,
    )


def _averaged(
    grad: Callable[..., Any], params: Params, batch: Batch, key: jax.Array, parts: int
) -> tuple[tuple[jax.Array, Metrics], Any]:
    """Loss, figures and gradient, averaged over ``parts`` equal parts of the batch."""
    if parts == 1:
        return grad(params, batch, key)
    mesh = jax.sharding.get_abstract_mesh()
    devices = mesh.shape.get("data", 1) * mesh.shape.get("fsdp", 1)

    def split(x: jax.Array) -> jax.Array:
        if x.shape[0] % (parts * devices):
            raise ConfigError(
                f"a batch of {x.shape[0]} cannot be split into {parts} parts (accumulate) on "
                f"{devices} devices (mesh axes data and fsdp); it must be a multiple of "
                f"{parts * devices}"
            )
        # Part i takes examples i, i + parts, ...: each device keeps the examples it has.
        x = jnp.swapaxes(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 0, 1)
        return sharding.constrain(x, None, "batch", *(None,) * (x.ndim - 2))

    def body(total: Any, xs: tuple[Batch, jax.Array]) -> tuple[Any, None]:
        part, index = xs
        value = grad(params, part, jax.random.fold_in(key, index))
        return jax.tree.map(lambda a, b: a + b / parts, total, value), None

    stacked = jax.tree.map(split, batch)
    first = jax.tree.map(lambda x: x[0], stacked)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(grad, params, first, key)
    )
    total, _ = jax.lax.scan(body, zeros, (stacked, jnp.arange(parts)))
    return total
