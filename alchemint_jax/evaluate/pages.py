"""What all pages share: they are written by jinja2, whole, and open without a network."""

from __future__ import annotations

import math
from typing import Any

import jinja2


def page(template: str, **values: Any) -> str:
    """A page as text: no scripts, fonts or styles from elsewhere. All that is put in is escaped."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("alchemint_jax.evaluate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.tests["known"] = known
    return found.get_template(template).render(**values)


def known(value: Any) -> bool:
    """Whether a figure has a value: reports that were read have None where it is not known."""
    return value is not None and math.isfinite(value)
