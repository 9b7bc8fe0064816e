"""Tables for the whole sequence `[video | reference 1 .. r | word tag 1 .. r]`."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Real

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary.axes import Frequencies, grid_gains, rotation, spatial_gains
from alchemint_jax.rotary.inlined import inlined
from alchemint_jax.rotary.schemes import MidRope, NoInterval, Scheme, whole_gains


@dataclass(frozen=True)
class ReferenceLayout:
    """Where reference pictures sit beside the video's grid.

    By default they overlap it: a reference's corner is the video's corner, as in AlcheMinT, and
    only time and the index embedding tell them apart. `shift_hw` starts their rows and columns
    beyond the video instead (Kaleido found that better for references without time).

    Attributes:
        shift_hw: start references at `offset` rather than at the origin.
        offset: (rows, columns) of that start. None: the video's grid, so that the first free row
            and column is used. Kaleido's released weights use the constant (80, 80); (0, w) or
            (h, 0) shift one axis only.
        stagger: give reference i the start `i * offset` (i = 1 .. r) instead of sharing one; those
            larger than the offset overlap, and tags lie on the diagonal of the next reference.
        slot_times: latent time of each slot, whatever its interval; the scheme is then unused, but
            by a model that learns timing (see `sequence_gains`). R-RoPE has (0, 1, 2, ...).
        after_video: count `slot_times` from the first latent frame after the video, as Phantom
            does, so that they move with its length.

    Raises:
        ConfigError: `offset` is not such a pair; or `offset` or `stagger` is given without
            `shift_hw`, or `after_video` without `slot_times`, where it would do nothing.

    Examples:
        The corner (row, column) of each of two references beside a video of 8 x 12 patches:

        >>> al.rotary.ReferenceLayout(shift_hw=True, stagger=True).starts((8, 12), 2).tolist()
        [[8, 12], [16, 24]]
        >>> al.rotary.ReferenceLayout.r_rope(2).slot_times
        (0, 1)

    Source:
        AlcheMinT, arXiv 2512.10943; Kaleido (R-RoPE), arXiv 2510.18573, equation 4; Phantom,
        arXiv 2502.11079.
    """

    shift_hw: bool = False
    offset: tuple[int, int] | None = None
    stagger: bool = False
    slot_times: tuple[float | int, ...] | None = None
    after_video: bool = False

    def __post_init__(self) -> None:
        if self.offset is not None and not (
            isinstance(self.offset, tuple)
            and len(self.offset) == 2
            and all(isinstance(step, int) and step >= 0 for step in self.offset)
        ):
            raise ConfigError(
                f"ReferenceLayout: offset = {self.offset}: must be two whole numbers, rows and "
                "columns, none below 0"
            )
        if not self.shift_hw and (self.offset is not None or self.stagger):
            idle = "stagger" if self.offset is None else "offset"
            raise ConfigError(f"ReferenceLayout: {idle}: does nothing without shift_hw = True")
        if self.after_video and self.slot_times is None:
            raise ConfigError("ReferenceLayout: after_video: does nothing without slot_times")

    @classmethod
    def r_rope(
        cls, slots: int, offset: tuple[int, int] | None = None, last: bool = False
    ) -> ReferenceLayout:
        """Kaleido's R-RoPE: reference i at time i - 1, beyond the video's grid.

        Args:
            slots: how many references the model has.
            offset: (rows, columns) where they start; None is the video's grid.
            last: count times from the first latent frame after the video.

        Returns:
            The layout.

        Raises:
            ConfigError: `offset` is not a pair of whole numbers.

        Examples:
            >>> al.rotary.ReferenceLayout.r_rope(3, offset=(80, 80)).slot_times
            (0, 1, 2)

        Source:
            Kaleido, arXiv 2510.18573, equation 4.
        """
        times = tuple(range(slots))
        return cls(shift_hw=True, offset=offset, slot_times=times, after_video=last)

    @classmethod
    def trailing(cls, slots: int) -> ReferenceLayout:
        """Phantom's: references follow the video in time, one latent frame after the other.

        Args:
            slots: how many references the model has.

        Returns:
            The layout.

        Examples:
            >>> al.rotary.ReferenceLayout.trailing(3).times(3, n_frames=21)
            (21, 22, 23)

        Source:
            Phantom, arXiv 2502.11079, and its released code.
        """
        return cls(slot_times=tuple(range(slots)), after_video=True)

    def times(self, slots: int, n_frames: int) -> tuple[float | int, ...] | None:
        """Latent time of each of `slots` references beside a video of `n_frames` latent frames.

        None where the intervals decide.

        Raises:
            ConfigError: `slot_times` names fewer.
        """
        if self.slot_times is None:
            return None
        if len(self.slot_times) < slots:
            raise ConfigError(
                f"ReferenceLayout: {len(self.slot_times)} slot_times for {slots} references: give "
                "one for each"
            )
        first = n_frames if self.after_video else 0
        return tuple(first + time for time in self.slot_times[:slots])

    def starts(self, video_grid: tuple[int, int], slots: int) -> np.ndarray:
        """(row, column) where each slot's reference begins: int [slots, 2]."""
        step = np.array(self.offset or video_grid) if self.shift_hw else np.zeros(2, int)
        times = np.arange(1, slots + 1) if self.stagger else np.ones(slots, int)
        return times[:, None] * step[None, :]


