"""Runs parts of the authors' modules, whose imports ask for what is not here (CUDA's kernels)."""

from __future__ import annotations
import __future__

import ast
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

_IMPORTS = (ast.Import, ast.ImportFrom, ast.Try)


def definitions(file: Path, only: Iterable[str] | None = None, /, **names: Any) -> SimpleNamespace:
    """What a module defines, without its imports; `names` stand for what it would import.

    Args:
        file: of the module, in a clone.
        only: which functions and classes; None is everything at the module's top.
        names: what its definitions refer to, and what it imports inside of `try`.
    """
    tree = ast.parse(file.read_text(), str(file))
    wanted = None if only is None else set(only)
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, _IMPORTS)
        and (wanted is None or getattr(node, "name", None) in wanted)
    ]
    found = {"__name__": file.stem, "torch": torch, "np": np} | names
    flags = __future__.annotations.compiler_flag  # annotations name what is not imported
    exec(compile(tree, str(file), "exec", flags), found)
    return SimpleNamespace(**found)


def randomised(module: torch.nn.Module, seed: int, std: float = 0.3) -> torch.nn.Module:
    """The module with random parameters, among them biases, scales and tables."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(module.named_parameters()):
            parameter.copy_(std * torch.randn(parameter.shape, generator=generator))
    return module.eval().requires_grad_(False)


def weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """Its parameters in float32, as arrays of a golden."""
    return {f"weights.{k}": v.float().numpy() for k, v in module.state_dict().items()}
