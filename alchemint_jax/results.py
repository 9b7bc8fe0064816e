"""Files of what was measured: JSON that any machine writes alike.

Two CPUs add the same numbers in another order, so the last digits of a mean are those of one
machine. What is written has six significant digits: more than any measurement here can tell.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np

from alchemint_jax import media

DIGITS = 6


def plain(value: Any) -> Any:
    """The value as JSON can hold it: floats rounded to `DIGITS` significant digits, None for what
    is not finite, lists for tuples, Python's numbers for NumPy's.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def to_json(value: Any) -> str:
    """JSON of `plain(value)`, ending in a new line."""
    return json.dumps(plain(value), indent=1, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `to_json(value)`, whole or not at all; AlchemintError if it cannot."""
    media.write_bytes(path, to_json(value).encode())
