"""One GPU: every part runs here with a small config, and is traced for CUDA with the real one."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from alchemint_jax import cli
from alchemint_jax.bench import command, programs
from alchemint_jax.ops import attention
from alchemint_jax.plan.flops import traced_flops
from studies import gpu

pytestmark = pytest.mark.slow

SMALL = Path(__file__).with_name("small_wan.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def one_device(monkeypatch):
    """Processes see one CPU, whatever the tests' own flags say."""
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_every_part_runs(tmp_path, one_device, capsys):
    out = tmp_path / "found.json"
    clip = ("--config", str(SMALL), "--size", "16x32", "--frames", "5")
    assert gpu.main(["--on", "cpu", *clip, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert list(found["parts"]) == list(gpu.PARTS) and found["weights"] == "random"
    assert found["machine"]["platform"] == "cpu" and "jaxlib" in found["machine"]
    for own in found["parts"].values():
        assert own["status"] == "done" and 0 < own["compile_seconds"] < own["took"]
        assert own["met"] is None, "nothing is asked of another size"
    parts = {name: own["case"] for name, own in found["parts"].items()}
    values = {name: own["value"] for name, own in found["parts"].items()}
    assert values["train"] is None, "the peak of a CPU is not known"
    assert values["forward"] == parts["forward"]["ours"]["seconds"]["median"] > 0
    for name in ("gating", "step"):
        sides = [parts[name][side]["seconds"]["median"] for side in ("ours", "ungated")]
        assert values[name] == pytest.approx(sides[0] / sides[1], rel=1e-4)
        assert "Gating(" in parts[name]["what"]["gating"]
    assert parts["video"]["what"]["steps"] == 4 and parts["video"]["what"]["branches"] == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(gpu.PARTS)


@pytest.fixture
def cuda(monkeypatch):
    """What is traced and lowered is for a GPU of the kind that is asked for, with its kernels."""
    kernels = "jax._src.cudnn.fused_attention_stablehlo"
    monkeypatch.setattr(f"{kernels}.check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(f"{kernels}.check_compute_capability", lambda c: float(c) <= 9.0)
    monkeypatch.setattr(attention, "platform", lambda: "cuda")
    monkeypatch.setattr(attention, "widest", lambda: 256)


@pytest.mark.parametrize("name", gpu.PARTS)
def test_the_real_config_is_lowered_with_the_kernel(name, cuda):
    words = gpu.command(gpu.PARTS[name], gpu.CONFIG, gpu.SIZE, gpu.FRAMES)
    args = cli._parse(words)
    (case,) = command.cases(args)
    # The tests have eight devices, and nothing is to be compiled to find what layers keep.
    model = dataclasses.replace(case.task.model, remat="dots" if name == "train" else "none")
    case = dataclasses.replace(case, mesh=None, task=dataclasses.replace(case.task, model=model))
    assert case.dtype == "bfloat16" and case.work.batch == 1 and case.tokens.video == 32760
    assert case.tokens.references == (0 if name == "forward" else 2 * 1560)
    assert (case.task.lora is None) == (gpu.PARTS[name].variant == ""), "a student is a LoRA"
    traced = programs.build(case).trace()
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmax" in text
    assert ("__cudnn$fmhaSoftmaxBackward" in text) == (name == "train")
    if case.model_flops:
        assert 1 <= traced_flops(traced.jaxpr.jaxpr) / case.model_flops < 1.2
    assert (case.gating is not None) == (args.vs == "ungated") == (name in ("gating", "step"))
    if name in ("video", "whole"):
        assert case.tiled == (name == "video") and case.task.sampling.steps == 4


def test_what_is_asked():
    assert gpu.PARTS["forward"].met(0.5) and not gpu.PARTS["forward"].met(0.51)
    assert gpu.PARTS["train"].met(0.45) and not gpu.PARTS["train"].met(0.44)
    assert gpu.PARTS["train"].met(None) is None and gpu.PARTS["step"].met(1.0) is None


def stub(monkeypatch, ended):
    """What processes are said to have ended with: the first of them looks for the machine."""
    told, ended = [], iter([gpu.Ended("done", '{"platform": "gpu"}', ""), *ended])

    def run(words, on, limit):
        told.append((list(words), on, limit))
        return next(ended)

    monkeypatch.setattr(gpu, "run", run)
    return told


def bench(seconds):
    ours = {"seconds": {"median": seconds}, "attention": "cudnn", "compile_seconds": 20.0}
    return gpu.Ended("done", json.dumps({"cases": [{"ours": ours}]}), "")


def test_what_fails_takes_nothing_from_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    late = gpu.Ended("out of time", "", "video: compiling")
    broken = gpu.Ended("failed", "", "Traceback\nthis does not fit into the memory of the device")
    told = stub(monkeypatch, [bench(0.4), late, broken])
    out = tmp_path / "found.json"
    assert gpu.main(["--out", str(out), "--part", "whole", "video", "forward"]) == 1
    parts = json.loads(out.read_text())["parts"]
    assert {name: own["status"] for name, own in parts.items()} == {
        "forward": "done",
        "video": "out of time",
        "whole": "failed",
    }
    assert parts["forward"]["met"] is True and parts["forward"]["most"] == 0.5
    assert parts["whole"]["said"] == broken.said
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("forward: 0.4 s, asked for at most 0.5 s: met (attention by cudnn; ")
    assert second == "video: out of time (video: compiling)"
    assert third == "whole: failed (this does not fit into the memory of the device)"
    assert [limit for _, _, limit in told] == [120.0, 150.0, 150.0, 150.0]


def test_parts_share_the_time_and_are_written_one_by_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    out, now, seen = tmp_path / "found.json", [0.0], []
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])

    def run(words, on, limit):
        if words[0] == "-c":
            return gpu.Ended("done", '{"platform": "gpu"}', "")
        seen.append((limit, list(json.loads(out.read_text())["parts"]) if out.exists() else []))
        now[0] += 90
        return bench(0.6)

    monkeypatch.setattr(gpu, "run", run)
    words = ["--part", "forward", "video", "whole", "--seconds", "199", "--out", str(out)]
    assert gpu.main(words) == 1
    assert seen == [(150, []), (109, ["forward"])]
    found = json.loads(out.read_text())
    assert found["parts"]["forward"]["met"] is False
    assert found["parts"]["whole"]["status"] == "not begun" and found["seconds"] == 180


def test_a_process_ends_when_its_time_is_up(one_device):
    code = "import sys, time; print('so far', file=sys.stderr, flush=True); time.sleep(60)"
    assert gpu.run(["-c", code], "cpu", 2.0) == gpu.Ended("out of time", "", "so far")
    code = (
        "import sys; print('out'); print('who\\nwhy\\nFor help: x', file=sys.stderr); sys.exit(2)"
    )
    assert gpu.run(["-c", code], "cpu", 60.0) == gpu.Ended("failed", "out\n", "who\nwhy")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "no NVIDIA GPU answers here: .*"),
        (("--part", "nothing"), "argument --part: invalid choice: 'nothing' .*"),
        (("--config", "missing.py"), "--config missing.py: no such file; give FILE.py"),
        (("--seconds", "0"), ".*whole number of at least 1, got '0'"),
    ],
)
def test_bad_use_is_one_sentence(tmp_path, one_device, monkeypatch, capsys, words, says):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(ROOT)
    out = tmp_path / "found.json"
    with pytest.raises(SystemExit) as stop:
        gpu.main(["--out", str(out), *words])
    assert stop.value.code == 2 and not out.exists()
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.fullmatch(rf"\S+: error: {says}", last), last


def test_the_page_has_every_part_with_what_is_asked():
    page = (ROOT / "docs" / "measurements" / "speed.md").read_text()
    for name, part in gpu.PARTS.items():
        (row,) = re.findall(rf"^\| .*`{name}`.* \| .* \| (.*) \|$", page, re.MULTILINE)
        bounds = {"at most": part.most, "at least": part.least}
        asked = [f"{side} {bound:g}" for side, bound in bounds.items() if bound is not None]
        assert row == (f"{asked[0]} {part.unit}".strip() if asked else "-")
