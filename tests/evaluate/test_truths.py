"""Videos beside those that they should be: fidelity of each, and the distance of both sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
from colored import TRACKER, ColorTracker, draw, scene

from alchemint_jax import cli, media
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import quality
from alchemint_jax.evaluate.asks import Ask
from alchemint_jax.evaluate.clip import Clip
from alchemint_jax.evaluate.videos import score_videos

pytestmark = pytest.mark.slow

ASKED = {"red": [(4, 12)]}


def color(video):
    """In place of a network: three numbers of each video."""
    if len(video) < 9:
        raise DataError("9 frames are needed")
    return video.mean((0, 1, 2))


def judge():
    def different(video, truth):
        return float((video != truth).mean())

    return quality.Judges(lpips=different, features=color)


@pytest.fixture
def place(tmp_path):
    """Of four videos the first is as it should be, the second is late, the third is larger, and of
    the last one nobody knows."""
    for name, shown, size in (
        ("a", {"red": [(4, 12)]}, (48, 80)),
        ("b", {"red": [(8, 16)], "blue": [(0, 20)]}, (48, 80)),
        ("c", {"red": [(4, 12)]}, (96, 160)),
        ("d", {}, (48, 80)),
    ):
        media.write_video(tmp_path / "videos" / f"{name}.mp4", draw(20, shown, size), 10)
    for name in "abc":
        media.write_video(tmp_path / "truth" / f"{name}.mp4", draw(20, ASKED), 10)
    return tmp_path


def score(place, make=lambda: TRACKER, **options):
    asks = [Ask.of_scene(scene(ASKED, name=name)) for name in "abcd"]
    options = {"workers": 0, "progress": False, "judge": judge} | options
    options = {"truth": place / "truth"} | options
    score_videos(place / "videos", asks, make, place / "out", **options)
    return json.loads((place / "out" / "report.json").read_text())


def frames(place, kind, name):
    return np.asarray(Clip(place / kind / f"{name}.mp4"))


def test_each_is_compared_with_its_own_and_all_of_them_as_sets(place):
    found = score(place)
    a, b, c, d = found["videos"]
    assert (a["psnr"], a["ssim"], a["lpips"]) == (100, 1, 0)
    late, true = frames(place, "videos", "b"), frames(place, "truth", "b")
    assert b["psnr"] == pytest.approx(quality.psnr(late, true), rel=1e-5)
    assert b["ssim"] == pytest.approx(quality.ssim(late, true), rel=1e-5) and b["lpips"] > 0
    assert b["psnr"] < 40
    assert c["psnr"] is d["psnr"] is None and c["temporal_flickering"] is not None
    assert c["remarks"] == [
        "it cannot be compared with its truth: the video has 20 frames of 160 x 96 pixels, and its "
        "truth 20 of 80 x 48; bring both to the same frames and size"
    ]
    assert found["less_is_better"].count("lpips") == 1
    both = [[color(frames(place, kind, name)) for name in "abc"] for kind in ("videos", "truth")]
    apart = quality.frechet_distance(*(quality.Moments.of(np.stack(some)) for some in both))
    sets = found["sets"]
    assert sets == {"frechet_video_distance": pytest.approx(apart, rel=1e-3), "videos": 3}
    assert apart > 1 and not any("features" in row for row in found["videos"])
    page = (place / "out" / "report.html").read_text()
    assert (
        "Frechet video distance" in page
        and f"{sets['frechet_video_distance']:.3f}" in page
        and "PSNR (dB)" in page
    )


def test_it_goes_on_where_it_was_and_measures_again_what_has_another_truth(place):
    calls = []

    class Counting(ColorTracker):
        def track(self, video, case):
            calls.append(case.id)
            return super().track(video, case)

    first = score(place, Counting)
    assert score(place, Counting) == first and calls == [*"abcd"]
    media.write_video(place / "truth" / "b.mp4", frames(place, "videos", "b"), 10)
    assert score(place, Counting)["videos"][1]["psnr"] > 40 and calls == [*"abcdb"]
    without = score(place, Counting, truth=None)
    assert "sets" not in without and "psnr" not in without["video_measures"]


def test_a_truth_that_is_no_video_is_no_fault_of_the_video(place):
    (place / "truth" / "a.mp4").write_bytes(b"not a video" * 99)
    media.write_video(place / "truth" / "b.mp4", draw(4, ASKED), 10)
    a, b, *_ = (found := score(place))["videos"]
    assert a["status"] == "ok" and "psnr" not in a and "its truth a.mp4" in a["remarks"][0]
    assert "no part in the Frechet video distance: 9 frames" in b["remarks"][1]
    assert found["sets"] == {"frechet_video_distance": None, "videos": 1}  # c is left
    assert "Frechet" in (place / "out" / "report.html").read_text()


def test_a_folder_of_other_videos_is_refused(place, tmp_path):
    with pytest.raises(DataError, match=r"--truth .*none: there is no such folder"):
        score(place, truth=place / "none")
    (place / "empty").mkdir()
    with pytest.raises(DataError, match=r"none of its videos is named by a case.* be a\.mp4"):
        score(place, truth=place / "empty")
    (place / "truth" / "b.mov").write_bytes((place / "truth" / "b.mp4").read_bytes())
    with pytest.raises(DataError, match=r"b is there twice: b\.mov and b\.mp4"):
        score(place)
    with pytest.raises(DataError, match="nobody compares"):
        score(place, judge=None)
    assert not (place / "out" / "report.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--videos", "v"], "--truth is for --quality"),
        (["--quality"], "--truth is for --videos"),
        (["--calibrate"], "--truth is for --quality; with --calibrate"),
    ],
)
def test_a_truth_that_would_be_ignored_is_refused(tmp_path, capsys, words, says):
    base = ["evaluate", "--truth", "t", "--out", str(tmp_path / "out")]
    assert cli.main([*base, *words]) == 2
    assert says in capsys.readouterr().err
