"""Datasets with buckets and states of texts: encoded, read, and read by the batch."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil

import numpy as np
import pytest
from drawn_clips import drawn
from pool_encoder import PoolEncoder

from alchemint_jax.data import (
    Augment,
    Bucket,
    Encoding,
    LoaderConfig,
    Share,
    latent_loader,
    open_encoded,
    open_split,
    write_timed_clips,
)
from alchemint_jax.data.encode import encode_with
from alchemint_jax.data.encoded import check_text_encoder, open_texts, read_header
from alchemint_jax.data.share import WHOLE
from alchemint_jax.data.text_states import Lengths, TextEncoder
from alchemint_jax.data.timed_clips import Picture, TimedClip
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.media import encode_mp4
from alchemint_jax.tokenizers import ByteTokenizer

pytestmark = pytest.mark.slow

BUCKETS = tuple(map(Bucket.parse, ("9x32x48", "9x48x32", "1x32x48")))
LENGTHS = Lengths(caption=40, word=6, event=12)
DIM = 4


class Reader:
    """A text encoder to check by hand: the id of a token, and the number of those before it."""

    def __init__(self):
        self.texts = 0

    def __call__(self, ids, mask):
        self.texts += int(mask.any(1).sum())
        states = np.stack([ids, np.cumsum(mask, 1), ids % 7, ids * 0 + 1], -1).astype(np.float32)
        return states * mask[..., None]


def texts(reader=None):
    return TextEncoder("reader", ByteTokenizer(1), reader or Reader(), DIM, LENGTHS)


def expected(text, length):
    ids, mask = ByteTokenizer(length).encode([text])
    return Reader()(ids, mask)[0]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    made = [drawn([[[0, 40]]], frames=40, name=f"wide{i}")[0] for i in range(3)]
    made += [drawn([[[2, 9]], [[0, 12]]], frames=12, size=(64, 48), name="tall")[0]]
    made += [drawn([[[0, 1]]], frames=1, name=f"still{i}")[0] for i in range(2)]
    out = tmp_path_factory.mktemp("clips") / "set"
    return write_timed_clips(out, {"train": made, "validation": made[:1]}, {}, shard=4)


ENCODING = Encoding(buckets=BUCKETS, slots=2, views=2, events=1)


def encode(clips, out, encoding=ENCODING, **options):
    options = {"batch": 2, "shard": 3, "texts": texts(), **options}
    return encode_with(
        options.pop("encoder", PoolEncoder()), "pool", clips, out, encoding, **options
    )


@pytest.fixture(scope="module")
def encoded(clips, tmp_path_factory):
    return encode(clips, tmp_path_factory.mktemp("encoded") / "set")


def records(folder, bucket, split="train"):
    source = open_encoded(folder, split, bucket)
    return [source[i] for i in range(len(source))]


def test_clips_are_sorted_into_buckets(encoded):
    header = read_header(encoded)
    assert header["fps"] == 8 and header["stride"] == 4 and header["skipped"] == {}
    found = [(one["folder"], one["splits"], one["latents"]) for one in header["buckets"]]
    assert found == [
        ("1x32x48", {"train": 2}, [1, 4, 6, 3]),
        ("9x32x48", {"train": 12, "validation": 4}, [3, 4, 6, 3]),
        ("9x48x32", {"train": 1}, [3, 6, 4, 3]),
    ]
    assert header["splits"] == {"train": 15, "validation": 4}
    wide = records(encoded, 1)
    assert {one["clip"] for one in wide} == {"wide0", "wide1", "wide2"}
    first = [one for one in wide if one["clip"] == "wide0"]
    assert all(one["intervals"][0].tolist() == [[0, 9], [0, 0]] for one in first)
    # The picture is of the first frame: from inside of the first window only.
    assert {one["reference_sources"][0] for one in first if one["start"] > 4} == {"outside"}
    (tall,) = records(encoded, 2)
    assert tall["words"] == ["red square", "blue square"]
    assert tall["references"].shape == (2, 2, 6, 4, 3) and tall["references"].any((2, 3, 4)).all()


def test_states_of_texts_are_written_once_and_read_by_row(clips, encoded, tmp_path):
    card = read_header(encoded)["text"]
    assert card["rows"] == 6  # the empty one, two captions, two words, one event
    states = open_texts(encoded, LENGTHS)
    (tall,) = records(encoded, 2)
    found, mask = states.padded([tall["caption_row"], 0, -1], LENGTHS.caption)
    np.testing.assert_array_equal(found[0], expected(tall["caption"], LENGTHS.caption))
    np.testing.assert_array_equal(found[1], expected("", LENGTHS.caption))
    assert not mask[2].any() and found.dtype == np.float16
    reader = Reader()
    encode(clips, tmp_path / "again", texts=texts(reader))
    assert reader.texts == 32  # one batch
    with pytest.raises(DataError, match="texts were read as .*, but the config's sampling says"):
        open_texts(encoded, dataclasses.replace(LENGTHS, word=7))


def loader(folder, share=WHOLE, batch=4):
    return latent_loader(
        folder,
        "train",
        LoaderConfig(batch, seed=3),
        Augment(False, False),
        tokenizer=ByteTokenizer(LENGTHS.caption),
        tag_length=LENGTHS.word,
        event_length=LENGTHS.event,
        share=share,
        cached_text=True,
    )


def take(stream, count):
    return list(itertools.islice(iter(stream), count))


def same(left, right):
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        for a, b in zip(left, right, strict=True)
    )


def test_batches_have_the_shapes_of_the_buckets_and_the_states_of_their_texts(encoded):
    batches = take(loader(encoded), 10)  # two rounds of 3 + 1 + 1
    shapes = [batch["latents"].shape for batch in batches]
    assert sorted(set(shapes)) == [(4, 1, 4, 6, 3), (4, 3, 4, 6, 3), (4, 3, 6, 4, 3)]
    assert shapes.count((4, 3, 4, 6, 3)) == 6
    for batch in batches:
        assert batch["text"].shape == (4, 40, DIM) and batch["null_text"].shape == (4, 1, DIM)
        assert batch["tags"].shape == (4, 2, 6, DIM) and batch["events"].shape == (4, 3, 12, DIM)
        assert np.array_equal(batch["tag_mask"].any(-1), batch["used"])
        assert np.array_equal(batch["tags"].any((2, 3)), batch["used"])
    tall = next(b for b in batches if b["latents"].shape == (4, 3, 6, 4, 3))
    caption = "a red square and a blue square"
    np.testing.assert_array_equal(tall["text"][0], expected(caption, LENGTHS.caption))
    np.testing.assert_array_equal(tall["tags"][0, 1], expected("blue square", LENGTHS.word))
    used = tall["event_used"][0]
    said = [expected(text, LENGTHS.event) for text in ("", "it moves", "")]
    np.testing.assert_array_equal(tall["events"][0][used], np.stack(said)[: used.sum()])


def test_buckets_go_on_anywhere_and_are_shared_by_hosts(encoded):
    straight = take(loader(encoded), 9)
    assert same(straight[4:], take(loader(encoded, Share(16)), 5))
    parts = [take(loader(encoded, Share(0, (part,), 2), 2), 4) for part in range(2)]
    joined = [
        {key: np.concatenate([part[key] for part in row]) for key in row[0]}
        for row in zip(*parts, strict=True)
    ]
    assert same(straight[:4], joined)


def test_encoding_goes_on_and_ends_in_the_same_bytes(clips, encoded, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encode(clips, tmp_path / "set", encoder=PoolEncoder(fail_after=60))
    assert not (tmp_path / "set").exists() and len(list(tmp_path.glob(".set.partial/*/*/*"))) > 1
    idle = Reader()
    out = encode(clips, tmp_path / "set", texts=texts(idle))
    assert idle.texts == 0  # those were whole
    files = [path.relative_to(encoded) for path in encoded.rglob("*") if path.is_file()]
    assert len(files) > 7
    for name in files:
        assert (out / name).read_bytes() == (encoded / name).read_bytes(), name
    with pytest.raises(DataError, match="another cross"):
        encode(clips, out, dataclasses.replace(ENCODING, cross=0.1))


def test_what_fills_no_bucket_is_counted_or_refused(clips, tmp_path):
    long = dataclasses.replace(ENCODING, buckets=BUCKETS[:2], events=None)
    header = read_header(encode(clips, tmp_path / "long", long, texts=None))
    assert header["skipped"] == {"too short": 2} and header["text"] is None
    with pytest.raises(DataError, match=r"no clip .* \(5 too slow and 2 too short\)"):
        encode(clips, tmp_path / "fast", dataclasses.replace(long, fps=24.0))
    with pytest.raises(ConfigError, match=r"--buckets .* first clip is 40 frames of 48 x 64"):
        encode(clips, tmp_path / "none", Encoding())
    with pytest.raises(DataError, match="no states of texts"):
        latent_loader(tmp_path / "long", "train", LoaderConfig(1), cached_text=True)


def test_text_encoders_are_told_apart(encoded):
    with pytest.raises(DataError, match=r"text encoder \(reader\) than that of sprites"):
        check_text_encoder(encoded, "sprites")


def test_a_dataset_of_before_there_were_buckets_is_read_alike(sprites, tmp_path):
    """Of schema 1: one shape, whose records lie at the top."""
    new = encode_with(PoolEncoder(), "pool", sprites, tmp_path / "new", batch=4, shard=8)
    header = json.loads((new / "dataset.json").read_text())
    (bucket,) = header["buckets"]
    old = tmp_path / "old"
    shutil.copytree(new / bucket["folder"], old)
    kept = ("dataset", "vae", "source", "fps")
    named = ("frames", "latents", "references", "shard", "splits")
    one = {name: header[name] for name in kept} | {name: bucket[name] for name in named}
    (old / "dataset.json").write_text(json.dumps(one | {"schema": 1, "views": None}))
    assert read_header(old)["stride"] == 4
    streams = [latent_loader(folder, "train", LoaderConfig(3, seed=2)) for folder in (old, new)]
    assert same(*(take(stream, 9) for stream in streams))
    idle = PoolEncoder(fail_after=0)
    assert encode_with(idle, "pool", sprites, old) == old  # it is there already


def test_sprites_written_as_videos_are_encoded_alike(sprites, tmp_path):
    """The same scenes by either road: as arrays of one shape, and as videos with cut-outs."""
    from alchemint_jax.data.sources import ShapedClip

    def as_video(record):
        clip = ShapedClip(record)
        scene = clip.scene()
        line = {
            "id": scene.id,
            "fps": scene.clock.fps,
            "frames": scene.clock.frames,
            "size": list(scene.size),
            "caption": scene.caption,
            "subjects": [{"word": s.word, "frames": s.spans} for s in scene.subjects],
        }
        pictures = tuple(
            Picture(_png(one.pixels()), one.subject, one.kind) for one in clip.pictures
        )
        return TimedClip(line, encode_mp4(record["video"], 8), pictures)

    source = open_split(sprites, "train")
    few = [source[i] for i in range(4)]
    folder = write_timed_clips(tmp_path / "set", {"train": [as_video(r) for r in few]}, {})
    size = few[0]["references"].shape[2:4]
    plain = Encoding(
        buckets=(Bucket(33, 64, 64),), views=3, reference_size=size, vary=False, windows=1
    )
    found = records(encode_with(PoolEncoder(), "pool", folder, tmp_path / "videos", plain), 0)
    arrays = encode_with(PoolEncoder(), "pool", sprites, tmp_path / "arrays")
    for one, other in zip(found, records(arrays, 0), strict=False):
        assert one.keys() == other.keys()
        for name in ("intervals", "references"):
            np.testing.assert_array_equal(one[name], other[name])
        for name in ("words", "caption", "n_subjects", "fps"):
            assert one[name] == other[name]
        error = np.abs(one["latents"].astype(float) - other["latents"])
        assert error.mean() < 0.02 and error.max() < 0.1


def _png(rgba):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return buffer.getvalue()
