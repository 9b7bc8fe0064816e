"""What `alchemint bench --vs torch` runs beside ours is the same work, and runs."""

from __future__ import annotations

import dataclasses
import json

import jax
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from alchemint_jax import cli
from alchemint_jax.bench import programs, suite, torch_side
from alchemint_jax.models.vae import VAEConfig
from alchemint_jax.models.vae import model as autoencoder
from alchemint_jax.ops import conv
from alchemint_jax.plan.flops import traced_flops
from alchemint_jax.plan.steps import Work

CPU = torch.device("cpu")


def small(name):
    """One of the default cases with less work and narrower networks."""
    (case,) = suite.default_cases([name])
    model = dataclasses.replace(case.task.model, dim=64, n_heads=2, n_layers=2, ffn_dim=96)
    model = dataclasses.replace(model, text_dim=48)
    vae = VAEConfig(base_dim=8)
    work = Work((64, 48), 9, 0, case.work.batch)
    task = dataclasses.replace(case.task, model=model)
    return programs.settled(dataclasses.replace(case, task=task, vae=vae, work=work))


@pytest.fixture
def by_definition(monkeypatch):
    """Convolutions with the operations of their definition; ours have others where it is faster."""

    def causal(x, kernel, bias, before=None):  # zeros before a lone frame are frames, too
        zeros = x[:, :1].repeat(kernel.shape[0] - 1, axis=1) * 0
        return conv.causal_conv3d(x, kernel, bias, zeros if before is None else before)

    def repeated(x, kernel, bias=None):
        return conv.conv2d(x.repeat(2, axis=2).repeat(2, axis=3), kernel, bias)

    monkeypatch.setattr(conv, "_FEW", 0)
    monkeypatch.setattr(conv, "_in_fewer_products", lambda x, kernel: False)
    monkeypatch.setattr(autoencoder, "causal_conv3d", causal)
    monkeypatch.setattr(autoencoder, "upsampled_conv2d", repeated)


def sampled():
    case = small("dit-forward-b4")
    return dataclasses.replace(case, name="sample", kind="sample")


NAMES = ("dit-forward-b1", "dit-train-b4", "vae-encode", "vae-decode", "sample")


@pytest.mark.parametrize("name", NAMES)
def test_operations_are_as_many(name, by_definition):
    case = sampled() if name == "sample" else small(name)
    side = torch_side.build(case, CPU)
    side.call()
    # PyTorch's counter does not know the CPU's fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        side.call()
    ours = case.model_flops or traced_flops(programs.build(case).trace().jaxpr.jaxpr)
    print(f"{name}: {counter.get_total_flops() / ours:.3f} of ours")
    assert counter.get_total_flops() == pytest.approx(ours, rel=0.05)


def test_parameters_are_as_many():
    case, vae = small("dit-forward-b1"), small("vae-encode")
    for ours, theirs in (
        (programs.build(case).arguments()[0], torch_side.transformer(case, CPU)),
        (programs.build(vae).arguments()[0], torch_side.autoencoder(vae, CPU)),
    ):
        count = sum(x.size for x in jax.tree.leaves(ours))
        assert count == sum(x.numel() for x in theirs.parameters())


def test_a_step_trains():
    case = small("dit-train-b1")
    optimizer = dataclasses.replace(case.optimizer, groups=(("backbone", 1e-3), ("added", 1e-3)))
    side = torch_side.build(dataclasses.replace(case, optimizer=optimizer), CPU)
    losses = [float(side.run()) for _ in range(60)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_bfloat16_runs():
    for name in ("dit-forward-b1", "dit-train-b1"):
        case = small(name)
        task = dataclasses.replace(case.task, compute="bfloat16")
        torch_side.build(dataclasses.replace(case, task=task), CPU).call()


def test_the_command_compares(tmp_path, monkeypatch):
    cases = [small("dit-forward-b1"), sampled()]
    monkeypatch.setattr(suite, "default_cases", lambda names: cases)
    out = tmp_path / "result.json"
    assert cli.main(["bench", "--vs", "torch", "--repeats", "2", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["machine"]["torch"] == torch.__version__
    assert result["machine"]["threads"] == torch.get_num_threads()
    for case in result["cases"]:
        assert case["ours_to_torch"]["ratio"] > 0 and len(case["torch"]["seconds"]["all"]) == 2
