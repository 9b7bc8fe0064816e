"""`alchemint bench`: mistakes, and tiny runs."""

from __future__ import annotations

import dataclasses
import json
import sys

import jax
import numpy as np
import pytest
from tiny_bench import CONFIG, SIZES, TINY, tiny

from alchemint_jax import cli
from alchemint_jax.bench import command, runner
from alchemint_jax.bench.bench_text import as_text
from alchemint_jax.bench.measure import Side
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.vae import VAEConfig
from alchemint_jax.plan.steps import Work
from alchemint_jax.sampling.control import Gating

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]

WAN = CONFIG.replace("sprites.py", "wan_1_3b.py")
SIDE = {"seconds", "per_second", "flops_per_second", "mfu", "memory"}
OURS = SIDE | {"compile_seconds", "program_bytes", "attention", "custom_calls"}
CASE = {"name", "kind", "what", "devices", "units", "unit", "model_flops", "program_flops", "ours"}


def bench(*arguments):
    try:
        return cli.main(["bench", *arguments])
    except SystemExit as error:  # from the parser
        return error.code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--case", "dit-forward-b1", "nothing"), "--case nothing: no such case here; there are"),
        (("--size", "480"), "write HEIGHTxWIDTH"),
        (("--size", "0x16"), "write HEIGHTxWIDTH"),
        (("--size", "16x16"), "--size changes a config; give --config FILE.py too"),
        (("--config.model.dim=8",), "--config.model.dim=8 changes a config"),
        (("--repeats", "0"), "whole number of at least 1, got '0'"),
        (("--frames", "x"), "whole number of at least 1, got 'x'"),
        (("--vs", "tensorflow"), "invalid choice: 'tensorflow'"),
        (("--out", "result.txt"), "must end in .json"),
        (("--config", "missing.py"), "missing.py: no such config file"),
        (("--config", CONFIG, "--case", "dit-forward-b1"), "there are forward, train, sample"),
        (("--config", CONFIG, "--case", "forward", "--size", "20x16"), "must be multiples of 8"),
        (("--config", WAN, "--case", "train", "--config.mesh.data=3"), "needs 6 devices"),
        (("--gating",), "--gating changes a config; give --config FILE.py too"),
        (("--config", CONFIG, "--vs", "ungated"), "give --gating too"),
        (("--config", CONFIG, "--case", "train", "--gating"), "there is nothing to gate"),
        (
            ("--config", CONFIG, "--case", "sample", "--gating", "--references", "0"),
            "for the cases attention, sample, video, with references",
        ),
        (("--config", CONFIG, "--case", "vae-decode", "--tile", "38"), "must be a multiple of 4"),
        (("--nonsense",), "unrecognized argument: --nonsense"),
        (("--vs", "diffusers"), "belong together; give both"),
        (("--model", "sprites"), "belong together; give both"),
        (("--steps", "3"), "--steps is of whole videos"),
        (("--prompt", "a cat"), "--prompt is of whole videos"),
        (("--vs", "diffusers", "--model", "sprites", "--batch", "2"), "--batch goes with cases"),
        (("--vs", "diffusers", "--model", "sprites", "--case", "x"), "--case goes with cases"),
        (("--vs", "diffusers", "--model", "nowhere"), "no model at 'nowhere'"),
    ],
)
def test_mistakes_are_one_clear_line(arguments, says, capsys):
    assert bench(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and says in err
    first, *rest = err.strip().splitlines()
    assert first.startswith("alchemint: error: ")
    assert not rest or rest == ["For help: alchemint bench --help"]


def test_without_pytorch_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert bench("--vs", "torch") == 2
    err = capsys.readouterr().err
    assert "torch" in err and "pip install -e '.[parity]'" in err and err.count("\n") == 1


def test_a_broken_pytorch_is_no_traceback(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)  # an import fails
    monkeypatch.delitem(sys.modules, "alchemint_jax.bench.torch_side", raising=False)
    monkeypatch.setattr(command, "_look_for", lambda vs, packages: None)
    assert bench("--vs", "torch", "--case", "dit-forward-b1") == 2
    err = capsys.readouterr().err
    assert "cannot be imported" in err and err.count("\n") == 1


def test_a_run_is_printed_and_written(tmp_path, capsys, monkeypatch):
    waited = []
    wait = jax.block_until_ready
    monkeypatch.setattr(runner.jax, "block_until_ready", lambda x: waited.append(1) or wait(x))
    out = tmp_path / "result.json"
    overrides = [f"--config.{override}" for override in TINY]
    cases = ["--case", "forward", "--repeats", "3", "--json", "--out", str(out)]
    before = jax.config.jax_enable_compilation_cache
    assert bench("--config", CONFIG, *SIZES, *cases, *overrides) == 0
    assert jax.config.jax_enable_compilation_cache == before
    assert len(waited) == 2 + 3  # two calls beforehand, then those that count
    printed, said = capsys.readouterr()
    result = json.loads(printed)
    assert json.loads(out.read_text()) == result
    assert "forward: compiling" in said

    machine = result["machine"]
    assert machine["platform"] == "cpu" and machine["jax"] == jax.__version__
    assert machine["devices"] == 8 and machine["threads"] >= 1
    (case,) = result["cases"]
    check(case, repeats=3)
    assert set(case) == CASE and case["name"] == "forward"
    assert (case["units"], case["unit"]) == (2 * 2 * 3 * 2, "video tokens")
    assert case["ours"]["attention"] == "xla"


def check(case, repeats):
    """What holds of every case on a CPU."""
    ours = case["ours"]
    seconds = ours["seconds"]
    assert set(ours) == OURS and case["devices"] == 1 and len(seconds["all"]) == repeats
    assert 0 < seconds["least"] <= seconds["median"] <= seconds["most"]
    assert ours["per_second"] == pytest.approx(case["units"] / seconds["median"])
    assert ours["flops_per_second"] == pytest.approx(case["model_flops"] / seconds["median"])
    assert ours["mfu"] is None and ours["compile_seconds"] > 0 and ours["program_bytes"] > 0
    assert ours["memory"]["of"] == "process"
    # Of a text encoder that is trained, the gradients of its inputs are left out.
    assert case["model_flops"] == pytest.approx(case["program_flops"], rel=0.03)
    assert case["model_flops"] > 1e5


@pytest.mark.parametrize("name", ["attention", "sample", "video"])
def test_what_gating_costs_is_measured_in_turns(name):
    case = tiny(name, gating=Gating())
    result = runner.run([case], 2, runner.ungated())
    (found,) = result["cases"]
    assert set(found) == CASE | {"ungated", "ours_to_ungated"}
    ours, other = (found[side]["seconds"]["median"] for side in ("ours", "ungated"))
    assert found["ours_to_ungated"]["ratio"] == pytest.approx(ours / other)
    assert found["what"]["gating"] == repr(Gating())
    assert "ours / ungated" in as_text(result)
    (alone,) = runner.run([tiny(name)], 1, runner.ungated())["cases"]
    assert set(alone) == CASE | {"no_ungated"}


@pytest.mark.parametrize("kind", ["encode", "decode"])
def test_the_autoencoder(kind):
    vae = VAEConfig(base_dim=2, dim_mult=(1, 1), num_res_blocks=1, temporal_downsample=(True,))
    work = Work((24, 16), 1, 0, 2)
    found = runner.measure(tiny(f"vae-{kind}", vae=vae, work=work), 1)
    check(found, repeats=1)
    assert (found["units"], found["unit"]) == (2, "frames")
    assert found["ours"]["attention"] is None


def test_both_sides_and_the_text():
    """A stand-in for the other side: it only remembers the turns."""
    turns, freed, train, sample = [], [], tiny("train"), tiny("sample", references=0)

    def beside(asked):
        # What training would leave to the devices has nothing to keep here.
        model = dataclasses.replace(sample.task.model, remat="none")
        assert asked == dataclasses.replace(
            sample, task=dataclasses.replace(sample.task, model=model)
        )
        memory = {"bytes": 1, "of": "process", "scope": "this call", "before": None}
        return Side(lambda: turns.append(1), lambda x: x, lambda call: (call(), memory)[1])

    counterpart = runner.Counterpart(beside, ("numpy",), lambda: freed.append(1))
    result = runner.run([train, sample], 2, counterpart)
    assert len(freed) == 2 and result["machine"]["numpy"] == np.__version__
    alone, compared = result["cases"]
    check(alone, repeats=2)
    check(compared, repeats=2)
    assert set(alone) == CASE | {"no_torch"} and "references" in alone["no_torch"]
    assert set(compared) == CASE | {"torch", "ours_to_torch"} and len(turns) == 2 + 2
    assert set(compared["torch"]) == SIDE
    ours, theirs = (compared[side]["seconds"]["median"] for side in ("ours", "torch"))
    assert compared["ours_to_torch"]["ratio"] == pytest.approx(ours / theirs)
    text = as_text(result)
    for part in ("video tokens/s", "GFLOP/s", "ours / torch", "40 steps to a clip", "attention by"):
        assert part in text
    assert "no PyTorch beside it: diffusers' transformer" in text and "MFU" not in text
    compared["ours"]["mfu"] = 0.4321
    assert "MFU 43.2 %" in as_text(result)


def test_what_does_not_fit_into_memory_is_said_so(monkeypatch):
    def fail(message):
        def build(case):
            raise jax.errors.JaxRuntimeError(message)

        return build

    monkeypatch.setattr(runner.programs, "build", fail("RESOURCE_EXHAUSTED: Out of memory"))
    with pytest.raises(ConfigError, match="does not fit into the memory"):
        runner.measure(tiny("forward"), 1)
    monkeypatch.setattr(runner.programs, "build", fail("INTERNAL: something else"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        runner.measure(tiny("forward"), 1)
