"""Every command refuses, before any work, to write over what it reads; and says little at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

import alchemint_jax as al
from alchemint_jax import cli, commands, demo, weights
from alchemint_jax.errors import AlchemintError, StoryboardError
from alchemint_jax.evaluate import curves, study, tags
from alchemint_jax.rotary import compare
from alchemint_jax.train import curve, run

SPRITES = weights.locate("sprites")
CONFIG = "config.py"
FILES = (
    "board.json",
    "a.png",
    "lora.safetensors",
    "m/pipeline.json",
    "d/x.bin",
    "d/photo.png",
    CONFIG,
    "log",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for module in (commands, curves, study, tags):
        monkeypatch.setattr(module, "prepare_jax", lambda: None)
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    Image.new("RGB", (8, 8)).save("a.png")
    board = {"prompt": "x", "duration": 1, "first_frame": "a.png"}
    Path("board.json").write_text(json.dumps(board))
    Path(CONFIG).write_text("ARMS = ('WeRope',)\n")
    for kind in ("mp4", "png", "json"):  # links, where endings are prescribed
        for name in FILES:
            Path(f"{Path(name).stem}-link.{kind}").symlink_to(name)
    Path("frame-link.png").symlink_to("v.mp4")
    before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    yield tmp_path
    assert {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before


GENERATE = ["generate", "board.json", "--out", "v.mp4"]
TRIES = [
    ([*GENERATE, "--sheet", "./a.png"], "first_frame a.png"),
    ([*GENERATE[:3], "a-link.mp4"], "first_frame a.png"),
    ([*GENERATE, "--sheet", "board-link.png"], "STORYBOARD board.json"),
    ([*GENERATE, "--sheet", "lora-link.png", "--lora", "lora.safetensors:0.5"], "--lora lora"),
    ([*GENERATE, "--sheet", "pipeline-link.png", "--model", "m"], "--model: m/pipeline.json"),
    ([*GENERATE, "--sheet", "frame-link.png"], "--out v.mp4 and --sheet frame-link.png are"),
    (["evaluate", "--out", "e", "--benchmark", "e/report.json"], "--benchmark e/report.json"),
    (["data", "sheet", "--data", "d", "--out", "x-link.png"], "--data d/x.bin"),
    (
        ["data", "encode", "--data", "d", "--vae", "m", "--out", "d/."],
        "--out d would overwrite --data d",
    ),
    (
        ["data", "encode", "--data", "d", "--vae", "m", "--out", "m"],
        "--out m would overwrite --vae m",
    ),
    (["data", "encode", "--data", "d", "--vae", "m", "--out", "d/a/b"], "lies inside --data d"),
    (["data", "encode", "--data", "d", "--vae", "m", "--out", "m/latents"], "lies inside --vae m"),
    (["data", "sheet", "--data", "d", "--out", "d/photo.png"], "overwrite --data d/photo.png"),
    (["convert", "--from", "m", "--to", "m/new"], "--to m/new lies inside --from m"),
    (["convert", "--from", "m", "--to", "d/../m/x/y"], "lies inside --from m"),
    (["convert", "--from", "sprites", "--to", f"{SPRITES}/x"], "lies inside --from"),
    (
        ["plan", "--config", f"{CONFIG}:a", "--target", "v5p-8", "--picture", "config-link.png"],
        f"--config {CONFIG}",
    ),
    (["bench", "--config", f"{CONFIG}:a", "--out", "config-link.json"], f"--config {CONFIG}"),
]


@pytest.mark.parametrize(("arguments", "says"), TRIES)
def test_commands(arguments, says, capsys, request):
    if "e/report.json" in arguments:
        os.mkdir("e")
        Path("e/report.json").write_text("{}")
    try:
        assert cli.main(arguments) == 2
    finally:
        if os.path.exists("e"):
            assert Path("e/report.json").read_text() == "{}"
            os.remove("e/report.json")
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


WAN = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
NO_FOLDERS = {
    WAN: f"hub's own tool (`hf download {WAN} --local-dir Wan2.1-T2V-1.3B-Diffusers`)",
    f"https://huggingface.co/{WAN}/tree/main": f"`hf download {WAN} --local-dir",
    "lora.safetensors": "but a single file; a model is a folder that holds transformer/, vae/",
    "absent": "nor a folder; give a folder that holds transformer/",
}


@pytest.mark.parametrize("name", NO_FOLDERS)
@pytest.mark.parametrize(
    "arguments",
    [
        [*GENERATE, "--model"],
        ["evaluate", "--out", "e", "--model"],
        ["data", "encode", "--data", "d", "--out", "e", "--vae"],
        ["convert", "--to", "e", "--from"],
    ],
)
def test_what_is_no_folder_of_a_model(arguments, name, capsys):
    if arguments[0] == "convert" and name.endswith("safetensors"):
        return  # of a transformer, which is what convert reads
    assert cli.main([*arguments, name]) == 2
    said = capsys.readouterr().err
    assert f"{arguments[-1]} {name}: neither 'sprites'" in said and said.count("\n") == 1
    assert NO_FOLDERS[name] in said


MODULES = [
    (compare, ["--frames", "9", "--head-dim", "48", "--out", "k", "--figure", "K"], "are the same"),
    (curves, ["--out", "k", "--figure", "./k"], "are the same"),
    (
        curves,
        ["--model", str(SPRITES), "--out", f"{SPRITES}/pipeline.json", "--figure", "f"],
        "ove",
    ),
    (tags, ["--out", f"{SPRITES}/vae/config.json"], "lies inside a part of --model"),
    (study, ["--workdir", "w", "--out", "k", "--rows", "k"], "are the same"),
    (study, ["--workdir", "w", "--out", "k", "--figure", CONFIG], f"--config {CONFIG}"),
]


@pytest.mark.parametrize(("module", "arguments", "says"), MODULES)
def test_modules(module, arguments, says, capsys):
    if module is study:
        arguments = [*arguments, "--config", CONFIG]
    with pytest.raises(SystemExit):
        module.main(arguments)
    assert says in capsys.readouterr().err


def test_a_learning_curve_is_not_drawn_over_its_figures(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["curve", "log", "./log"])
    with pytest.raises(SystemExit):
        curve.main()
    assert "METRICS log" in capsys.readouterr().err


def test_the_demo_keeps_its_pictures(folder):
    examples = folder / "examples"
    examples.mkdir()
    text = "{prompt: x, duration: 1, first_frame: ../a.png}"
    (examples / "b.yaml").write_text(text)
    (folder / "out").mkdir()
    (folder / "out" / "demo.png").symlink_to("../a.png")
    with pytest.raises(AlchemintError, match=r"demo.png would overwrite first_frame"):
        demo.run_demo(folder / "out", examples)
    (examples / "b.yaml").unlink()
    (folder / "out" / "demo.png").unlink()


@pytest.mark.parametrize("field", ["init_from", "vae", "data"])
def test_a_run_does_not_export_over_what_it_reads(folder, field):
    import ml_collections

    names = {"init_from": "sprites", "vae": "sprites", "data": "d"}
    model = folder / "runs" / "export" / "transformer"
    model.mkdir(parents=True)
    config = ml_collections.ConfigDict(names)
    run.check_workdir("runs", config)
    config[field] = "runs" if field == "data" else "runs/export"
    with pytest.raises(AlchemintError, match=f"^--workdir: runs.*{field} runs"):
        run.check_workdir("runs", config)


def subjects(count):
    words = [f"word{i}" for i in range(count)]
    return [{"word": w, "image": "a.png", "appears": [[0, 1]]} for w in words]


@pytest.mark.parametrize("fails", [False, True])
def test_many_warnings_are_few_lines_and_none_before_an_error(monkeypatch, capsys, fails):
    class Pipeline:
        settings = al.sampling.settings.Settings()

        @classmethod
        def load(cls, model, **options):
            return cls()

        def check(self, board):
            if fails:
                raise StoryboardError("subjects: 50 subjects are too many")

        def generate(self, board, **options):
            raise StoryboardError("stopped here")

    monkeypatch.setitem(al.__dict__, "Pipeline", Pipeline)
    Path("many.json").write_text(
        json.dumps({"prompt": "x", "duration": 1, "subjects": subjects(50)})
    )
    assert cli.main(["generate", "many.json", "--out", "v.mp4"]) == 2
    lines = capsys.readouterr().err.splitlines()
    os.remove("many.json")
    if fails:
        assert lines == ["alchemint: error: subjects: 50 subjects are too many"]
    else:
        assert [line.split(": ")[1] for line in lines] == 4 * ["warning"] + ["error"]
        assert "'word2' is not in the prompt" in lines[2] and lines[3].endswith("and 47 more")
