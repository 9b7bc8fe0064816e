"""GPUs that are not there, as JAX sees them while a step is traced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from alchemint_jax.plan.targets import Target


@contextlib.contextmanager
def seen_as(target: Target) -> Iterator[None]:
    """While this runs, cuDNN's attention may be traced for the GPUs of a target.

    JAX asks the GPU of this machine how wide its heads may be, and where there is none it refuses
    the width of gated attention. H100 and H200, which are all that is planned, have capability 9.0.
    """
    if target.chip.kind != "cuda":
        yield
        return
    from jax._src.cudnn import fused_attention_stablehlo as kernels

    before = kernels.check_compute_capability
    kernels.check_compute_capability = lambda capability: float(capability) <= 9.0
    try:
        yield
    finally:
        kernels.check_compute_capability = before
