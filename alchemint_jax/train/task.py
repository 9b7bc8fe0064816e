"""What a recipe must provide to be trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from alchemint_jax.data.share import WHOLE, Share

Params = Any  # nested dict of arrays
Batch = Mapping[str, Any]  # arrays whose leading dimension is the batch


@runtime_checkable
class Task(Protocol):
    """A model, its data and its loss; everything the training loop does not know.

    A task may further have ``pretrained() -> dict[str, Tensor]``: weights by their path, keys
    joined with dots, complete or partial, that a new run starts from instead of those of ``init``.
    Each process reads what its devices hold of them (``weights.read_params``).

    A task whose step can run in several equal ways, which take more time and less memory one after
    the other, has ``ways(shapes, mesh, accumulate) -> Ways | None`` (see ``train.remat``).

    A task that renders storyboards has ``pipeline(params) -> Pipeline``, by which a run is scored
    while it trains (``train.evaluate``). ``pipeline(None)`` renders nothing: scenes are checked
    with it before the run begins.
    """

    def init(self, key: jax.Array) -> Params:
        """Fresh float32 parameters; may carry ``nn.LogicallyPartitioned`` boxes. Traceable."""
        ...

    def loss(
        self, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean loss of a batch and further scalar figures. Pure and traceable."""
        ...

    def train_data(self, share: Share = WHOLE) -> Iterable[Batch]:
        """Batches of NumPy arrays without end: of an endless stream, what is this process's.

        Which example has which number must not change from one call to the next.
        """
        ...

    def validation_data(self, share: Share = WHOLE) -> Iterable[Batch]:
        """The same few batches each time it is called; may be empty."""
        ...

    def sample(self, params: Params) -> dict[str, np.ndarray]:
        """Videos to look at, uint8 ``[f, h, w, 3]`` by name; may be empty."""
        ...

    def export(self, params: Params, directory: Path) -> None:
        """Writes the weights (NumPy arrays, the moving average) in the form others load."""
        ...

    def label(self, path: str) -> str:
        """The optimizer group of the parameter at ``path``, for example ``blocks/q/kernel``.

        What is in the group "frozen" stays as ``init`` or ``pretrained`` gave it.
        """
        ...
