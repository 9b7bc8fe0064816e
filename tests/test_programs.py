"""Programs and shapes on disk: found by all that they depend on, and by nothing else."""

from __future__ import annotations

import ast
import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from alchemint_jax import programs
from alchemint_jax.models import layers
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.rotary import FittedRope

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]


@dataclasses.dataclass(frozen=True)
class How:
    by: int = 2
    unseen: int = dataclasses.field(default=0, repr=False)


def _process():
    """The function as another process has it, and what it was traced for."""
    traced = []

    @partial(jax.jit, static_argnames=("how",))
    def scaled(tree, x, *, how):
        traced.append(how)
        return {"y": tree["a"] * how.by + x}, x

    return programs.kept(scaled), traced


TREE, X = {"a": jax.device_put(np.arange(3, dtype=np.float32))}, np.float32(1)


@pytest.fixture
def place(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    reset_cache()
    yield tmp_path / "programs"
    jax.config.update("jax_compilation_cache_dir", before)
    reset_cache()


def _check(found, by=2, x=1.0):
    np.testing.assert_array_equal(found[0]["y"], np.arange(3.0) * by + x)
    np.testing.assert_array_equal(found[1], x)


def test_the_digest_covers_every_room_that_traced_code_is_in():
    """What its rooms import is in one of them; weights are read, and never traced."""
    root, imported = Path(programs.__file__).parent, set()
    for path in (path for room in programs._ROOMS for path in (root / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == root.name:
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                first, _, rest = node.module.partition(".")
                imported |= {rest.partition(".")[0]} if first == root.name else set()
    rooms = {name for name in imported if (root / name).is_dir()}
    assert {"rotary", "scene"} < rooms and rooms - {*programs._ROOMS} == {"weights"}


def test_the_next_process_does_not_trace_what_is_on_disk(place):
    first, traced = _process()
    _check(first(TREE, X, how=How()))
    assert traced and len(list(place.iterdir())) == 1
    again, traced = _process()
    _check(again(TREE, X, how=How()))
    _check(again(TREE, np.float32(5), how=How()), x=5.0)  # values are no part of a program
    assert traced == []


@pytest.mark.parametrize(
    "change", ["static", "unseen", "shape", "dtype", "structure", "source", "damaged"]
)
def test_whatever_a_program_depends_on_makes_another_one(place, monkeypatch, change):
    _check(_process()[0](TREE, X, how=How()))
    again, traced = _process()
    how, tree, x = How(), TREE, X
    if change == "static":
        how = How(3)
    if change == "unseen":
        how = How(unseen=1)
    if change == "shape":
        x = np.ones(3, np.float32)
    if change == "dtype":
        x = np.int32(1)
    if change == "structure":
        tree = TREE | {"b": jnp.ones(2)}
    if change == "source":
        monkeypatch.setattr(programs, "_source", lambda: "edited")
    if change == "damaged":
        (file,) = place.iterdir()
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    again(tree, x, how=how)
    assert len(traced) == 1


def test_where_nothing_is_kept_the_function_is_called(place, tmp_path):
    jax.config.update("jax_compilation_cache_dir", None)
    plain, traced = _process()
    _check(plain(TREE, X, how=How()))
    assert len(traced) == 1 and not place.exists()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    inside, traced = _process()
    _check(jax.jit(lambda x: inside(TREE, x, how=How()))(X))
    elsewhere, traced_elsewhere = _process()
    other = jax.device_put((TREE, X), jax.devices()[1])
    _check(elsewhere(*other, how=How()))
    assert len(traced) == len(traced_elsewhere) == 1 and not place.exists()


def test_a_full_disk_is_done_without(place):
    place.write_text("a file where the folder should be")
    _check(_process()[0](TREE, X, how=How()))


def test_old_files_go(place, monkeypatch):
    monkeypatch.setattr(programs, "_MOST", 2)
    function, _ = _process()
    for by in range(4):
        function(TREE, X, how=How(by))
    assert len(list(place.iterdir())) == 2


def test_shapes_of_parameters_are_those_that_tracing_finds(place):
    config = DiTConfig(dim=24, n_heads=2, n_layers=2, ffn_dim=16, text_dim=10, freq_dim=16, slots=2)
    module = DiT(config)

    def shapes():
        layers._abstract_params.cache_clear()
        return module.abstract_params()

    traced, read = shapes(), shapes()
    assert len(list(place.iterdir())) == 1 and traced == read
    assert jax.tree.leaves(read)[0].dtype == jnp.float32


def test_descriptions_tell_apart_what_repr_does_not():
    one, other = FittedRope(), FittedRope(stride=8)
    assert repr(one) == repr(other) and programs.described(one) != programs.described(other)
    with pytest.raises(TypeError):
        programs.described(object())
