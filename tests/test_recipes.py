"""The commands in the docstring of every config run as they are printed, one after the other.

A shell reads them out of the docstring, so that its loops and quotes count. Data are drawn and
encoded for real, a few clips of them; videos are those of a photograph that is pushed through the
picture, in which `annotate` finds a person by the networks of the package. Training is a dry run of
the config in full, which reads the data and the weights and traces the step (of one layer at a
time, and of the same program once; where a task of the kind has gone with this optimizer, what is
new is the loss), with what it would write put in its place; the recipe of Wan takes steps for real,
too. Where a config starts from published weights, the sizes of the tiny model that stands in for
those are appended. Models that come with the package draw with their first layer alone.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from ml_collections import ConfigDict
from PIL import Image
from rolled import rolled
from safetensors.numpy import load_file

import alchemint_jax as al
from alchemint_jax import cli, weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.media import encode_mp4
from alchemint_jax.sampling import settings
from alchemint_jax.train import dry_run, run
from alchemint_jax.train.config import run_file
from alchemint_jax.train.optimizer import FROZEN
from alchemint_jax.train.state import everything
from alchemint_jax.weights.directories import TINY_DECODER
from studies import (
    cuts,
    events,
    fast_weights,
    few_steps,
    inbetween,
    redrawn,
    reference_places,
    schemes,
    timing_words,
    tiny_decoder,
    variants,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
# A pipeline that diffusers made and saved, with random weights: as a download would be.
PUBLISHED = ROOT / "tests" / "goldens" / "pipeline" / "t2v"
FPS = 16  # of the videos that stand in for those of users, whatever rate a recipe asks for
TINY_WAN = [
    f"--config.{field}"
    for field in (
        *("model.dim=48", "model.n_heads=2", "model.n_layers=2", "model.ffn_dim=64"),
        *("model.text_dim=24", "model.freq_dim=16", "text.vocab=51", "text.dim=24"),
        *("text.n_heads=4", "text.head_dim=8", "text.ffn_dim=32", "text.n_layers=2"),
        *("sampling.size=(32,48)", "sampling.min_frames=9", "sampling.max_frames=9"),
        f"sampling.fps={FPS}",
    )
]
NARROW = ["--config.model.dim=24", "--config.model.ffn_dim=32"]  # that of Wan2.2, beside these
BUCKETS = "9x32x48,1x32x48"
PATHS = ["--limit", "2", "--batch", "2"]
_STUDY = run_file(CONFIGS / "sprites_schemes.py")
ARMS, PICTURES = _STUDY["ARMS"], _STUDY["PICTURES"]
PLACES = run_file(CONFIGS / "sprites_rrope.py")["ARMS"]
# Every config, after those whose data and weights it goes on from; with what its docstring gives to
# `get_config`, and all that it could give.
# In this order: some take data that others have made.
VARIANTS = {
    "sprites_vae": ("short", "whole"),
    "sprites": ("pictures", "clips"),
    "sprites_schemes": (*ARMS, *PICTURES),
    "sprites_rrope": tuple(PLACES),
    "sprites_events": ("first", "second"),
    "sprites_cuts": (),
    "sprites_inbetween": (),
    "sprites_untimed": (),
    "sprites_words": ("pictures", "more_pictures", "clips"),
    "sprites_fast": ("segments", "path"),
    "sprites_tiny_decoder": ("first",),
    "wan_1_3b": ("full", "lora", "fast"),
    "kaleido": ("pairs", "sft"),
    "wan_14b": ("full", "lora"),
    "wan_2_2_14b": ("high", "low", "high_lora", "low_lora"),
    "wan_2_2_5b": ("full", "lora"),
}
PUBLISHED_WEIGHTS = ("wan_1_3b", "wan_14b", "kaleido", "wan_2_2_14b", "wan_2_2_5b")
SCHEMES = ("NoInterval", "MidRope", "WeRope", "WeRope-printed", "WeRope-keys", "WeRope-shifted")
SCHEMES = (*SCHEMES, "SincRope", "FittedRope")


def commands(path):
    """What the docstring of a config has the shell run, in words."""
    text = ast.get_docstring(ast.parse(path.read_text()))
    blocks = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    shown = "{ printf '%%s\\0' %s \"$@\"; printf '\\1'; }"
    programs = [f"{name}() {shown % name}" for name in ("alchemint", "python")]
    shell = "\n".join([*programs, "set -eu", *blocks])
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    return [line.split("\0")[:-1] for line in result.stdout.split("\1")[:-1]]


# Fields of tasks of which a step's program has no more than the value of a constant.
PLACES_AND_NUMBERS = {"data", "vae", "init_from", "transformer", "boards", "loader", "shift"}


def traced_once(make):
    """Losses that differ in places and numbers alone are one program, which is traced once.

    Gradients, the optimizer and the parts of a batch ask no more of the second network than they
    did of the first one; rates, decay and clipping ask nothing of a network.
    """
    known = set()

    def program(of):
        fields = {field.name: getattr(of, field.name) for field in dataclasses.fields(of)}
        return repr([x for name, x in fields.items() if name not in PLACES_AND_NUMBERS])

    def step(plan, config):
        def trace(state, batch, key):
            arguments = state, batch, key
            shapes = str(jax.tree.map(lambda x: (x.shape, x.dtype), arguments))
            parts = type(plan.task), config.accumulate > 1
            updates = type(plan.task), FROZEN in state, config.method
            loss = program(plan.task), shapes
            if not {parts, updates} <= known:
                make(plan, config).trace(*arguments)
            elif loss not in known:
                jax.eval_shape(plan.task.loss, everything(state, "params"), batch, key)
            known.update((parts, updates, loss))

        return SimpleNamespace(trace=trace)

    return step


@pytest.fixture(scope="module", autouse=True)
def compile_little(tmp_path_factory):
    """Nothing here runs for long; on one device, and what is compiled twice is kept."""
    cache, one = tmp_path_factory.mktemp("cache"), jax.devices()[:1]
    before = jax.config.jax_compilation_cache_dir
    build_mesh, load = run.build_mesh, al.Pipeline.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setattr(dry_run, "pretend", lambda devices: None)  # there are some already
        patch.setattr(run, "build_mesh", lambda config: build_mesh(config, one))
        patch.setattr(dry_run, "jit_train_step", traced_once(dry_run.jit_train_step))
        patch.setattr(
            al.Pipeline, "load", lambda *model, **how: rolled(load(*model, **how), layers=1)
        )
        yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder, but for the downloads that docstrings ask for."""
    folder = tmp_path_factory.mktemp("recipes")
    for size in ("1.3B", "14B"):
        shutil.copytree(PUBLISHED, folder / "models" / f"Wan2.1-T2V-{size}-Diffusers")
    newer = PUBLISHED.parents[1] / "wan22" / "ti2v"
    shutil.copytree(newer, folder / "models" / "Wan2.2-TI2V-5B-Diffusers")
    pair = folder / "models" / "Wan2.2-T2V-A14B-Diffusers"
    shutil.copytree(PUBLISHED, pair)
    shutil.copytree(PUBLISHED / "transformer", pair / "transformer_2")
    index = json.loads((pair / "model_index.json").read_text())
    index |= {"transformer_2": index["transformer"], "boundary_ratio": 0.875}
    (pair / "model_index.json").write_text(json.dumps(index))
    return folder


