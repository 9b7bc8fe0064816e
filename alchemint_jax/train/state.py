"""The training state, a plain dict ``{"params", "ema", "opt", "step"}``, born sharded."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from alchemint_jax import sharding
from alchemint_jax.errors import WeightsError
from alchemint_jax.train import optimizer as opt
from alchemint_jax.train.task import Task

State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StatePlan:
    """Everything about the state except its values.

    Attributes:
        tx: the optimizer.
        shardings: a NamedSharding for each array of the state.
        abstract: a sharded ShapeDtypeStruct for each array of the state.
    """

    task: Task
    tx: optax.GradientTransformation
    mesh: Mesh
    shardings: State
    abstract: State

    def init(self, key: jax.Array) -> State:
        """A fresh state; no array is ever whole on one device unless its sharding says so.

        Where the task has ``pretrained``, its weights replace the fresh ones.
        """
        with sharding.use_mesh(self.mesh):
            make = jax.jit(
                lambda k: _state(sharding.unbox(self.task.init(k)), self.tx),
                out_shardings=self.shardings,
            )
            state = make(jax.device_put(key, sharding.replicated(self.mesh)))
        weights: dict[str, Any] = getattr(self.task, "pretrained", dict)()
        return _replace(state, weights, self.shardings) if weights else state


def plan_state(task: Task, config: opt.OptimizerConfig, mesh: Mesh) -> StatePlan:
    """Works out shapes and shardings of the state without touching memory.

    The mesh may be one of devices that are not there (a topology to compile for).
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    boxed_params = jax.eval_shape(task.init, key)
    labels = opt.group_labels(sharding.unbox(boxed_params), task.label, config)
    tx = opt.make_optimizer(config, labels, opt.decayed(boxed_params), opt.matrices(boxed_params))
    # Through the boxes the moments and the average get the sharding of their parameter; plain
    # jit(tx.init)(params) would replicate the moments.
    boxed = jax.eval_shape(lambda k: _state(task.init(k), tx), key)
    shardings = sharding.state_shardings(boxed, mesh)
    abstract = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        sharding.unbox(boxed),
        shardings,
    )
    return StatePlan(task, tx, mesh, shardings, abstract)


def _state(params: Any, tx: optax.GradientTransformation) -> State:
    return {
        "params": params,
        "ema": jax.tree.map(jnp.copy, params),
        "opt": tx.init(params),
        "step": jnp.zeros((), jnp.int32),
    }


def _replace(state: State, weights: dict[str, Any], shardings: State) -> State:
    """``state`` with ``weights`` (a nested dict of NumPy arrays, maybe partial) in it."""
    problems: list[str] = []

    def merge(old: Any, new: Any, place: Any, path: str) -> Any:
        if isinstance(old, dict) and isinstance(new, dict):
            problems.extend(f"{path}{k} is not in the model" for k in new.keys() - old.keys())
            return {
                k: merge(v, new[k], place[k], f"{path}{k}/") if k in new else v
                for k, v in old.items()
            }
        shapes = getattr(old, "shape", "a group"), getattr(new, "shape", "a group")
        if shapes[0] != shapes[1]:
            problems.append(f"{path[:-1]} is {shapes[1]}, the model has {shapes[0]}")
            return old
        # A callback per shard: every process can do it, and no device holds the whole array.
        return jax.make_array_from_callback(
            old.shape, place, lambda index: np.asarray(new[index], old.dtype)
        )

    changed = {n: merge(state[n], weights, shardings[n], "") for n in ("params", "ema")}
    if problems:
        found = sorted(set(problems))
        raise WeightsError("pretrained weights do not fit: " + "; ".join(found[:10]))
    return {**state, **changed}
