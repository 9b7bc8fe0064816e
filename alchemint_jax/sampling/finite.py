"""What networks make is looked at before it is used further: NaN would end as black frames.

Weights are finite where they were read; sums of products may still overflow.
"""

from __future__ import annotations

import jax
import numpy as np

from alchemint_jax.errors import NonFiniteError
from alchemint_jax.models.dit.conditioning import Conditions, Given

TEXT = "the text encoder gave states"
_MAKERS = {
    "text": f"{TEXT} of the prompt",
    "null_text": f"{TEXT} of the negative prompt",
    "tags": f"{TEXT} of the subjects' words",
    "references": "the autoencoder gave latents of the subjects' pictures",
    "condition": "the autoencoder gave latents of the given frames",
    "given": "the autoencoder gave latents of the given frames",
    "image": "the image encoder gave states of the given frames",
}
"""Networks and what they made, by the field of `Conditions`."""
_CAUSE = "its weights are damaged, or of another model than its config.json: fetch them again"


def require_finite(array: jax.Array | np.ndarray, what: str, cause: str = _CAUSE) -> None:
    """Refuses NaN and infinity.

    Args:
        array: of floats; or of bools, which say where others are finite.
        what: which network gave what, the beginning of a sentence.
        cause: what it may come from, and what to do.

    Raises:
        NonFiniteError: with these.
    """
    found = np.asarray(array)  # on the host, where nothing is compiled for it
    if not np.all(found if found.dtype == bool else np.isfinite(found)):
        raise NonFiniteError(f"{what} that are not finite (NaN or infinity): {cause}")


def require_finite_conditions(conditions: Conditions) -> None:
    """Raises a NonFiniteError, naming the network, if one gave NaN or infinity."""
    for name, maker in _MAKERS.items():
        made = getattr(conditions, name)
        if made is not None:
            require_finite(made.latents if isinstance(made, Given) else made, maker)
    if conditions.events is not None:
        require_finite(conditions.events.states, f"{TEXT} of the events")
