"""AdamW with one learning rate per parameter group, and the moving average of the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import optax.contrib

from alchemint_jax.errors import ConfigError

FROZEN = "frozen"
"""The group of parameters that never move: no gradient, no moments, no average, no rate."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move.

    Attributes:
        method: ``adamw``, or ``muon``: matrices move by their orthogonalised momentum (Jordan et
            al. 2024) with the size of a typical Adam update, so that both share learning rates,
            and everything else by Adam with Nesterov momentum.
        groups: ``((name, peak learning rate), ...)``; ``Task.label`` names a parameter's group.
        warmup_steps: the rate rises linearly from peak/warmup_steps over these steps.
        schedule: ``constant``, or ``cosine`` down to ``final_fraction`` of the peak.
        total_steps: where the cosine ends.
        weight_decay: decoupled, times the learning rate; not on biases, scales and vectors.
        clip_norm: largest norm of the whole gradient; 0 for no clipping.
        accumulate: the batch is split into this many equal parts.
        ema_decay: of the moving average of the weights; early on ``(1 + step) / (10 + step)``.
    """

    method: str = "adamw"
    groups: tuple[tuple[str, float], ...] = (("all", 1e-4),)
    warmup_steps: int = 0
    schedule: str = "constant"
    total_steps: int = 0
    final_fraction: float = 0.0
    b1: float = 0.9
    b2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    accumulate: int = 1
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        def require(ok: bool, message: str) -> None:
            if not ok:
                raise ConfigError(f"optimizer: {message}")

        require(len(self.groups) > 0, "groups is empty; give at least one (name, rate) pair")
        require(len(dict(self.groups)) == len(self.groups), f"{self.groups} repeats a name")
        require(
            FROZEN not in dict(self.groups),
            f"the group {FROZEN!r} does not move; it can have no learning rate",
        )
        require(all(rate >= 0 for _, rate in self.groups), "learning rates must be >= 0")
        require(
            self.method in ("adamw", "muon"),
            f"method is {self.method!r}; use 'adamw' or 'muon'",
        )
        require(
            self.schedule in ("constant", "cosine"),
            f"schedule is {self.schedule!r}; use 'constant' or 'cosine'",
        )
        require(
            self.schedule == "constant" or self.total_steps > self.warmup_steps,
            f"a cosine schedule needs total_steps > warmup_steps, not {self.total_steps} "
            f"and {self.warmup_steps}",
        )
        require(self.accumulate >= 1, "accumulate must be at least 1")
        require(0 <= self.ema_decay < 1, "ema_decay must be in [0, 1)")


def learning_rate(config: OptimizerConfig, peak: float) -> optax.Schedule:
    """The learning rate of the update that follows so many finished ones."""
    rate = optax.schedules.constant_schedule(peak)
    if config.schedule == "cosine":
        rate = optax.schedules.cosine_decay_schedule(
            peak, config.total_steps - config.warmup_steps, config.final_fraction
        )
    first = peak / max(1, config.warmup_steps)
    rise = optax.schedules.linear_schedule(first, peak, config.warmup_steps - 1)
    return optax.schedules.join_schedules([rise, rate], [config.warmup_steps])


def group_labels(params: Any, label: Callable[[str], str], config: OptimizerConfig) -> Any:
    """The group name of every parameter.

    Raises:
        ConfigError: if ``label`` names a group without a learning rate.
    """

    def name(path: Any, _: Any) -> str:
        text = jax.tree_util.keystr(path, simple=True, separator="/")
        group = label(text)
        if group != FROZEN and group not in dict(config.groups):
            raise ConfigError(
                f"parameter {text} is in group {group!r}, which has no learning rate; "
                f"optimizer.groups has {[g for g, _ in config.groups]}"
            )
        return group

    return jax.tree_util.tree_map_with_path(name, params)


def decayed(boxed_params: Any) -> Any:
    """Which parameters weight decay applies to: matrices, not biases, scales or vectors.

    Layers stacked by ``nn.scan`` do not count as a dimension.
    """

    def leaf(path: Any, x: Any) -> bool:
        stacked = isinstance(x, nn.LogicallyPartitioned) and "layers" in x.names
        value = x.value if isinstance(x, nn.LogicallyPartitioned) else x
        last = jax.tree_util.keystr(path[-1:], simple=True)
        return last not in ("bias", "scale") and value.ndim - stacked > 1

    return jax.tree_util.tree_map_with_path(
        leaf, boxed_params, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
    )


def matrices(boxed_params: Any) -> Any:
    """For each parameter, the axes that make it a matrix for Muon, or None: kernels only.

    Kernels of convolutions are matrices from all but their last axis; layers stacked by
    ``nn.scan`` are separate matrices.
    """

    def leaf(path: Any, x: Any) -> optax.contrib.MuonDimensionNumbers | None:
        stacked = isinstance(x, nn.LogicallyPartitioned) and "layers" in x.names
        value = x.value if isinstance(x, nn.LogicallyPartitioned) else x
        axes = tuple(range(int(stacked), value.ndim))
        if not jax.tree_util.keystr(path[-1:], simple=True).endswith("kernel") or len(axes) < 2:
            return None
        return optax.contrib.MuonDimensionNumbers(axes[:-1], axes[-1:])

    return jax.tree_util.tree_map_with_path(
        leaf, boxed_params, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
    )


def make_optimizer(
    config: OptimizerConfig, labels: Any, decays: Any, shapes: Any
) -> optax.GradientTransformation:
    """AdamW, or Muon, as one optax transformation.

    Args:
        config: rates and decay; ``accumulate`` and ``ema_decay`` are not its business.
        labels: group name of each parameter, see ``group_labels``.
        decays: whether each parameter decays, see ``decayed``.
        shapes: the matrices among the parameters, see ``matrices``.
    """
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, _direction(config, shapes), _step_size(config, labels, decays))


def _step_size(config: OptimizerConfig, labels: Any, decays: Any) -> optax.GradientTransformation:
    """Weight decay, then the learning rate of each group.

    Groups count the same steps: the state is one count, as in every checkpoint, whatever the
    groups are.
    """
    scale = optax.chain(
        optax.add_decayed_weights(config.weight_decay, decays),
        optax.partition(
            {g: optax.scale_by_learning_rate(learning_rate(config, p)) for g, p in config.groups},
            labels,
        ),
    )

    def init(params: Any) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))  # type: ignore[arg-type]

    def update(updates: Any, state: optax.ScaleByScheduleState, params: Any) -> tuple[Any, Any]:
        every = optax.tree.set(scale.init(params), count=state.count)
        updates, _ = scale.update(updates, every, params)
        return updates, optax.ScaleByScheduleState(state.count + 1)

    return optax.GradientTransformation(init, update)


def _direction(config: OptimizerConfig, shapes: Any) -> optax.GradientTransformation:
    if config.method == "adamw":
        return optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)
    return optax.contrib.muon(
        learning_rate=-1.0,  # the sign and the rate come from the group, as for Adam
        adam_learning_rate=-1.0,
        adam_b1=config.b1,
        adam_b2=config.b2,
        eps=config.eps,
        muon_weight_dimension_numbers=shapes,
        consistent_rms=0.2,
    )


def update_ema(ema: Any, params: Any, step: jax.Array | int, decay: float) -> Any:
    """The moving average after update number ``step`` (counted from 0).

    The decay is ``min(decay, (1 + step) / (10 + step))``, so early averages forget the start.
    """
    step = jnp.asarray(step, jnp.float32)
    rest = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    # This form leaves an average that equals the weights exactly where it is.
    return jax.tree.map(lambda e, p: e + rest * (p - e), ema, params)
