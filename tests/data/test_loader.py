from __future__ import annotations

import itertools
import time

import grain
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_encoder import CLIPS

from alchemint_jax.data import (
    Augment,
    LoaderConfig,
    Share,
    clip_loader,
    latent_loader,
    open_encoded,
    open_split,
)
from alchemint_jax.data.loader import _Example, pipeline
from alchemint_jax.data.words import Ids
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.scene import Clock
from alchemint_jax.tokenizers import ByteTokenizer

CLOCK = Clock(8, 33, 4)
BYTES = Ids(ByteTokenizer(112), 16, None, 1)

pytestmark = pytest.mark.slow


class Keep(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        return {"index": np.int64(element["index"]), "noise": rng.normal(size=2)}


def numbers(count: int) -> list:
    return [{"index": i} for i in range(count)]


def take(loader, batches: int) -> list:
    return list(itertools.islice(iter(loader), batches))


def same(left, right) -> bool:
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
        for a, b in zip(left, right, strict=True)
    )


def test_clip_batches(sprites):
    (batch,) = take(clip_loader(sprites, "train", LoaderConfig(4), with_references=True), 1)
    assert batch["video"].shape == (4, 33, 64, 64, 3) and batch["video"].dtype == np.uint8
    assert batch["references"].shape == (4, 3, 3, 32, 32, 3) and batch["used"].shape == (4, 3)
    white = (batch["references"] == 255).all((2, 3, 4, 5))
    assert np.array_equal(white, ~batch["used"]) and batch["used"].any() and white.any()


def test_windows_are_cut_anywhere_from_real_clips(sprites):
    source = open_split(sprites, "train")
    videos = [source[i]["video"] for i in range(CLIPS)]
    places = set()
    for batch in take(clip_loader(sprites, "train", LoaderConfig(5), frames=9), 12):
        assert batch["video"].shape == (5, 9, 64, 64, 3)
        for window in batch["video"]:
            found = {
                (clip, start)
                for clip, video in enumerate(videos)
                for start in range(25)
                if np.array_equal(video[start], window[0])
                and np.array_equal(video[start : start + 9], window)
            }
            assert found
            places |= found if len(found) == 1 else set()  # empty stretches repeat
    starts = {start for _, start in places}
    assert len(starts) > 12 and min(starts) < 5 and max(starts) > 19


@pytest.mark.parametrize("frames", [0, 4, 8, 37])
def test_windows_that_do_not_fit_are_refused(sprites, frames):
    with pytest.raises(ConfigError, match="4k"):
        clip_loader(sprites, "train", LoaderConfig(2), frames=frames, stride=4)


def test_every_epoch_has_everything_once_in_a_new_order():
    batches = take(pipeline(numbers(12), Keep(), LoaderConfig(4, seed=1)), 6)
    order = np.concatenate([batch["index"] for batch in batches])
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12))
    assert order[:12].tolist() != order[12:].tolist() != list(range(12))
    other = take(pipeline(numbers(12), Keep(), LoaderConfig(4, seed=2)), 6)
    assert order.tolist() != np.concatenate([batch["index"] for batch in other]).tolist()


