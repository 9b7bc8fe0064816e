from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from alchemint_jax.errors import StoryboardError
from alchemint_jax.images import check_image, fit_references, load_keyframe, load_reference

WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)


def halves(width=40, height=20):
    """Red left half, blue right half."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def save(image, path, **kwargs):
    image.save(path, **kwargs)
    return path


def png_header(width, height):
    """A PNG that claims a size and holds nearly nothing."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + idat + chunk(b"IEND", b"")


def test_kept_in_aspect_and_centred_on_white(tmp_path):
    out = load_reference(save(halves(), tmp_path / "a.png"), (64, 32))
    assert out.shape == (64, 32, 3) and out.dtype == np.uint8
    assert np.all(out[:24] == 255) and np.all(out[40:] == 255)
    np.testing.assert_array_equal(out[32, 3], RED)
    np.testing.assert_array_equal(out[32, 28], BLUE)
    assert np.any(out[24] != 255) and np.any(out[39] != 255)  # 16 rows, and no fewer


def test_images_in_memory_are_fitted_like_files(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 40, 3), np.uint8)
    assert fit_references(images, (20, 40)) is images
    fitted = fit_references(images, (32, 16))
    assert fitted.shape == (2, 3, 32, 16, 3)
    one = load_reference(save(Image.fromarray(images[1, 2]), tmp_path / "a.png"), (32, 16))
    np.testing.assert_array_equal(fitted[1, 2], one)
    assert len(np.unique(one)) > 50
    assert fit_references(images[:, :0], (8, 8)).shape == (2, 0, 8, 8, 3)


def test_a_keyframe_fills_the_frame_and_loses_its_sides(tmp_path):
    path = save(halves(), tmp_path / "a.png")
    out = load_keyframe(path, (64, 32))
    assert out.shape == (64, 32, 3) and out.dtype == np.uint8
    assert not np.any(np.all(out == 255, axis=-1))
    np.testing.assert_array_equal(out[5, 3], RED)
    np.testing.assert_array_equal(out[60, 28], BLUE)
    np.testing.assert_array_equal(load_keyframe(path, (20, 40)), np.array(halves()))


def test_small_and_extreme_images_fill_one_side(tmp_path):
    out = load_reference(save(Image.new("RGB", (3, 3), RED), tmp_path / "s.png"), (64, 64))
    assert np.all(out == RED)
    line = load_reference(save(Image.new("RGB", (5000, 1), RED), tmp_path / "l.png"), (64, 64))
    assert np.sum(np.any(line != 255, axis=(1, 2))) == 1


@pytest.mark.parametrize("extension", ["jpg", "tif", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_orientation(tmp_path, orientation, extension):
    """However the camera was held, the result is the upright picture."""
    upright = Image.new("RGB", (64, 64), WHITE)
    upright.paste(RED, (0, 0, 32, 32))
    upright.paste(BLUE, (32, 0, 64, 32))
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"jpg": {"quality": 95}, "webp": {"lossless": True}}.get(extension, {})
    path = save(stored, tmp_path / f"o.{extension}", exif=exif, **lossless)
    out = load_reference(path, (64, 64)).astype(int)
    for y, x, colour in ((16, 16, RED), (16, 48, BLUE), (48, 16, WHITE), (48, 48, WHITE)):
        assert np.abs(out[y, x] - colour).max() < 30


def test_transparency_becomes_white_without_a_dark_edge(tmp_path):
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (8, 8, 24, 24))
    out = load_reference(save(image, tmp_path / "t.png"), (50, 50))
    assert np.all(out[0, 0] == 255) and np.all(out[25, 25] == RED)
    assert out[..., 0].min() > 250  # black under the transparent part never shows


MODES = {
    "1": ("png", 255),
    "L": ("png", 100),
    "LA": ("png", (100, 255)),
    "P": ("png", 1),
    "RGB": ("png", (100, 100, 100)),
    "RGBA": ("png", (100, 100, 100, 255)),
    "I;16": ("png", 100 * 257),
    "I": ("tif", 100 * 257),
    "F": ("tif", 100 / 255),
    "CMYK": ("jpg", (0, 0, 0, 155)),
    "YCbCr": ("jpg", (100, 128, 128)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_the_same_grey(tmp_path, mode):
    extension, value = MODES[mode]
    image = Image.new(mode, (16, 16), value)
    if mode == "P":
        image.putpalette([0, 0, 0, 100, 100, 100])
    path = save(image, tmp_path / f"m.{extension}")
    check_image(path)
    grey = 255 if mode == "1" else 100
    assert np.abs(load_reference(path, (16, 16)).astype(int) - grey).max() <= 2


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_transparent_colours_without_an_alpha_channel(tmp_path, mode):
    image = Image.new(mode, (16, 16), 0)
    kwargs = {"transparency": (0, 0, 0) if mode == "RGB" else 0}
    assert np.all(load_reference(save(image, tmp_path / "a.png", **kwargs), (16, 16)) == 255)
    assert np.all(load_reference(save(image, tmp_path / "b.png"), (16, 16)) == 0)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), c) for c in (RED, BLUE)]
    path = save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.all(load_reference(path, (8, 8)) == RED)


def test_pixels_are_not_shared_between_calls(tmp_path):
    path = save(halves(), tmp_path / "a.png")
    first = load_reference(path, (8, 8))
    first[:] = 7
    assert not np.array_equal(load_reference(path, (8, 8)), first)


def make_bad(kind, folder):
    path = folder / "bad.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    match kind:
        case "missing":
            pass
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case "text":
            path.write_text("hello")
        case "postscript":
            path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
        case "truncated png" | "truncated jpg":
            path = folder / f"bad.{kind[-3:]}"
            save(Image.fromarray(noise), path)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "short data":
            path.write_bytes(png_header(64, 64))
        case "bomb":
            path.write_bytes(png_header(30_000, 30_000))
        case "large":
            path.write_bytes(png_header(9_000, 9_000))
        case "long name":
            path = folder / ("x" * 400)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    {
        "missing": "No such file",
        "folder": "folder",
        "loop": "symbolic links",
        "pipe": "regular",
        "empty": "empty",
        "text": "no picture",
        "postscript": "no picture",
        "truncated png": "truncated",
        "truncated jpg": "truncated",
        "short data": "damaged",
        "bomb": "megapixels",
        "large": "9000 x 9000",
        "long name": "too long",
    }.items(),
)
def test_unusable_images_are_named(tmp_path, kind, words):
    path = make_bad(kind, tmp_path)
    for use in (check_image, lambda p: load_reference(p, (8, 8))):
        with pytest.raises(StoryboardError, match=words) as caught:
            use(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message


def test_a_path_that_no_file_can_have():
    with pytest.raises(StoryboardError, match="null"):
        check_image("a\0b.png")


def test_no_permission(tmp_path, monkeypatch):
    path = save(halves(), tmp_path / "a.png")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # chmod does not stop the superuser
    with pytest.raises(StoryboardError, match=r"a\.png: Permission denied"):
        check_image(path)


def test_broken_metadata_does_not_spoil_a_good_image(tmp_path):
    path = save(halves(), tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    check_image(path)
