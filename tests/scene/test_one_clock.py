"""Only `scene/clock.py` converts time: nothing else computes with a rate or a stride."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import alchemint_jax

PACKAGE = Path(alchemint_jax.__file__).parent
NAMES = {"fps", "stride", "temporal_stride", "WAN_STRIDE"}
# What computes with such a number and converts nothing.
ALLOWED = {
    "scene/clock.py": "the clock",
    "evaluate/quality/motion.py": "VBench's rule, which has a step and a bound for each rate",
    "ops/conv.py": "the stride of a convolution",
    "models/vae": "the autoencoder, whose frames they are",
    "perceive/layers.py": "the stride of a convolution",
    "perceive/yolo.py": "the stride of the cells of a detector",
    "reading.py": "time stamps of files of any frame rate, which become a clip's frames",
}


def conversions(source: str) -> list[int]:
    """Lines that multiply or divide by a rate or a stride, or frames by a number of them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(
            node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.Mod
        ):
            sides = [_name(node.left), _name(node.right)]
            numbers = [getattr(side, "value", None) for side in (node.left, node.right)]
            counted = any(side.endswith("frames") for side in sides) and set(numbers) & {4, 1.5}
            if NAMES & set(sides) or counted:
                found.append(node.lineno)
    return found


def _name(node: ast.expr) -> str:
    """The last part of a name, also where it is called or negated."""
    while isinstance(node, ast.Call | ast.UnaryOp):
        node = node.operand if isinstance(node, ast.UnaryOp) else (node.args or [node.func])[0]
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def test_nothing_but_the_clock_converts():
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not any(str(path.relative_to(PACKAGE)).startswith(name) for name in ALLOWED)
        for line in conversions(path.read_text("utf-8"))
    }
    assert not found, "convert time with scene.Clock"


@pytest.mark.parametrize(
    "line",
    [
        "s = frame / fps",
        "s = board.fps * second",
        "k = (n - 1) // vae.config.temporal_stride",
        "n = int(fps) * d",
        "ok = frames % 4 == 1",
        "k = clip.n_frames // 4",
    ],
)
def test_conversions_are_seen(line):
    assert conversions(line) == [1]


def test_what_converts_nothing_is_left_alone():
    assert not conversions("x = frames + 1\ny = 4 * width\nz = len(fps_list) / 2\nw = cell // 2")
    assert all((PACKAGE / name).exists() for name in ALLOWED)
    assert conversions((PACKAGE / "scene/clock.py").read_text("utf-8"))