def film(folder):
    """Three short videos of a photographed person, who comes, goes, and stays."""
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as photograph:
        person = np.asarray(photograph.convert("RGB").resize((96, 112)))
    ground = np.full((120, 200, 3), np.linspace(90, 180, 200)[:, None], np.uint8)
    folder.mkdir()
    for name, places in {
        "comes": [None] * 6 + [200 - 8 * f for f in range(14)] + [96] * 20,
        "goes": [60] * 18 + [60 - 8 * f for f in range(20)] + [None] * 6,
        "stays": [50] * 8,  # too short for a clip: a picture
    }.items():
        wide = np.stack([np.pad(ground, ((0, 0), (100, 100), (0, 0)))] * len(places))
        for frame, left in zip(wide, places, strict=True):
            if left is not None and left < 200:
                frame[8:, 100 + left : 196 + left] = person
        (folder / f"{name}.mp4").write_bytes(encode_mp4(wide[:, :, 100:300], FPS))


def sizes(name):
    """Of the tiny model that stands in for the one that a config starts from, as options."""
    return [*TINY_WAN, *(NARROW if "wan_2_2_5b" in name else [])]


def execute(words):
    """One command, made small."""
    if words[:2] == ["alchemint", "annotate"]:
        if not Path(words[2]).exists():
            film(Path(words[2]))
        assert cli.main([*words[1:], "--workers", "1"]) == 0, words
    elif words[:2] == ["alchemint", "train"]:
        workdir = words[words.index("--workdir") + 1]
        published = "wan" in workdir or "kaleido" in workdir
        tiny = sizes(workdir) if published else []
        layers = not any(kind in words[3] for kind in ("vae", "tiny_decoder"))
        tiny = [*tiny, "--config.model.unroll=1"] if layers else tiny
        assert cli.main([*words[1:], *tiny, "--dry-run"]) == 0, words
        if "kaleido" in workdir:  # what the run would have written
            shutil.copytree(PUBLISHED, Path(workdir) / "export")
        elif "wan_2_2_14b_high" in workdir:
            for kind in ("", "_lora"):
                shutil.copytree("models/Wan2.2-T2V-A14B-Diffusers", f"{workdir}{kind}/export")
        elif not published:
            model = "sprites/pictures" if "pictures" in workdir else "sprites"
            shutil.copytree(weights.locate(model), Path(workdir) / "export", dirs_exist_ok=True)
            for name in (name for name in ("fast", "untimed") if name in workdir):
                # its own configuration, and its LoRA in the names of diffusers
                student = Path(workdir) / "export"
                own = weights.locate(f"sprites/{name}")
                shutil.copy(own / "transformer" / "config.json", student / "transformer")
                shutil.copy(own / "transformer" / "lora.safetensors", student / fast_weights.SOURCE)
                shutil.copy(own / "pipeline.json", student)
            if "events" in workdir or "cuts" in workdir:  # others are those of `sprites`
                own = weights.locate("sprites/events")
                shutil.copytree(own, Path(workdir) / "export", dirs_exist_ok=True)
    elif words[0] == "alchemint":
        few = ["--clips", "2"] if words[1:3] == ["data", "sprites"] else []
        few = ["--batch", "2"] if words[1:3] == ["data", "encode"] else few
        few = [*few, "--buckets", BUCKETS, "--fps", f"{FPS}"] if "--buckets" in words else few
        if words[1:3] == ["data", "paths"]:  # a student takes its own steps and no others
            few = PATHS if "sprites/fast" in words else [*PATHS, "--steps", "4"]
        few = ["--clips", "1"] if words[1:3] == ["data", "decode"] else few
        assert cli.main([*words[1:], *few]) == 0, words
    elif words[2] == "studies.fast_weights":
        assert fast_weights.main(words[3:]) == 0, words
        strength = 1.1 if "--strength" in words else 1
        own = weights.locate("sprites/fast" if "--strength" in words else "sprites/untimed")
        made, kept = (Path(p) / "transformer" for p in (words[-1], own))
        assert (made / "config.json").read_bytes() == (kept / "config.json").read_bytes()
        pairs = (load_file(folder / "lora.safetensors") for folder in (made, kept))
        for one, other in zip(*(sorted(x.items()) for x in pairs), strict=True):
            assert one[0] == other[0] and one[1].dtype == other[1].dtype == np.float16
            wanted = other[1] * np.float32(strength if "lora_B" in one[0] else 1)
            np.testing.assert_allclose(one[1], wanted, rtol=2e-3, atol=1e-7)
    elif words[2] == "studies.few_steps":  # hours of sampling: tests/studies has its parts
        few_steps.parser().parse_args(words[3:])
    elif words[2] == "studies.inbetween":  # minutes of sampling: tests/studies has its parts
        assert variants.parser(inbetween.STUDY).parse_args(words[3:]).model == words[4]
    elif words[2] == "studies.tiny_decoder":  # nothing is trained
        assert Path(tiny_decoder.parser().parse_args(words[3:]).tiny).name == TINY_DECODER
    elif words[2] == "studies.events":
        assert events.main([*words[3:], "--limit", "1", "--steps", "1"]) == 0, words
    elif words[2] == "studies.cuts":
        assert variants.parser(cuts.STUDY).parse_args(words[3:]).model == words[4]
    elif words[2] == "studies.redrawn":
        assert redrawn.main(words[3:]) == 0, words
    elif words[2] == "studies.timing_words":  # as above
        assert variants.parser(timing_words.STUDY).parse_args(words[3:]).model == words[4]
    elif words[2] == "studies.reference_places":  # as above
        assert reference_places.parser().parse_args(words[3:]).workdir == Path("runs/rrope")
    else:  # nothing is trained where all rows are there
        assert words[:3] == ["python", "-m", "studies.schemes"]
        known = ["--rows", str(ROOT / "docs" / "results" / "schemes.jsonl"), "--seeds", "0"]
        assert schemes.main([*words[3:], *known, "--arms", *SCHEMES]) == 0, words


