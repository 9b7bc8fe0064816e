"""The distance of two sets of videos: Frechet video distance, in constant memory.

Means and covariances are added up video by video, so a set may be of any size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float, Float64, UInt8

from alchemint_jax.errors import DataError

Features = Callable[[UInt8[np.ndarray, "f h w 3"]], Float[np.ndarray, " d"]]
"""What a network says of a video, such as `I3dFeatures`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of vectors that were added one after the other.

    Attributes:
        count: how many there were.
        mean: of them, `[d]`.
        scatter: the sum of the outer products of what they deviate from the mean by, `[d, d]`.

    Examples:
        >>> moments = al.evaluate.quality.Moments.of(np.array([[0.0], [2.0]]))
        >>> moments.count, moments.mean.tolist(), moments.covariance.tolist()
        (2, [1.0], [[2.0]])

    Source:
        T. F. Chan et al., "Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances", 1979.
    """

    count: int
    mean: Float64[np.ndarray, " d"]
    scatter: Float64[np.ndarray, "d d"]

    @classmethod
    def of(cls, vectors: Float[np.ndarray, "n d"]) -> Moments:
        """Those of n vectors."""
        values = vectors.astype(np.float64)
        mean = values.mean(0) if len(values) else np.zeros(values.shape[1])
        return cls(len(values), mean, (values - mean).T @ (values - mean))

    def add(self, other: Moments) -> Moments:
        """Those of both, as if all vectors had been given at once."""
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        share = self.count * other.count / count
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.scatter + other.scatter + share * np.outer(apart, apart),
        )

    @property
    def covariance(self) -> Float64[np.ndarray, "d d"]:
        """The unbiased one, which takes two vectors at least."""
        return self.scatter / (self.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float:
    """The squared Frechet (2-Wasserstein) distance of two normal distributions.

    Args:
        one: moments of the vectors of a set.
        other: those of another one.

    Returns:
        A number from 0 upwards; 0 if means and covariances are equal.

    Raises:
        DataError: a set has fewer than two vectors, or theirs are of different lengths.

    Examples:
        >>> narrow, wide = np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])
        >>> both = (al.evaluate.quality.Moments.of(vectors) for vectors in (narrow, wide))
        >>> round(al.evaluate.quality.frechet_distance(*both), 6)  # 4^2 + (8^0.5 - 2^0.5)^2
        18.0

    Source:
        D. C. Dowson and B. V. Landau, "The Frechet Distance between Multivariate Normal
        Distributions", Journal of Multivariate Analysis 12 (1982).
    """
    if min(one.count, other.count) < 2:
        raise DataError("a Frechet distance needs two videos at least on each side")
    if one.mean.shape != other.mean.shape:
        raise DataError("the vectors of the two sets differ in length: they are of two networks")
    a, b = one.covariance, other.covariance
    values, basis = np.linalg.eigh(a)
    root = (basis * np.sqrt(np.maximum(values, 0))) @ basis.T
    # The eigenvalues of a b are those of root b root, which is symmetric.
    product = np.linalg.eigvalsh(root @ b @ root)
    overlap = np.sqrt(np.maximum(product, 0)).sum()
    apart = np.square(one.mean - other.mean).sum()
    return max(0.0, float(apart + np.trace(a) + np.trace(b) - 2 * overlap))


def set_moments(
    videos: Iterable[UInt8[np.ndarray, "f h w 3"]], features: Features
) -> Moments | None:
    """The moments of a set of videos, of which one at a time is held; None for an empty set."""
    found: Moments | None = None
    for video in videos:
        one = Moments.of(np.asarray(features(video))[None])
        found = one if found is None else found.add(one)
    return found


def frechet_video_distance(
    videos: Iterable[UInt8[np.ndarray, "f h w 3"]],
    others: Iterable[UInt8[np.ndarray, "f h w 3"]],
    features: Features,
) -> float:
    """Frechet video distance (FVD) of two sets of videos: how differently they are distributed.

    It says nothing about single videos, and needs many: with fewer videos than features the
    covariances have no full rank, and the distance of two halves of one set is far from 0. Compare
    it only between sets of the same size and of videos of the same length and rate. Published
    figures take some 2,000 videos.

    Args:
        videos: uint8 `[f, h, w, 3]` each. One at a time is held.
        others: what they are compared with, such as real videos.
        features: the vector of a video, such as `I3dFeatures.load()`.

    Returns:
        A number from 0 upwards, of which 0 is best.

    Raises:
        DataError: a set has fewer than two videos, or `features` refuses one.

    Examples:
        >>> bright = lambda video: video.mean((0, 1, 2))  # in place of a network
        >>> sets = [[np.full((4, 8, 8, 3), v, np.uint8) for v in row] for row in ([0, 2], [4, 6])]
        >>> round(al.evaluate.quality.frechet_video_distance(*sets, bright), 6)
        48.0

    Source:
        T. Unterthiner et al., "Towards Accurate Generative Models of Video: A New Metric &
        Challenges", arXiv:1812.01717.
    """
    one, other = set_moments(videos, features), set_moments(others, features)
    if one is None or other is None:
        raise DataError("a Frechet video distance needs two videos at least on each side")
    return frechet_distance(one, other)
