from __future__ import annotations

import shutil
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pool_encoder import CLIPS, VALIDATION, PoolEncoder

from alchemint_jax import weights
from alchemint_jax.data import encode as data_encode
from alchemint_jax.data import encode_dataset, open_encoded, open_split
from alchemint_jax.data.encode import encode_with
from alchemint_jax.data.encoded import read_header
from alchemint_jax.data.encoding import Encoding
from alchemint_jax.errors import DataError, WeightsError
from alchemint_jax.models.vae import TILE, VAE, VAEConfig
from alchemint_jax.sampling.sample import encode_references

pytestmark = pytest.mark.slow


def records_of(directory) -> list:
    return [
        open_encoded(directory, split)[i]
        for split, count in (("train", CLIPS), ("validation", VALIDATION))
        for i in range(count)
    ]


def assert_same(left, right):
    for a, b in zip(records_of(left), records_of(right), strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert np.array_equal(a[key], b[key]), key


def test_every_record_is_its_clip_encoded(sprites, encoded):
    encode = PoolEncoder()
    for split in ("train", "validation"):
        source, found = open_split(sprites, split), open_encoded(encoded, split)
        assert len(source) == len(found)
        for i in range(len(source)):
            clip, record = source[i], found[i]
            latents = encode(clip["video"][None])[0].astype(np.float16)
            assert np.array_equal(record["latents"], latents)
            for slot, view in np.ndindex(3, 3):
                expected = encode(clip["references"][slot, view][None, None])[0, 0]
                expected = expected.astype(np.float16) if slot < clip["n_subjects"] else 0
                assert np.array_equal(
                    record["references"][slot, view],
                    np.broadcast_to(expected, record["references"].shape[2:]),
                )
            for key in ("caption", "words", "n_subjects", "index", "fps"):
                assert record[key] == clip[key]
            assert np.array_equal(record["intervals"], clip["intervals"])


def test_the_header_says_what_it_is(encoded):
    header = read_header(encoded)
    assert header["vae"] == "pool" and header["fps"] == 8 and header["stride"] == 4
    assert header["splits"] == {"train": CLIPS, "validation": VALIDATION}
    (bucket,) = header["buckets"]
    assert bucket["folder"] == "33x64x64" and bucket["splits"] == header["splits"]
    assert bucket["latents"] == [9, 8, 8, 3] and bucket["references"] == [3, 3, 4, 4, 3]
    assert bucket["size"] == [64, 64] and bucket["reference_size"] == [32, 32]


def test_the_encoder_sees_two_shapes_only(sprites, tmp_path):
    encode = PoolEncoder()
    encode_with(encode, "pool", sprites, tmp_path / "out", batch=4, shard=8)
    assert encode.shapes == {(4, 33, 64, 64, 3), (32, 1, 32, 32, 3)}


def test_an_interrupted_run_goes_on_after_its_finished_shards(sprites, encoded, tmp_path):
    out = tmp_path / "out"
    whole = PoolEncoder()
    encode_with(whole, "pool", sprites, tmp_path / "whole", batch=4, shard=8)
    with pytest.raises(KeyboardInterrupt):
        encode_with(PoolEncoder(whole.videos // 2), "pool", sprites, out, batch=4, shard=8)
    assert not out.exists()
    with pytest.raises(DataError, match="another vae"):
        encode_with(PoolEncoder(), "other", sprites, out, batch=4, shard=8)
    rest = PoolEncoder()
    encode_with(rest, "pool", sprites, out, batch=4, shard=8)
    assert 0 < rest.videos < whole.videos
    assert_same(out, encoded)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_finished_dataset_is_kept_and_another_is_refused(sprites, encoded):
    idle = PoolEncoder(fail_after=0)
    assert encode_with(idle, "pool", sprites, encoded, batch=2, shard=8) == encoded
    for identity, views, shard in (("new", None, 8), ("pool", 1, 8), ("pool", None, 4)):
        with pytest.raises(DataError, match="another"):
            encode_with(idle, identity, sprites, encoded, Encoding(views=views), shard=shard)
    with pytest.raises(DataError, match="something else"):
        encode_with(idle, "pool", sprites, sprites)


def test_fewer_views_can_be_kept(sprites, encoded, tmp_path):
    encode_with(PoolEncoder(), "pool", sprites, tmp_path / "out", Encoding(views=1))
    for few, all_views in zip(records_of(tmp_path / "out"), records_of(encoded), strict=True):
        assert np.array_equal(few["references"], all_views["references"][:, :1])


def test_latents_out_of_range_are_refused(sprites, tmp_path):
    with pytest.raises(DataError, match="not finite"):
        encode_with(lambda x: x[:, :1] * np.float32(np.nan), "bad", sprites, tmp_path / "out")


def _overwrite_middle(path):
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    path.write_bytes(data)


def test_damaged_datasets_are_explained(encoded, tmp_path):
    with pytest.raises(DataError, match=r"dataset\.json is missing"):
        open_encoded(tmp_path / "missing", "train")
    with pytest.raises(DataError, match="no split 'test'"):
        open_encoded(encoded, "test")
    broken = tmp_path / "broken"
    shutil.copytree(encoded, broken)
    shard = broken / "33x64x64" / "train" / "train-00001-of-00002.array_record"
    _overwrite_middle(shard)
    with pytest.raises(DataError, match=r"broken/33x64x64/train: .*cannot be (opened|read)"):
        source = open_encoded(broken, "train")
        [source[i] for i in range(len(source))]
    shutil.copy(broken / "33x64x64" / "train" / "train-00000-of-00002.array_record", shard)
    with pytest.raises(DataError, match="has 16 records, not 13"):
        open_encoded(broken, "train")
    shard.unlink()
    with pytest.raises(DataError, match="00001-of-00002.*missing"):
        open_encoded(broken, "train")
    (broken / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match="schema"):
        open_encoded(broken, "train")


class TinyVAE(nn.Module):
    def setup(self):
        self.scale = self.param("scale", nn.initializers.ones, ())

    def encode(self, video):
        pooled = nn.avg_pool(video[:, ::4], (1, 8, 8), strides=(1, 8, 8))
        return pooled * self.scale


def test_a_model_directory_encodes_in_minus_one_to_one(sprites, encoded, tmp_path, monkeypatch):
    (tmp_path / "model" / "vae").mkdir(parents=True)
    with pytest.raises(WeightsError, match="safetensors"):
        encode_dataset(sprites, tmp_path / "model", tmp_path / "out")
    (tmp_path / "model" / "vae" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        encode_dataset(sprites, tmp_path / "model", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # nothing was begun

    def load(directory, component):
        assert directory == tmp_path / "model" and component == "vae"
        return TinyVAE(), {"scale": jnp.float32(1)}

    opened = (SimpleNamespace(config=VAEConfig()), {})
    monkeypatch.setattr(weights, "open_component", lambda directory, component: opened)
    monkeypatch.setattr(weights, "load", load)
    encode_dataset(sprites, tmp_path / "model", tmp_path / "out", batch=4)
    for found, expected in zip(records_of(tmp_path / "out"), records_of(encoded), strict=True):
        np.testing.assert_allclose(found["latents"], expected["latents"], atol=2e-3)
        np.testing.assert_allclose(found["references"], expected["references"], atol=2e-3)


def test_large_frames_are_encoded_as_generation_encodes_them(tmp_path, monkeypatch):
    config = VAEConfig(
        base_dim=4,
        dim_mult=(1, 2),
        num_res_blocks=1,
        temporal_downsample=(True,),
        z_dim=3,
        latents_mean=(0.0,) * 3,
        latents_std=(1.0,) * 3,
    )
    vae = VAE(config)
    params = jax.jit(vae.init)(jax.random.key(0), jnp.zeros((1, 1, 4, 4, 3)))["params"]
    monkeypatch.setattr(weights, "load", lambda directory, component: (vae, params))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 1, 4, TILE + 8, 3), dtype=np.uint8)
    found = data_encode._vae_encoder(tmp_path)(pixels)
    pictures = encode_references(params, jnp.asarray(pixels.swapaxes(0, 1)), vae=vae)[0]
    np.testing.assert_allclose(found[:, 0], pictures, atol=1e-4)
