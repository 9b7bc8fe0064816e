"""What a reader of scenes.jsonl is told of a category."""

from __future__ import annotations

import json

import pytest

from alchemint_jax.annotate import on_screen
from alchemint_jax.errors import DataError


def test_scenes_of_a_video_are_put_together(tmp_path):
    def line(source, start, **found):
        categories = {name: {"frames": frames} for name, frames in found.items()}
        return json.dumps({"source": source, "start_frame": start, "categories": categories})

    lines = [
        line("a.mp4", 0, person=[[2, 10], [30, 40]], dog=[[0, 5]]),
        line("a.mp4", 40, person=[[0, 7]]),
        line("b.mp4", 0),
        json.dumps({"source": "c.mp4", "status": "failed"}),
    ]
    path = tmp_path / "scenes.jsonl"
    path.write_text("\n".join(lines) + "\n")
    found = {"a.mp4": ((2, 10), (30, 47)), "b.mp4": (), "c.mp4": ()}
    assert on_screen(path, "person") == found == on_screen(path, "woman")
    assert on_screen(path, "dog")["a.mp4"] == ((0, 5),)
    path.write_text("[1]\n")
    with pytest.raises(DataError, match=r"is no scenes\.jsonl"):
        on_screen(path, "person")
