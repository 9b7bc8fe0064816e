"""Prompts as Wan's transformer reads them, on the device where the encoder's weights are."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import Tokens, encode_text
from alchemint_jax.models.umt5 import Int8UMT5Encoder, UMT5Config, UMT5Encoder, quantize
from alchemint_jax.sampling.texts import encode_ids, on_host
from alchemint_jax.tokenizers import ByteTokenizer

pytestmark = pytest.mark.slow

CONFIG = UMT5Config(dim=16, n_heads=2, head_dim=4, ffn_dim=24)
TEXTS = ["a red disc", "", "x" * 70]
TOKENIZER = ByteTokenizer(512)


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    shapes = UMT5Encoder(CONFIG).abstract_params()
    return jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(np.float32), shapes)


def test_they_are_the_encoders_states_and_zero_beyond(params):
    encoder = UMT5Encoder(CONFIG)
    states = encode_ids(encoder, params, *TOKENIZER.encode(TEXTS))
    assert states.shape == (3, 512, 16)
    ids, mask = (jnp.asarray(x) for x in TOKENIZER.encode(TEXTS))
    np.testing.assert_allclose(states, encode_text(encoder, params, Tokens(ids, mask)), atol=2e-6)
    n = [11, 1, 71]
    for row, kept in zip(np.asarray(states), n, strict=True):
        assert row[:kept].any(-1).all() and not row[kept:].any()


def test_what_is_beyond_the_longest_text_is_not_computed(params):
    lengths = []

    class Watched(UMT5Encoder):
        def __call__(self, ids, mask):
            lengths.append(ids.shape[1])
            return super().__call__(ids, mask)

    for text, length in [("", 512), ("x" * 63, 512), ("x" * 64, 512), ("x" * 600, 512), ("x", 7)]:
        tokenizer = ByteTokenizer(length)
        states = encode_ids(Watched(CONFIG), params, *tokenizer.encode([text]))
        assert states.shape == (1, length, 16)
    assert lengths == [64, 128, 512, 7]  # traced once for each length
    nothing = np.zeros((1, 9), np.int32), np.zeros((1, 9), bool)
    assert not np.asarray(encode_ids(UMT5Encoder(CONFIG), params, *nothing)).any()


def test_eight_bits_are_a_drop_in(params):
    exact = np.asarray(encode_ids(UMT5Encoder(CONFIG), params, *TOKENIZER.encode(TEXTS)))
    small = encode_ids(Int8UMT5Encoder(CONFIG), quantize(params), *TOKENIZER.encode(TEXTS))
    assert 0 < np.sqrt(np.mean((small - exact) ** 2) / np.mean(exact**2)) < 0.03


def test_it_runs_beside_the_weights(params):
    here, there = jax.devices("cpu")[0], jax.devices()[5]
    held = on_host(jax.device_put(params, there))
    assert all(x.devices() == {here} for x in jax.tree.leaves(held))
    for encoder, p in ((UMT5Encoder(CONFIG), held), (Int8UMT5Encoder(CONFIG), quantize(held))):
        p = on_host(p)
        states = encode_ids(encoder, p, *TOKENIZER.encode(TEXTS))
        assert states.devices() == {here}


def test_no_cpu_platform(params, monkeypatch):
    def absent(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", absent)
    with pytest.raises(ConfigError, match=r"JAX_PLATFORMS=cuda,cpu"):
        on_host(params)
