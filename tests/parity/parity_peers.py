"""`alchemint bench --vs diffusers` makes the very frames that diffusers makes."""

from __future__ import annotations

import json

import pytest
import reference_pipeline as reference

from alchemint_jax import cli


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_whole_videos_are_the_same(tmp_path):
    reference.text_to_video(tmp_path / "model")
    out = tmp_path / "found.json"
    words = ["--model", str(tmp_path / "model"), "--steps", f"{reference.STEPS}"]
    words += ["--size", f"{reference.HEIGHT}x{reference.WIDTH}", "--frames", f"{reference.FRAMES}"]
    words += ["--prompt", reference.PROMPTS[0], "--repeats", "1", "--out", str(out)]
    assert cli.main(["bench", "--vs", "diffusers", *words]) == 0
    found = json.loads(out.read_text())
    assert found["same"] and found["agreement"]["most"] <= 1
    assert found["machine"]["diffusers"] and found["what"]["solver"] == "unipc"
