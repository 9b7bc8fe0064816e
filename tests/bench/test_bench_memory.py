"""Memory of a call, in a process of its own: what is counted, and what is not."""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from tiny_bench import tiny

from alchemint_jax.bench import hardware, memory, runner
from alchemint_jax.bench.bench_text import as_text
from alchemint_jax.bench.measure import Side
from alchemint_jax.models.vae import VAEConfig
from alchemint_jax.plan.steps import Work

pytestmark = pytest.mark.slow

SIZE = 2**27  # bytes, far more than what an interpreter takes and gives back meanwhile
VAE = VAEConfig(base_dim=2, dim_mult=(1, 1), num_res_blocks=1, temporal_downsample=(True,))


def test_only_the_call_is_counted():
    """This process holds more than the call takes, and so may what the call is made of."""
    held = np.ones(2 * SIZE, np.uint8)
    call = memory.alone(partial, np.ones, SIZE, np.uint8)
    made = memory.alone(partial, len, np.ones(SIZE, np.uint8))
    assert held.sum() == 2 * SIZE
    if call["scope"] != "this call":
        pytest.skip("the system resets no high-water mark")
    of_call, of_made = memory.of_call(call), memory.of_call(made)
    assert of_call is not None and of_made is not None
    assert 0.95 * SIZE < of_call < 1.5 * SIZE and of_made < 0.25 * SIZE
    assert made["before"] - call["before"] > 0.9 * SIZE
    now, _ = hardware._resident()
    assert now is not None and now - call["bytes"] > 0.5 * SIZE


def test_memory_of_a_call_is_known_where_what_was_before_it_is():
    found = {"bytes": 7, "of": "process", "scope": "this call", "before": 3}
    assert memory.of_call(found) == 4
    assert memory.of_call(found | {"scope": "process so far"}) is None
    assert memory.of_call(found | {"before": None}) is None


def test_our_program_is_compiled_by_another_process(tmp_path):
    case = tiny("vae-decode", vae=VAE, work=Work((24, 16), 5, 0, 1))
    given = case, str(tmp_path), 1
    memory._in_process(memory._compile, *given)
    kept = {name: os.path.getmtime(tmp_path / name) for name in os.listdir(tmp_path)}
    found = memory.alone(memory._program, *given)
    assert any("decode" in name for name in kept)
    assert kept == {name: os.path.getmtime(tmp_path / name) for name in os.listdir(tmp_path)}
    assert found["of"] == "process" and found["bytes"] > 0


def test_beside_another_library_each_side_has_a_process(monkeypatch):
    case = tiny("vae-decode", vae=VAE, work=Work((24, 16), 1, 0, 1))
    asked: list[Any] = []

    def apart(bytes_, who):
        def measure(given):
            asked.append((who, given))
            return {"bytes": bytes_, "of": "process", "scope": "this call", "before": 100}

        return measure

    def together(call):
        call()
        return {"bytes": 10**12, "of": "process", "scope": "this call", "before": 0}

    monkeypatch.setattr(memory, "ours", apart(400, "ours"))
    both = runner.Counterpart(
        lambda case: Side(lambda: None, lambda x: x, together), memory=apart(700, "torch")
    )
    found = runner.measure(case, 1, both)
    assert asked == [("ours", case), ("torch", case)]
    assert found["ours_to_torch"]["memory"] == 300 / 600
    assert (found["ours"]["memory"]["bytes"], found["torch"]["memory"]["bytes"]) == (400, 700)
    machine = hardware.machine(jax.devices(), ["jax"])
    assert "0.500 of a call's memory" in as_text(
        {"machine": machine, "repeats": 1, "cases": [found]}
    )
    # Where the sides' memory is counted apart in one process, that is what is reported.
    found = runner.measure(case, 1, dataclasses.replace(both, memory=None))
    assert len(asked) == 2 and found["torch"]["memory"]["bytes"] == 10**12
