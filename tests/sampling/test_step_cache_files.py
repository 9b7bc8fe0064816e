"""From the command that measures a step cache to a video that uses it, on a tiny model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from test_pipeline import _write

from alchemint_jax import cli, commands, weights
from alchemint_jax.commands import step_cache as command
from alchemint_jax.errors import ConfigError
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.sampling.step_cache import Tables, fingerprint
from alchemint_jax.scene import Storyboard

pytestmark = pytest.mark.slow
BOARD = """
prompt: a red disc
duration: 1.0
subjects:
  - {word: disc, image: disc.png, appears: [[0.25, 0.75]]}
"""


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Keep the tests' own compilations out of the user's cache."""
    for module in (commands, command):
        monkeypatch.setattr(module, "prepare_jax", lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and a board, and the table that the command has measured."""
    folder = tmp_path_factory.mktemp("cached")
    _write(folder / "model")
    Image.new("RGB", (16, 16), (200, 30, 30)).save(folder / "disc.png")
    (folder / "board.yaml").write_text(BOARD)
    return folder


MEASURE = ["--steps", "5", "--guidance-text", "0", "--guidance-image", "0", "--dense", "0.4"]


@pytest.fixture(scope="module")
def measured(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "prepare_jax", lambda: None)
        board, model = str(folder / "board.yaml"), str(folder / "model")
        asked = ["step-cache", board, "--model", model, "--threshold", "100", *MEASURE]
        assert cli.main(asked) == 0
    return folder / "model" / "step_cache.json"


def test_what_was_measured_is_what_generate_skips(folder, measured, tmp_path, capsys):
    (table,) = Tables.load(measured).tables
    assert table.branches == ("null", "both") and table.size == (16, 16) and table.frames == 9
    assert table.computed == ((True, True, False, False, False),) * 2
    assert table.ratios[0][0] == 1 and np.ptp(table.ratios) > 1e-4
    assert table.model == fingerprint(folder / "model")
    board = str(folder / "board.yaml")
    asked = ["generate", board, "--model", str(folder / "model"), *MEASURE[:6], "--json"]
    videos = {}
    for name, cache in {"whole": [], "auto": ["--cache", "auto"]}.items():
        assert cli.main([*asked, "--out", str(tmp_path / f"{name}.mp4"), *cache]) == 0
        videos[name] = json.loads(capsys.readouterr().out)
    assert videos["auto"]["cache"] == "auto" and videos["whole"]["cache"] is None
    bytes_of = [(tmp_path / f"{name}.mp4").read_bytes() for name in videos]
    assert bytes_of[0] != bytes_of[1]


def test_the_pipeline_takes_it_when_it_is_loaded_or_asked(folder, measured):
    board = Storyboard.load(folder / "board.yaml")
    asked = {"steps": 5, "guidance": Guidance(both=2.0)}
    plain = Pipeline.load(folder / "model")
    cached = plain.generate(board, cache=measured, **asked)
    assert (cached != plain.generate(board, **asked)).any()
    loaded = Pipeline.load(folder / "model", cache="auto")
    np.testing.assert_array_equal(loaded.generate(board, **asked), cached)
    with pytest.raises(ConfigError, match="grid of steps 5.*not of the grid of steps 4"):
        loaded.generate(board, **asked | {"steps": 4})
    with pytest.raises(ConfigError, match="not of videos of 16x16 pixels and 5 frames"):
        short = Storyboard.from_dict({"prompt": "a disc", "duration": 0.5})
        loaded.generate(short, **asked)
    with pytest.raises(ConfigError, match="a guidance that is a function are not known"):
        loaded.generate(board, steps=5, guidance=lambda model, z, time: z)


def test_weights_that_changed_are_noticed(folder, measured, tmp_path):
    other = tmp_path / "model"
    shutil.copytree(folder / "model", other)
    assert fingerprint(other) == fingerprint(folder / "model")  # a copy is the same model
    module, params = weights.load(other, "transformer")
    params["head"]["bias"] = params["head"]["bias"] + 1
    weights.save(other, "transformer", module.config, params)
    pipe = Pipeline.load(other, cache="auto")
    with pytest.raises(
        ConfigError, match="the step cache is of the weights .*, not of the weights"
    ):
        pipe.generate(Storyboard.load(folder / "board.yaml"), steps=5, guidance=Guidance(both=2.0))


def test_a_model_without_a_table_says_how_to_make_one(folder, tmp_path):
    _write(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"step_cache\.json: there is no step cache; measure it"):
        Pipeline.load(tmp_path / "model", cache="auto")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--out", "board.yaml"], "must end in .json"),
        (["--out", "none/of/these.json"], "does not exist"),
        (["--out", "model/pipeline.json"], "would overwrite a part of --model"),
        (["--out", "other.json"], "is no step cache"),
    ],
)
def test_what_is_no_step_cache_is_not_written_over(folder, monkeypatch, capsys, more, says):
    monkeypatch.chdir(folder)
    (folder / "other.json").write_text("{}")
    before = (folder / "other.json").read_bytes()
    assert cli.main(["step-cache", "board.yaml", "--model", "model", *more]) == 2
    assert says in capsys.readouterr().err
    assert (folder / "other.json").read_bytes() == before
