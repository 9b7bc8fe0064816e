"""Whether tensors are numbers throughout: no NaN, no infinity, nothing beyond float32."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from alchemint_jax.errors import NonFiniteError

# The bits of infinity; those of NaN are larger, those of every number smaller.
_INFINITY = {
    np.dtype(kind): int(np.array(np.inf, kind).view(bits))
    for kind, bits in (
        (np.float16, np.uint16),
        (ml_dtypes.bfloat16, np.uint16),
        (np.float32, np.uint32),
        (np.float64, np.uint64),
    )
}
_LARGEST = float(np.finfo(np.float32).max)


def is_finite(array: np.ndarray) -> bool:
    """Whether there is neither NaN nor infinity in an array of a stored dtype.

    As fast as memory is read, without temporaries: bits of floats are ordered as integers.
    """
    if not array.size or array.dtype.kind in "iu":
        return True
    size, infinity = array.itemsize, _INFINITY[array.dtype]
    if array.view(f"i{size}").max() >= infinity:
        return False
    return bool(array.view(f"u{size}").max() < infinity + (1 << (8 * size - 1)))


def check(array: np.ndarray, where: str) -> None:
    """Refuses what is no number, or not one that float32 has: every network is computed in it.

    Args:
        array: of a stored dtype.
        where: file and tensor, named in errors.

    Raises:
        NonFiniteError: how many values are what.
    """
    if not is_finite(array):
        wide = array.astype(np.float32) if array.itemsize < 4 else array
        nans, infinite = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
        found = [f"{n} {kind}" for n, kind in ((nans, "NaN"), (infinite, "infinite")) if n]
        raise NonFiniteError(
            f"{where} holds {' and '.join(found)} among {array.size} values; it is damaged, or "
            "what wrote it was: fetch or make it again"
        )
    if array.dtype == np.float64 and array.size:
        largest = max(abs(float(array.max())), abs(float(array.min())))
        if largest > _LARGEST:
            raise NonFiniteError(
                f"{where} holds {largest:.3g}, which float32 cannot; it is damaged"
            )
