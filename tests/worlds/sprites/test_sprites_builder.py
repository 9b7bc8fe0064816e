from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from pool_encoder import CLIPS, VALIDATION

from alchemint_jax.data import open_split, write_sheet
from alchemint_jax.errors import DataError
from alchemint_jax.worlds.sprites import World, builder, sample_clip, write_sprites
from alchemint_jax.worlds.sprites.builder import split_seed


@pytest.mark.parametrize(("split", "count"), [("train", CLIPS), ("validation", VALIDATION)])
def test_round_trip(sprites, split, count):
    source = open_split(sprites, split)
    assert len(source) == count
    for index in range(count):
        found, truth = source[index], sample_clip(index, split_seed(5, split))
        assert found["index"] == index and found["fps"] == 8
        assert (
            np.array_equal(found["video"], truth.video) and found["caption"] == truth.scene.caption
        )
        assert found["n_subjects"] == len(truth.scene.subjects)
        for slot, subject in enumerate(truth.scene.subjects):
            assert found["words"][slot] == subject.word
            assert found["looks"]["color"][slot] == truth.looks[slot].color
            assert found["looks"]["shape"][slot] == truth.looks[slot].shape
            assert found["looks"]["texture"][slot] == truth.looks[slot].texture
            assert np.array_equal(found["references"][slot], subject.pictures)
            rows = [tuple(row) for row in found["intervals"][slot] if row[1] > row[0]]
            assert tuple(rows) == subject.spans
        unused = slice(len(truth.scene.subjects), None)
        assert (found["references"][unused] == 255).all()
        assert not found["intervals"][unused].any() and not any(found["words"][unused])


@pytest.mark.parametrize("frames", [1, 5])
def test_pictures_and_short_clips_show_what_they_name(tmp_path, frames):
    source = open_split(write_sprites(tmp_path / "set", 6, 5, frames=frames), "train")
    for index in range(6):
        found = source[index]
        truth = sample_clip(index, split_seed(5, "train"), World.short(frames))
        assert found["video"].shape == (frames, World.size, World.size, 3)
        assert np.array_equal(found["video"], truth.video)
        spans = [found["intervals"][slot, 0] for slot in range(found["n_subjects"])]
        assert all(0 <= start < end <= frames for start, end in spans)


@pytest.mark.parametrize("frames", [0, 4, 37])
def test_lengths_that_no_autoencoder_takes_are_refused(tmp_path, frames):
    with pytest.raises(DataError, match="4k\\+1 and at most 33"):
        write_sprites(tmp_path / "set", 2, frames=frames)


def test_splits_and_seeds_share_no_clip():
    seeds = [split_seed(seed, split) for seed in range(9) for split in ("train", "validation")]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= 2**20


def test_the_same_dataset_is_kept_and_another_is_refused(sprites):
    before = {path: path.stat().st_mtime_ns for path in sprites.rglob("*")}
    assert write_sprites(sprites, CLIPS, 5, VALIDATION) == sprites
    for other in ({"clips": CLIPS + 1}, {"seed": 6}, {"validation": 1}, {"frames": 5}):
        with pytest.raises(DataError, match="another dataset"):
            write_sprites(sprites, **{"clips": CLIPS, "seed": 5, "validation": VALIDATION, **other})
    assert {path: path.stat().st_mtime_ns for path in sprites.rglob("*")} == before


def test_a_foreign_directory_is_never_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="something else"):
        write_sprites(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_left_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    write_sprites(tmp_path / "set", 1)
    assert not list((tmp_path / "temporary").iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(index, seed, world):
        if index == 2:
            raise KeyboardInterrupt
        return sample_clip(index, seed, world)

    monkeypatch.setattr(builder, "sample_clip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_sprites(tmp_path / "set", 4)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, monkeypatch):
    def full(self):
        raise RuntimeError("write() failed: No space left on device")

    monkeypatch.setattr(builder.TimedSprites, "download_and_prepare", full)
    with pytest.raises(DataError, match="set: cannot be written: .*No space"):
        write_sprites(tmp_path / "set", 4)
    assert list(tmp_path.iterdir()) == []


def test_damaged_records_are_named(sprites, tmp_path):
    shutil.copytree(sprites, tmp_path / "set")
    for path in (tmp_path / "set").rglob("*train.array_record*"):
        data = bytearray(path.read_bytes())
        third = len(data) // 3
        data[third : 2 * third] = bytes(third)
        path.write_bytes(data)
    source = open_split(tmp_path / "set", "train")
    with pytest.raises(DataError, match=r"set: record \d+ cannot be read"):
        [source[i] for i in range(len(source))]


@pytest.mark.parametrize("wrong", [{"clips": 0}, {"clips": 4, "seed": -1}])
def test_impossible_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(DataError, match="at least"):
        write_sprites(tmp_path / "set", **wrong)


def test_what_cannot_be_opened_is_explained(sprites, tmp_path):
    with pytest.raises(DataError, match="no such directory"):
        open_split(tmp_path / "missing", "train")
    with pytest.raises(DataError, match=r"not a finished dataset: .*, found 0"):
        open_split(tmp_path, "train")
    with pytest.raises(DataError, match="no split 'test'"):
        open_split(sprites, "test")


def test_a_dataset_that_names_another_home_of_its_builder_is_read(sprites, tmp_path):
    # TFDS notes the module of the builder; files outlive the places of modules.
    shutil.copytree(sprites, tmp_path / "set")
    (info,) = (tmp_path / "set").glob("timed_sprites/*/*/dataset_info.json")
    here = '"moduleName": "alchemint_jax.worlds.sprites.builder"'
    assert here in info.read_text()
    info.write_text(info.read_text().replace(here, '"moduleName": "alchemint_jax.data.old_home"'))
    assert open_split(tmp_path / "set", "train")[0]["caption"]


def test_tensorflow_is_never_imported(tmp_path):
    code = (
        "import sys; from alchemint_jax.data import open_split;"
        "from alchemint_jax.worlds.sprites import write_sprites;"
        f"out = write_sprites({str(tmp_path / 'set')!r}, 2, 5, 1);"
        "print(open_split(out, 'train')[0]['caption']); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        sample_clip(0, split_seed(5, "train")).scene.caption,
        "False",
    ]


def test_the_sheet_shows_frames_references_and_bars(sprites, tmp_path):
    from PIL import Image

    one = write_sheet(sprites, tmp_path / "one.png", rows=1)
    all_rows = write_sheet(sprites, tmp_path / "sub" / "all.png", rows=99)
    with Image.open(one) as first, Image.open(all_rows) as every:
        assert every.height > 8 * first.height / 2
        pixels = np.asarray(first).reshape(-1, 3)
    assert (pixels == (0, 114, 178)).all(-1).sum() > 200  # the first subject's bar
    example = open_split(sprites, "train")[0]
    inside = example["video"][16, 20:24, 20:24]
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(Image.open(one)), inside.shape)
    assert (windows == inside).all((-1, -2, -3)).any()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(DataError, match="at least one row"):
        write_sheet(sprites, tmp_path / "none.png", rows=0)
