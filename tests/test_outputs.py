"""No command writes over what it reads, nor twice into one file."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest

from alchemint_jax import media, outputs
from alchemint_jax.annotate.rows import write_shard
from alchemint_jax.annotate.stages.pictures import write_picture
from alchemint_jax.errors import AlchemintError, listed
from alchemint_jax.outputs import check_outputs, remove_halves
from alchemint_jax.weights.files import write as write_tensors


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.png").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "link.png").symlink_to("in.png")
    (tmp_path / "alias").symlink_to("model")
    (tmp_path / "ahead.json").symlink_to("out.json")  # which is not there yet
    os.link(tmp_path / "in.png", tmp_path / "hard.png")
    return tmp_path


@pytest.mark.parametrize("name", ["in.png", "./in.png", "model/../in.png", "link.png", "hard.png"])
def test_an_output_that_is_read(folder, name):
    with pytest.raises(AlchemintError, match="^--sheet .* would overwrite first_frame .*in.png"):
        check_outputs([("--out", None), ("--sheet", name)], [("first_frame", folder / "in.png")])


@pytest.mark.parametrize("name", ["model/a.json", "alias/b/a.json"])
def test_an_output_inside_of_what_is_read(folder, name):
    with pytest.raises(AlchemintError, match="^--out .* lies inside --model"):
        check_outputs([("--out", name)], [("--model", "model")])


@pytest.mark.parametrize("name", ["out.json", "a/../out.json", "OUT.json", "ahead.json"])
def test_two_outputs_that_are_one(folder, name):
    with pytest.raises(AlchemintError, match="^--out out.json and --rows .* are the same"):
        check_outputs([("--out", "out.json"), ("--figure", "out.svg"), ("--rows", name)])


def test_names_that_unicode_writes_in_two_ways(folder):
    one, two = (unicodedata.normalize(form, "é.json") for form in ("NFC", "NFD"))
    with pytest.raises(AlchemintError, match="are the same"):
        check_outputs([("--out", one), ("--rows", two)])


def test_all_else_may_be_written(folder):
    inputs = [("a", "in.png"), ("b", "model"), ("c", "not there"), ("d", None)]
    check_outputs([("--out", "out.json"), ("--figure", "models.svg")], inputs)
    check_outputs([("--out", "ahead.json")], inputs)


def test_halves_are_removed_whatever_they_are_and_nothing_else(folder):
    halves = (
        ".0123456789ab.tmp",
        ".0123456789abcdef.tmp",
        ".a.png.123.tmp",
        ".export.ab_d12x4.tmp",
    )
    for name in halves[:3]:
        (folder / name).write_text("half")
    (folder / halves[3]).mkdir()
    (folder / halves[3] / "lora.safetensors").write_text("half")
    (folder / "model" / halves[0]).touch()  # of a folder that was not named
    for name in ("kept.tmp", ".notes.tmp"):
        (folder / name).touch()
    left = {path.name for path in folder.iterdir()} - {*halves}
    remove_halves(folder, folder / "not there")
    assert {path.name for path in folder.iterdir()} == left
    assert (folder / "model" / halves[0]).exists()


def test_what_writes_names_what_it_has_half_written_so(tmp_path, monkeypatch):
    seen = []

    def stop(*paths):
        seen.extend(path.name for path in tmp_path.iterdir())
        raise OSError

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(AlchemintError):
        media.write_bytes(tmp_path / "a.txt", b"a")
    with pytest.raises(AlchemintError):
        write_picture(tmp_path / "a.png", np.zeros((2, 2, 4), np.uint8))
    with pytest.raises(OSError):
        write_shard(tmp_path / "part-00000.jsonl", "f", [{}])
    with pytest.raises(AlchemintError):
        write_tensors(tmp_path / "export", "x", {}, {"a.json": "{}"})
    assert len({*seen}) == 5
    for name in seen:
        assert outputs._HALF.fullmatch(name) or name == "export"


def test_long_lists_are_cut_short():
    assert listed(["a", "b", "c"]) == ["a", "b", "c"]
    assert listed(list("abcde")) == ["a", "b", "c", "and 2 more"]
    assert listed(list("ab"), most=1) == ["a", "and 1 more"]