@inlined("video_shape")
def video_gains(
    freqs: Frequencies, video_shape: tuple[int, int, int]
) -> Complex[Array, "1 n half"]:
    """Plain 3D RoPE of the video's tokens, row-major over (t, h, w).

    Args:
        freqs: from `axis_frequencies`.
        video_shape: latent frames, patch rows and patch columns of the video.

    Returns:
        Gains of modulus 1, complex64 `[1, t * h * w, d/2]`.

    Raises:
        TypeError: `video_shape` does not have three whole numbers.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48)
        >>> al.rotary.video_gains(freqs, (9, 8, 8)).shape
        (1, 576, 24)

    Source:
        The rotary positions of Wan2.1, arXiv 2503.20314.
    """
    return grid_gains(*video_shape, freqs)[None]


def sequence_gains(
    freqs: Frequencies,
    video_shape: tuple[int, int, int],
    intervals: Real[Array | np.ndarray, "b r m 2"],
    scheme: Scheme,
    ref_grid: tuple[int, int] | None = None,
    n_tag_tokens: int = 0,
    layout: ReferenceLayout | None = None,
    mix_queries: bool = True,
    timing: Float[Array | np.ndarray, " half"] | None = None,
) -> tuple[Complex[Array, "b n half"], Complex[Array, "b n half"]]:
    """Query and key gains of `[video | references | tags]`.

    n = t*h*w + r*rh*rw + r*n_tag_tokens. A reference has its scheme's gain turned to each of its
    rows and columns; token j of its word tag has the same temporal gain at the diagonal position
    (H + j, W + j), (H, W) being the first row and column beyond the video and that reference.

    Args:
        freqs: from `axis_frequencies`.
        video_shape: latent frames, patch rows and patch columns of the video.
        intervals: latent intervals of each subject, rows with start > end empty; r may be 0.
        scheme: an interval scheme, e.g. `WeRope()`.
        ref_grid: patch rows and columns of a reference; the video's where None.
        n_tag_tokens: tokens per word tag.
        layout: where references sit in space; overlapping the video where None.
        mix_queries: False leaves the *queries* of references and tags unmixed, plain RoPE at the
            interval's midpoint (`MidRope`), so that only keys carry the scheme's gain. Summaries of
            the paper do not say which it does. `NoInterval` stays as it is: it must not see
            intervals.
        timing: with `layout.slot_times`, how far each rotary pair goes from the gain of the slot's
            time (0) to that of the scheme (1), `[d/2]`. None goes nowhere, and no interval is seen.

    Returns:
        Gains of the queries and of the keys, complex64 `[b, n, d/2]` each.

    Raises:
        ConfigError: `layout.slot_times` names fewer slots than there are references, or `timing` is
            given without them.

    Examples:
        A video of 9 x 8 x 8 patches, two references, and tags of four tokens:

        >>> freqs = al.rotary.axis_frequencies(head_dim=48)
        >>> intervals = np.array([[[[0, 3]], [[4, 8]]]], np.float32)
        >>> queries, keys = al.rotary.sequence_gains(
        ...     freqs, (9, 8, 8), intervals, al.rotary.WeRope(), n_tag_tokens=4
        ... )
        >>> keys.shape == (1, 9 * 8 * 8 + 2 * 8 * 8 + 2 * 4, 24)
        True

    Source:
        AlcheMinT, arXiv 2512.10943, section 3.
    """
    layout = layout or ReferenceLayout()
    t, h, w = video_shape
    rh, rw = ref_grid or (h, w)
    b, r = intervals.shape[:2]

    video = jnp.broadcast_to(video_gains(freqs, video_shape), (b, t * h * w, _half(freqs)))
    starts = layout.starts((h, w), r)
    rows, columns = (axis.ravel() for axis in np.indices((rh, rw)))
    ends = np.maximum(starts + np.array([rh, rw]), [h, w])
    tag_rows, tag_columns = (ends[:, axis, None] + np.arange(n_tag_tokens) for axis in (0, 1))
    places = (
        spatial_gains(starts[:, :1] + rows[None], starts[:, 1:] + columns[None], freqs),
        spatial_gains(tag_rows, tag_columns, freqs),
    )

    def table(subject: Complex[Array, "b r half"]) -> Complex[Array, "b n half"]:
        parts = [
            (subject[:, :, None] * place[None]).reshape(b, r * place.shape[1], _half(freqs))
            for place in places
        ]
        return jnp.concatenate([video, *parts], axis=1)

    times = layout.times(r, t)
    if times is None and timing is not None:
        raise ConfigError("sequence_gains: timing: does nothing without layout.slot_times")
    if times is None or timing is not None:
        keys = queries = scheme.gains(intervals, t, freqs)
        if not (mix_queries or isinstance(scheme, MidRope | NoInterval)):
            queries = MidRope().gains(intervals, t, freqs)
    if times is not None:
        fixed = whole_gains(rotation(np.array(times, np.float32), freqs.t), 1.0, freqs)
        fixed = jnp.broadcast_to(fixed[None], (b, *fixed.shape))
        if timing is None:
            keys = queries = fixed
        else:
            weight, mixed = jnp.asarray(timing)[None, None], queries is keys
            keys = fixed + weight * (keys - fixed)
            queries = keys if mixed else fixed + weight * (queries - fixed)
    key_table = table(keys)
    return (key_table if queries is keys else table(queries)), key_table


def _half(freqs: Frequencies) -> int:
    return sum(f.shape[0] for f in freqs)
