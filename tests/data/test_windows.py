"""Windows, buckets, references: what is chosen of a clip, without any autoencoder."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from drawn_clips import COLORS, drawn, png
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alchemint_jax.data import references
from alchemint_jax.data.buckets import Bucket, choose, cover, crop, generator, starts
from alchemint_jax.data.encoding import Encoding, Window
from alchemint_jax.data.schedule import Schedule
from alchemint_jax.data.timed_clips import Picture
from alchemint_jax.data.views import make
from alchemint_jax.errors import ConfigError
from alchemint_jax.media import encode_mp4
from alchemint_jax.models.vae import VAEConfig
from alchemint_jax.scene import Clock, Event, Scene, Spans, Subject
from alchemint_jax.scene.windows import window

WIDE, TALL, SHORT, STILL = (Bucket.parse(t) for t in ("9x32x48", "9x48x32", "5x32x48", "1x32x48"))


@given(
    rows=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 40)), max_size=3),
    start=st.integers(0, 19),
    frames=st.integers(1, 20),
    rate=st.sampled_from([8.0, 4.0, 3.0, 16.0]),
)
def test_a_window_shows_who_is_on_screen_in_its_frames(rows, start, frames, rate):
    scene = Scene("s", "", Clock(8.0, 40, 4), (Subject("cat", Spans(rows)),))
    shown = scene.clock.at_rate(rate, start, min(frames, 20))
    part = window(scene, shown, rate)
    there = {frame for s, e in scene.subjects[0].spans for frame in range(s, e)}
    found = {frame for s, e in part.subjects[0].spans for frame in range(s, e)}
    assert found == {i for i, frame in enumerate(shown) if frame in there}
    assert part.clock == Clock(rate, len(shown), 4)


def test_another_rate_takes_the_nearest_frames():
    clock = Clock(30.0, 61, 4)
    assert clock.at_rate(30.0).tolist() == list(range(61))
    assert clock.at_rate(15.0).tolist() == list(range(0, 61, 2))
    assert clock.at_rate(16.0)[:5].tolist() == [0, 2, 4, 6, 8] and len(clock.at_rate(16.0)) == 33
    assert clock.at_rate(16.0, 8, 3).tolist() == [15, 17, 19]


def test_events_of_other_moments_are_left_out():
    events = (Event("a", Spans([(0, 5)])), Event("b", Spans([(8, 20)])))
    part = window(Scene("s", "", Clock(8.0, 40, 4), events=events), np.arange(6, 15), 8.0)
    assert [(event.text, event.spans) for event in part.events] == [("b", ((2, 9),))]


@pytest.mark.parametrize(
    ("frames", "size", "chosen"),
    [
        (40, (480, 832), WIDE),
        (40, (832, 480), TALL),
        (8, (480, 832), SHORT),
        (8, (832, 480), SHORT),
        (1, (300, 300), STILL),
    ],
)
def test_a_clip_goes_where_it_fits_best(frames, size, chosen):
    assert choose([STILL, TALL, WIDE, SHORT], frames, size) == chosen


def test_a_clip_is_not_enlarged_without_need():
    small, large = Bucket(9, 480, 832), Bucket(9, 720, 1248)
    assert choose([small, large], 9, (1080, 1872)) == large
    assert choose([small, large], 9, (480, 832)) == small
    assert choose([large], 9, (48, 83)) == large and choose([small], 8, (480, 832)) is None


@given(frames=st.integers(1, 90), length=st.integers(1, 30), most=st.integers(1, 5))
def test_windows_lie_in_the_clip_and_apart(frames, length, most):
    length = min(length, frames)
    found = starts(frames, length, most, generator(0, frames))
    assert len(found) == max(1, min(most, frames // length))
    assert found[0] >= 0 and found[-1] + length <= frames
    assert all(b - a >= length for a, b in zip(found, found[1:], strict=False))
    assert found == starts(frames, length, most, generator(0, frames))


def test_frames_cover_their_bucket():
    assert cover((720, 1280), (480, 832)) == (480, 853)
    assert cover((480, 480), (480, 832)) == (832, 832)
    assert crop(np.arange(30).reshape(5, 6), (3, 2)).tolist() == [[8, 9], [14, 15], [20, 21]]


def picture(frame, kind="segment"):
    return Picture(png((200, 0, 0)), 0, kind, frame)


KINDS = {"crop": 1.0, "segment": 5.0, "inpaint": 3.0, "redux": 1.0}


def test_pictures_from_outside_come_first_and_what_was_used_is_said():
    inside, outside, elsewhere = picture(5), picture(30), picture(-1, "cross")
    random = generator(0)
    chosen, source = references.choose([inside, outside], (0, 10), 3, KINDS, 0.3, random)
    assert chosen == [outside] * 3 and source == "outside"
    chosen, source = references.choose([inside], (0, 10), 2, KINDS, 0.3, random)
    assert chosen == [inside] * 2 and source == "inside"
    assert references.choose([], (0, 10), 2, KINDS, 0.3, random)[0] == []
    unwanted = picture(30, "redux")
    assert references.choose([unwanted], (0, 10), 1, KINDS | {"redux": 0}, 0.0, random)[0] == []
    first, _ = references.choose([inside, outside, elsewhere], (-4, 10), 3, {}, 0.0, None)
    assert first == [outside, elsewhere, outside]


def test_kinds_and_cross_pairs_have_the_shares_that_were_asked_for():
    pool = [picture(30, kind) for kind in ("crop", "segment", "segment", "redux", "cross")]
    chosen, _ = references.choose(pool, (0, 10), 4000, KINDS, 0.3, generator(1))
    share = {kind: np.mean([one.kind == kind for one in chosen]) for kind in (*KINDS, "cross")}
    assert share["cross"] == pytest.approx(0.3, abs=0.03) and share["inpaint"] == 0
    assert share["segment"] / share["crop"] == pytest.approx(5, rel=0.25)
    assert share["redux"] / share["crop"] == pytest.approx(1, rel=0.35)


def test_varied_pictures_differ_and_stay_in_the_middle_of_white():
    rgba = np.zeros((40, 60, 4), np.uint8)
    rgba[5:25, 30:50] = (200, 30, 30, 255)  # off the middle; its surroundings are black, unseen
    made = [
        references.varied(rgba, (48, 48), references.Variation(), generator(0, i))
        for i in range(12)
    ]
    assert len({one.tobytes() for one in made}) == 12
    for one in made:
        assert one.shape == (48, 48, 3)
        there = np.argwhere(one.min(-1) < 200)
        assert np.abs(there.mean(0) - 23.5).max() < 2
        assert one[23, 23, 0] > one[23, 23, 1:].max() + 60 and one.min() > 5
    areas = [(one.min(-1) < 200).mean() for one in made]
    assert max(areas) > 1.5 * min(areas)
    again = references.varied(rgba, (48, 48), references.Variation(), generator(0, 3))
    assert np.array_equal(again, made[3])


def test_varied_pictures_show_the_whole_subject():
    """A cross of four colours keeps each of them, unless it is asked to be too large."""
    colors = np.array([(220, 30, 30), (30, 200, 30), (30, 30, 220), (210, 210, 20)])
    rgba = np.zeros((60, 60, 4), np.uint8)
    for turn, color in enumerate(colors):
        arm = np.rot90(np.arange(3600).reshape(60, 60), turn)[:8, 26:34]
        rgba.reshape(-1, 4)[arm] = (*color, 255)
    rgba[8:52, 28:32] = rgba[28:32, 8:52] = (90, 90, 90, 255)

    def shown(zoom):
        how = references.Variation(zoom=zoom, hue=0.0, light=0.0, blur=0.0)
        made = [references.varied(rgba, (32, 32), how, generator(1, i)) for i in range(8)]
        near = [np.abs(one[..., None, :].astype(int) - colors).max(-1) < 40 for one in made]
        return [one.any((0, 1)).sum() for one in near]

    assert shown(references.Variation().zoom) == [4] * 8
    assert min(shown((1.4, 1.5))) < 4


def test_a_picture_with_a_ground_of_its_own_stays_upright_and_fills_the_canvas():
    rgba = np.full((30, 60, 4), 255, np.uint8)
    rgba[..., :3] = (40, 90, 160)
    how = references.Variation(light=0.0, hue=0.0, blur=0.0)
    for i in range(6):
        made = references.varied(rgba, (32, 32), how, generator(2, i))
        assert np.array_equal(made, references.plain(rgba, (32, 32)))
        assert (made[:8] == 255).all() and (made[8:24] == rgba[0, 0, :3]).all()
    rgba[:, :2, 3] = 0
    alone = references.varied(rgba, (32, 32), how, generator(2, 1))
    assert not np.array_equal(alone, references.plain(rgba, (32, 32)))


def test_a_plain_picture_is_the_one_that_generation_sees():
    rgba = np.full((16, 16, 4), 255, np.uint8)
    rgba[..., :3] = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    assert np.array_equal(references.plain(rgba, (16, 16)), rgba[..., :3])
    rgba[:8, :, 3] = 0
    found = references.plain(rgba, (16, 32))
    assert (found[:8] == 255).all() and (found[:, :8] == 255).all()


def test_a_window_of_a_clip():
    """Spans, pictures and pixels of a part of a clip that is larger and faster than the bucket."""
    clip, video = drawn(
        [[[0, 40]], [[2, 12]], [[20, 30]]][:2],
        frames=60,
        size=(64, 96),
        pictures=[(0, "segment", 3), (0, "crop", 50), (1, "segment", 4)],
    )
    encoding = Encoding(
        buckets=(WIDE,), fps=4.0, slots=2, spans=2, views=2, margin=0.5, vary=True, events=1
    )
    made = make([clip], Window(0, 0), WIDE, encoding, None)  # frames 0, 2, .. 16
    assert np.abs(made.video.astype(int) - video[0:17:2, ::2, ::2]).mean() < 6
    fields = made.fields
    assert fields["intervals"].tolist() == [[[0, 9], [0, 0]], [[1, 6], [0, 0]]]
    assert fields["reference_sources"] == ["outside", "inside"] and fields["left_out"] == []
    assert fields["reference_kinds"] == [["crop"] * 2, ["segment"] * 2]
    assert fields["events"] == ["it moves"] and fields["event_intervals"].tolist() == [[2, 4]]
    later = make([clip], Window(0, 20), WIDE, encoding, None).fields  # frames 40 .. 56
    assert later["n_subjects"] == 0 and later["events"] == [""]
    few = make([clip], Window(0, 0), WIDE, dataclasses.replace(encoding, slots=1), None)
    assert few.fields["left_out"] == [[list(COLORS)[1], "no slot"]]
    strict = dataclasses.replace(encoding, outside_only=True)
    fields = make([clip], Window(0, 0), WIDE, strict, None).fields
    assert fields["reference_sources"] == ["outside"] and fields["n_subjects"] == 1
    assert fields["left_out"] == [[list(COLORS)[1], "no picture from outside"]]
    bare, _ = drawn([[[0, 9]]], frames=9, pictures=[])
    assert make([bare], Window(0, 0), WIDE, encoding, None).fields["left_out"] == [
        ["red square", "no picture"]
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(buckets=(WIDE, WIDE)), "named twice"),
        (dict(cross=1.5), "from 0 to 1"),
        (dict(kinds=(("crop", 0.0),)), "kinds"),
        (dict(views=0), "views must be"),
        (dict(fps=0.0), "fps must be positive"),
    ],
)
def test_encodings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Encoding(**wrong)


def test_variations_that_make_no_sense_are_refused():
    for wrong in (dict(zoom=(1.0, 0.5)), dict(light=1.0), dict(rotate=-1.0), dict(blur=-0.1)):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            references.Variation(**wrong)
    clip, _ = drawn([[[0, 9]]], frames=9, pictures=[])
    plain = Encoding(buckets=(WIDE,), vary=False, variation=references.Variation(hue=0.0))
    with pytest.raises(ConfigError, match="variation"):
        plain.resolved(None, clip)


def test_buckets_fit_the_autoencoder():
    config = VAEConfig()
    for bucket, message in (("8x32x48", "4k.1 frames, such as 9"), ("9x30x48", "multiples of 8")):
        with pytest.raises(ConfigError, match=message):
            Encoding(buckets=(Bucket.parse(bucket),)).check_fits("wan", config)
    for text in ("9x32", "ax1x1", "0x8x8"):
        with pytest.raises(ConfigError, match="bucket"):
            Bucket.parse(text)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=2, max_size=4).filter(any),
    batch=st.integers(1, 8),
    seed=st.integers(0, 3),
)
def test_every_step_is_of_one_bucket_and_each_goes_through_its_stream(sizes, batch, seed):
    schedule = Schedule(tuple(sizes), batch, seed)
    steps = 3 * sum(schedule.shares)
    seen = {bucket: [] for bucket in range(len(sizes))}
    for step in range(steps):
        places = [schedule.place(step * batch + row) for row in range(batch)]
        (bucket,) = {bucket for bucket, _ in places}
        seen[bucket] += [number for _, number in places]
    for bucket, numbers in seen.items():
        assert numbers == list(range(3 * schedule.shares[bucket] * batch))


def test_a_subject_alone_stands_before_a_frame_of_another_video():
    own, _ = drawn([[[0, 60]]], frames=60, size=(64, 96), name="own")
    buffer = io.BytesIO()
    Image.new("RGBA", (12, 16), (200, 0, 0, 255)).save(buffer, "PNG")
    own = dataclasses.replace(
        own, pictures=(*own.pictures, Picture(buffer.getvalue(), 0, "crop", 0))
    )
    same, _ = drawn([[[0, 60]]], frames=60, size=(64, 96), name="same")
    same = dataclasses.replace(same, line={**same.line, "source": own.line["source"]})
    dark, _ = drawn([[[0, 60]]], frames=60, size=(64, 96), name="dark")
    dark = dataclasses.replace(dark, video=encode_mp4(np.full((60, 64, 96, 3), 60, np.uint8), 8))

    def encoded(context, *clips, kind="segment"):
        encoding = Encoding(
            (WIDE,), 4.0, slots=1, spans=1, views=4, kinds=((kind, 1.0),), context=context
        )
        return make(clips, Window(0, 20), WIDE, dataclasses.replace(encoding, vary=True), None)

    def kinds(*args, **more):
        return encoded(*args, **more).fields["reference_kinds"][0]

    white, on_dark = encoded(0.0, own, same, dark), encoded(1.0, own, same, dark)
    assert kinds(0.0, own, same, dark) == ["segment"] * 4
    assert kinds(1.0, own, same, dark) == ["context"] * 4
    for plain, one in zip(white.references[0], on_dark.references[0], strict=True):
        assert (plain[:, 0] == 255).all() and np.abs(one[:, 0].astype(int) - 60).max() < 8
        middle = tuple(side // 2 for side in one.shape[:2])
        assert np.array_equal(one[middle], plain[middle])  # the subject is as it was
    # What has a ground of its own keeps it, and there has to be another video.
    assert kinds(1.0, own, same, dark, kind="crop") == ["crop"] * 4
    assert kinds(1.0, own, same) == ["segment"] * 4
    assert {*kinds(0.5, own, dark), *kinds(0.5, dark, own)} == {"context", "segment"}
    with pytest.raises(ConfigError, match="no other ground"):
        Encoding((WIDE,), context=0.5, vary=False).resolved(None, own)
    assert "context" not in Encoding().described()
    assert Encoding(context=0.5).described()["context"] == 0.5
