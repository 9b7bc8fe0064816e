"""Interval schemes: where in time a reference (and its word tag) sits, as one complex gain.

Every scheme is a frozen dataclass with

    gains(intervals [..., m, 2], n_frames, freqs) -> complex64 [..., d/2]

Intervals are latent coordinates [first, last], both inside the interval; a row whose start is
above its end is empty and changes nothing. The gain of several intervals is the mean of their
gains. The result is the whole gain at the spatial origin, `[temporal | h | w]`: the spatial
pairs hold the sum of the mixing weights, because a mixture mixes whole rotations and all its
anchors share the token's own row and column. Gains need not have modulus 1. With no interval
at all the temporal pairs are 0 (no frame is preferred), except where a scheme says otherwise.

What is said here of the AlcheMinT paper rests on published summaries of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Real

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary.axes import Frequencies, rotation
from alchemint_jax.rotary.inlined import inlined

Intervals = Real[Array | np.ndarray, "*batch m 2"]
Gains = Complex[Array, "*batch half"]


@runtime_checkable
class Scheme(Protocol):
    """Anything with a method `gains` that turns intervals into gains.

    The schemes of this module are frozen dataclasses, so that a config can name one and its fields.

    Examples:
        >>> isinstance(al.rotary.WeRope(), al.rotary.Scheme)
        True

    Source:
        This repository: the common form of MidRoPE, WeRoPE, TIE's sinc and the fit.
    """

    def gains(self, intervals: Intervals, n_frames: int, freqs: Frequencies) -> Gains:
        """Gains of subjects that are on screen during `intervals`.

        Args:
            intervals: latent coordinates `[first, last]` of each interval of each subject,
                `[*batch, m, 2]`; both ends are inside, and a row whose start is above its end is
                empty. m may be 0.
            n_frames: latent frames of the clip.
            freqs: from `axis_frequencies`.

        Returns:
            Whole gains at the spatial origin, `[temporal | height | width]`, complex64
            `[*batch, d/2]`. Without any interval the temporal pairs are 0 unless the scheme says
            otherwise.

        Raises:
            ValueError: `intervals` have no axis of intervals.

        Examples:
            One subject with one interval:

            >>> freqs = al.rotary.axis_frequencies(head_dim=64)
            >>> intervals = np.array([[[1.0, 4.0]]], np.float32)
            >>> gains = al.rotary.MidRope().gains(intervals, n_frames=9, freqs=freqs)
            >>> gains.shape, gains.dtype.name
            ((1, 32), 'complex64')

        Source:
            This repository.
        """
        ...


@inlined()
def split_intervals(
    intervals: Intervals,
) -> tuple[Float[Array, "*batch m"], Float[Array, "*batch m"], Bool[Array, "*batch m"]]:
    """Starts, ends and whether each row is an interval at all (start <= end), float32."""
    rows = jnp.asarray(intervals, jnp.float32)
    start, end = rows[..., 0], rows[..., 1]
    return start, end, start <= end


@inlined("spatial_weight")
def whole_gains(
    temporal: Complex[Array, "*batch pairs"], spatial_weight: float, freqs: Frequencies
) -> Gains:
    """Temporal gains with the constant spatial pairs appended."""
    pairs = freqs.h.shape[0] + freqs.w.shape[0]
    spatial = jnp.full((*temporal.shape[:-1], pairs), spatial_weight, jnp.complex64)
    return jnp.concatenate([temporal.astype(jnp.complex64), spatial], axis=-1)


@inlined()
def _mean(
    per_interval: Complex[Array, "*batch m pairs"], valid: Bool[Array, "*batch m"]
) -> Complex[Array, "*batch pairs"]:
    total = jnp.sum(jnp.where(valid[..., None], per_interval, 0), axis=-2)
    return total / jnp.maximum(jnp.sum(valid, axis=-1), 1)[..., None].astype(jnp.float32)


@dataclass(frozen=True)
class MidRope:
    """Plain RoPE at the middle of the interval.

    Intervals with the same middle are indistinguishable, whatever their length.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48, theta_t=20)
        >>> asked = np.array([[[3, 5]], [[1, 7]]], np.float32)  # two subjects, one middle
        >>> short, long = al.rotary.MidRope().gains(asked, 9, freqs)
        >>> bool(jnp.allclose(short, long))
        True

    Source:
        The ablation of AlcheMinT, arXiv 2512.10943, section 3: g = e((t0 + t1) / 2).
    """

    @inlined("self", "n_frames")
    def gains(self, intervals: Intervals, n_frames: int, freqs: Frequencies) -> Gains:
        """See `Scheme.gains`; the spatial pairs are 1."""
        start, end, valid = split_intervals(intervals)
        return whole_gains(_mean(rotation((start + end) / 2, freqs.t), valid), 1.0, freqs)


@dataclass(frozen=True)
class WeRope:
    """AlcheMinT's weighted RoPE: it attracts to the midpoint and pushes away from both outsides.

    The gain is `w_p e(mid) + w_n e(l) + w_n e(r)`, where `l = t0 / 2` is the middle of what lies
    before the interval. The spatial pairs are `w_p + 2 w_n`.

    Attributes:
        w_p: weight of the midpoint.
        w_n: weight of *each* of the two anchors outside, so that the weights sum to 1.01.
        right: "mirror" has `r = (T - 1 + t1) / 2`, the middle of what lies after the interval; it
            makes the scheme symmetric under time reversal. "printed" has `(T - t1) / 2`, as the
            paper prints it: a distance from the end rather than a position.
        drop_edges: whether an anchor with nothing outside (`t0 <= 0`, or `t1 >= T - 1`) is dropped,
            and its weight given back to the midpoint.

    Raises:
        ConfigError: `right` is neither "mirror" nor "printed".

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48, theta_t=20)
        >>> asked = np.array([[2, 5]], np.float32)
        >>> mixed, plain = (
        ...     al.rotary.kernel(scheme.gains(asked, 9, freqs), 9, freqs)
        ...     for scheme in (al.rotary.WeRope(), al.rotary.MidRope())
        ... )
        >>> bool(mixed[0] < plain[0]), bool(mixed[8] < plain[8])  # further down outside
        (True, True)

    Source:
        AlcheMinT, arXiv 2512.10943, section 3, as published summaries print it.
    """

    w_p: float = 1.67
    w_n: float = -0.33
    right: Literal["mirror", "printed"] = "mirror"
    drop_edges: bool = True

    def __post_init__(self) -> None:
        if self.right not in ("mirror", "printed"):
            raise ConfigError(f'WeRope: right = {self.right!r}: use "mirror" or "printed"')

    @inlined("self", "n_frames")
    def gains(self, intervals: Intervals, n_frames: int, freqs: Frequencies) -> Gains:
        """See `Scheme.gains`; temporal moduli differ from 1."""
        start, end, valid = split_intervals(intervals)
        last = n_frames - 1
        left = start / 2
        right = (last + end) / 2 if self.right == "mirror" else (n_frames - end) / 2
        w_left = jnp.full_like(start, self.w_n)
        w_right = w_left
        if self.drop_edges:
            w_left = jnp.where(start > 0, w_left, 0)
            w_right = jnp.where(end < last, w_right, 0)
        total = self.w_p + 2 * self.w_n
        w_mid = total - w_left - w_right
        mixed = (
            w_mid[..., None] * rotation((start + end) / 2, freqs.t)
            + w_left[..., None] * rotation(left, freqs.t)
            + w_right[..., None] * rotation(right, freqs.t)
        )
        return whole_gains(_mean(mixed, valid), total, freqs)


@dataclass(frozen=True)
class SincRope:
    """TIE's mean of the rotations over the interval: `e(c) sin(f r) / (f r)`.

    c is the centre of the interval and r half its length. TIE turns the keys alone in this way, and
    the queries to the centre: that is this scheme with `mix_queries=False` in `sequence_gains`.

    Attributes:
        norm: "l1" divides by the mean amplitude over the temporal frequencies, as TIE's released
            code does by default; that mean is kept above 0.05, for it can vanish on intervals so
            long that every frequency turns many times. "l2" divides by the root mean square. "none"
            leaves the plain mean, which weakens as the interval grows.

    Raises:
        ConfigError: `norm` is none of these.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48, theta_t=20)
        >>> asked = np.array([[[4, 4]], [[1, 7]]], np.float32)
        >>> short, long = al.rotary.kernel(al.rotary.SincRope().gains(asked, 9, freqs), 9, freqs)
        >>> bool(long[7] > short[7])  # a longer interval has a wider profile
        True

    Source:
        TIE, github.com/MatrixTeam-AI/TIE.
    """

    norm: Literal["l1", "l2", "none"] = "l1"

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2", "none"):
            raise ConfigError(f'SincRope: norm = {self.norm!r}: use "l1", "l2" or "none"')

    @inlined("self", "n_frames")
    def gains(self, intervals: Intervals, n_frames: int, freqs: Frequencies) -> Gains:
        """See `Scheme.gains`; the spatial pairs are 1."""
        start, end, valid = split_intervals(intervals)
        f = jnp.asarray(freqs.t, jnp.float32).reshape((1,) * start.ndim + (-1,))
        # jnp.sinc(x) is sin(pi x) / (pi x).
        amplitude = jnp.sinc((end - start)[..., None] / 2 * f / jnp.pi)
        if self.norm == "l1":
            amplitude /= jnp.maximum(jnp.mean(amplitude, axis=-1, keepdims=True), 0.05)
        elif self.norm == "l2":
            amplitude /= jnp.sqrt(jnp.mean(amplitude**2, axis=-1, keepdims=True))
        mixed = amplitude * rotation((start + end) / 2, freqs.t)
        return whole_gains(_mean(mixed, valid), 1.0, freqs)


@dataclass(frozen=True)
class NoInterval:
    """The ablation that ignores intervals: every reference sits at time 0.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48)
        >>> asked = np.array([[2, 5]], np.float32)
        >>> bool(jnp.all(al.rotary.NoInterval().gains(asked, 9, freqs) == 1))
        True

    Source:
        This repository: g = 1.
    """

    @inlined("self", "n_frames")
    def gains(self, intervals: Intervals, n_frames: int, freqs: Frequencies) -> Gains:
        """See `Scheme.gains`; all pairs are 1, also where there is no interval."""
        shape = (*intervals.shape[:-2], freqs.t.shape[0])
        return whole_gains(jnp.ones(shape, jnp.complex64), 1.0, freqs)