@given(
    start=st.integers(0, 70),
    each=st.integers(1, 3),
    owners=st.lists(st.integers(0, 2), min_size=3, max_size=6),
    steps=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_shares_are_the_stream_cut_into_parts(start, each, owners, steps):
    """Whoever reads which parts, together they read the next examples, in order."""
    of = len(owners)
    batches = [[None] * (each * of) for _ in range(steps)]
    for owner in set(owners):
        parts = tuple(part for part in range(of) if owners[part] == owner)
        share, size = Share(start, parts, of), each * len(parts)
        assert share.batch(size) == each * of
        for position in range(steps * size):
            step, row = divmod(position, size)
            slot = parts[row // each] * each + row % each
            assert batches[step][slot] is None
            batches[step][slot] = share.example(position, size)
    assert sum(batches, []) == list(range(start, start + steps * each * of))


@pytest.mark.parametrize("hosts", [1, 2, 3, 4])
def test_hosts_share_a_batch_between_them(hosts):
    whole = take(pipeline(numbers(24), Keep(), LoaderConfig(12, seed=4)), 3)
    config = LoaderConfig(12 // hosts, seed=4)
    shares = [Share(0, (host,), hosts) for host in range(hosts)]
    parts = [take(pipeline(numbers(24), Keep(), config, share), 3) for share in shares]
    joined = [
        {key: np.concatenate([part[key] for part in row]) for key in row[0]}
        for row in zip(*parts, strict=True)
    ]
    assert same(whole, joined)
    noise = {tuple(n) for batch in joined for n in batch["noise"]}
    assert len(noise) == 36


def test_a_share_may_be_parts_that_are_apart():
    (whole,) = take(pipeline(numbers(24), Keep(), LoaderConfig(12)), 1)
    (part,) = take(pipeline(numbers(24), Keep(), LoaderConfig(6), Share(0, (0, 2), 4)), 1)
    rows = [0, 1, 2, 6, 7, 8]
    assert same([{key: x[rows] for key, x in whole.items()}], [part])


@pytest.mark.parametrize(("start", "workers"), [(6, 0), (20, 0), (27, 0), (27, 2)])
def test_a_pipeline_starts_anywhere_in_the_stream(start, workers):
    """Worker processes keep the order."""
    straight = take(pipeline(numbers(20), Keep(), LoaderConfig(40, seed=3)), 1)[0]
    config = LoaderConfig(4, seed=3, num_workers=workers)
    running = iter(pipeline(numbers(20), Keep(), config, Share(start)))
    batches = [next(running) for _ in range(3)]
    running.close()
    joined = {key: np.concatenate([batch[key] for batch in batches]) for key in straight}
    assert same([joined], [{key: x[start : start + 12] for key, x in straight.items()}])


@pytest.mark.parametrize("augment", [Augment(), Augment(False, False)])
def test_a_loader_goes_on_with_the_same_bits(encoded, augment):
    def loader(start):
        share = Share(start)
        return latent_loader(encoded, "train", LoaderConfig(3, seed=2), augment, share=share)

    straight = take(loader(0), 13)  # past the end of an epoch
    assert same(straight[6:], take(loader(18), 7))
    assert not same(straight[6:], take(loader(0), 7))


def test_a_model_without_references_reads_the_same_clips(encoded):
    def loader(**how):
        return take(latent_loader(encoded, "train", LoaderConfig(3, seed=2), **how), 2)

    for one, other in zip(loader(), loader(with_references=False), strict=True):
        slots = {name for name in one if other[name].shape != one[name].shape}
        assert slots == {"references", "used", "intervals", "tag_ids", "tag_mask"}
        assert all(other[name].shape == (3, 0, *one[name].shape[2:]) for name in slots)
        assert same(
            [{n: one[n] for n in one if n not in slots}],
            [{n: other[n] for n in one if n not in slots}],
        )


def test_a_clip_loader_starts_where_it_is_told(sprites):
    config = LoaderConfig(3, seed=2)
    straight = take(clip_loader(sprites, "train", config, frames=5), 3)
    later = clip_loader(sprites, "train", config, frames=5, share=Share(3))
    assert same(straight[1:], take(later, 2))


class Counted:
    def __init__(self):
        self.reads = 0

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        self.reads += 1
        return {"index": index}


@pytest.mark.parametrize("buffer", [1, 5])
def test_reading_ahead_is_bounded(buffer):
    source = Counted()
    running = iter(pipeline(source, Keep(), LoaderConfig(4, buffer=buffer)))
    next(running)
    deadline = time.monotonic() + 10
    while source.reads < 4 * buffer and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # long enough to run away if nothing held it back
    assert 4 * buffer <= source.reads <= 4 * (buffer + 1) + 2
    running.close()


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"buffer": 0}, {"num_workers": -1}],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ConfigError):
        LoaderConfig(**{"batch_size": 2, **wrong})


@pytest.mark.parametrize("wrong", [(-1, (0,), 1), (0, (), 1), (0, (1,), 1), (0, (1, 0), 2)])
def test_impossible_shares_are_refused(wrong):
    with pytest.raises(ConfigError):
        Share(*wrong)


