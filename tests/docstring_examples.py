"""Examples in docstrings, run as the pages of the API say that they run."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import alchemint_jax as al

SETUP = {"al": al, "jax": jax, "jnp": jnp, "np": np}


def run_example(value: Any) -> None:
    """Runs what follows `>>>` in the docstring; AssertionError if nothing does, or it differs."""
    source = inspect.getdoc(value) or ""
    name = getattr(value, "__qualname__", repr(value))
    test = doctest.DocTestParser().get_doctest(source, dict(SETUP), name, None, 0)
    assert test.examples, f"{name} has no example"
    lines: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=lines.append)
    assert not lines, "".join(lines)
