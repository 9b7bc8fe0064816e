"""The weights in the package are those that their table speaks of, and small."""

from __future__ import annotations

import hashlib
import json

import pytest
from safetensors.numpy import load_file

from alchemint_jax.perceive.embedded import FOLDER

SOURCES = json.loads((FOLDER / "sources.json").read_text("utf-8"))


def test_they_are_small_and_each_has_a_source():
    files = {path.name: path.stat().st_size for path in FOLDER.glob("*.safetensors")}
    assert set(files) == set(SOURCES)
    assert sum(files.values()) <= 30e6


@pytest.mark.parametrize("name", SOURCES)
def test_each_file_is_what_the_table_says(name):
    path = FOLDER / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SOURCES[name]["sha256"]
    assert path.with_suffix(".LICENSE").read_text("utf-8").startswith(name)
    kinds = {key.rpartition(".")[2]: tensor.dtype for key, tensor in load_file(path).items()}
    assert kinds == {"kernel": "float16", "bias": "float32"}
