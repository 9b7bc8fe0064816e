"""The video autoencoder: causal, the same whole or streamed, and of Wan's size."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vae_setup import TINY, normal, random_params

from alchemint_jax.models.vae import VAE, VARIANTS, stream_decode, stream_encode
from alchemint_jax.models.vae.model import ChannelNorm, Downsample, Past, Upsample

pytestmark = pytest.mark.slow

SIDE = 8


@pytest.fixture(scope="module")
def vae():
    return VAE(TINY)


@pytest.fixture(scope="module")
def params(vae):
    return random_params(vae.abstract_params(), 1.0)


@pytest.fixture(scope="module")
def clip():
    return np.tanh(normal(1, 2, 17, SIDE, SIDE, 3))


@pytest.fixture(scope="module")
def latents():
    return np.float32(0.5) * np.asarray(normal(2, 2, 5, SIDE // 4, SIDE // 4, TINY.z_dim))


@pytest.fixture(scope="module")
def apply(vae, params):
    @jax.jit
    def whole(video, latents):
        return (
            vae.apply({"params": params}, video, method="encode"),
            vae.apply({"params": params}, latents, method="decode"),
        )

    return whole


@pytest.fixture(scope="module")
def full(apply, clip, latents):
    return [np.asarray(x) for x in apply(clip, latents)]


@pytest.fixture(scope="module")
def streamed(vae, params):
    return jax.jit(lambda x, z: (stream_encode(vae, params, x), stream_decode(vae, params, z)))


def test_streamed_is_whole(streamed, clip, latents, full):
    """The scans over chunks; that chunks put together are the whole: test_vae_streaming.py."""
    encoded, decoded = streamed(clip, latents)
    assert encoded.shape == (2, 5, 2, 2, 3) and decoded.shape == clip.shape
    np.testing.assert_allclose(encoded, full[0], atol=1e-5)
    np.testing.assert_allclose(decoded, full[1], atol=1e-5)
    # There is something to compare: not clipped to black and white, and no frame like another.
    assert np.mean(np.abs(decoded) < 1) > 0.5 and np.std(encoded) > 0.1
    assert np.abs(np.diff(decoded, axis=1)).max(axis=(0, 2, 3, 4)).min() > 1e-3


def test_a_picture_can_be_streamed(streamed, clip, latents, full):
    encoded, decoded = streamed(clip[:, :1], latents[:, :1])
    np.testing.assert_allclose(encoded, full[0][:, :1], atol=1e-5)
    np.testing.assert_allclose(decoded, full[1][:, :1], atol=1e-5)


def test_each_latent_frame_is_four_pixel_frames_and_the_first_is_one(vae):
    for k in (0, 1, 2, 5):
        video = jax.ShapeDtypeStruct((1, 1 + 4 * k, 8, 16, 3), jnp.float32)
        p = vae.abstract_params()
        z = jax.eval_shape(lambda p, x: vae.apply({"params": p}, x, method="encode"), p, video)
        assert z.shape == (1, 1 + k, 2, 4, TINY.z_dim)
        back = jax.eval_shape(lambda p, z: vae.apply({"params": p}, z, method="decode"), p, z)
        assert back.shape == video.shape


def test_encoding_is_causal(vae, params, clip):
    encode = lambda x: vae.apply({"params": params}, x, method="encode")  # noqa: E731

    @jax.jit
    def gradients(x):
        z, pull = jax.vjp(encode, x)
        frames = jnp.eye(z.shape[1])[:, None, :, None, None, None]
        return jax.vmap(lambda one: pull(jnp.broadcast_to(one, z.shape) * z)[0])(frames)

    reach = np.abs(gradients(clip[:1, :13])).max(axis=(1, 3, 4, 5))  # [latent frame, pixel frame]
    for i, row in enumerate(reach):
        assert not row[4 * i + 1 :].any(), "future leaks into the past"
        assert (row[max(0, 4 * i - 3) : 4 * i + 1] > 1e-6).all(), "test is vacuous"
    assert reach[2, :5].any(), "nothing is seen of the past"


def test_decoding_is_causal(vae, params, latents):
    decode = lambda z: vae.apply({"params": params}, z, method="decode")  # noqa: E731

    @jax.jit
    def gradients(z):
        x, pull = jax.vjp(decode, z)
        frames = jnp.eye(x.shape[1])[:, None, :, None, None, None]
        return jax.vmap(lambda one: pull(jnp.broadcast_to(one, x.shape) * x)[0])(frames)

    reach = np.abs(gradients(latents[:1, :4])).max(axis=(1, 3, 4, 5))  # [pixel frame, latent frame]
    for f, row in enumerate(reach):
        i = (f + 3) // 4  # the latent frame that holds pixel frame f
        assert not row[i + 1 :].any(), "future leaks into the past"
        assert row[i] > 1e-6, "test is vacuous"
    assert reach[-1, 1] > 0, "nothing is seen of the past"


def test_a_picture_is_the_first_latent_frame_of_its_video(apply, clip, latents, full):
    picture, _ = apply(clip[:, :1], latents[:, :1])
    np.testing.assert_allclose(picture, full[0][:, :1], atol=1e-5)
    other, _ = apply(clip[:, 1:2], latents[:, :1])
    assert np.abs(np.asarray(other) - picture).max() > 0.01


def test_latents_are_normalised(vae, params, clip, latents, full):
    mean, std = np.float32(TINY.latents_mean), np.float32(TINY.latents_std)
    raw, log_variance = jax.jit(lambda x: vae.apply({"params": params}, x, method="moments"))(clip)
    shape = (1, 1, 1, 1, -1)
    np.testing.assert_allclose(full[0] * std.reshape(shape) + mean.reshape(shape), raw, atol=1e-5)
    assert log_variance.shape == raw.shape
    raw = latents * std.reshape(shape) + mean.reshape(shape)
    video = jax.jit(lambda z: vae.apply({"params": params}, z, method="reconstruct"))(raw)
    np.testing.assert_allclose(np.clip(video, -1, 1), full[1], atol=1e-5)


def test_channel_norm_is_its_formula():
    x, gain = np.array(normal(0, 2, 1, 3, 2, 6)), normal(1, 6)
    x[0, 0, 0, 0] = 0  # torch's normalize leaves zeros alone
    wide = np.asarray(x, np.float64)
    norm = np.maximum(np.sqrt((wide**2).sum(-1, keepdims=True)), 1e-12)
    expected = wide / norm * np.sqrt(6) * np.asarray(gain)
    normed = jax.jit(lambda x: ChannelNorm().apply({"params": {"gamma": gain}}, x))
    np.testing.assert_allclose(normed(x), expected, atol=1e-5)
    half = normed(x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def _frame_conv(x, kernel, bias, stride, before, after):
    """A 3x3 convolution of one frame [h w c] by loops, float64."""
    x = np.pad(x.astype(np.float64), ((before, after), (before, after), (0, 0)))
    rows, columns = ((side - 3) // stride + 1 for side in x.shape[:2])
    y = np.zeros((rows, columns, kernel.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        window = x[stride * i : stride * i + 3, stride * j : stride * j + 3]
        y[i, j] = np.tensordot(window, kernel, 3) + bias
    return y


def _resampler(cls, features, widen):
    """The layer as one program, and its parameters in float64."""
    p = {
        "conv": {"kernel": normal(3, 3, 3, features, features // (1 + widen))},
        "time_kernel": normal(5, 3, 1, 1, features, features * (1 + widen)),
        "time_bias": normal(6, features * (1 + widen)),
    }
    p["conv"]["bias"] = normal(4, p["conv"]["kernel"].shape[-1])
    p = jax.tree.map(np.asarray, p)
    p["conv"]["kernel"], p["time_kernel"] = p["conv"]["kernel"] / 5, p["time_kernel"] / 3
    placed = jax.device_put(p)
    layer = jax.jit(lambda x: cls(temporal=True).apply({"params": placed}, x, Past()))
    return layer, jax.tree.map(lambda a: np.asarray(a, np.float64), p)


def test_downsampling_lets_frame_0_pass_and_merges_the_others():
    """Frame 0 as it is, then a stride-2, kernel-3 valid convolution over all frames."""
    layer, q = _resampler(Downsample, 4, widen=False)
    x = np.asarray(normal(0, 1, 5, 4, 6, 4))
    y = np.asarray(layer(x))
    # Zeros stand to the right and below only.
    halved = np.stack(
        [_frame_conv(f, q["conv"]["kernel"], q["conv"]["bias"], 2, 0, 1) for f in x[0]]
    )
    taps = q["time_kernel"][:, 0, 0]
    merged = [sum(halved[2 * i + k] @ taps[k] for k in range(3)) + q["time_bias"] for i in range(2)]
    np.testing.assert_allclose(y[0], np.stack([halved[0], *merged]), atol=1e-5)
    alone = np.asarray(layer(x[:, :1]))
    np.testing.assert_allclose(alone[0], halved[:1], atol=1e-5)


def test_upsampling_lets_frame_0_pass_and_splits_the_others():
    """Frames 1.. see zeros where frame 0 is; each becomes two, its channel halves interleaved."""
    layer, q = _resampler(Upsample, 4, widen=True)
    x = np.asarray(normal(0, 1, 3, 2, 3, 4))
    y = np.asarray(layer(x))
    taps = q["time_kernel"][:, 0, 0]
    rest = np.concatenate([np.zeros((2, 2, 3, 4)), x[0, 1:]])
    frames = [x[0, 0]]
    for i in range(2):
        pair = sum(rest[i + k] @ taps[k] for k in range(3)) + q["time_bias"]
        frames += [pair[..., :4], pair[..., 4:]]
    doubled = [f.repeat(2, axis=0).repeat(2, axis=1) for f in frames]
    expected = [_frame_conv(f, q["conv"]["kernel"], q["conv"]["bias"], 1, 1, 1) for f in doubled]
    np.testing.assert_allclose(y[0], np.stack(expected), atol=1e-5)


def test_wan_has_the_published_size():
    leaves = jax.tree.leaves(VAE(VARIANTS["wan2.1"]).abstract_params())
    assert sum(math.prod(leaf.shape) for leaf in leaves) == 126_892_531
    assert len(leaves) == 194
    assert (VARIANTS["wan2.1"].temporal_stride, VARIANTS["wan2.1"].spatial_stride) == (4, 8)


def test_abstract_params_are_those_of_init(vae):
    video = jnp.zeros((1, 5, 8, 8, 3))
    real = jax.eval_shape(lambda: vae.init(jax.random.key(0), video))["params"]
    abstract = vae.abstract_params()
    assert jax.tree.structure(real) == jax.tree.structure(abstract)
    assert [x.shape for x in jax.tree.leaves(real)] == [x.shape for x in jax.tree.leaves(abstract)]


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_memory_of_a_stream_does_not_grow_with_the_clip(vae, direction):
    stream = {"encode": stream_encode, "decode": stream_decode}[direction]

    def temporary(run, frames):
        shape = (frames, 32, 32, 3) if direction == "encode" else (1 + frames // 4, 4, 4, 3)
        x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        compiled = jax.jit(run).lower(vae.abstract_params(), x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def whole(params, x):
        return vae.apply({"params": params}, x, method=direction)

    # Both are whole chunks of four latent frames.
    short, long = (temporary(lambda p, x: stream(vae, p, x), f) for f in (17, 65))
    assert long - short < 3 * 48 * 32 * 32 * 3 * 4  # a few copies of the clip itself, at the most
    if direction == "decode":
        assert temporary(whole, 65) > 2 * long  # a whole clip does grow
