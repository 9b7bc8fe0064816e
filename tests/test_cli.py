"""The command line: what it passes on, what it prints, and how it fails.

Models and datasets are played by stand-ins; each has its own tests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import types

import numpy as np
import pytest
from PIL import Image

import alchemint_jax as al
from alchemint_jax import cli, commands, data, evaluate, media
from alchemint_jax.errors import AlchemintError, WeightsError
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.control import Gating, Relay, TempoControl, Together, When
from alchemint_jax.worlds import sprites

BOARD = """
prompt: a red disc glides past
duration: 1.0
seed: 5
subjects:
  - {word: red disc, image: disc.png, appears: [[0.25, 1.0]]}
events:
  - {text: the red disc turns blue, during: [0.5, 1.0]}
"""


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Keep the tests' own compilations out of the user's cache."""
    monkeypatch.setattr(commands, "prepare_jax", lambda: None)


@pytest.fixture
def board(tmp_path):
    Image.new("RGB", (32, 32), (200, 40, 40)).save(tmp_path / "disc.png")
    (tmp_path / "board.yaml").write_text(BOARD)
    return str(tmp_path / "board.yaml")


class FakePipeline:
    """Renders grey and remembers how it was asked."""

    fps = 8.0
    settings = settings.Settings(steps=9, guidance=al.Guidance(text=0.5, image=1.5, both=2.5))

    def __init__(self):
        self.loaded: list[str] = []
        self.load_options: dict = {}
        self.calls: list[dict] = []
        self.raises: BaseException | None = None

    def load(self, model, **options):
        self.loaded.append(model)
        self.load_options = options
        return self

    def scene(self, board):
        return board.scene(self.settings.limits(slots=3, events=True, stride=4))

    def generate(self, board, **options):
        self.calls.append(options)
        if self.raises:
            raise self.raises
        print("noise on standard output")
        return np.full((9, 32, 32, 3), 128, np.uint8)


@pytest.fixture
def pipe(monkeypatch):
    fake = FakePipeline()
    monkeypatch.setitem(al.__dict__, "Pipeline", fake)
    return fake


# ------------------------------------------------------------------------------------ generate


