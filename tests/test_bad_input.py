"""What users get wrong, through the command line: status 2, one message that names file and
field, and nothing half written."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import alchemint_jax as al
from alchemint_jax import cli, commands, media, weights
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.worlds.sprites import builder

pytestmark = pytest.mark.slow

BOARD = {
    "prompt": "a red disc glides past",
    "duration": 1.0,
    "subjects": [{"word": "disc", "image": "disc.png", "appears": [[0.25, 1.0]]}],
}


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """A model directory of random weights: 16 x 16, 5 to 9 frames at 8 fps, two subjects."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    vae = VAEConfig(
        base_dim=4,
        dim_mult=(1, 1, 1),
        num_res_blocks=1,
        z_dim=2,
        temporal_downsample=(True, True),
        latents_mean=(0.0, 0.0),
        latents_std=(1.0, 1.0),
    )
    dit = {"dim": 12, "n_heads": 1, "n_layers": 1, "ffn_dim": 4, "text_dim": 8, "freq_dim": 4}
    parts = {
        "vae": VAE(vae),
        "transformer": DiT(DiTConfig(in_channels=2, out_channels=2, slots=2, **dit)),
        "text_encoder": UMT5Encoder(
            UMT5Config(dim=8, n_heads=1, head_dim=4, ffn_dim=4, n_layers=1)
        ),
    }
    for name, module in parts.items():
        zeros = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), module.abstract_params())
        weights.save(directory, name, module.config, zeros)
    settings.save(directory, Settings((16, 16), 8.0, 9, text_length=32, tag_length=8))
    return directory


@pytest.fixture(autouse=True)
def here(original, tmp_path, monkeypatch):
    """Each test works in a folder of its own, with a storyboard, its picture, and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "prepare_jax", lambda: None)
    shutil.copytree(original, "model")
    Image.new("RGB", (20, 20), (200, 40, 40)).save("disc.png")
    write(BOARD)
    return tmp_path


def write(board):
    with open("board.json", "w", encoding="utf-8") as file:
        file.write(board if isinstance(board, str) else json.dumps(board))


def tree():
    return {os.path.join(folder, name) for folder, _, files in os.walk(".") for name in files}


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail like that, and returns what it says."""

    def refused(*arguments, board=None, allowed=()):
        before = tree()
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:  # from the parser
            status = error.code
        out, err = capsys.readouterr()
        assert status == 2 and out == "", err
        assert err.startswith("alchemint: error: ") and err.count("alchemint: ") == 1, err
        assert tree() - before == set(allowed), "something was left behind"
        return err

    return refused


GENERATE = ("generate", "board.json", "--out", "v.mp4", "--model", "model")

# ------------------------------------------------------------------------------- what a model does


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"subjects": BOARD["subjects"] * 3}, "subjects: 3 subjects are too many"),
        ({"size": [24, 16]}, "size: 24x16 is not possible"),
        ({"fps": 24}, "fps: 24 frames per second is not possible"),
        ({"duration": 4.0}, "duration: 4 s at 8 fps is 33 frames"),
        ({"events": [{"text": "it stops", "during": [0, 1]}]}, "events: dense captions"),
        ({"prompt": "a disc " * 9}, "prompt: 62 bytes long; this model reads 31"),
        ({"negative_prompt": "x" * 32}, "negative_prompt: 32 bytes long"),
        (
            {"subjects": [{**BOARD["subjects"][0], "word": "red disc"}]},
            "subjects[0].word: 8 bytes long; this model reads 7",
        ),
    ],
)
def test_storyboards_that_the_model_cannot_do(refused, change, says):
    board = BOARD | change
    if "subjects" in change:  # words that differ, lest there be warnings too
        words = ["disc", "red", "glides"] if len(board["subjects"]) > 1 else ["red disc"]
        pairs = zip(board["subjects"], words, strict=True)
        board["subjects"] = [{**subject, "word": word} for subject, word in pairs]
    write(board)
    assert f"board.json: {says}" in refused(*GENERATE)


