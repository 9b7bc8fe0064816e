"""Pictures mean their colours as their files say, not as their numbers look."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from alchemint_jax.color import matrix_profile, to_srgb
from alchemint_jax.images import check_image, load_keyframe, load_reference

SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SWAPPED = (0.3127, 0.3290, 0.15, 0.06, 0.30, 0.60, 0.64, 0.33)  # red and blue
COLOR = (200, 60, 40)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def middle(path):
    return load_reference(path, (8, 8))[4, 4].astype(int)


def expected(color, primaries, gamma):
    """Written out in float64, without a profile: light of these primaries as sRGB, same white."""

    def to_xyz(values):
        white, *rgb = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in values]
        columns = np.stack(rgb, axis=1)
        return columns * np.linalg.solve(columns, white)

    pairs = [tuple(zip(p[::2], p[1::2], strict=True)) for p in (primaries, SRGB)]
    values = np.array(color) / 255
    if gamma is None:
        light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    else:
        light = values**gamma
    light = np.clip(np.linalg.solve(to_xyz(pairs[1]), to_xyz(pairs[0]) @ light), 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize(
    ("primaries", "gamma"), [(SWAPPED, 2.2), (P3, None), (ADOBE, 563 / 256), (SRGB, 1.0)]
)
def test_a_profile_is_followed(tmp_path, primaries, gamma, ending):
    options = {"icc_profile": matrix_profile(primaries, gamma)}
    options |= {"lossless": True} if ending == "webp" else {}
    path = saved(tmp_path / f"a.{ending}", Image.new("RGB", (8, 8), COLOR), **options)
    assert check_image(path) is None
    np.testing.assert_allclose(middle(path), expected(COLOR, primaries, gamma), atol=4)
    np.testing.assert_array_equal(load_keyframe(path, (8, 8))[4, 4], middle(path))


def test_srgb_is_left_as_it_is(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for profile in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        matrix_profile(SRGB, None),
    ):
        path = saved(tmp_path / "a.png", Image.fromarray(noise), icc_profile=profile)
        assert np.abs(load_keyframe(path, (32, 32)).astype(int) - noise).max() <= 1


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (8, 8), 100),
        Image.new("1", (8, 8), 0),
        Image.new("LA", (8, 8), (100, 255)),
        Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)),
    ],
    ids=["grey", "black", "grey and alpha", "16 bits"],
)
def test_grey_with_a_profile_of_rgb(tmp_path, image):
    path = saved(tmp_path / "a.png", image, icc_profile=matrix_profile(SRGB, 1.0))
    value = 0 if image.mode == "1" else 100
    np.testing.assert_allclose(middle(path), expected((value,) * 3, SRGB, 1.0), atol=2)
    assert check_image(path) is None


def test_grey_with_a_profile_of_grey(tmp_path):
    curve = b"curv" + struct.pack(">IIH", 0, 1, 256) + b"\0\0"
    white = matrix_profile(SRGB, 1.0)[68:80]
    head = matrix_profile(SRGB, 1.0)[4:16] + b"GRAY" + matrix_profile(SRGB, 1.0)[20:128]
    xyz = b"XYZ \0\0\0\0" + white
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, len(curve))
    body = head + tags + xyz + curve
    profile = struct.pack(">I", 4 + len(body)) + body
    for name, mode, color in (("a.jpg", "L", 100), ("a.png", "LA", (100, 255))):
        path = saved(tmp_path / name, Image.new(mode, (8, 8), color), icc_profile=profile)
        np.testing.assert_allclose(middle(path), expected((100,) * 3, SRGB, 1.0), atol=2)
        assert check_image(path) is None


def test_a_palette_and_its_transparency(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *COLOR])
    image.paste(0, (0, 0, 8, 2))
    profile = matrix_profile(SWAPPED, 2.2)
    path = saved(tmp_path / "a.png", image, icc_profile=profile, transparency=0)
    np.testing.assert_allclose(middle(path), expected(COLOR, SWAPPED, 2.2), atol=4)
    assert np.all(load_reference(path, (8, 8))[0] == 255)  # white, whatever the profile


def test_sixteen_bits_of_grey_may_have_a_transparent_value(tmp_path):
    values = np.full((8, 8), 100 * 257, np.uint16)
    values[:2] = 7
    path = saved(tmp_path / "a.png", Image.fromarray(values), transparency=7)
    image = load_reference(path, (8, 8))
    assert np.all(image[0] == 255) and np.all(image[4] == 100)


def test_cmyk_by_its_profile_and_without(tmp_path):
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert list(middle(saved(tmp_path / "plain.tif", image)) > 100) == [False, True, True]
    # A table of 2^4 entries by which all that has cyan is a red, and all else is white.
    lab = [(136, 208, 195) if i >= 8 else (255, 128, 128) for i in range(16)]
    ramp = bytes(range(256))
    table = b"mft1" + struct.pack(
        ">I4B9i", 0, 4, 3, 2, 0, *(65536 * (i % 4 == 0) for i in range(9))
    )
    table += 4 * ramp + bytes(v for row in lab for v in row) + 3 * ramp
    known = matrix_profile(SRGB, 1.0)
    head = known[4:12] + b"prtrCMYKLab " + known[24:128]
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    body = head + tags + table
    profile = struct.pack(">I", 4 + len(body)) + body
    path = saved(tmp_path / "a.tif", image, icc_profile=profile)
    assert check_image(path) is None
    assert list(middle(path) > 100) == [True, False, False]


def test_lab_needs_no_profile(tmp_path):
    to_lab = [ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")]
    image = ImageCms.profileToProfile(Image.new("RGB", (8, 8), COLOR), *to_lab, outputMode="LAB")
    np.testing.assert_allclose(middle(saved(tmp_path / "a.tif", image)), COLOR, atol=3)


@pytest.mark.parametrize(
    ("mode", "profile", "says"),
    [
        ("RGB", b"rubbish", "is broken"),
        ("RGB", matrix_profile(P3, None)[:200], "is broken"),
        ("CMYK", matrix_profile(P3, None), "is of RGB, the picture CMYK"),
    ],
)
def test_a_profile_that_cannot_be_followed_is_ignored_and_told(tmp_path, mode, profile, says):
    image = Image.new(mode, (8, 8), COLOR if mode == "RGB" else (*COLOR, 0))
    plain = middle(saved(tmp_path / "plain.tif", image))
    path = saved(tmp_path / "a.tif", image, icc_profile=profile)
    np.testing.assert_array_equal(middle(path), plain)
    remark = check_image(path)
    assert remark and remark.startswith(f"{path}: ") and says in remark and "sRGB" in remark


def test_gamma_and_primaries_of_a_png(tmp_path):
    def chunk(kind, body):
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    plain = saved(tmp_path / "plain.png", Image.new("RGB", (8, 8), COLOR)).read_bytes()
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    primaries = chunk(b"cHRM", struct.pack(">8I", *(round(1e5 * x) for x in P3)))
    same = chunk(b"gAMA", struct.pack(">I", 45_455))
    for chunks, color in (
        (gamma, expected(COLOR, SRGB, 1.0)),
        (gamma + primaries, expected(COLOR, P3, 1.0)),
        (same + primaries, expected(COLOR, P3, None)),
        (same, COLOR),
        (gamma + chunk(b"sRGB", b"\0"), COLOR),
        (chunk(b"cHRM", bytes(32)), COLOR),
        (chunk(b"gAMA", bytes(4)), COLOR),
    ):
        path = tmp_path / "a.png"
        path.write_bytes(plain[:33] + chunks + plain[33:])  # behind the header
        np.testing.assert_allclose(middle(path), color, atol=3)


def test_black_and_white_stay(tmp_path):
    for value in (0, 255):
        image = Image.new("RGB", (1, 1), (value,) * 3)
        shown, _ = to_srgb(image, {"icc_profile": matrix_profile(ADOBE, 2.2)})
        assert shown.getpixel((0, 0)) == (value,) * 3
