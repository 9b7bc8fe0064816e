"""The weights in the package are those that their table speaks of, and small."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest
from safetensors.numpy import load_file

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.perceive import embedded, pretrained
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


@pytest.mark.parametrize("content", [None, b"version https://git-lfs", b""])
def test_weights_that_are_missing_or_others_say_what_to_fetch(tmp_path, monkeypatch, content):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    if content is not None:
        (tmp_path / "u2netp.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="install the package again") as error:
        embedded.load_layers("u2netp.safetensors")
    said = str(error.value)
    assert str(tmp_path / "u2netp.safetensors") in said
    assert f"studies.perceiver_weights --out {tmp_path}" in said


def test_networks_of_others_say_where_theirs_belong(tmp_path):
    assert "hf download some/net --local-dir DIR" in pretrained._where("some/net")
    assert "must hold config.json" in pretrained._where(str(tmp_path))


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"some/net: needs PyTorch.*alchemint-jax\[perceive\]"):
        pretrained.load("some/net", "CLIPModel")
