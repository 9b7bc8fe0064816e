"""Large pictures in tiles: where they lie, how they are blended, and what they cost."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.vae import (
    OVERLAP,
    TILE,
    VAE,
    VARIANTS,
    VAEConfig,
    host_encode,
    stream_decode,
    stream_encode,
    tiled_decode,
    tiled_encode,
)
from alchemint_jax.models.vae.tiling import blend_weights, check_tiles, tile_starts
from alchemint_jax.sampling.sample import Models, decode, encode_references

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]

CONFIG = VAEConfig(
    base_dim=4,
    dim_mult=(1, 2),
    num_res_blocks=1,
    temporal_downsample=(True,),
    z_dim=3,
    latents_mean=(0.3, -0.2, 0.1),
    latents_std=(0.5, 1.5, 2.0),
)
VAE_ = VAE(CONFIG)
CELL = CONFIG.spatial_stride
TILES = {"tile": 32, "overlap": 16}
FRAMES, HEIGHT, WIDTH = 5, 36, 66  # neither is a whole number of strides; two and four tiles


@pytest.fixture(scope="module")
def narrow():
    """Residual branches start at zero, so each position depends on its close neighbours only."""
    return jax.jit(VAE_.init)(jax.random.key(0), jnp.zeros((1, 3, 4, 4, 3)))["params"]


def _changed(change, params):
    """By NumPy: every operation of JAX on an array of another shape is a program to compile."""
    changed = jax.tree_util.tree_map_with_path(change, jax.device_get(params))
    return jax.device_put(changed)


@pytest.fixture(scope="module")
def wide(narrow):
    """All branches at work, and a little attention, which sees the whole of a frame."""
    rng = np.random.default_rng(0)

    def add_noise(path, x):
        scale = 0.03 if "attention" in jax.tree_util.keystr(path) else 0.3
        fan_in = x.size // x.shape[-1]
        return np.float32(x + rng.standard_normal(x.shape) * scale / np.sqrt(fan_in))

    return _changed(add_noise, narrow)


@pytest.fixture(scope="module")
def clip():
    """Smooth in space and time, with detail."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 12
    f = np.arange(FRAMES)[:, None, None]
    waves = [np.sin((2 + c) * x + (1 + c) * y + 0.3 * f + c) for c in range(3)]
    return np.float32(0.7 * np.stack(waves, axis=-1))[None]


