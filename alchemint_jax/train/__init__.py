"""Training: ``fit(task, TrainConfig(...), workdir)``."""

from alchemint_jax.train.checkpoint import Checkpoints
from alchemint_jax.train.loop import FitResult, TrainConfig, fit
from alchemint_jax.train.metrics import MetricWriter, read_metrics
from alchemint_jax.train.optimizer import OptimizerConfig, learning_rate, update_ema
from alchemint_jax.train.state import State, StatePlan, plan_state
from alchemint_jax.train.step import jit_train_step, jit_validation_step, train_step
from alchemint_jax.train.task import Task

__all__ = [
    "Checkpoints",
    "FitResult",
    "MetricWriter",
    "OptimizerConfig",
    "State",
    "StatePlan",
    "Task",
    "TrainConfig",
    "fit",
    "jit_train_step",
    "jit_validation_step",
    "learning_rate",
    "plan_state",
    "read_metrics",
    "train_step",
    "update_ema",
]
