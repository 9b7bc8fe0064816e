from __future__ import annotations

import numpy as np
import pytest
from array_record.python import array_record_module
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alchemint_jax.data import records
from alchemint_jax.errors import DataError

ARRAYS = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.int32, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
PLAIN = st.one_of(st.integers(-(2**40), 2**40), st.text(max_size=9), st.lists(st.text(max_size=5)))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.one_of(ARRAYS, PLAIN), max_size=5))
def test_what_is_packed_is_what_is_unpacked(record):
    found = records.unpack(records.pack(record))
    assert found.keys() == record.keys()
    for key, value in record.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype and found[key].shape == value.shape
            assert found[key].tobytes() == value.tobytes()
        else:
            assert found[key] == value


def test_foreign_and_cut_records_are_refused():
    whole = records.pack({"a": np.arange(10)})
    with pytest.raises(DataError, match="cut short"):
        records.unpack(whole[:-1])
    for data in (b"", b"PK", b"x" * 40):
        with pytest.raises(DataError, match="signature"):
            records.unpack(data)


def test_shards_read_in_order_and_a_failed_one_leaves_nothing(tmp_path):
    paths = [tmp_path / "a.array_record", tmp_path / "b.array_record"]
    for offset, path in zip((0, 3), paths, strict=True):
        assert records.write_shard(path, ({"i": offset + i} for i in range(3))) == 3
    source = records.ShardedSource(paths)
    assert [source[i]["i"] for i in (5, 0, 3)] == [5, 0, 3] and len(source) == 6

    def broken():
        yield {"i": 0}
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        records.write_shard(tmp_path / "c.array_record", broken())
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("fails", ["write", "close"])
def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, monkeypatch, fails):
    def full(*args):
        raise RuntimeError("write() failed: No space left on device")

    real = array_record_module.ArrayRecordWriter
    writer = type("Writer", (real,), {fails: full})
    monkeypatch.setattr(array_record_module, "ArrayRecordWriter", writer)
    with pytest.raises(DataError, match=r"c\.array_record: cannot be written: .*No space"):
        records.write_shard(tmp_path / "c.array_record", [{"i": 0}])
    assert list(tmp_path.iterdir()) == []