@pytest.fixture(scope="module")
def latents():
    y, x = np.mgrid[: HEIGHT // CELL, : WIDTH // CELL] / 6
    t = np.arange(3)[:, None, None]
    waves = [np.sin((2 + c) * x + (1 + c) * y + 0.3 * t + c) for c in range(3)]
    return np.float32(np.stack(waves, axis=-1))[None]


@functools.cache
def _jitted(method, **how):
    return jax.jit(lambda p, x: method(VAE_, p, x, **how))


def _run(method, params, x, **how):
    return np.asarray(_jitted(method, **how)(params, x))


def _layouts():
    for tile in (1, 2, 5, 8, 32):
        for overlap in {0, 1, tile // 4, tile // 2, tile - 1} - {tile}:
            for size in {1, tile - 1, tile, tile + 1, 2 * tile - overlap, 3 * tile + 2, 97} - {0}:
                yield size, tile, overlap


def test_tiles_cover_and_overlap():
    for size, tile, overlap in _layouts():
        side = min(size, tile)
        starts = tile_starts(size, side, overlap)
        assert starts[0] == 0 and starts[-1] + side == size, (size, tile, overlap)
        steps = np.diff(starts)
        assert np.all(steps > 0) and np.all(side - steps >= overlap), (size, tile, overlap)
        # No more than are needed, and none that shares much more than the others.
        assert len(starts) == 1 or (len(starts) - 1) * (side - overlap) + side >= size
        assert len(starts) < 3 or (len(starts) - 2) * (side - overlap) + side < size
        assert len(starts) < 3 or np.ptp(steps) <= 1


def test_blending_weights_sum_to_one():
    for size, tile, overlap in _layouts():
        side = min(size, tile)
        starts = tile_starts(size, side, overlap)
        weights = blend_weights(starts, side, size, overlap / 4)
        assert np.all(weights >= 0)
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-6)
        at = np.arange(size)
        for start, row in zip(starts, weights, strict=True):
            assert not row[(at < start) | (at >= start + side)].any()


def test_blending_is_linear_and_leaves_out_what_a_cut_spoils():
    weights = blend_weights(np.array([0, 8]), 16, 24, margin=2.0)
    ramp = (np.arange(4) + 0.5) / 4
    expected = np.concatenate([np.zeros(10), ramp, np.ones(10)])
    np.testing.assert_allclose(weights, [expected[::-1], expected], atol=1e-6)


def test_one_tile_is_no_tiling(wide, clip, latents):
    for method, plain, part in (
        (tiled_encode, stream_encode, clip[:, :, :32, :32]),
        (tiled_decode, stream_decode, latents[:, :, :16, :16]),
    ):
        np.testing.assert_array_equal(_run(method, wide, part, **TILES), _run(plain, wide, part))


def test_tiles_that_see_all_they_need_give_the_same(narrow, clip, latents):
    """At every position, seams and all: a margin is wider than the reach of the convolutions."""
    encoded = _run(stream_encode, narrow, clip)
    assert encoded.shape == (1, 3, 18, 33, 3) and np.std(encoded) > 0.1
    np.testing.assert_allclose(_run(tiled_encode, narrow, clip, **TILES), encoded, atol=1e-5)
    decoded = _run(stream_decode, narrow, latents)
    assert decoded.shape == clip.shape and np.mean(np.abs(decoded) < 1) > 0.5
    np.testing.assert_allclose(_run(tiled_decode, narrow, latents, **TILES), decoded, atol=1e-5)
    # Without an overlap it does show where tiles meet.
    for method, x, whole in ((tiled_encode, clip, encoded), (tiled_decode, latents, decoded)):
        assert np.abs(_run(method, narrow, x, tile=32, overlap=0) - whole).max() > 1e-2


def test_one_side_may_be_smaller_than_a_tile(narrow, latents):
    strip = latents[:, :, :5]
    np.testing.assert_allclose(
        _run(tiled_decode, narrow, strip, **TILES), _run(stream_decode, narrow, strip), atol=1e-5
    )


def _seam(difference):
    """A seam is a line along which what tiling has changed jumps: root mean square, worst line."""
    down, across = (np.diff(difference, axis=axis) ** 2 for axis in (2, 3))
    return np.sqrt(max(down.mean(axis=(0, 1, 3, 4)).max(), across.mean(axis=(0, 1, 2, 4)).max()))


def test_seams_are_small_where_tiles_disagree(wide, clip, latents):
    for method, plain, x in (
        (tiled_encode, stream_encode, clip),
        (tiled_decode, stream_decode, latents),
    ):
        whole = _run(plain, wide, x)
        blended = _run(method, wide, x, **TILES) - whole
        hard = _run(method, wide, x, tile=32, overlap=0) - whole
        assert np.abs(blended).max() > 1e-3, "tiles agree: nothing to blend"
        assert _seam(blended) < _seam(hard) / 4
        assert _seam(blended) < _seam(whole) / 20


def test_half_precision_stays_so(narrow, latents):
    half = _run(tiled_decode, narrow, latents.astype(jnp.bfloat16), **TILES)
    assert half.dtype == jnp.bfloat16
    whole = _run(stream_decode, narrow, latents)
    assert np.abs(half.astype(np.float32) - whole).max() < 0.1


def _lowered(method, height, width, **how):
    decodes = method in (tiled_decode, stream_decode)
    shape = (3, height // CELL, width // CELL) if decodes else (FRAMES, height, width)
    x = jax.ShapeDtypeStruct((1, *shape, 3), jnp.float32)
    return jax.jit(lambda p, x: method(VAE_, p, x, **how)).lower(VAE_.abstract_params(), x)


def _memory(lowered):
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ("method", "plain"), [(tiled_encode, stream_encode), (tiled_decode, stream_decode)]
)
def test_the_network_is_compiled_once_and_memory_is_that_of_a_tile(method, plain):
    small, large = (_lowered(method, 48, width, **TILES) for width in (64, 256))
    convolutions = [low.as_text().count("stablehlo.convolution") for low in (small, large)]
    assert convolutions[0] == convolutions[1] > 0
    used = [_memory(low) for low in (small, large)]
    assert used[1] - used[0] < 3 * FRAMES * 48 * (256 - 64) * 3 * 4  # copies of the video
    assert _memory(_lowered(plain, 48, 256)) > 2 * used[1]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"tile": 0, "overlap": 0}, "multiple of 2"),
        ({"tile": 31, "overlap": 8}, "tile is 31"),
        ({"tile": 32, "overlap": 7}, "overlap is 7"),
        ({"tile": 32, "overlap": 32}, "from 0 to 30"),
        ({"tile": 32, "overlap": -4}, "from 0 to 30"),
    ],
)
def test_impossible_tiles_are_refused(how, said):
    with pytest.raises(ConfigError, match=said):
        tiled_encode(VAE_, {}, jnp.zeros((1, 1, 8, 8, 3)), **how)
    with pytest.raises(ConfigError, match=said):
        tiled_decode(VAE_, {}, jnp.zeros((1, 1, 4, 4, 3)), **how)


def test_pictures_that_are_no_whole_number_of_cells_are_refused():
    with pytest.raises(ConfigError, match="66 x 131 .* multiples of 2"):
        tiled_encode(VAE_, {}, jnp.zeros((1, 1, 66, 131, 3)), **TILES)


def test_the_defaults_suit_wan():
    check_tiles(VARIANTS["wan2.1"], TILE, OVERLAP)


def test_sampling_tiles_large_frames_only(wide, latents):
    # Attention sees all of a frame or all of a tile: loud, it tells one from the other.
    wide = _changed(
        lambda path, x: x * (30.0 if "attention" in jax.tree_util.keystr(path) else 1.0), wide
    )
    models = Models(None, {}, VAE_, wide)
    for cells, tiled in ((TILE // CELL, False), (TILE // CELL + 8, True)):
        z = jnp.asarray(np.resize(latents, (1, 1, 4, cells, 3)))
        video = _run(stream_decode, wide, z)
        frames = (_run(tiled_decode, wide, z) * 127.5 + 128).astype(np.uint8)
        np.testing.assert_array_equal(decode(models, z), frames)
        assert np.array_equal(frames, (video * 127.5 + 128).astype(np.uint8)) != tiled
        encoded = encode_references(wide, frames, vae=VAE_)
        pictures = frames.astype(np.float32) / 127.5 - 1
        # Loud attention is loud about rounding too.
        np.testing.assert_allclose(encoded, _run(tiled_encode, wide, pictures), atol=1e-4)
        difference = np.abs(encoded - _run(stream_encode, wide, pictures)).max()
        assert (difference > 1e-3) == tiled


def test_a_clip_in_host_memory_is_encoded_as_on_the_device(wide):
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES, 36, 66, 3), dtype=np.uint8)
    video = pixels[None].astype(np.float32) / 127.5 - 1
    expected = _run(tiled_encode, wide, video, **TILES)[0]
    for at_once in (1, 3):
        found = host_encode(VAE_, wide, pixels, **TILES, at_once=at_once)
        np.testing.assert_allclose(found, expected, atol=1e-4)
