"""Encoded data that are read from a bucket, which a process on the loopback interface plays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alchemint_jax import places
from alchemint_jax.data import LoaderConfig, latent_loader, open_encoded
from alchemint_jax.data.encoded import read_header, read_in_place
from alchemint_jax.errors import DataError


def batches(data_dir):
    return list(itertools.islice(latent_loader(data_dir, "train", LoaderConfig(4)), 3))


@pytest.fixture
def there(encoded, bucket):
    where = places.place(bucket) / "latents"
    for file in encoded.rglob("*"):
        if file.is_file():
            (where / file.relative_to(encoded).as_posix()).write_bytes(file.read_bytes())
    return where


def test_batches_are_those_of_a_folder(encoded, there):
    assert read_in_place(there) and not read_in_place(encoded)
    assert not read_in_place(there.parent / "none")
    pairs = zip(batches(str(there)), batches(encoded), strict=True)
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_what_is_missing_is_named(there):
    folder = there / read_header(str(there))["buckets"][0]["folder"] / "train"
    next(path for path in folder.iterdir() if "00001-of" in path.name).unlink()
    with pytest.raises(DataError, match=f"{folder}: train-00001-of.*is missing"):
        open_encoded(str(there), "train")
    with pytest.raises(DataError, match="not a finished encoded dataset"):
        open_encoded(f"{there.parent}/none", "train")