@pytest.mark.parametrize("subjects", [[], BOARD["subjects"] * 2])
def test_what_is_allowed_reaches_the_sampler(monkeypatch, capsys, subjects):
    """No subjects at all; and, with a warning, a word twice."""

    def render(self, scenes, **options):
        assert len(scenes[0].subjects) == len(subjects)
        return np.zeros((1, scenes[0].clock.frames, 16, 16, 3), np.uint8)

    monkeypatch.setattr(al.Pipeline, "render", render)
    write(BOARD | {"subjects": subjects})
    assert cli.main([*GENERATE, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["frames"] == 9 and os.path.getsize("v.mp4") > 0
    assert ("names an earlier subject" in err) == bool(subjects)


# --------------------------------------------------------------------------------- model folders


def edit(part, change):
    path = f"model/{part}/model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def rewrite(path, **fields):
    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(values | fields, file)


def test_all_tensors_that_do_not_fit_are_listed_at_once(refused):
    def change(tensors):
        names = sorted(tensors)
        tensors.pop(names[0])
        tensors[names[1]] = np.zeros((1, 2, 3), np.float32)
        tensors["extra"] = np.zeros(1, np.float32)

    names = sorted(load_file("model/transformer/model.safetensors"))
    edit("transformer", change)
    said = refused(*GENERATE)
    assert "model/transformer/model.safetensors does not fit" in said
    assert all(name in said for name in (*names[:2], "extra", "[1, 2, 3]"))


@pytest.mark.parametrize("keep", [0, 6, 100, 0.5, -1])
def test_truncated_tensors(refused, keep):
    path = "model/vae/model.safetensors"
    size = os.path.getsize(path)
    os.truncate(path, int(size * keep) if isinstance(keep, float) else keep % size)
    assert path in (said := refused(*GENERATE))
    assert ("truncated" if keep else "an empty file") in said


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        ("vae/config.json", {"depth": 3}, "no field 'depth'"),
        ("vae/config.json", {"base_dim": "4"}, "base_dim is '4'; expected int"),
        ("vae/config.json", {"z_dim": 3}, "latents_mean has 2 values, but z_dim is 3"),
        ("text_encoder/config.json", {"_class": "CLIP"}, "_class"),
        ("pipeline.json", {"colour": 3}, "no field 'colour'"),
        ("pipeline.json", {"size": [20, 16]}, "size [20, 16] is not a multiple of [8, 8]"),
        ("pipeline.json", {"guidance": {"both": math.inf}}, "guidance.both is inf"),
    ],
)
def test_fields_that_do_not_fit(refused, path, fields, says):
    rewrite(f"model/{path}", **fields)
    said = refused(*GENERATE)
    assert path in said and says in said


def test_parts_of_different_models(refused, original):
    config = UMT5Config(dim=12, n_heads=1, head_dim=4, ffn_dim=4, n_layers=1)
    shapes = UMT5Encoder(config).abstract_params()
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)
    weights.save("model", "text_encoder", config, zeros)
    said = refused(*GENERATE)
    assert "model: transformer text_dim is 8, but text_encoder dim is 12" in said


@pytest.mark.parametrize("part", ["vae", "transformer", "text_encoder", "pipeline.json"])
def test_missing_parts(refused, part):
    shutil.rmtree(f"model/{part}") if os.path.isdir(f"model/{part}") else os.unlink(f"model/{part}")
    said = refused(*GENERATE)
    assert f"model/{part}" in said and "missing" in said


def test_folders_without_a_model(refused):
    os.mkdir("empty")
    assert "empty holds none of transformer/" in refused(*GENERATE[:-1], "empty")
    open("empty/diffusion.pth", "wb").close()
    said = refused(*GENERATE[:-1], "empty")
    assert "diffusion.pth" in said and "never loaded" in said
    assert "--model absent" in refused(*GENERATE[:-1], "absent")


# --------------------------------------------------------------------------------------- outputs


@pytest.fixture
def rendered(monkeypatch):
    """Rendering costs nothing; writing is real."""
    frames = np.zeros((9, 16, 16, 3), np.uint8)
    monkeypatch.setattr(al.Pipeline, "generate", lambda self, board, **options: frames)


