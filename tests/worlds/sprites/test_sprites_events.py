"""Events of the sprites world: what is drawn, what records say, and what the loader makes of it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from pool_encoder import PoolEncoder

from alchemint_jax.data import LoaderConfig, latent_loader, open_encoded, open_split
from alchemint_jax.data.clips import describe
from alchemint_jax.data.encode import encode_with
from alchemint_jax.data.encoded import read_header
from alchemint_jax.errors import DataError
from alchemint_jax.scene import Clock
from alchemint_jax.tokenizers import ByteTokenizer
from alchemint_jax.worlds.sprites import write_sprites
from alchemint_jax.worlds.sprites.world import World, sample_clip

EVENTFUL = World.eventful()


@pytest.fixture(scope="module")
def eventful_clips():
    return [sample_clip(i, 5, EVENTFUL) for i in range(24)]


@pytest.fixture(scope="module")
def eventful(tmp_path_factory):
    return write_sprites(tmp_path_factory.mktemp("eventful") / "set", 6, 5, 2, events=True)


@pytest.fixture(scope="module")
def encoded_events(eventful):
    return encode_with(PoolEncoder(), "pool", eventful, eventful.parent / "encoded", batch=4)


def test_a_subject_has_another_color_during_an_event_and_then_only(eventful_clips):
    plain_world = dataclasses.replace(EVENTFUL, events=False)
    total = 0
    for i, clip in enumerate(eventful_clips):
        plain = sample_clip(i, 5, plain_world)
        assert not plain.events and plain.scene.caption == clip.scene.caption
        changed = (plain.video != clip.video).any((1, 2, 3))
        during = np.zeros(EVENTFUL.frames, bool)
        for event in clip.events:
            during[slice(*event.during)] = True
            subject = clip.scene.subjects[event.subject]
            assert event.text == f"the {subject.word} turns {event.color}"
            assert event.color not in [look.color for look in clip.looks]
            assert any(s <= event.during[0] and event.during[1] <= e for s, e in subject.spans)
        np.testing.assert_array_equal(changed, during)
        assert sum(e.during[1] - e.during[0] for e in clip.events) == during.sum(), "overlap"
        total += len(clip.events)
        for a, b in zip(plain.scene.subjects, clip.scene.subjects, strict=True):
            np.testing.assert_array_equal(a.pictures, b.pictures)
    assert total >= 18
    assert {len(clip.events) for clip in eventful_clips} == {0, 1, 2}


# Caption, intervals, mean of the clip and of the last references, from before there were events.
PLAIN = [
    ("a ring glides left on a light background", [((7, 25),)], 189.85, 228.15),
    ("a green moon bounces on a grey background", [((5, 23),)], 131.26, 227.32),
    ("a blue moon glides right on a light background", [((8, 12),)], 184.55, 231.66),
]


@pytest.mark.parametrize("index", range(3))
def test_clips_without_events_are_as_they_ever_were(index):
    """Committed studies and the bundled model depend on them."""
    caption, intervals, video, references = PLAIN[index]
    clip = sample_clip(index, 3)
    assert clip.scene.caption == caption and [s.spans for s in clip.scene.subjects] == intervals
    assert clip.video.mean() == pytest.approx(video, abs=0.02)
    assert clip.scene.subjects[-1].pictures.mean() == pytest.approx(references, abs=0.02)


def test_records_and_batches_say_what_happens_when(eventful, encoded_events):
    assert describe(eventful)["events"] is True
    assert read_header(encoded_events)["events"] == 2
    clips, found = open_split(eventful, "train"), open_encoded(encoded_events, "train")
    loader = latent_loader(encoded_events, "train", LoaderConfig(6, shuffle=False), event_length=32)
    (batch,) = itertools.islice(iter(loader), 1)
    assert batch["event_ids"].shape == batch["event_mask"].shape == (6, 5, 32)
    tokens, clock = ByteTokenizer(32), Clock(8, 33, 4)
    seen = 0
    for i in range(6):
        assert found[i]["events"] == clips[i]["events"]
        times = clips[i]["event_intervals"]
        np.testing.assert_array_equal(found[i]["event_intervals"], times)
        used = batch["event_used"][i]
        ends = np.rint(clock.pixel(batch["event_intervals"][i][used])).astype(int) + [0, 1]
        told = tokens.decode(batch["event_ids"][i])
        rows = {tuple(span): text for text, span in zip(told, ends.tolist(), strict=False)}
        for text, (start, end) in zip(clips[i]["events"], times.tolist(), strict=True):
            assert end == 0 or rows[start, end] == text
            seen += end > 0
        covered = np.concatenate([np.arange(*span) for span in ends])
        np.testing.assert_array_equal(np.sort(covered), np.arange(33))
        np.testing.assert_array_equal(batch["event_mask"][i].any(1), used)
    assert seen >= 4


def test_a_dataset_without_events_is_silent(sprites, encoded):
    assert "events" not in describe(sprites) and "events" not in read_header(encoded)
    assert "events" not in open_encoded(encoded, "train")[0]
    (plain,) = itertools.islice(iter(latent_loader(encoded, "train", LoaderConfig(2))), 1)
    assert not any(name.startswith("event") for name in plain)
    silent = latent_loader(encoded, "train", LoaderConfig(2), event_length=8)
    (batch,) = itertools.islice(iter(silent), 1)
    np.testing.assert_array_equal(batch["event_intervals"], [[[0, 8.375]]] * 2)
    np.testing.assert_array_equal(batch["event_mask"].sum(-1), 1)  # the end of an empty text
    for name, value in plain.items():
        np.testing.assert_array_equal(batch[name], value)


def test_events_need_time(tmp_path):
    with pytest.raises(DataError, match="clips with events have 33 frames, not 1"):
        write_sprites(tmp_path / "set", 2, frames=1, events=True)