def check_variant(name, variant, options):
    fields = [option.removeprefix("--config.") for option in options]
    schemes.check_arm(f"{CONFIGS / name}.py:{variant}", fields)


@pytest.mark.parametrize("name", VARIANTS)
def test_commands_run_as_printed(name, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    printed = commands(CONFIGS / f"{name}.py")[: 4 if name == "wan_1_3b" else None]
    assert any(words[:2] == ["alchemint", "train"] for words in printed)
    if name == "sprites_schemes":  # the same latents: that command looks at them, and is done
        for kind in ("", "_pictures"):
            shutil.copytree(f"data/sprites{kind}_latents", f"data/schemes{kind}_latents")
    for words in printed:
        execute(words)
    out = capsys.readouterr().out
    trained = [words for words in printed if words[:2] == ["alchemint", "train"]]
    assert out.count("traced and sharded for this mesh") == len(trained)
    for variant in VARIANTS[name]:
        if (name, variant) != ("wan_1_3b", "fast"):  # it goes on from what the next test trains
            tiny = sizes(name) if name in PUBLISHED_WEIGHTS else []
            check_variant(name, variant, tiny)


def test_the_recipe_of_wan_trains_and_what_it_makes_renders(place, monkeypatch, capsys):
    """From videos to a fine-tuned model to a video, and to a student of that model.

    States of texts stand in for their encoder.
    """
    monkeypatch.chdir(place)
    printed = commands(CONFIGS / "wan_1_3b.py")
    for words in printed[:2]:
        execute(words)
    lines = [json.loads(line) for line in Path("data/clips/scenes.jsonl").read_text().splitlines()]
    found = {line["source"]: line["subjects"] for line in lines if line["status"] == "ok"}
    assert {s["word"] for subjects in found.values() for s in subjects} == {"person"}
    spans = {name: [s["frames"] for s in subjects] for name, subjects in found.items()}
    ((start, end),) = spans["comes.mp4"][0]
    assert 7 <= start <= 13 and end == 40
    ((start, end),) = spans["goes.mp4"][0]
    assert start == 0 and 30 <= end <= 38
    assert spans["stays.mp4"] == [[[0, 8]]]
    words = printed[2]
    assert words[:4] == ["alchemint", "train", "--config", "configs/wan_1_3b.py"]
    few = ["--config.train.total_steps=3", "--config.loader.batch_size=2"]
    assert cli.main([*words[1:], *TINY_WAN, *few]) == 0
    assert "batches of 2x" in capsys.readouterr().err  # pictures, and clips: two shapes
    made = Path("runs", "wan_1_3b", "export")
    found = settings.load(made)
    assert (found.size, found.fps, found.reference_size) == ((32, 48), 16.0, None)
    assert weights.read_config(made, "transformer")["slots"] == 3
    pipe = al.Pipeline.load(made)
    board = al.Storyboard.from_dict({"prompt": "a red square", "duration": 0.5, "fps": 16})
    assert pipe.generate(board, steps=1).shape == (9, 32, 48, 3)
    Path("prompts.txt").write_text("a person walks\na person stands\n")
    few = [["--seconds", "0.5"], PATHS, [*TINY_WAN, "--config.lora.rank=2", *few]]
    for words, small in zip(printed[4:], few, strict=True):
        assert cli.main([*words[1:], *small]) == 0
    check_variant("wan_1_3b", "fast", TINY_WAN)
    student = al.Pipeline.load(Path("runs", "wan_1_3b_fast", "export"))
    assert student.generate(board).shape == (9, 32, 48, 3)
    with pytest.raises(ConfigError, match="was distilled for 4"):
        student.generate(board, steps=40)


def test_every_config_is_run():
    assert {path.stem for path in CONFIGS.glob("*.py")} == set(VARIANTS)
    for name, arguments in VARIANTS.items():
        for variant in arguments:
            made = run_file(CONFIGS / f"{name}.py")["get_config"](variant)
            assert isinstance(made, ConfigDict)