def failing(code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(rendered, refused, monkeypatch, name):
    with open("v.mp4", "w") as file:
        file.write("an earlier video")
    monkeypatch.setattr(media.os, name, failing(errno.ENOSPC))
    assert "cannot write v.mp4: No space left" in refused(*GENERATE)
    with open("v.mp4") as file:
        assert file.read() == "an earlier video"


def test_a_read_only_folder_is_found_before_the_model_is_loaded(refused, monkeypatch):
    monkeypatch.setattr(media, "_probe", failing(errno.EROFS))
    monkeypatch.setitem(al.__dict__, "Pipeline", None)
    assert "cannot write v.mp4: Read-only file system" in refused(*GENERATE)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_writing_leaves_nothing(rendered, monkeypatch, number, status):
    monkeypatch.setattr(media.os, "fsync", lambda file: os.kill(os.getpid(), number))
    # A shell starts background jobs with SIGINT ignored; a user's terminal does not.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    before, handler = tree(), signal.getsignal(signal.SIGTERM)
    try:
        assert cli.main(list(GENERATE)) == status
    except SystemExit as error:
        assert error.code == status
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert tree() == before
    assert signal.getsignal(signal.SIGTERM) is handler


# ------------------------------------------------------------------------------------ evaluation


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "boards.jsonl: holds no storyboards"),
        ("\n{", "boards.jsonl:2: not JSON"),
        ("[" * 10**5, "boards.jsonl:1: not JSON"),
        (json.dumps(BOARD | {"duration": math.nan}), "boards.jsonl:1: duration"),
        (json.dumps(BOARD | {"subjects": [], "duration": 4}), "boards.jsonl:1: subjects"),
        (json.dumps(BOARD | {"duration": 90}), "boards.jsonl:1: duration"),
        (b"\xff\xfe", "boards.jsonl: cannot read this benchmark: not UTF-8"),
    ],
)
def test_benchmarks_that_cannot_be_used(refused, text, says):
    with open("boards.jsonl", "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    arguments = ["--benchmark", "boards.jsonl", "--out", "report", "--model", "model"]
    assert says in refused("evaluate", *arguments)


def test_a_benchmark_that_the_model_cannot_render(refused):
    arguments = ["evaluate", "--out", "report", "--model", "model", "--limit", "1"]
    assert "this model can do: up to 2 subjects" in refused(*arguments)
    assert "--limit" in refused(*arguments[:-1], "0")
    assert "--benchmark absent.jsonl" in refused(*arguments, "--benchmark", "absent.jsonl")
    assert "board.json: it is a file" in refused("evaluate", "--out", "board.json")


# -------------------------------------------------------------------------------- training, data

CONFIG = """
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({})
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def (", "mine.py: cannot be loaded: SyntaxError"),
        ("import nowhere", "No module named 'nowhere'"),
        ("x = 1", "get_config"),
        ("def get_config():\n    return {'task': 'vae'}", "must return a ConfigDict, not a dict"),
        (CONFIG, "mine.py: task is None; use one of vae, tiny_decoder, dit"),
        (CONFIG.replace("{}", "{'task': 'vae'}"), "mine.py: a field is missing"),
        ("raise SystemExit(0)", "mine.py: cannot be loaded: SystemExit"),
        (None, "mine.py: no such config file"),
    ],
)
def test_configs_that_cannot_be_used(refused, text, says):
    if text is not None:
        with open("mine.py", "w") as file:
            file.write(text)
    assert says in refused("train", "--config", "mine.py", "--workdir", "run")


SPRITES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "configs", "sprites.py")
SPRITES_VAE = SPRITES.replace("sprites.py", "sprites_vae.py")


@pytest.mark.parametrize(
    ("config", "override", "says"),
    [
        (SPRITES, "--config.model.dimm=3", "there is no field 'model.dimm'"),
        (SPRITES, "--config.model.dim=wide", "sprites.py: --config.model.dim=wide"),
        (SPRITES, "--config.loader.batch_size=0", "sprites.py: batch_size must be at least 1"),
        (SPRITES, "--config.task=paint", "sprites.py: task is 'paint'"),
        (SPRITES, "--config.vae=absent", "sprites.py: no model at 'absent'"),
        (SPRITES, "--config.vae=model", "data/sprites_latents"),
        (SPRITES_VAE, "--config.data=absent", "sprites_vae.py: absent: no such directory"),
        (SPRITES_VAE, "--config.data=model", "model: is not a finished dataset"),
    ],
)
def test_training_that_cannot_start(refused, config, override, says):
    assert says in refused("train", "--config", config, "--workdir", "run", override)
    assert not os.path.exists("run")


def test_datasets_that_cannot_be_used(refused):
    assert "--clips" in refused("data", "sprites", "--out", "new", "--clips", "0")
    assert "model: holds something else" in refused("data", "sprites", "--out=model", "--clips=1")
    assert "not a folder" in refused("data", "sprites", "--out", "board.json/new", "--clips", "1")
    assert "board.json: it is a file" in refused("data", "sprites", "--out=board.json", "--clips=1")
    sheet = ["data", "sheet", "--out", "p.png", "--data"]
    assert "model: is not a finished dataset" in refused(*sheet, "model")
    assert "--data absent" in refused(*sheet, "absent")
    encode = ["data", "encode", "--out", "new", "--data", "model", "--vae"]
    assert "--vae absent" in refused(*encode, "absent")
    os.mkdir("empty")
    assert "empty holds none of" in refused(*encode, "empty")
    assert "model: is not a finished dataset" in refused(*encode, "model")


def test_the_end_of_drawing_a_dataset_leaves_nothing(monkeypatch):
    def prepare(self):
        os.makedirs(self.data_dir)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(builder.TimedSprites, "download_and_prepare", prepare)
    before = sorted(os.listdir())
    with pytest.raises(SystemExit) as exit:
        cli.main(["data", "sprites", "--out", "new", "--clips", "1"])
    assert exit.value.code == 143 and sorted(os.listdir()) == before
