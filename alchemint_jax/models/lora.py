"""LoRA (Hu et al. 2021) as pure functions on parameter trees: `kernel + alpha / rank * a @ b`.

A LoRA is a nested dict like the parameters, with `{"a": [.., in, r], "b": [.., r, out]}` where
these have a layer's `kernel`; layers stacked by `nn.scan` keep their leading axis. Given to
`apply` as the collection "lora" (see `scaled_lora`) it acts beside the kernels, so that neither
their sum nor a gradient of their size is ever in memory; `merge_lora` adds it to them for good.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree

from alchemint_jax.errors import ConfigError, WeightsError

TARGETS = ("self_attn", "cross_attn", "ffn")


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Which layers of the transformer get a LoRA, and its size.

    Attributes:
        rank: inner width.
        alpha: `alpha / rank` scales the product; equal to `rank` it is 1.
        targets: of `TARGETS`; all kernels below them.
    """

    rank: int = 16
    alpha: float | int = 16.0
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or self.rank < 1:
            raise ConfigError(f"lora: rank is {self.rank!r}; it must be a whole number >= 1")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"lora: alpha is {self.alpha!r}; it must be positive and finite")
        if not self.targets or (unknown := sorted(set(self.targets) - set(TARGETS))):
            what = ", ".join(map(repr, unknown)) if self.targets else "empty"
            raise ConfigError(f"lora: targets: {what}; choose among {', '.join(TARGETS)}")

    @property
    def scale(self) -> float:
        """Factor of `a @ b`."""
        return self.alpha / self.rank


def init_lora(key: jax.Array, params: PyTree, config: LoraConfig) -> dict[str, Any]:
    """A LoRA that changes nothing yet: `b` is 0 and `a` uniform with variance 1 / (3 in).

    That is the start of the reference implementation (peft). Traceable.

    Args:
        key: of the values of `a`.
        params: of the network, arrays or shapes; where a kernel is in a box that names its
            logical axes, so are its `a` and `b`, and a mesh splits them alike.
        config: rank and targets.
    """
    kernels = {
        path[:-1]: leaf
        for path, leaf in sorted(flatten_dict(params).items())
        if _aimed(path, config)
    }
    found: dict[tuple[str, ...], Any] = {}
    keys = jax.random.split(key, len(kernels))
    for each, (path, leaf) in zip(keys, kernels.items(), strict=True):
        boxed = isinstance(leaf, nn.LogicallyPartitioned)
        *lead, wide, out = (leaf.value if boxed else leaf).shape
        bound = wide**-0.5
        shape = (*lead, wide, config.rank)
        a: Any = jax.random.uniform(each, shape, minval=-bound, maxval=bound)
        b: Any = jnp.zeros((*lead, config.rank, out))
        if boxed:
            *rows, into, onto = leaf.names
            a = nn.LogicallyPartitioned(a, (*rows, into, None))
            b = nn.LogicallyPartitioned(b, (*rows, None, onto))
        found[(*path, "a")], found[(*path, "b")] = a, b
    return unflatten_dict(found)


def _aimed(path: tuple[str, ...], config: LoraConfig) -> bool:
    within = any(part.startswith(target) for part in path for target in config.targets)
    return path[-1] == "kernel" and within


def scaled_lora(lora: PyTree, scale: float) -> PyTree:
    """The collection "lora" for `apply`: `scale` is in its `b`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: x * scale if path[-1].key == "b" else x, lora
    )


def merge_lora(params: PyTree, lora: PyTree, scale: float = 1.0) -> dict[str, Any]:
    """`params` with `kernel + scale * a @ b` in place of every kernel that `lora` is for.

    Differentiable. NumPy arrays stay NumPy arrays, so that a model larger than the accelerator can
    be merged on the host.

    Raises:
        WeightsError: `lora` is for kernels that there are not, or of other shapes; all are listed.
    """
    whole, parts = flatten_dict(params), flatten_dict(lora)
    problems = []
    with jax.default_matmul_precision("highest"):
        for path in sorted({path[:-1] for path in parts}):
            kernel, (a, b) = whole.get((*path, "kernel")), (parts[(*path, n)] for n in "ab")
            name = ".".join(path)
            if kernel is None:
                problems.append(f"{name}.kernel is not in the model")
            elif (*a.shape[:-1], b.shape[-1]) != kernel.shape:
                problems.append(
                    f"{name}: a {list(a.shape)} and b {list(b.shape)} do not make a kernel "
                    f"{list(kernel.shape)}"
                )
            else:
                whole[(*path, "kernel")] = kernel + scale * (a @ b)
    if problems:
        raise WeightsError("\n  ".join(["the LoRA does not fit the model:", *problems]))
    return unflatten_dict(whole)