def test_generate_writes_the_video_and_prints_its_path(board, pipe, tmp_path, capsys):
    out = tmp_path / "v.mp4"
    assert cli.main(["generate", board, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    frames, fps = media.read_video(out)
    assert frames.shape == (9, 32, 32, 3) and fps == 8
    assert pipe.loaded == ["sprites"]
    # What was not given is the model's own; the seed is the storyboard's.
    own = {"steps": 9, "guidance": pipe.settings.guidance, "solver": "euler", "control": None}
    assert pipe.calls == [{"seed": 5, "progress": True, **own}]


def test_generate_passes_every_option_on(board, pipe, tmp_path):
    options = ["--seed", "7", "--steps", "12", "--guidance-text", "2", "--guidance-both", "1e1"]
    options += ["--solver", "unipc", "--int8-text", "--lora", "a.safetensors:0.5"]
    options += ["--lora", "dir:x/b.safetensors", "--dtype", "bfloat16", "--gating", "8"]
    options += ["--tempo", "red disc=0.5-1", "--tempo", "red disc=a.wav"]
    options += ["--tempo-layers", "0.5:1", "--tempo-signal", "spread"]
    options += ["--transformer", "t.safetensors", "--model-kind", "phantom", "--relay", "1.5"]
    options += ["--guidance-interval", "0:0.6", "--cache", "c.json"]
    arguments = [board, "--out", str(tmp_path / "v.mp4"), "--model", str(tmp_path), *options]
    assert cli.main(["generate", *arguments]) == 0
    assert pipe.loaded == [str(tmp_path)]
    loras = [("a.safetensors", 0.5), ("dir:x/b.safetensors", 1.0)]
    assert pipe.load_options == {
        "int8_text": True,
        "loras": loras,
        "dtype": "bfloat16",
        "transformer": "t.safetensors",
        "kind": "phantom",
        "relay": Relay(1.5),
        "clean_keyframes": False,
        "transformer_2": None,
        "loras_2": [],
        "vae": None,
        "cache": "c.json",
    }
    [call] = pipe.calls
    words = (When("red disc", seconds=((0.5, 1),)), When("red disc", audio="a.wav"))
    tempo = TempoControl(words, layers=(0.5, 1), signal="spread")
    assert call == {
        "seed": 7,
        "progress": True,
        "steps": 12,
        "guidance": al.Guidance(text=2.0, image=1.5, both=10.0, interval=(0, 0.6)),
        "solver": "unipc",
        "control": Together((Gating(8.0), tempo)),
    }


def test_gating_without_a_number_is_the_usual_one(board, pipe, tmp_path, capsys):
    out = ["--out", str(tmp_path / "v.mp4"), "--json", "--gating"]
    assert cli.main(["generate", board, *out]) == 0
    assert pipe.calls[0]["control"] == Gating()
    said = json.loads(capsys.readouterr().out)
    assert said["gating"]["strength"] == Gating().strength and said["tempo"] is None
    assert cli.main(["generate", board, *out[:-1], "--tempo"]) == 0
    assert pipe.calls[1]["control"] == TempoControl()
    said = json.loads(capsys.readouterr().out)
    assert said["tempo"]["rate"] == TempoControl().rate and said["gating"] is None
    assert cli.main(["generate", board, *out[:-1], "--tempo", "disc"]) == 2
    assert "write WORD=WHEN, for example star=0.5-2" in capsys.readouterr().err
    assert cli.main(["generate", board, *out[:-1], "--tempo", f"disc={out[1]}"]) == 2
    assert "--tempo" in capsys.readouterr().err and len(pipe.calls) == 2
    for name, value in (("layers", "0.5:1"), ("signal", "mean")):
        assert cli.main(["generate", board, *out[:-1], f"--tempo-{name}", value]) == 2
        assert f"--tempo-{name} is of --tempo; give that too" in capsys.readouterr().err
    for name, value, says in (
        ("layers", "0.5", "write START:END, two shares from 0 to 1, not '0.5'"),
        ("layers", "1:0", "write START:END"),
        ("signal", "sum", "invalid choice: 'sum'"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["generate", board, *out[:-1], f"--tempo-{name}", value, "--tempo"])
        assert stop.value.code == 2 and says in capsys.readouterr().err
    assert len(pipe.calls) == 2
    with pytest.raises(SystemExit):
        cli.main(["generate", *out, board])
    assert "write it last" in capsys.readouterr().err


def test_json_is_the_only_thing_on_standard_output(board, pipe, tmp_path, capsys):
    out, sheet = tmp_path / "v.mp4", tmp_path / "s.png"
    arguments = ["generate", board, "--out", str(out), "--sheet", str(sheet), "--json"]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert "noise" in captured.err
    assert report["video"] == str(out) and report["sheet"] == str(sheet)
    assert (report["frames"], report["fps"], report["size"]) == (9, 8.0, [32, 32])
    assert (report["seed"], report["steps"], report["solver"]) == (5, 9, "euler")
    weights = {"text": 0.5, "image": 1.5, "both": 2.5}
    assert report["guidance"] == weights | {"interval": [0, 1]}
    assert report["gating"] is None and report["cache"] is None
    assert report["subjects"] == [
        {"word": "red disc", "appears": [[0.25, 1.0]], "frames": [[2, 9]]}
    ]
    assert report["events"] == [
        {"text": "the red disc turns blue", "during": [0.5, 1.0], "frames": [[4, 9]]}
    ]
    with Image.open(sheet) as picture:
        assert picture.width > 500


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (WeightsError("the weights are elsewhere"), 2, "error: the weights are elsewhere"),
        (PermissionError(13, "Permission denied", "w.bin"), 2, "error: w.bin: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_are_one_line_and_a_status(board, pipe, tmp_path, capsys, error, status, says):
    pipe.raises = error
    assert cli.main(["generate", board, "--out", str(tmp_path / "v.mp4"), "--json"]) == status
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.strip() == f"alchemint: {says}"
    assert not (tmp_path / "v.mp4").exists()


def test_bugs_keep_their_traceback(board, pipe, tmp_path):
    pipe.raises = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["generate", board, "--out", str(tmp_path / "v.mp4")])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--out": "v.avi"}, "must end in .mp4"),
        ({"--out": "typo/in/v.mp4"}, "does not exist"),
        ({"--sheet": "s.jpg"}, "must end in .png"),
        ({"--sheet": "disc.png"}, "overwrite"),
        ({"--model": "sprits"}, "--model"),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(
    board, pipe, tmp_path, capsys, monkeypatch, change, says
):
    monkeypatch.chdir(tmp_path)
    options = {"--out": "v.mp4"} | change
    assert cli.main(["generate", board, *(x for pair in options.items() for x in pair)]) == 2
    assert says in capsys.readouterr().err
    assert pipe.loaded == []
    assert sorted(os.listdir()) == ["board.yaml", "disc.png"]


@pytest.mark.parametrize(
    "option",
    [
        "--steps=0",
        "--steps=2.5",
        "--steps=many",
        "--solver=heun",
        "--seed=-1",
        f"--seed={2**32}",
        "--lora=a.safetensors:nan",
        "--lora=a.safetensors:-inf",
        "--lora=:0.5",
        "--guidance-text=nan",
        "--guidance-image=inf",
        "--guidance-both=-1",
        "--guidance-interval=0.6",
        "--guidance-interval=0.6:0.2",
        "--guidance-interval=0:2",
        "--gating=-1",
        "--gating=2000",
        "--gating=deep",
        "--stepps=3",
        "--step=3",
    ],
)
def test_bad_options_are_refused(board, pipe, tmp_path, capsys, option):
    with pytest.raises(SystemExit) as exit:
        cli.main(["generate", board, "--out", str(tmp_path / "v.mp4"), option])
    assert exit.value.code == 2
    assert option.split("=")[0] in capsys.readouterr().err
    assert pipe.loaded == []


# ------------------------------------------------------------------------------ other commands


def test_train_collects_overrides(monkeypatch, tmp_path):
    calls = []
    run = types.ModuleType("run")
    result = types.SimpleNamespace(interrupted=False, step=7, signal=None)
    run.run_config = lambda *arguments: calls.append(arguments) or result
    monkeypatch.setitem(sys.modules, "alchemint_jax.train.run", run)
    config = tmp_path / "tiny.py"
    config.touch()
    overrides = ["--config.a.b=1", "--config.name=two words", "--config.c", "-2"]
    base = ["train", "--config", str(config), "--workdir", "runs/x"]
    assert cli.main([*base, *overrides]) == 0
    assert calls == [(str(config), "runs/x", ["a.b=1", "name=two words", "c=-2"])]
    for wrong in (["--confg.a=1"], ["extra"], ["--config.a"], ["--config.a", "--config.b=1"]):
        with pytest.raises(SystemExit):
            cli.main([*base, *wrong])
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("number", "options", "status"),
    # Of processes that stop together those have no number that got no signal.
    [
        (signal.SIGTERM, [], 0),
        (None, [], 0),
        (None, ["--interrupted-status", "75"], 75),
        (signal.SIGINT, ["--interrupted-status", "75"], 130),
    ],
)
def test_interrupted_training_says_where_it_stopped(
    monkeypatch, tmp_path, capsys, number, options, status
):
    run = types.ModuleType("run")
    result = types.SimpleNamespace(interrupted=True, step=7, signal=number)
    run.run_config = lambda *arguments: result
    monkeypatch.setitem(sys.modules, "alchemint_jax.train.run", run)
    config = tmp_path / "tiny.py"
    config.touch()
    words = ["train", "--config", str(config), "--workdir", "runs/x", *options]
    assert cli.main(words) == status
    assert "step 7" in capsys.readouterr().err


def test_evaluate_prints_the_figures(monkeypatch, tmp_path, capsys):
    calls = []

    def run_benchmark(*arguments, **options):
        calls.append((arguments, options))
        figure = {"mean": 0.81234567, "low": 0.75, "high": 0.9}
        groups = {"few": {"subjects": 2, "t_iou": figure}, "none": {"subjects": 0, "x": 1.0}}
        return {"model": "sprites", "t_iou": figure, "groups": groups, "rows": [1, 2, 3]}

    monkeypatch.setitem(evaluate.__dict__, "run_benchmark", run_benchmark)
    options = ["--limit", "4", "--batch", "2", "--solver", "unipc", "--gating"]
    assert cli.main(["evaluate", "--out", str(tmp_path / "r"), *options]) == 0
    asked = {"limit": 4, "batch": 2, "solver": "unipc", "control": Gating()}
    assert calls == [(("sprites", sprites.SpritesBenchmark(), tmp_path / "r"), asked)]
    figure = "t_iou: 0.8123 (0.75 to 0.9)"
    group = f"groups:\n  few:\n    subjects: 2\n    {figure}\n"
    assert capsys.readouterr().out == f"model: sprites\n{figure}\n{group}"
    assert cli.main(["evaluate", "--out", str(tmp_path / "r"), "--benchmark", "vbench"]) == 2
    assert "vbench" in capsys.readouterr().err
    assert len(calls) == 1


BOARD_LINE = """{"prompt": "a disc", "duration": 4,
 "subjects": [{"word": "disc", "image": "r.png", "appears": [[0, 1]]}]}""".replace("\n", "")


def test_evaluate_takes_a_file_of_storyboards_and_guidance(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setitem(
        evaluate.__dict__,
        "run_benchmark",
        lambda *arguments, **options: calls.append((arguments, options)) or {},
    )
    boards = tmp_path / "boards.jsonl"
    boards.write_text(BOARD_LINE)
    Image.new("RGB", (8, 8)).save(tmp_path / "r.png")
    (tmp_path / "model" / "transformer").mkdir(parents=True)
    model = str(tmp_path / "model")
    base = ["evaluate", "--out", str(tmp_path / "r"), "--benchmark", str(boards)]
    assert cli.main([*base, "--model", model, "--guidance-text", "1.5", "--guidance-image=0"]) == 0
    asked = {"text": 1.5, "image": 0.0}  # the rest is the model's own
    (((named, benchmark, out), options),) = calls
    assert (named, benchmark.name, out) == (model, str(boards), tmp_path / "r")
    assert options == {"guidance": asked} and len(benchmark.boards) == 1
    assert benchmark.tracker == sprites.SpritesTracker()


def test_evaluate_refuses_the_bad_line_of_a_file(tmp_path, capsys):
    boards = tmp_path / "boards.jsonl"
    boards.write_text("{")
    base = ["evaluate", "--out", str(tmp_path / "r"), "--benchmark", str(boards)]
    assert cli.main(base) == 2
    assert f"{boards}:1: not JSON" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_data_commands(monkeypatch, tmp_path, capsys):
    calls = []
    for name in ("write_sprites", "encode_dataset", "write_sheet"):
        monkeypatch.setitem(
            (sprites if name == "write_sprites" else data).__dict__,
            name,
            lambda *given, name=name, **named: calls.append((name, *given, *named.values())),
        )
    here, new, png = tmp_path / "here", tmp_path / "new", tmp_path / "p.png"
    here.mkdir()
    assert cli.main(["data", "sprites", "--out", str(new), "--clips", "3"]) == 0
    assert (
        cli.main(["data", "sprites", "--out", str(new), "--clips", "4", "--events", "--cuts"]) == 0
    )
    short = ["--clips", "2", "--seed", "7", "--frames", "5", "--worded"]
    assert cli.main(["data", "sprites", "--out", str(new), *short]) == 0
    assert (
        cli.main(["data", "encode", "--data", str(here), "--vae", str(here), "--out", str(new)])
        == 0
    )
    assert cli.main(["data", "sheet", "--data", str(here), "--out", str(png)]) == 0
    assert calls == [
        ("write_sprites", new, 3, 0, 33, False, False, False),
        ("write_sprites", new, 4, 0, 33, True, True, False),
        ("write_sprites", new, 2, 7, 5, False, False, True),
        ("encode_dataset", here, str(here), new, data.Encoding()),
        ("write_sheet", here, png),
    ]
    capsys.readouterr()
    assert cli.main(["data", "sheet", "--data", str(new), "--out", str(png)]) == 2
    assert "--data" in capsys.readouterr().err and len(calls) == 5
    encode = ["data", "encode", "--data", str(here), "--out", str(new), "--vae"]
    assert cli.main([*encode, "sprites"]) == 0
    assert calls[5:] == [("encode_dataset", here, "sprites", new, data.Encoding())]
    calls[:] = calls[:5]
    some = ["--buckets", "9x32x48, 1x32x48", "--kinds", "crop=1,segment=2"]
    some += ["--variation", "zoom=0.6:0.9, hue=0"]
    more = ["--text", "sprites", "--tiles", "2", "--reference-size", "16x16"]
    assert cli.main([*encode, "sprites", *some, *more]) == 0
    asked = data.Encoding(
        buckets=(data.Bucket(9, 32, 48), data.Bucket(1, 32, 48)),
        kinds=(("crop", 1.0), ("segment", 2.0)),
        reference_size=(16, 16),
        variation=data.references.Variation(zoom=(0.6, 0.9), hue=0.0),
    )
    assert calls[5:] == [("encode_dataset", here, "sprites", new, asked, "sprites", 2)]
    capsys.readouterr()
    for wrong in (
        *(["--buckets", "9x32"], ["--kinds", "photo=1"], ["--cross", "2"], ["--fps", "0"]),
        *(
            ["--variation", amount]
            for amount in ("zoom=1", "hue=x", "size=1", "light=2", "blur=-1")
        ),
    ):
        with pytest.raises(SystemExit):
            cli.main([*encode, "sprites", *wrong])
        assert wrong[0] in capsys.readouterr().err
    assert cli.main([*encode, "sprites", "--plain"]) == 0
    assert calls.pop()[4] == data.Encoding(vary=False)
    assert cli.main([*encode, "sprits"]) == 2
    assert "--vae" in capsys.readouterr().err and len(calls) == 6


def test_demo_returns_its_status(monkeypatch, tmp_path):
    demo = types.ModuleType("demo")
    demo.run_demo = lambda out: 0 if out == tmp_path / "out" else 1
    monkeypatch.setitem(sys.modules, "alchemint_jax.demo", demo)
    assert cli.main(["demo", "--out", str(tmp_path / "out")]) == 0
    assert cli.main(["demo", "--out", str(tmp_path / "other")]) == 1


def test_errors_of_ours_are_value_errors():
    assert issubclass(AlchemintError, ValueError)
