from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.worlds.sprites import World, sample_clip, shapes
from alchemint_jax.worlds.sprites.world import PLACES

pytestmark = pytest.mark.slow

FRAMES = World().frames


def present(subject) -> np.ndarray:
    frames = np.zeros(FRAMES, bool)
    for start, end in subject.spans:
        frames[start:end] = True
    return frames


def test_a_clip_is_a_function_of_seed_and_index():
    first, again = sample_clip(4, seed=3), sample_clip(4, seed=3)
    assert np.array_equal(first.video, again.video) and first.scene.caption == again.scene.caption
    for subject, other in zip(first.scene.subjects, again.scene.subjects, strict=True):
        assert np.array_equal(subject.pictures, other.pictures)
        assert subject.spans == other.spans
    for different in (sample_clip(5, seed=3), sample_clip(4, seed=2)):
        assert not np.array_equal(first.video, different.video)


def test_clips_have_the_stated_shape(clips):
    world = World()
    for clip in clips:
        assert clip.video.shape == (world.frames, world.size, world.size, 3)
        assert clip.video.dtype == np.uint8
        assert 1 <= len(clip.scene.subjects) <= world.max_subjects
        assert len({(look.shape, look.color) for look in clip.looks}) == len(clip.scene.subjects)
    assert {len(clip.scene.subjects) for clip in clips} == {1, 2, 3}


def colourful(video: np.ndarray) -> np.ndarray:
    """Pixels per frame that the nearly grey background cannot have."""
    pixels = video.astype(np.int32)
    return ((pixels.max(-1) - pixels.min(-1)) > 50).sum((1, 2))


def test_intervals_are_those_of_the_drawn_pixels(clips):
    judged = near = shown = 0
    for clip in clips:
        if len(clip.scene.subjects) > 1:
            continue
        area = colourful(clip.video)
        assert area.max() > 40
        share = area / area.max()
        truth = present(clip.scene.subjects[0])
        # Near the threshold the two ways of measuring the area may differ by a frame.
        clear = (share < 0.15) | (share > 0.5)
        assert np.array_equal(truth[clear], share[clear] > 0.3), clip.scene.caption
        judged += clear.sum()
        near += (~clear).sum()
        shown += truth.sum()
    assert judged > 1500 and near < 0.05 * judged
    assert 0.1 * judged < shown < 0.9 * judged  # neither answer is right everywhere


