"""Which LoRAs a caller names, each once, and how strong."""

from __future__ import annotations

import os

import jax
import pytest
from lora_setup import Q0, close, merged, pair, written

from alchemint_jax.errors import ConfigError, WeightsError


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine").mkdir()
    return written(tmp_path / "mine" / "a.safetensors", pair(Q0))


@pytest.mark.parametrize("how", ["same", "dots", "link", "hard link", "folder", "mapping"])
def test_one_lora_named_twice_is_refused(file, tmp_path, how):
    other = {
        "same": str(file),
        "dots": f"{file.parent}/../mine/./{file.name}",
        "folder": str(file.parent),
        "mapping": str(file),
    }.get(how, str(tmp_path / "b.safetensors"))
    if "link" in how:
        (os.link if how == "hard link" else os.symlink)(file, other)
    given = {file: 1.0, other: 0.5} if how == "mapping" else [(str(file), 1.0), (other, 0.5)]
    with pytest.raises(ConfigError, match=r"a.safetensors is named twice.* both together are 1.5"):
        merged(given)


def test_a_copy_is_another_lora(file, tmp_path):
    (tmp_path / "b.safetensors").write_bytes(file.read_bytes())
    found = merged({file: 1, tmp_path / "b.safetensors": -0.5})
    jax.tree.map(close, found, merged({file: 0.5}))


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf")])
def test_a_strength_that_is_not_finite_is_refused(file, strength):
    with pytest.raises(ConfigError, match=r"strength of LoRA .*a.safetensors is .*finite number"):
        merged({file: strength})


def test_a_strength_that_overflows_is_refused(file):
    with pytest.raises(WeightsError, match=r"a.safetensors at strength 1e\+39: too strong, blocks"):
        merged({file: 1e39})
