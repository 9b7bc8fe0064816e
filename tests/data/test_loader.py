from __future__ import annotations

import itertools
import time

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest
from pool_encoder import CLIPS

from alchemint_jax.data import (
    Augment,
    LoaderConfig,
    clip_loader,
    latent_loader,
    open_encoded,
    open_split,
)
from alchemint_jax.data.loader import pipeline
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.text import ByteTokenizer


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
    assert batch["references"].shape == (4, 3, 3, 64, 64, 3) and batch["used"].shape == (4, 3)
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
        clip_loader(sprites, "train", LoaderConfig(2), frames=frames)


def test_every_epoch_has_everything_once_in_a_new_order():
    batches = take(pipeline(numbers(12), Keep(), LoaderConfig(4, seed=1)), 6)
    order = np.concatenate([batch["index"] for batch in batches])
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12))
    assert order[:12].tolist() != order[12:].tolist() != list(range(12))
    other = take(pipeline(numbers(12), Keep(), LoaderConfig(4, seed=2)), 6)
    assert order.tolist() != np.concatenate([batch["index"] for batch in other]).tolist()


@pytest.mark.parametrize("hosts", [2, 3, 4])
def test_hosts_share_an_epoch_between_them(hosts):
    seen = []
    for host in range(hosts):
        config = LoaderConfig(2, seed=4, host=host, hosts=hosts)
        seen.append(take(pipeline(numbers(24), Keep(), config), 24 // hosts // 2))
    indices = [i for batches in seen for batch in batches for i in batch["index"].tolist()]
    assert sorted(indices) == list(range(24))
    noise = {tuple(n) for batches in seen for batch in batches for n in batch["noise"]}
    assert len(noise) == 24


@pytest.mark.parametrize("augment", [Augment(), Augment(False, False)])
def test_a_restored_state_goes_on_with_the_same_bits(encoded, augment):
    def loader():
        return latent_loader(encoded, "train", LoaderConfig(3, seed=2), augment)

    running = iter(loader())
    for _ in range(6):  # past the end of an epoch
        next(running)
    state = running.get_state()
    expected = [next(running) for _ in range(7)]
    running.set_state(state)
    fresh = iter(loader())
    fresh.set_state(state)
    assert same(expected, [next(running) for _ in range(7)])
    assert same(expected, [next(fresh) for _ in range(7)])
    assert not same(expected, take(loader(), 7))


def test_a_checkpoint_restores_the_position(sprites, tmp_path):
    loader = clip_loader(sprites, "train", LoaderConfig(3, seed=2), frames=5)
    running = iter(loader)
    next(running)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(1, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(running)))
        manager.wait_until_finished()
        expected = [next(running) for _ in range(4)]
        fresh = iter(loader)
        manager.restore(1, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(fresh)))
    assert same(expected, [next(fresh) for _ in range(4)])


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


def test_workers_keep_the_order():
    threads = take(pipeline(numbers(20), Keep(), LoaderConfig(4, seed=3)), 5)
    running = iter(pipeline(numbers(20), Keep(), LoaderConfig(4, seed=3, num_workers=2)))
    assert same(threads, [next(running) for _ in range(5)])
    running.close()


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"buffer": 0}, {"num_workers": -1}, {"host": 1}, {"host": 2, "hosts": 2}],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ConfigError):
        LoaderConfig(**{"batch_size": 2, **wrong})


def test_more_hosts_than_examples_are_refused():
    with pytest.raises(DataError, match="too few"):
        pipeline(numbers(2), Keep(), LoaderConfig(1, host=0, hosts=3))


def test_a_plain_example_is_the_record(encoded):
    source = open_encoded(encoded, "train")
    config = LoaderConfig(4, shuffle=False)
    (batch,) = take(latent_loader(encoded, "train", config, Augment(False, False)), 1)
    for row in range(4):
        record, count = source[row], source[row]["n_subjects"]
        assert np.array_equal(batch["latents"][row], record["latents"].astype(np.float32))
        assert np.array_equal(batch["references"][row], record["references"][:, 0])
        assert np.array_equal(batch["intervals"][row], record["intervals"])
        assert batch["used"][row].tolist() == [True] * count + [False] * (3 - count)
        ids, mask = ByteTokenizer(112).encode([record["caption"]])
        assert np.array_equal(batch["text_ids"][row], ids[0])
        assert np.array_equal(batch["text_mask"][row], mask[0])
    kinds = {key: value.dtype for key, value in batch.items()}
    assert kinds.pop("latents") == kinds.pop("references") == np.float32
    assert {key for key, kind in kinds.items() if kind == np.int32} == {
        "intervals",
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
            count, order = record["n_subjects"], []
            assert batch["used"][row].sum() == count
            for slot in range(3):
                if not batch["used"][row, slot]:
                    assert not batch["references"][row, slot].any()
                    assert not batch["intervals"][row, slot].any()
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
                assert np.array_equal(batch["intervals"][row, slot], record["intervals"][subject])
            assert sorted(order) == list(range(count))
            orders.add((count, tuple(order)))
    assert views == {0, 1, 2} and len([o for o in orders if o[0] == 2]) == 2
