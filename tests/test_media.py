"""Videos and pictures: what is written comes back, whole or not at all, and failures say where."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alchemint_jax import lettering, media
from alchemint_jax.errors import AlchemintError
from alchemint_jax.scene import Clock, Event, Scene, Subject


def smooth_clip(f=5, h=32, w=48, seed=0):
    """Smooth colour gradients that drift: what half-resolution colour can carry."""
    phase = np.random.default_rng(seed).uniform(0, 6, size=(3, 1, 1))
    t, y, x = np.ogrid[:f, :h, :w]
    waves = [np.sin(0.08 * (x + t) + 0.05 * y + phase[c]) for c in range(3)]
    return (127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


# -------------------------------------------------------------------------------------- videos


@settings(max_examples=8, deadline=None)
@given(
    f=st.integers(1, 6),
    h=st.integers(16, 40),
    w=st.integers(16, 40),
    upscale=st.integers(1, 3),
    fps=st.sampled_from([8, 16.0, 23.976, 30000 / 1001]),
)
def test_video_round_trip(tmp_path_factory, f, h, w, upscale, fps):
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    clip = smooth_clip(f, h, w)
    media.write_video(path, clip, fps, upscale)
    back, back_fps = media.read_video(path)
    even = [upscale * size + (upscale * size) % 2 for size in (h, w)]
    assert back.shape == (f, *even, 3) and back.dtype == np.uint8
    assert back_fps == pytest.approx(fps, rel=1e-4)
    shown = back[:, : upscale * h : upscale, : upscale * w : upscale].astype(int)
    assert np.abs(shown - clip).mean() < 6
    assert np.abs(shown[::-1, ::-1] - clip).mean() > 6  # the bound above can be missed


def test_plain_colours_survive(tmp_path):
    # A wrong or missing colour space shifts saturated colours by ten levels or more.
    for color in [(200, 30, 30), (30, 180, 60), (20, 40, 200), (235, 220, 30)]:
        clip = np.broadcast_to(np.array(color, np.uint8), (2, 32, 32, 3)).copy()
        media.write_video(tmp_path / "v.mp4", clip, 8)
        back, _ = media.read_video(tmp_path / "v.mp4")
        assert np.abs(back.astype(int) - clip).max() <= 5


def test_video_is_what_players_read(tmp_path):
    import av

    media.write_video(tmp_path / "v.mp4", smooth_clip(), 8)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize(
    ("frames", "fps", "upscale", "says"),
    [
        (smooth_clip()[:0], 8, 1, "no frames"),
        (smooth_clip(), 0, 1, "fps"),
        (smooth_clip(), float("nan"), 1, "fps"),
        (smooth_clip(), 8, 0, "upscale"),
    ],
)
def test_impossible_videos_are_refused(tmp_path, frames, fps, upscale, says):
    with pytest.raises(AlchemintError, match=says):
        media.write_video(tmp_path / "v.mp4", frames, fps, upscale)
    assert list(tmp_path.iterdir()) == []


def test_reading_what_is_no_video_says_which_file(tmp_path):
    (tmp_path / "not.mp4").write_text("no video at all")
    for name in ["not.mp4", "missing.mp4"]:
        with pytest.raises(AlchemintError, match=name):
            media.read_video(tmp_path / name)


# ------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_failed_write_leaves_the_folder_as_it_was(tmp_path, monkeypatch, failing):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"earlier")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(AlchemintError, match=r"v\.mp4.*[Nn]o space.*free space"):
        media.write_video(path, smooth_clip(), 8)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"earlier"


def test_writing_replaces_and_makes_one_folder(tmp_path):
    path = tmp_path / "out" / "p.png"
    picture = smooth_clip()[0]
    media.write_png(path, Image.new("RGB", (4, 4)))
    media.write_png(path, picture)
    with Image.open(path) as written:
        assert np.array_equal(np.asarray(written), picture)
    assert list(path.parent.iterdir()) == [path]


def test_a_link_keeps_pointing_where_it_pointed(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    media.write_png(tmp_path / "link.png", smooth_clip()[0])
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "real.png").is_file()


def test_check_writable_accepts_what_can_be_written_and_leaves_nothing(tmp_path):
    (tmp_path / "old.mp4").touch()
    for name in ["new.mp4", "old.mp4", "folder/new.mp4"]:
        media.check_writable(tmp_path / name, [".mp4"])
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("v.avi", "must end in .mp4"),
        ("folder.mp4", "it is a folder"),
        ("typo/in/v.mp4", "does not exist"),
        ("file/v.mp4", "is a file, not a folder"),
        ("n" * 300 + ".mp4", "cannot write"),
    ],
)
def test_check_writable_says_what_is_wrong(tmp_path, name, says):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(AlchemintError, match=says) as caught:
        media.check_writable(tmp_path / name, [".mp4"])
    assert str(tmp_path / name) in str(caught.value)


def test_devices_are_never_replaced():
    with pytest.raises(AlchemintError, match="not an ordinary file"):
        media.check_writable("/dev/null")


def test_a_read_only_folder_is_found_before_the_work(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):  # root may write anywhere, so the refusal is played
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(AlchemintError, match=r"v\.mp4: Permission denied"):
        media.check_writable(tmp_path / "v.mp4")
    with pytest.raises(AlchemintError, match="Permission denied"):
        media.check_folder(tmp_path)


def test_check_folder(tmp_path):
    (tmp_path / "file").touch()
    assert media.check_folder(tmp_path) == tmp_path
    assert media.check_folder(tmp_path / "new") == tmp_path / "new"
    with pytest.raises(AlchemintError, match="it is a file"):
        media.check_folder(tmp_path / "file")
    assert media.check_folder(tmp_path / "a" / "b" / "new") == tmp_path / "a" / "b" / "new"
    with pytest.raises(AlchemintError, match="is a file, not a folder"):
        media.check_folder(tmp_path / "file" / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# ------------------------------------------------------------------------------- contact sheet


def pixels_of(sheet, color):
    """Columns of the sheet that hold this exact colour."""
    return np.flatnonzero((np.asarray(sheet) == np.array(color)).all(-1).any(0))


def draw(asked, measured=None, f=33, names=("red disc",), pictures=None, title="", events=()):
    """A sheet; times are seconds at 8 frames per second."""
    clip, clock = np.full((f, 24, 24, 3), 90, np.uint8), Clock(8, f, 1)
    subjects = tuple(
        Subject(name, clock.spans(rows), () if picture is None else picture[None])
        for name, rows, picture in zip(names, asked, pictures or [None] * len(names), strict=True)
    )
    said = tuple(Event(text, clock.spans([row])) for text, row in events)
    seen = None if measured is None else [clock.spans(rows) for rows in measured]
    scene = Scene("clip", title, clock, subjects, said)
    return media.contact_sheet(clip, scene, seen, [(200, 40, 40)] * len(names))


def test_bars_stand_at_their_seconds():
    sheet = draw([[(1.0, 3.0)]], [[(1.0, 2.0)]])
    columns = pixels_of(sheet, (200, 40, 40))
    columns = columns[columns > 80]  # beside the subject's picture, which has a frame of its colour
    ruler = pixels_of(draw([[]], [[(0.0, 4.0)]]), (200, 40, 40))
    ruler = ruler[ruler > 80]
    per_second = (ruler[-1] - ruler[0]) / 4
    assert columns[0] == pytest.approx(ruler[0] + per_second, abs=2)
    assert columns[-1] == pytest.approx(ruler[0] + 2 * per_second, abs=2)


def test_intervals_beyond_the_clip_stay_on_the_sheet():
    inside, beyond = draw([[(1.0, 4.0)]], None), draw([[(1.0, 400.0)]], None)
    assert np.array_equal(np.asarray(inside), np.asarray(beyond))
    assert not np.array_equal(np.asarray(inside), np.asarray(draw([[(1.0, 3.0)]], None)))


def test_the_strip_shows_the_first_and_the_last_frame():
    clip = np.full((33, 24, 24, 3), 90, np.uint8)
    clip[0], clip[-1] = (1, 250, 2), (3, 4, 251)
    sheet = media.contact_sheet(clip, Scene("clip", "", Clock(8, 33, 1)))
    first, last = pixels_of(sheet, (1, 250, 2)), pixels_of(sheet, (3, 4, 251))
    assert len(first) > 100 and len(last) > 100 and first[-1] < last[0]


@pytest.mark.parametrize("f", [1, 2, 5, 21, 81])
def test_any_length_and_shape(f):
    picture = np.zeros((10, 20, 3), np.uint8)
    more = {"names": ["a", "b" * 60], "pictures": [picture, None], "title": "t"}
    sheet = draw([[(0, 1)], []], f=f, **more)
    assert sheet.mode == "RGB" and sheet.width < 2200


def test_an_event_has_a_row_with_its_text_at_its_seconds():
    plain, said = draw([[]], None), draw([[]], None, events=[("it stops", (0.0, 4.0))])
    assert said.height > plain.height and said.width == plain.width
    again = draw([[]], None, events=[("it goes", (0.0, 4.0))])
    assert not np.array_equal(np.asarray(again), np.asarray(said))
    bar = (219, 221, 223)
    sheets = [draw([[]], None, events=[("x", time)]) for time in ((0, 4), (2, 4))]
    ends = [pixels_of(sheet, bar)[[0, -1]] for sheet in sheets]
    assert ends[1][0] == pytest.approx(sum(ends[0]) / 2, abs=3) and ends[1][1] == ends[0][1]


def test_a_long_title_is_cut_to_the_sheet():
    short, long = draw([[]], None, title="a" * 30), draw([[]], None, title="a" * 3000)
    assert short.size == long.size


def test_lists_that_disagree_are_refused():
    with pytest.raises(ValueError, match="one entry for each subject"):
        draw([[(0, 1)]], [[], []])


@pytest.mark.parametrize("title", ["W" * 3000, "a word " * 500, "line\n" * 2000, "i" * 10**6])
def test_a_title_of_any_length_is_measured_a_few_times(monkeypatch, title):
    font = type(media.ImageFont.load_default(size=22))
    measure, measured = font.getlength, []

    def counted(self, text, *options, **more):
        measured.append(len(text))
        return measure(self, text, *options, **more)

    monkeypatch.setattr(font, "getlength", counted)
    sheet = draw([[(0, 1)]], f=5, names=[title], title=title)
    assert sheet.width < 2500
    assert len(measured) < 30 and max(measured) < 2500


def test_a_title_takes_the_room_there_is():
    font = media.ImageFont.load_default(size=22)
    for text in ("as it is", "word " * 100, "W" * 500):
        fitted = lettering.cut_to(text, font, 400)
        assert font.getlength(fitted) <= 400
        if fitted != text:
            assert fitted.endswith("…") and font.getlength(fitted) > 370
    assert lettering.cut_to("W" * 500, font, 1) == "…"


def test_the_same_frames_are_the_same_bytes():
    frames = np.random.default_rng(0).integers(0, 255, (12, 48, 80, 3), np.uint8)
    first = media.encode_mp4(frames, 8)
    for size in range(1, 6):
        elsewhere = np.zeros((size, 4321), np.uint8)  # so that memory is laid out differently
        assert media.encode_mp4(frames, 8) == first, elsewhere.shape
