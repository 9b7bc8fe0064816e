"""The training state, a plain dict ``{"params", "ema", "opt", "step"}``, born sharded.

Parameters of the group "frozen" are apart from ``params``, under ``"frozen"``, which is there only
if there are any: what never moves has no gradient, no moments and no average, and is in no
checkpoint, since it comes from where the run started.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh

from alchemint_jax import sharding
from alchemint_jax.errors import WeightsError
from alchemint_jax.train import optimizer as opt
from alchemint_jax.train.task import Params, Task
from alchemint_jax.weights import read_params
from alchemint_jax.weights.tensors import Tensor

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
        given: dict[str, Tensor] = getattr(self.task, "pretrained", dict)()
        self._check(given)

        def rest(state: State) -> State:
            """What is not given, of a state or of what is said of one."""
            return {
                name: _chosen(x, given, False) if given and name in _WEIGHTS else x
                for name, x in state.items()
                if name in shardings
            }

        with sharding.use_mesh(self.mesh):
            make = jax.jit(lambda k: rest(self.fresh(k)), out_shardings=rest(shardings))
            state = make(jax.device_put(key, sharding.replicated(self.mesh)))
        for name in ("params", opt.FROZEN):
            if name in shardings and (leaves := _chosen(self.abstract[name], given, True)):
                state[name] = joined(state[name], read_params(given, leaves))
        if "ema" in shardings and (leaves := _chosen(state["params"], given, True)):
            places = _chosen(shardings["ema"], given, True)
            copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=places)
            state["ema"] = joined(state["ema"], copy(leaves))
        return state

    def _check(self, given: dict[str, Tensor]) -> None:
        """Refuses given weights that are not in the model, or of another shape."""
        params = joined(self.abstract["params"], self.abstract.get(opt.FROZEN, {}))
        model = flatten_dict(params, sep=".")
        problems = sorted(
            f"{path} is {x.shape}, the model has {model[path].shape}"
            if path in model
            else f"{path} is not in the model"
            for path, x in given.items()
            if path not in model or x.shape != model[path].shape
        )
        if problems:
            raise WeightsError("pretrained weights do not fit: " + "; ".join(problems[:10]))


_WEIGHTS = ("params", "ema", opt.FROZEN)


def _chosen(tree: Any, paths: Container[str], inside: bool) -> dict[str, Any]:
    """The leaves of a nested dict whose dotted paths are, or are not, among some."""
    leaves = flatten_dict(tree)
    return unflatten_dict({k: x for k, x in leaves.items() if (".".join(k) in paths) is inside})


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

    def begun(params: Params) -> State:
        params, frozen = split(params, labels)
        state = {
            "params": params,
            "ema": jax.tree.map(jnp.copy, params),
            "opt": tx.init(params),
            "step": jnp.zeros((), jnp.int32),
        }
        return {**state, opt.FROZEN: frozen} if frozen else state

    # Through the boxes the moments and the average get the sharding of their parameter; plain
    # jit(tx.init)(params) would replicate the moments.
    boxed = jax.eval_shape(begun, boxed_params)
    shardings = sharding.state_shardings(boxed, mesh)
    abstract = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        sharding.unbox(boxed),
        shardings,
    )
    return StatePlan(
        task, tx, mesh, shardings, abstract, lambda k: begun(sharding.unbox(task.init(k)))
    )


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
