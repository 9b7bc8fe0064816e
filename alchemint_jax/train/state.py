"""The training state, a plain dict ``{"params", "ema", "opt", "step"}``, born sharded.

Parameters of the group "frozen" are apart from ``params``, under ``"frozen"``, which is there only
if there are any: what never moves has no gradient, no moments and no average, and is in no
checkpoint, since it comes from where the run started.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from alchemint_jax import sharding
from alchemint_jax.errors import WeightsError
from alchemint_jax.train import optimizer as opt
from alchemint_jax.train.task import Params, Task

State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StatePlan:
    """Everything about the state except its values.

    Attributes:
        tx: the optimizer.
        shardings: a NamedSharding for each array of the state.
        abstract: a sharded ShapeDtypeStruct for each array of the state.
        fresh: a key to a state, unboxed; traceable.
    """

    task: Task
    tx: optax.GradientTransformation
    mesh: Mesh
    shardings: State
    abstract: State
    fresh: Callable[[jax.Array], State]

    def init(self, key: jax.Array) -> State:
        """A fresh state; no array is ever whole on one device unless its sharding says so.

        Where the task has ``pretrained``, its weights replace the fresh ones.
        """
        return self._made(key, self.shardings)

    def frozen(self, key: jax.Array) -> State:
        """What a fresh state has and a checkpoint has not: ``{"frozen": ...}``, or nothing."""
        shardings = {name: s for name, s in self.shardings.items() if name == opt.FROZEN}
        return self._made(key, shardings) if shardings else {}

    def _made(self, key: jax.Array, shardings: State) -> State:
        with sharding.use_mesh(self.mesh):
            make = jax.jit(
                lambda k: {name: x for name, x in self.fresh(k).items() if name in shardings},
                out_shardings=shardings,
            )
            state = make(jax.device_put(key, sharding.replicated(self.mesh)))
        weights: dict[str, Any] = getattr(self.task, "pretrained", dict)()
        return self._replaced(state, weights) if weights else state

    def _replaced(self, state: State, weights: dict[str, Any]) -> State:
        """``state`` with ``weights`` (a nested dict of NumPy arrays, maybe partial) in it."""
        new = flatten_dict(weights, keep_empty_nodes=True)
        model = flatten_dict(joined(self.abstract["params"], self.abstract.get(opt.FROZEN, {})))
        problems = [
            f"{'/'.join(path)} is {x.shape}, the model has {model[path].shape}"
            if path in model
            else f"{'/'.join(path)} is not in the model"
            for path, x in new.items()
            if path not in model or x.shape != model[path].shape
        ]
        if problems:
            found = sorted(problems)
            raise WeightsError("pretrained weights do not fit: " + "; ".join(found[:10]))

        def put(path: tuple[str, ...], old: jax.Array) -> jax.Array:
            if path not in new:
                return old
            shape, dtype, place = old.shape, old.dtype, old.sharding
            old.delete()  # before another takes its room
            # A callback per shard: every process can do it, and no device holds the whole array.
            return jax.make_array_from_callback(
                shape, place, lambda index: np.asarray(new[path][index], dtype)
            )

        changed = {
            name: unflatten_dict({path: put(path, x) for path, x in flatten_dict(tree).items()})
            for name, tree in state.items()
            if name in ("params", "ema", opt.FROZEN)
        }
        return {**state, **changed}


def plan_state(task: Task, config: opt.OptimizerConfig, mesh: Mesh) -> StatePlan:
    """Works out shapes and shardings of the state without touching memory.

    The mesh may be one of devices that are not there (a topology to compile for).
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    boxed_params = jax.eval_shape(task.init, key)
    labels = opt.group_labels(sharding.unbox(boxed_params), task.label, config)
    moving, _ = split(boxed_params, labels)
    tx = opt.make_optimizer(
        config, split(labels, labels)[0], opt.decayed(moving), opt.matrices(moving)
    )

    def fresh(k: jax.Array, unbox: bool = True) -> State:
        params = task.init(k)
        params, frozen = split(sharding.unbox(params) if unbox else params, labels)
        state = {
            "params": params,
            "ema": jax.tree.map(jnp.copy, params),
            "opt": tx.init(params),
            "step": jnp.zeros((), jnp.int32),
        }
        return {**state, opt.FROZEN: frozen} if frozen else state

    # Through the boxes the moments and the average get the sharding of their parameter; plain
    # jit(tx.init)(params) would replicate the moments.
    boxed = jax.eval_shape(lambda k: fresh(k, unbox=False), key)
    shardings = sharding.state_shardings(boxed, mesh)
    abstract = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        sharding.unbox(boxed),
        shardings,
    )
    return StatePlan(task, tx, mesh, shardings, abstract, fresh)


def split(params: Params, labels: Any) -> tuple[Params, Params]:
    """The parameters that move, and those of the group "frozen"; nested dicts."""
    groups = flatten_dict(labels)
    leaves = flatten_dict(params)  # boxes are leaves here
    frozen = {path: leaves.pop(path) for path, group in groups.items() if group == opt.FROZEN}
    return unflatten_dict(leaves), unflatten_dict(frozen)


def joined(params: Params, frozen: Params) -> Params:
    """What ``split`` took apart."""
    return unflatten_dict({**flatten_dict(params), **flatten_dict(frozen)})


def everything(state: State, weights: str) -> Params:
    """All parameters that the task knows; ``weights`` is "params", or "ema" for the average."""
    return joined(state[weights], state.get(opt.FROZEN, {}))
