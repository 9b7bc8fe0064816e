"""Folders that appear when they are whole, stopped at every step of their writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alchemint_jax.data import whole
from alchemint_jax.errors import DataError

WANTED = {"dataset": "numbers", "count": 3}


class Stopped(BaseException):
    pass


def write(out):
    """A folder of one file, and what says that it is whole."""
    partial = whole.begin(out, WANTED, "card.json")
    if partial is not None:
        (partial / "numbers.txt").write_text("1 2 3")
        whole.finish(partial, out, WANTED | {"more": True}, "card.json")


@pytest.mark.parametrize("made", [False, True], ids=["new", "an empty folder"])
def test_stopped_before_any_step_it_goes_on(tmp_path, monkeypatch, made):
    """Steps are whatever changes the names of files and folders."""
    left = [0]

    def counted(real):
        def step(*args, **options):
            left[0] -= 1
            if left[0] == 0:
                raise Stopped
            return real(*args, **options)

        return step

    monkeypatch.setattr(os, "replace", counted(os.replace))
    for name in ("mkdir", "unlink", "rmdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    stops = 0
    for number in range(1, 20):
        out = tmp_path / str(number)
        left[0] = 0
        if made:
            os.mkdir(out)
        left[0] = number
        try:
            write(out)
        except Stopped:
            stops += 1
        left[0] = 0
        write(out)
        assert sorted(os.listdir(out)) == ["card.json", "numbers.txt"]
        assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []
    assert 4 <= stops < 19  # each step there is, and none


def test_another_folder_is_refused(tmp_path):
    write(tmp_path / "out")
    assert whole.begin(tmp_path / "out", WANTED, "card.json") is None
    with pytest.raises(DataError, match=r"was made with another count"):
        whole.begin(tmp_path / "out", WANTED | {"count": 4}, "card.json")
    begun = whole.begin(tmp_path / "half", WANTED, "card.json")
    assert whole.begin(tmp_path / "half", WANTED, "card.json") == begun
    with pytest.raises(DataError, match=r"\.half\.partial: was made with another count"):
        whole.begin(tmp_path / "half", WANTED | {"count": 4}, "card.json")
    (begun / "plan.json").unlink()
    (begun / "a.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds something else"):
        whole.begin(tmp_path / "half", WANTED, "card.json")
