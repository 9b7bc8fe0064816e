"""What a storyboard asks for is what is rendered, drawn and measured: the very same frames."""

from __future__ import annotations

import json
import types
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import alchemint_jax as al
from alchemint_jax import cli, commands, demo, media
from alchemint_jax.evaluate import read_benchmark
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.worlds.sprites import SpritesTracker

pytestmark = pytest.mark.slow

REFS = Path(__file__).parents[1] / "examples" / "refs"
# No whole number of frames at 8 a second, and 4k + 1 of them: longer than the clip, or shorter.
ODD = (4.1, 3.95, 3.8)


class Pasted:
    """In place of a model: shows the pictures in exactly the frames that it is asked for."""

    fps, image_encoder, keyframes = 8.0, None, 0
    settings = Settings(reference_size=(32, 32))
    models = types.SimpleNamespace(dit=types.SimpleNamespace(config=types.SimpleNamespace(slots=3)))
    limits = settings.limits(3, events=False, stride=4)
    scene, generate = Pipeline.scene, Pipeline.generate

    def check_texts(self, scene):
        pass

    def check_negative(self, *_):
        pass

    def render(self, scenes, **_):
        video = np.full((scenes[0].clock.frames, 64, 64, 3), 235, np.uint8)
        for slot, subject in enumerate(scenes[0].subjects):
            picture = np.asarray(Image.fromarray(subject.picture((32, 32))).resize((24, 24)))
            for start, end in subject.spans:
                video[start:end, 20:44, 4 + 32 * slot : 28 + 32 * slot] = picture
        self.asked = tuple(subject.spans for subject in scenes[0].subjects)
        return video[None]


@pytest.fixture
def pipe(monkeypatch):
    pipe = Pasted()
    monkeypatch.setattr(Pipeline, "load", lambda *_, **__: pipe)
    monkeypatch.setitem(al.__dict__, "Pipeline", Pipeline)
    monkeypatch.setattr(commands, "prepare_jax", lambda: None)
    return pipe


def board(duration):
    return {
        "prompt": "a purple moon circles while a blue star stays",
        "duration": duration,
        "subjects": [
            {"word": "purple moon", "image": "purple_moon.png", "appears": [[0.6, 2.6]]},
            {"word": "blue star", "image": "blue_star.png", "appears": [[1.6, duration]]},
        ],
    }


@pytest.fixture
def folder(tmp_path):
    for name in ("purple_moon.png", "blue_star.png"):
        (tmp_path / name).write_bytes((REFS / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize("duration", ODD)
def test_the_demo_measures_what_it_asked_for(pipe, folder, duration, capsys):
    (folder / "odd.yaml").write_text(yaml.safe_dump(board(duration)))
    assert demo.run_demo(folder, folder) == 0
    rows = capsys.readouterr().out.splitlines()[2:4]
    # Whatever is shown in all the frames that were asked for, and in no other, is right.
    assert [row.split()[-2:] for row in rows] == [["1.00", "1.00"]] * 2
    assert pipe.asked == (((5, 21),), ((13, 33),))


@pytest.mark.parametrize("duration", ODD)
def test_a_sheet_shows_what_was_asked_for(pipe, folder, duration, monkeypatch):
    drawn = []

    def sheet(video, scene):
        drawn.append([scene.clock.seconds(subject.spans) for subject in scene.subjects])
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(media, "contact_sheet", sheet)
    (folder / "odd.yaml").write_text(yaml.safe_dump(board(duration)))
    out, page = str(folder / "v.mp4"), str(folder / "s.png")
    assert cli.main(["generate", str(folder / "odd.yaml"), "--out", out, "--sheet", page]) == 0
    assert drawn == [[((0.625, 2.625),), ((1.625, 4.0),)]]


@pytest.mark.parametrize("duration", ODD)
def test_a_benchmark_measures_what_a_storyboard_asks_for(pipe, folder, duration):
    (folder / "odd.jsonl").write_text(json.dumps(board(duration)))
    (case,) = read_benchmark(folder / "odd.jsonl", SpritesTracker()).cases(pipe, None, 0)
    pipe.generate(al.Storyboard.from_dict(board(duration), base=folder))
    assert tuple(subject.spans for subject in case.subjects) == pipe.asked
    assert case.clock.frames == 33
