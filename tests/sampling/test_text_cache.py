"""Prompts are encoded once, whatever happens to the files; and encoded alike with and without."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.sampling.text_cache import TextCache, default_directory, fingerprint

DIM = 6


class Encoder:
    """Counts its calls; the states of a token depend on its id and its place."""

    def __init__(self):
        self.seen = []

    def __call__(self, ids, mask):
        self.seen.append(len(ids))
        place = np.arange(ids.shape[1])[None, :, None]
        states = np.sin(ids[..., None] * 1.7 + place + np.arange(DIM)).astype(np.float32)
        return jnp.asarray(states)  # also where padded, as an encoder has it


def _tokens(*texts, length=8):
    ids, mask = np.zeros((len(texts), length), np.int32), np.zeros((len(texts), length), bool)
    for i, text in enumerate(texts):
        ids[i, : len(text)], mask[i, : len(text)] = text, True
    return ids, mask


def _never(ids, mask):
    raise AssertionError("a hit must not need the encoder")


A, B, C = [5, 6, 7, 1], [9, 1], [5, 6, 8, 1]


@pytest.fixture
def cache(tmp_path):
    return TextCache("an encoder", tmp_path / "deep" / "prompts")


def test_a_hit_needs_no_encoder_and_gives_the_same(cache):
    ids, mask = _tokens(A, B)
    encode = Encoder()
    first = cache.states(ids, mask, encode)
    np.testing.assert_array_equal(first, np.where(mask[..., None], encode(ids, mask), 0))
    assert first.dtype == np.float32
    np.testing.assert_array_equal(cache.states(ids, mask, _never), first)
    longer = cache.states(*_tokens(B, A, length=512), _never)  # the padding is not part of it
    assert longer.shape == (2, 512, DIM) and not longer[:, 8:].any()
    np.testing.assert_array_equal(longer[::-1, :8], first)
    files = sorted(cache.directory.iterdir())
    assert len(files) == 2 and all(f.suffix == ".safetensors" for f in files)
    assert all(f.stat().st_size < 4 * DIM * 4 + 300 for f in files)


def test_only_what_is_missing_is_encoded_and_once(cache):
    encode = Encoder()
    cache.states(*_tokens(A), encode)
    states = cache.states(*_tokens(B, A, C, B, B), encode)
    assert encode.seen == [1, 2]
    np.testing.assert_array_equal(states[0], states[3])
    np.testing.assert_array_equal(states, cache.states(*_tokens(B, A, C, B, B), _never))
    assert np.abs(states[1] - states[2]).max() > 0.1


def test_other_encoders_dtypes_and_masks_are_other_entries(cache):
    cache.states(*_tokens(A), Encoder())
    for other in (
        dataclasses.replace(cache, encoder="another"),
        dataclasses.replace(cache, dtype="bfloat16"),
    ):
        encode = Encoder()
        states = other.states(*_tokens(A), encode)
        assert encode.seen == [1]
        np.testing.assert_array_equal(states, other.states(*_tokens(A), _never))
    assert states.dtype == ml_dtypes.bfloat16
    ids, mask = _tokens([0, *A])
    mask[0, 0] = False  # the same ids, one place later
    encode = Encoder()
    assert cache.states(ids, mask, encode)[0, 1].any() and encode.seen == [1]


def _damage(file, kind):
    data = bytearray(file.read_bytes())
    if kind == "flipped bit":
        data[-3] ^= 4
    elif kind == "truncated":
        data = data[: len(data) // 2]
    elif kind == "foreign":
        data = b"hello"
    elif kind == "empty":
        data = b""
    file.write_bytes(data)


@pytest.mark.parametrize("kind", ["flipped bit", "truncated", "foreign", "empty"])
def test_a_damaged_file_is_encoded_again_and_mended(cache, kind):
    ids, mask = _tokens(A, B)
    good = cache.states(ids, mask, Encoder())
    for file in cache.directory.iterdir():
        _damage(file, kind)
    encode = Encoder()
    np.testing.assert_array_equal(cache.states(ids, mask, encode), good)
    assert encode.seen == [2]
    np.testing.assert_array_equal(cache.states(ids, mask, _never), good)


def test_the_least_recently_used_go_first(cache):
    cache.states(*_tokens(A), Encoder())
    (file,) = cache.directory.iterdir()
    size = file.stat().st_size
    cache = dataclasses.replace(cache, limit=2 * size + 10)
    foreign = cache.directory / "holiday.safetensors"
    foreign.write_bytes(bytes(10 * size))
    left = cache.directory / f"{'0' * 64}.abc.tmp"  # of a process that died
    left.write_bytes(bytes(size))
    os.utime(left, (1, 1))
    os.utime(file, (2, 2))
    cache.states(*_tokens(C), Encoder())
    assert not left.exists() and file.exists()
    for other in cache.directory.iterdir():
        if other != file:
            os.utime(other, (3, 3))
    cache.states(*_tokens(A), _never)  # used: now younger than C
    cache.states(*_tokens([4, 4, 4, 1]), Encoder())
    assert file.exists() and foreign.exists()
    encode = Encoder()
    cache.states(*_tokens(C), encode)
    assert encode.seen == [1]


def test_a_directory_that_cannot_be_written_only_warns(tmp_path):
    (tmp_path / "file").write_text("")
    cache = TextCache("an encoder", tmp_path / "file" / "prompts")
    ids, mask = _tokens(A)
    with pytest.warns(UserWarning, match=r"prompts are not cached.*file"):
        states = cache.states(ids, mask, Encoder())
    assert states[mask].all()


def test_a_full_disk_only_warns_and_keeps_no_part(cache, monkeypatch):
    def full(old, new):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    ids, mask = _tokens(A)
    with pytest.warns(UserWarning, match=r"prompts are not cached.*No space left"):
        states = cache.states(ids, mask, Encoder())
    assert states[mask].all() and list(cache.directory.iterdir()) == []


def test_without_a_directory_it_warns_once_and_encodes():
    ids, mask = _tokens(A)
    with pytest.warns(UserWarning, match="no home directory") as warned:
        states = TextCache("an encoder", None).states(ids, mask, Encoder())
    assert states[mask].all() and len(warned) == 1


def test_nothing_is_left_behind_by_a_failing_encoder(cache):
    with pytest.raises(RuntimeError, match="no memory"):
        cache.states(
            *_tokens(A), lambda ids, mask: (_ for _ in ()).throw(RuntimeError("no memory"))
        )
    assert not cache.directory.exists()


def test_default_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert TextCache("e").directory == tmp_path / "alchemint_jax" / "prompts"
    for unset in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        of_home = "Library/Caches" if sys.platform == "darwin" else ".cache"
        assert default_directory() == Path.home() / of_home / "alchemint_jax" / "prompts"


def test_dtype_is_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"TextCache\.dtype is 'int8'"):
        TextCache("e", tmp_path, dtype="int8")


def test_fingerprints(tmp_path):
    def encoder(name, data=b"x" * 9000, config="{}", time=7):
        path = tmp_path / name
        path.mkdir()
        (path / "config.json").write_text(config)
        (path / "model.safetensors").write_bytes(data)
        os.utime(path / "model.safetensors", (time, time))
        return path

    plain = encoder("plain")
    assert fingerprint(plain) == fingerprint(plain) == fingerprint(encoder("copy"))
    others = [
        fingerprint(plain),
        fingerprint(plain, "int8"),
        fingerprint(plain, "int8", "bfloat16"),
        fingerprint(encoder("other", b"x" * 8999 + b"y")),
        fingerprint(encoder("longer", b"x" * 9001)),
        fingerprint(encoder("configured", config="{ }")),
        fingerprint(encoder("later", time=8)),
    ]
    assert len(set(others)) == len(others)
    (plain / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"cannot read.*config\.json"):
        fingerprint(plain)
    with pytest.raises(WeightsError, match="no \\*.safetensors"):
        fingerprint(tmp_path)


def test_jax_arrays_of_any_device_are_kept(cache):
    ids, mask = _tokens(A)
    elsewhere = jax.devices()[3]
    states = cache.states(ids, mask, lambda *x: jax.device_put(Encoder()(*x), elsewhere))
    assert isinstance(states, np.ndarray)
    np.testing.assert_array_equal(states, cache.states(ids, mask, _never))