def test_subjects_move_but_keep_to_their_places_in_the_order_of_the_caption(clips):
    away = {1: [], 2: [], 3: []}
    for clip in clips:
        colors = [shapes.COLORS[look.color] for look in clip.looks]
        if len(set(colors)) < len(colors):
            continue
        for number, (subject, color) in enumerate(zip(clip.scene.subjects, colors, strict=True)):
            shown = present(subject)
            chroma = clip.video - clip.video.mean(-1, keepdims=True)
            wanted = np.asarray(color) - np.mean(color)
            along = chroma @ wanted / np.linalg.norm(wanted)
            hue = along > 0.95 * np.linalg.norm(chroma, axis=-1)
            mask = hue & (along > 0.4 * np.linalg.norm(wanted)) & shown[:, None, None]
            area = mask.sum((1, 2))
            whole = mask[area > 0.9 * area.max()]
            # Half way through: some come in through an edge, or leave through one.
            y, x = np.argwhere(whole[len(whole) // 2]).mean(0) + 0.5
            place = np.array(PLACES[len(colors) - 1][number]) * World.size
            away[len(colors)].append(np.abs([x, y] - place).max())
    for distances in away.values():
        assert len(distances) > 20
        assert np.quantile(distances, 0.9) < World.sway + 4  # a moon's centroid is not its middle
        assert np.median(distances) > 1


def test_whole_subjects_move_slowly(clips):
    """What comes in or leaves through an edge is faster; those are few of its whole frames."""
    speeds = []
    for clip in clips:
        if len(clip.scene.subjects) > 1:
            continue
        coloured = np.ptp(clip.video, axis=-1) > 50
        area = coloured.sum((1, 2))
        rows = coloured.sum(2) @ np.arange(World.size) / np.maximum(area, 1)
        columns = coloured.sum(1) @ np.arange(World.size) / np.maximum(area, 1)
        whole = area > 0.97 * area.max()
        for start in range(FRAMES - 4):  # over four frames: a pixel more or less is a jump
            if whole[start : start + 5].all():
                moved = np.hypot(rows[start + 4] - rows[start], columns[start + 4] - columns[start])
                speeds.append(moved / 4)
    slow, fast = World.speed
    assert len(speeds) > 100
    assert slow < np.median(speeds) < fast
    assert np.quantile(speeds, 0.8) < 1.2 * fast


def test_every_subject_is_on_screen_and_always_present_is_a_bad_guess(clips):
    spans = np.array([present(s).mean() for clip in clips for s in clip.scene.subjects])
    assert len(spans) > 400
    assert spans.min() > 0
    assert spans.mean() < 0.45  # the t-IOU of "always present"
    whole = np.mean(spans == 1)
    assert 0 < whole < 0.1


def test_subjects_come_back_overlap_in_time_and_start_and_end_anywhere(clips):
    subjects = [s for clip in clips for s in clip.scene.subjects]
    returning = np.mean([len(s.spans) > 1 for s in subjects])
    assert 0.05 < returning < 0.3
    starts = {s.spans[0][0] for s in subjects}
    ends = {s.spans[-1][1] for s in subjects}
    assert len(starts) > 20 and len(ends) > 20
    boards = [clip.scene.subjects for clip in clips]
    pairs = [(a, b) for board in boards for a, b in zip(board, board[1:], strict=False)]
    together = np.mean([(present(a) & present(b)).any() for a, b in pairs])
    assert 0.4 < together < 1


def test_similar_subjects_are_common(clips):
    several = [clip for clip in clips if len(clip.scene.subjects) > 1]
    share = []
    for clip in several:
        shapes = {look.shape for look in clip.looks}
        colors = {look.color for look in clip.looks}
        share.append(min(len(shapes), len(colors)) < len(clip.scene.subjects))
    assert len(several) > 100 and np.mean(share) >= 0.25


def test_words_are_in_the_caption_and_tell_subjects_apart(clips):
    for clip in clips:
        words = [s.word for s in clip.scene.subjects]
        assert len(set(words)) == len(words)
        for subject, look in zip(clip.scene.subjects, clip.looks, strict=True):
            assert f"a {subject.word} " in clip.scene.caption
            assert subject.word.split()[-1] == look.shape
            assert len(subject.word.encode()) < 16
    assert {len(s.word.split()) for clip in clips for s in clip.scene.subjects} == {1, 2}
    # The longest captions lose the end of their last word to the 112 tokens of the text.
    assert np.mean([len(clip.scene.caption.encode()) < 112 for clip in clips]) > 0.98


def contains(video: np.ndarray, points: np.ndarray, colors: np.ndarray) -> bool:
    """Do all `points` [n 2] have their `colors` [n 3] (within 2) in some frame, at some shift?"""
    size = video.shape[1]
    points = points - points.min(0)
    high = size - points.max(0)
    match = np.ones((len(video), high[0], high[1]), bool)
    for (y, x), color in zip(points, colors, strict=True):
        window = video[:, y : y + high[0], x : x + high[1]].astype(np.int16)
        match &= (np.abs(window - color.astype(np.int16)) <= 2).all(-1)
        if not match.any():
            return False
    return True


def sampled(picture: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Up to 200 points of a picture that differ from its background, and their colours."""
    mask = (np.abs(picture.astype(np.int16) - background.astype(np.int16)) > 30).any(-1)
    points = np.argwhere(mask)
    points = points[:: max(1, len(points) // 200)]
    return points, picture[tuple(points.T)]


def test_references_are_never_cut_from_the_clip(clips):
    for clip in clips[:40]:
        for subject in clip.scene.subjects:
            views = subject.pictures
            assert (views[:, 0, 0] == 255).all()
            assert not np.array_equal(views[0], views[1])
            for view in views:
                points, colors = sampled(view, np.full_like(view, 255))
                assert len(points) > 50
                assert not contains(clip.video, points, colors)


def test_the_search_for_copies_finds_a_copy(clips):
    found = 0
    for clip in clips[:40]:
        if found == 5:  # the search for all points of a copy takes long
            break
        frames = present(clip.scene.subjects[0])
        if len(clip.scene.subjects) == 1 and not frames.all():
            shown, hidden = np.flatnonzero(frames)[-2], np.flatnonzero(~frames)[0]
            points, colors = sampled(clip.video[shown], clip.video[hidden])
            found += contains(clip.video, points, colors)
    assert found >= 5


def test_a_subject_can_be_asked_for_by_number():
    assert [len(sample_clip(1, subjects=n).looks) for n in (1, 2, 3)] == [1, 2, 3]
