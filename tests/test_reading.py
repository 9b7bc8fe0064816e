"""Videos are read as players show them."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from alchemint_jax import media
from alchemint_jax.errors import DataError
from alchemint_jax.reading import constant_rate, read_video

GRAYS = (20, 70, 120, 170, 220)


def gray(values, size=(16, 32)):
    return [np.full((*size, 3), value, np.uint8) for value in values]


def write(path, frames, times=None, base=Fraction(1, 8), codec="libx264", **options):
    """Frames at `times` in units of `base`; an even rate without them."""
    pixels, given = options.pop("pixels", "yuv420p"), options.pop("given", "rgb24")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=options.pop("rate", 8), options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.time_base = stream.codec_context.time_base = base
        for i, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(frame, format=given)
            image.pts, image.time_base = i if times is None else times[i], base
            container.mux(stream.encode(image))
        container.mux(stream.encode())


def shades(video):
    """Which of the grays each frame shows."""
    return [int(np.abs(np.array(GRAYS) - frame.mean()).argmin()) for frame in video]


def turn(path, a, b, c, d):
    """Writes a display matrix into the header of the track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # after version, times and layer
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at, *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda x: x),
        ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),  # a telephone held upright: clockwise
        ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
        ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
        ((1, 0, 0, -1), lambda x: x[::-1]),
    ],
)
def test_frames_are_turned_as_the_file_asks(tmp_path, matrix, shown):
    image = np.zeros((32, 64, 3), np.uint8)
    image[:16, :32], image[:16, 32:] = (200, 0, 0), (0, 200, 0)
    image[16:, :32], image[16:, 32:] = (0, 0, 200), (200, 200, 200)
    write(tmp_path / "v.mp4", [image] * 2)
    turn(tmp_path / "v.mp4", *matrix)
    video, _ = read_video(tmp_path / "v.mp4")
    expected = shown(image)
    assert video[0].shape == expected.shape
    assert np.abs(video[0].astype(int) - expected).mean() < 12


def test_frames_of_uneven_times_are_brought_to_a_constant_rate(tmp_path):
    # Eight slots at eight frames a second; the second and the last frame stay for longer.
    times, base = [0, 125, 500, 625, 750], Fraction(1, 1000)
    write(tmp_path / "v.mp4", gray(GRAYS), times, base)
    video, fps = read_video(tmp_path / "v.mp4")
    seconds = len(video) / fps
    assert seconds == pytest.approx(0.875, abs=1 / fps)
    middles = (np.arange(len(video)) + 0.5) / fps
    expected = np.searchsorted(np.array(times) / 1000, middles, side="right") - 1
    assert shades(video) == expected.tolist() and fps != 8


def test_slots_show_what_is_on_screen_in_their_middle():
    even = np.arange(30) / 29.97
    np.testing.assert_array_equal(constant_rate(np.round(even, 3), 29.97), np.arange(30))
    np.testing.assert_array_equal(
        constant_rate(np.array([0, 0.125, 0.5, 0.625]), 8.0), [0, 1, 1, 1, 2, 3]
    )
    # Presented in another order than they are stored in.
    np.testing.assert_array_equal(constant_rate(np.array([0, 0.375, 0.125]), 8.0), [0, 2, 2, 1])
    np.testing.assert_array_equal(constant_rate(np.zeros(1), 8.0), [0])


def test_times_begin_with_the_first_frame(tmp_path):
    write(tmp_path / "v.mkv", gray(GRAYS), [100 + i for i in range(5)])
    video, fps = read_video(tmp_path / "v.mkv")
    assert shades(video) == [0, 1, 2, 3, 4] and fps == pytest.approx(8, rel=0.01)


def test_formats_of_other_depth_and_range_and_transparency(tmp_path):
    write(tmp_path / "v.mkv", gray(GRAYS, (15, 31)), codec="ffv1", pixels="yuv444p10le")
    video, _ = read_video(tmp_path / "v.mkv")
    assert video.shape == (5, 15, 31, 3)
    assert np.abs(video.mean((1, 2, 3)) - GRAYS).max() < 2

    rgba = [np.dstack([frame, np.full(frame.shape[:2], 51, np.uint8)]) for frame in gray(GRAYS)]
    write(tmp_path / "a.mov", rgba, codec="qtrle", pixels="argb", given="rgba")
    video, _ = read_video(tmp_path / "a.mov")
    white = [0.2 * value + 0.8 * 255 for value in GRAYS]
    assert np.abs(video.mean((1, 2, 3)) - white).max() < 2


def test_full_range(tmp_path):
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = 16, 32, "yuv420p"
        stream.codec_context.color_range = ColorRange.JPEG
        for value in GRAYS:
            frame = av.VideoFrame.from_ndarray(np.full((24, 32), value, np.uint8), "yuv420p")
            frame.color_range = ColorRange.JPEG
            for plane in frame.planes[1:]:
                plane.update(bytes([128]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video, _ = read_video(tmp_path / "v.mp4")
    assert np.abs(video.mean((1, 2, 3)) - GRAYS).max() < 3


def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path):
    media.write_video(tmp_path / "v.mp4", np.stack(gray(GRAYS)), 8)
    data = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("cut.mp4", "empty.mp4", "."):
        with pytest.raises(DataError, match=r"cannot read the video .*; it is damaged, cut short"):
            read_video(tmp_path / name)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="holds no video"):
        read_video(tmp_path / "a.mp4")
