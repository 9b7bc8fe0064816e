"""Whether a fast model may stand in for its teacher: how close it comes, and what it loses (NumPy).

Figures of timing and of identity cannot tell: a video that is smeared out keeps its subjects in
their time, and trackers find them more surely than in the sharp one. So a student is compared with
its teacher on the same boards from the same noise, and first of all it must be close, as sharp, as
lively and as varied. Arrays are latents, or frames: anything with the axes `[b t h w c]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from alchemint_jax.errors import ConfigError

TITLES = {
    "relative_mse": "relative MSE",
    "edges": "edge energy",
    "motion": "motion energy",
    "diversity": "diversity",
    "t_iou": "t-IOU",
    "identity": "identity",
}
"""What each figure of a comparison is called."""


def relative_mse(
    student: Num[np.ndarray, " b *rest"], teacher: Num[np.ndarray, " b *rest"]
) -> Float[np.ndarray, " b"]:
    """Mean square error of each sample, over the variance of all that the teacher made.

    Args:
        student: what it made, `[b, ...]`.
        teacher: what its teacher made of the same boards from the same noise.

    Returns:
        An error for each sample: 0 where both are equal, and about 1 on average for a student that
        makes the mean of everything.

    Raises:
        ConfigError: the teacher made the same value everywhere.

    Examples:
        >>> teacher = np.array([[0.0, 2.0], [0.0, 2.0]])
        >>> al.evaluate.students.relative_mse(np.array([[0.0, 2.0], [1.0, 1.0]]), teacher).tolist()
        [0.0, 1.0]

    Source:
        This repository.
    """
    one, other = student.astype(np.float64), teacher.astype(np.float64)
    variance = other.var()
    if not variance > 0:
        raise ConfigError("the teacher made the same value everywhere; there is nothing to compare")
    return ((one - other) ** 2).reshape(len(one), -1).mean(1) / variance


def edge_energy(samples: Num[np.ndarray, "b t h w c"]) -> Float[np.ndarray, " b"]:
    """How sharp samples are: root mean square of differences between neighbours in a frame.

    Args:
        samples: latents or frames, `[b, t, h, w, c]`.

    Returns:
        An energy for each sample, in its units; blur lowers it.

    Raises:
        TypeError: the samples have other axes.

    Examples:
        >>> steps = np.arange(4.0).reshape(1, 1, 1, 4, 1)  # a ramp: neighbours differ by 1
        >>> al.evaluate.students.edge_energy(np.repeat(steps, 2, axis=2)).round(3).tolist()
        [0.775]

    Source:
        This repository; differences along both axes count alike.
    """
    x = samples.astype(np.float64)
    differences = [np.diff(x, axis=axis).reshape(len(x), -1) for axis in (2, 3)]
    return _rms(np.concatenate(differences, axis=1))


def motion_energy(samples: Num[np.ndarray, "b t h w c"]) -> Float[np.ndarray, " b"]:
    """How much samples change: root mean square of differences between successive frames.

    Args:
        samples: latents or frames, `[b, t, h, w, c]`.

    Returns:
        An energy for each sample, in its units.

    Raises:
        TypeError: the samples have other axes.

    Examples:
        >>> samples = np.array([0.0, 3.0, 3.0]).reshape(1, 3, 1, 1, 1)
        >>> al.evaluate.students.motion_energy(samples).round(3).tolist()
        [2.121]

    Source:
        This repository.
    """
    x = samples.astype(np.float64)
    return _rms(np.diff(x, axis=1).reshape(len(x), -1))


def diversity(
    first: Num[np.ndarray, " b *rest"], second: Num[np.ndarray, " b *rest"]
) -> Float[np.ndarray, " b"]:
    """How far apart two samples of one board are: root mean square of their difference.

    Args:
        first: samples from one noise, `[b, ...]`.
        second: samples of the same boards from another noise.

    Returns:
        A distance for each board; a model that makes one clip whatever the noise has 0.

    Raises:
        TypeError: the two have different shapes.

    Examples:
        >>> one, other = np.zeros((1, 2)), np.array([[3.0, 1.0]])
        >>> al.evaluate.students.diversity(one, other).round(3).tolist()
        [2.236]

    Source:
        This repository.
    """
    x = first.astype(np.float64) - second.astype(np.float64)
    return _rms(x.reshape(len(x), -1))


def _rms(values: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    return np.sqrt((values**2).mean(1))


@dataclasses.dataclass(frozen=True)
class Standard:
    """How far a student may be from its teacher.

    Attributes:
        relative_mse: the most, on average.
        edges: share by which edge energy may differ, in either direction.
        motion: the same of motion energy.
        diversity: the same of diversity.
        loss: by how much t-IOU and identity may be lower.

    Examples:
        >>> al.evaluate.students.Standard().relative_mse
        0.07

    Source:
        This repository; the bounds are choices.
    """

    relative_mse: float = 0.07
    edges: float = 0.05
    motion: float = 0.05
    diversity: float = 0.10
    loss: float = 0.02

    def missed(self, figures: Mapping[str, Any]) -> list[str]:
        """What a student does not reach, in sentences; nothing if it may stand in.

        Args:
            figures: means by the names of `TITLES`: the relative MSE, student over teacher of
                edges, motion and diversity, and student less teacher of t-IOU and identity.

        Returns:
            A sentence for each figure that is missed, or not known.

        Raises:
            KeyError: one of them is not there.

        Examples:
            >>> blurred = dict(relative_mse=0.05, edges=0.7, motion=0.98, diversity=0.95)
            >>> al.evaluate.students.Standard().missed(blurred | dict(t_iou=0.03, identity=0.0))
            ["edge energy is 0.700 of the teacher's; it must be from 0.950 to 1.050"]

        Source:
            This repository.
        """
        found = []
        if not figures["relative_mse"] <= self.relative_mse:
            error, most = figures["relative_mse"], self.relative_mse
            found.append(f"relative MSE is {error:.3f}; it must be {most:.3f} at the most")
        for name in ("edges", "motion", "diversity"):
            share, value = getattr(self, name), figures[name]
            if not 1 - share <= value <= 1 + share:
                found.append(
                    f"{TITLES[name]} is {value:.3f} of the teacher's; it must be from "
                    f"{1 - share:.3f} to {1 + share:.3f}"
                )
        for name in ("t_iou", "identity"):
            if not figures[name] >= -self.loss:
                found.append(
                    f"{TITLES[name]} is {-figures[name]:.3f} lower than the teacher's; it may be "
                    f"{self.loss:.3f} lower"
                )
        return found