def test_a_batch_that_does_not_divide_into_parts_is_refused():
    with pytest.raises(ConfigError, match="cannot be cut into the 2 parts"):
        pipeline(numbers(20), Keep(), LoaderConfig(3), Share(0, (0, 1), 4))


def test_a_dataset_without_examples_is_refused():
    with pytest.raises(DataError, match="no examples"):
        pipeline(numbers(0), Keep(), LoaderConfig(1))


def test_a_plain_example_is_the_record(encoded):
    source = open_encoded(encoded, "train")
    config = LoaderConfig(4, shuffle=False)
    (batch,) = take(latent_loader(encoded, "train", config, Augment(False, False)), 1)
    for row in range(4):
        record, count = source[row], source[row]["n_subjects"]
        assert np.array_equal(batch["latents"][row], record["latents"].astype(np.float32))
        assert np.array_equal(batch["references"][row], record["references"][:, 0])
        assert np.array_equal(batch["intervals"][row], CLOCK.latent(record["intervals"]))
        assert batch["used"][row].tolist() == [True] * count + [False] * (3 - count)
        ids, mask = ByteTokenizer(112).encode([record["caption"]])
        assert np.array_equal(batch["text_ids"][row], ids[0])
        assert np.array_equal(batch["text_mask"][row], mask[0])
    kinds = {key: value.dtype for key, value in batch.items()}
    for name in ("latents", "references", "intervals"):
        assert kinds.pop(name) == np.float32
    assert {key for key, kind in kinds.items() if kind == np.int32} == {
        "tag_ids",
        "text_ids",
    }
    assert {key for key, kind in kinds.items() if kind == np.bool_} == {
        "used",
        "tag_mask",
        "text_mask",
    }


def test_slots_are_shuffled_alike_in_all_fields_and_views_drawn(encoded):
    source = open_encoded(encoded, "train")
    by_latents = {source[i]["latents"].tobytes(): source[i] for i in range(len(source))}
    orders, views = set(), set()
    for batch in take(latent_loader(encoded, "train", LoaderConfig(5, seed=9)), 20):
        for row in range(5):
            record = by_latents[batch["latents"][row].astype(np.float16).tobytes()]
            count, order, latent = record["n_subjects"], [], CLOCK.latent(record["intervals"])
            assert batch["used"][row].sum() == count
            for slot in range(3):
                if not batch["used"][row, slot]:
                    assert not batch["references"][row, slot].any()
                    assert batch["intervals"][row, slot].tolist() == [[1, 0]] * 2
                    assert not batch["tag_mask"][row, slot].any()
                    continue
                reference = batch["references"][row, slot]
                ((subject, view),) = [
                    (s, v)
                    for s, v in np.ndindex(count, 3)
                    if np.array_equal(reference, record["references"][s, v])
                ]
                order.append(subject)
                views.add(view)
                ids, mask = ByteTokenizer(16).encode([record["words"][subject]])
                assert np.array_equal(batch["tag_ids"][row, slot], ids[0])
                assert np.array_equal(batch["tag_mask"][row, slot], mask[0])
                assert np.array_equal(batch["intervals"][row, slot], latent[subject])
            assert sorted(order) == list(range(count))
            orders.add((count, tuple(order)))
    assert views == {0, 1, 2} and len([o for o in orders if o[0] == 2]) == 2


@pytest.mark.parametrize("rows", [[[0, 0], [0, 0]], [[2, 5], [0, 0]]], ids=["never", "once"])
def test_a_subject_that_is_never_on_screen_is_not_used(encoded, rows):
    """As in generation: `scene.pack` says so for both."""
    record = dict(open_encoded(encoded, "train")[0])
    record["intervals"] = np.array([rows] * 3, np.int32)
    record |= {"n_subjects": 3, "words": ["disc", "star", "bar"]}
    record["references"] = np.ones_like(record["references"])
    (batch,) = take(pipeline([record], _Example(Augment(), BYTES, CLOCK), LoaderConfig(1)), 1)
    there = bool(rows[0][1])
    for name in ("used", "tag_mask", "tag_ids", "references"):
        assert batch[name].any() == there, name
    assert (batch["intervals"][..., 0] < batch["intervals"][..., 1]).any() == there
