"""Timing, statistics and what the hardware says of itself; nothing is compiled."""

from __future__ import annotations

import dataclasses
import os
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.bench import hardware
from alchemint_jax.bench.measure import Side, alternate, compare, summary, timed
from alchemint_jax.bench.programs import Program
from alchemint_jax.plan.targets import CHIPS

pytestmark = pytest.mark.slow


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def side(run, wait=lambda result: None) -> Side:
    return Side(run, wait, lambda call: {})


def test_a_call_lasts_until_its_result_is_there():
    clock, waited = Clock(), []

    def run():
        clock.pass_by(1.0)
        return "result"

    def wait(result):
        waited.append(result)
        clock.pass_by(2.0)

    assert timed(side(run, wait), clock) == 3.0
    assert waited == ["result"]


def test_sides_take_turns_and_pauses_are_not_counted():
    clock, order = Clock(), []

    def runs(name, seconds):
        def run():
            order.append(name)
            clock.pass_by(seconds)

        return run

    sides = {"ours": side(runs("ours", 1.0)), "torch": side(runs("torch", 2.0))}
    times = alternate(sides, 3, clock, clock.pass_by)
    assert order == ["ours", "torch"] * 3
    assert times == {"ours": [1.0] * 3, "torch": [2.0] * 3}


def test_medians_and_quartiles():
    found = summary([4.0, 1.0, 2.0, 3.0, 100.0])
    assert (found["median"], found["quartiles"]) == (3.0, [2.0, 4.0])
    assert (found["least"], found["most"]) == (1.0, 100.0)
    assert found["all"] == [4.0, 1.0, 2.0, 3.0, 100.0]
    assert summary([1.0, 2.0])["median"] == 1.5


def test_ratios_are_of_medians_and_turn_by_turn():
    assert compare([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])["ratio"] == 0.5
    # The machine becomes ten times slower half way: within a turn nothing changes.
    ours, theirs = [1.0, 1.0, 10.0, 10.0], [2.0, 2.0, 20.0, 20.0]
    assert compare(ours, theirs)["pairs"]["quartiles"] == [0.5, 0.5]
    assert summary(ours)["quartiles"] == [1.0, 10.0]
    # One turn in which only theirs was disturbed does not decide.
    assert compare([1.0, 1.0, 1.0], [2.0, 2.0, 50.0])["pairs"]["median"] == 0.5
    with pytest.raises(ValueError):
        compare([1.0], [1.0, 2.0])


@pytest.mark.parametrize("carries", [False, True])
def test_what_a_call_leaves_is_what_the_next_one_takes(carries):
    given = []

    def compiled(state, batch):
        given.append((state, batch))
        return state + 1, "figures"

    run = Program(lambda: None, lambda: (0, "batch"), (), carries).caller(compiled)
    run(), run()
    assert given == [(0, "batch"), (1 if carries else 0, "batch")]


# -------------------------------------------------------------------------------------- hardware


@dataclasses.dataclass(frozen=True)
class Device:
    device_kind: str


def test_peaks_are_those_of_chips_that_are_known():
    assert hardware.peak_flops([Device("NVIDIA H100 80GB HBM3")] * 8, "bfloat16") == 8 * 989e12
    for unknown in ("NVIDIA H100 PCIe", "NVIDIA H100 NVL", "cpu", "TPU v2"):
        assert hardware.peak_flops([Device(unknown)], "bfloat16") is None
    # The peaks that are known are of bfloat16.
    assert hardware.peak_flops([Device("NVIDIA H200")], "float32") is None


def test_the_machine_says_what_makes_it_faster(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD_", "not this one")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = hardware.machine(jax.devices(), ["jax"])
    assert found["environment"]["OMP_NUM_THREADS"] == "3"
    assert "LD_PRELOAD_" not in found["environment"]
    assert found["jax"] == jax.__version__ and found["threads"] <= (os.cpu_count() or 1)


def test_a_gpu_has_a_driver_and_kernels_with_versions(tmp_path, monkeypatch):
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26\n")
    installed = [
        types.SimpleNamespace(metadata={"Name": name}, version="9.10")
        for name in ("nvidia-cudnn-cu13", "jax-cuda13-plugin", "jaxlib", "nvidia-nccl-cu13")
    ]
    monkeypatch.setattr(hardware.importlib.metadata, "distributions", lambda: installed)
    kernels = {"nvidia-cudnn-cu13": "9.10", "jax-cuda13-plugin": "9.10"}
    assert hardware._cuda(file) == {"driver": "570.124.06"} | kernels
    assert hardware._cuda(tmp_path / "missing") == kernels


def test_a_device_may_be_half_a_chip():
    assert hardware.peak_flops([Device("TPU7x")] * 3, "bfloat16") == 1.5 * CHIPS["tpu7x"].flops
    assert hardware.peak_flops([Device("TPU v4")] * 4, "bfloat16") == 4 * CHIPS["v4"].flops


def test_the_memory_of_a_call_is_that_of_this_call():
    size = 2**26

    def touch(count):
        return lambda: np.ones(count, np.uint8).sum()

    large, small = (hardware.peak_memory(touch(count)) for count in (size, 1))
    assert large["of"] == "process" and large["bytes"] > size
    if large["scope"] == "this call":
        assert large["bytes"] - large["before"] >= 0.9 * size
        assert small["bytes"] < large["bytes"] - 0.5 * size


def test_a_program_needs_what_it_only_uses_meanwhile_too():
    def square(x):
        return jnp.sum(jnp.sort(x[:, None] * x[None], axis=1)[::3])

    compiled = jax.jit(square).lower(jnp.ones(1000)).compile()
    analysis = compiled.memory_analysis()
    assert 4 * 1000**2 < hardware.program_bytes(analysis, "cpu") < 20 * 1000**2
    assert hardware.program_bytes(analysis, "tpu") == analysis.peak_memory_in_bytes


def test_a_device_that_counts_is_asked():
    class Counting:
        def memory_stats(self):
            return {"peak_bytes_in_use": 5, "bytes_in_use": 3}

    class Silent:
        def memory_stats(self):
            return None

    found = hardware.peak_memory(lambda: None, Counting())
    assert (found["bytes"], found["of"], found["scope"]) == (5, "device", "process so far")
    assert hardware.peak_memory(lambda: None, Silent())["of"] == "process"


def test_where_no_mark_can_be_reset_the_result_says_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    assert hardware.peak_memory(lambda: None)["scope"] == "process so far"


CUDNN = """
  %call.1 = custom-call(%q, %k, %v), custom_call_target="__cudnn$fmhaSoftmax"
  %call.2 = custom-call(%q, %k, %v), custom_call_target="__cudnn$fmhaSoftmaxBackward"
  %call.3 = custom-call(%x, %w), custom_call_target="__cublas$lt$matmul"
  %call.4 = custom-call(%x, %w), custom_call_target="__cublas$lt$matmul"
"""


def test_the_program_says_what_attends():
    calls = hardware.custom_calls(CUDNN)
    assert calls["__cublas$lt$matmul"] == 2 and calls["__cudnn$fmhaSoftmaxBackward"] == 1
    assert hardware.attention_kernel(calls) == "cudnn"
    matmuls = {name: count for name, count in calls.items() if "cublas" in name}
    assert hardware.attention_kernel(matmuls) == "xla"
    assert hardware.attention_kernel({"tpu_custom_call": 3}) == "splash"
    assert hardware.custom_calls("ROOT %add = f32[] add(%x, %y)") == {}
