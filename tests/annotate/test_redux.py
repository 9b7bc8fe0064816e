"""Variants of pictures that were made elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from alchemint_jax.annotate.settings import Redux
from alchemint_jax.annotate.stages.pictures import read_picture
from alchemint_jax.annotate.stages.redux import contents, redux
from alchemint_jax.errors import AlchemintError, ConfigError


def picture(kind, frame=12):
    file = f"pictures/abc/0-{frame:06d}-{kind}.png"
    return {"file": file, "kind": kind, "frame": frame, "box": [0, 0, 9, 9], "size": [9, 9]}


ROW = {
    "id": "abc",
    "remarks": [],
    "subjects": [{"pictures": [picture("crop"), picture("segment"), picture("segment", 123)]}],
}


def draw(path, size=(20, 10), color=(200, 30, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def test_variants_belong_to_the_picture_whose_name_they_have(tmp_path):
    folder = tmp_path / "made"
    for name in ("0-000012.png", "0-000012-b.jpg", "0-000123 lit.png", "0-000124.png", "notes.txt"):
        if name.endswith("txt"):
            (folder / "abc" / name).write_text("not a picture")
        else:
            draw(folder / "abc" / name, (900, 300))
    found = redux(ROW, tmp_path, Redux(str(folder), side=90))
    more = found["subjects"][0]["pictures"][3:]
    assert [(one["frame"], one["kind"], one["size"]) for one in more] == [
        (12, "redux", [30, 90]),
        (12, "redux", [30, 90]),
        (123, "redux", [30, 90]),
    ]
    assert len({one["file"] for one in more}) == 3
    for one in more:
        pixels = read_picture(tmp_path / one["file"])
        assert np.abs(pixels[..., :3].mean((0, 1)) - (200, 30, 30)).max() < 4
        assert (pixels[..., 3] == 255).all()
    assert found["remarks"] == ["redux.folder: abc/0-000124.png is of no picture"]
    assert redux(ROW, tmp_path, Redux()) == ROW


def test_a_folder_that_changes_is_another_one(tmp_path):
    assert contents(Redux()) == ""
    with pytest.raises(ConfigError, match="there is no such folder"):
        contents(Redux(str(tmp_path / "none")))
    before = contents(Redux(str(tmp_path)))
    draw(tmp_path / "abc" / "0-000012.png")
    assert contents(Redux(str(tmp_path))) not in ("", before)


def test_a_file_that_is_no_picture_is_said(tmp_path):
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "0-000012.png").write_bytes(b"nothing")
    with pytest.raises(AlchemintError, match=r"0-000012\.png: is no picture"):
        redux(ROW, tmp_path, Redux(str(tmp_path)))
