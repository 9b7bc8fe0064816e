"""All figures of a video, with judges who see colours."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.evaluate import quality
from alchemint_jax.evaluate.quality import (
    LESS_IS_BETTER,
    TITLES,
    Judges,
    Lpips,
    Seen,
    figures,
    judges,
    motion,
)
from alchemint_jax.evaluate.quality.cutting import hide, reference, show, subject_in
from alchemint_jax.evaluate.quality.seen import detector_word, look
from alchemint_jax.perceive import Detections
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.scene import Clock, Event, Scene, Spans, Subject

RED, BLUE, GREEN, GREY = (200, 0, 0), (0, 0, 200), (0, 160, 0), (128, 128, 128)
COLORS = {"ball": RED, "cup": BLUE}
FRAMES, SIDE = 41, 48
CLOCK = Clock(fps=8, frames=FRAMES, stride=4)


class Colors:
    """Vectors are shares of the strongest colour of each pixel; white does not count."""

    @staticmethod
    def vector(image):
        pixels = image.reshape(-1, 3).astype(int)
        pixels = pixels[pixels.min(1) < 250]
        counts = [(np.abs(pixels - color).max(1) < 60).sum() for color in (RED, BLUE, GREEN, GREY)]
        return np.float32(counts) / max(np.linalg.norm(counts), 1)

    def embed(self, images):
        return np.float32([self.vector(image) for image in images]).reshape(-1, 4)


class Texts(Colors):
    def embed_texts(self, texts):
        names = ("red", "blue", "green", "grey")
        return np.float32([[name in text for name in names] for text in texts])


class Finder:
    """Finds patches of the colour that a word stands for."""

    vocabulary = ("ball", "cup")

    def detect(self, video, words):
        return [self._frame(frame, words) for frame in video]

    @staticmethod
    def _frame(frame, words):
        boxes, numbers = [], []
        for number, word in enumerate(words):
            there = (frame == COLORS[word]).all(-1)
            if there.any():
                rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
                boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
                numbers.append(number)
        scores = np.full(len(boxes), 0.9, np.float32)
        return Detections(np.float32(boxes).reshape(-1, 4), scores, np.array(numbers, int))


class Cutter:
    """A mask has what is red or blue."""

    def segment(self, video, boxes):
        colors = (RED, BLUE)
        masks = np.any([(video == color).all(-1) for color in colors], axis=0)
        return masks & ~np.isnan(boxes).any(1)[:, None, None]


def still(before, after):
    return np.zeros((*before.shape, 2), np.float32)


def different(video, truth):
    return float((video != truth).mean())


ALL = Judges(Colors(), Texts(), Finder(), Cutter(), still)


def picture(color, ground=(255, 255, 255)):
    image = np.full((256, 256, 3), ground, np.uint8)
    image[64:192, 64:192] = color
    return image[None]


def scene(*subjects, **fields):
    made = tuple(Subject(word, Spans(spans), pics) for word, spans, pics in subjects)
    return Scene("case", "a red thing on green", CLOCK, made, size=(SIDE, SIDE), **fields)


def draw(*subjects):
    video = np.full((FRAMES, SIDE, SIDE, 3), GREEN, np.uint8)
    for word, spans, place in subjects:
        for start, end in spans:
            video[start:end, 20:32, place : place + 12] = COLORS[word]
    return video


BALL = ("ball", [(8, 24)], picture(RED))


def test_a_ball_on_time():
    found = figures(draw(("ball", [(8, 24)], 10)), scene(BALL), ALL)
    assert set(found) < set(TITLES) and set(TITLES) > LESS_IS_BETTER
    assert not {"psnr", "ssim", "lpips"} & set(found)  # there is no truth
    assert found["one_object"] == 1 and math.isnan(found["two_objects"])
    assert found["subject_similarity"] == found["s2v_consistency"] == pytest.approx(1)
    assert found["subject_consistency_inside"] == pytest.approx(1)
    assert found["subject_consistency"] < 1 - 1e-4
    assert found["background_consistency"] == pytest.approx(found["subject_consistency"])
    assert found["dynamic_degree"] == 0 and math.isnan(found["movement"])
    assert math.isnan(found["s2v_decoupling"])  # the reference is on white
    assert math.isnan(found["event_similarity"])
    assert found["text_similarity_inside"] > 1 and found["text_similarity"] < 1.2


def test_a_ball_that_comes_too_late():
    found = figures(draw(("ball", [(16, 24)], 10)), scene(BALL), ALL)
    # 21 even frames; of those inside, 8 to 22, the first four are missed.
    assert found["one_object"] == pytest.approx(17 / 21)
    assert found["subject_similarity"] == pytest.approx(4 / 8)
    assert found["s2v_consistency"] == pytest.approx(1)


@pytest.mark.parametrize(("shown", "right"), [([(0, FRAMES)], 8 / 21), ([], 13 / 21)])
def test_always_and_never(shown, right):
    found = figures(draw(("ball", shown, 10)), scene(BALL), ALL)
    assert found["one_object"] == pytest.approx(right)
    assert found["subject_similarity"] == found["s2v_consistency"] == bool(shown)


def test_what_happens_outside_of_the_spans_costs_no_likeness():
    case = scene(BALL)
    late = figures(draw(("ball", [(8, 41)], 10)), case, ALL)
    assert late["subject_similarity"] == pytest.approx(1)
    assert late["one_object"] < 1


def test_mirroring_changes_nothing():
    video, case = draw(("ball", [(8, 30)], 5)), scene(BALL)
    one, other = figures(video, case, ALL), figures(video[:, :, ::-1], case, ALL)
    assert one == pytest.approx(other, nan_ok=True)


def test_two_subjects_of_which_one_is_always_there():
    cup = ("cup", [(0, FRAMES)], picture(BLUE))
    case = scene(cup, BALL)
    video = draw(("cup", [(0, FRAMES)], 2), ("ball", [(12, 24)], 30))
    found = figures(video, case, ALL)
    assert found["two_objects"] == pytest.approx(19 / 21) and math.isnan(found["one_object"])
    assert found["subject_similarity"] == pytest.approx((1 + 6 / 8) / 2)
    swapped = figures(video, scene(BALL, cup), ALL)
    assert swapped == pytest.approx(found, nan_ok=True)


def test_backgrounds_are_compared_where_references_have_one():
    same = scene(("ball", [(0, FRAMES)], picture(RED, GREEN)))
    other = scene(("ball", [(0, FRAMES)], picture(RED, BLUE)))
    video = draw(("ball", [(0, FRAMES)], 10))
    # What is greyed out is alike in both; the grounds are green, and green or another.
    close = figures(video, same, ALL)["s2v_decoupling"]
    far = figures(video, other, dataclasses.replace(ALL, segmenter=OnlyRed()))["s2v_decoupling"]
    assert close < 0.1 < 0.8 < far
    assert math.isnan(figures(draw(), same, ALL)["s2v_decoupling"])


class OnlyRed(Cutter):
    def segment(self, video, boxes):
        return (video == RED).all(-1) & ~np.isnan(boxes).any(1)[:, None, None]


def test_movement_and_text_of_events():
    def brightening(before, after):
        return np.full((*before.shape, 2), after.mean() - before.mean(), np.float32)

    video = draw()
    video[20:] = np.minimum(video[20:] + np.arange(21, dtype=np.uint8)[:, None, None, None], 255)
    video[26:] = video[25]
    looking = dataclasses.replace(ALL, flow=brightening)
    for spans, right in (([(16, 24)], 1), ([(24, 32)], 0)):
        case = scene(BALL, events=(Event("all is green", Spans(spans)),))
        found = figures(video, case, looking)
        assert found["movement"] == right
        assert found["event_similarity"] == pytest.approx(1, abs=0.05)
    two = (Event("a", Spans([(0, 8)])), Event("b", Spans([(8, 16)])))
    assert math.isnan(figures(video, scene(BALL, events=two), looking)["movement"])


def test_with_a_truth():
    truth = draw(("ball", [(8, 24)], 10))
    found = figures(truth, scene(BALL), Judges(lpips=different), truth=truth)
    assert found["psnr"] == 100 and found["ssim"] == 1 and found["lpips"] == 0
    assert "lpips" not in figures(truth, scene(BALL), Judges(), truth=truth)
    with pytest.raises(DataError, match="and its truth 40"):
        figures(truth, scene(BALL), Judges(), truth=truth[1:])


def test_only_what_can_be_had_is_given():
    video, case = draw(("ball", [(8, 24)], 10)), scene(BALL)
    flicker = {"temporal_flickering"}
    assert set(figures(video, case, Judges())) == flicker
    assert set(figures(video, case, Judges(detector=Finder()))) == {
        *("temporal_flickering", "one_object", "two_objects")
    }
    only_looks = set(figures(video, case, Judges(Colors())))
    assert only_looks == flicker | {"subject_consistency", "subject_consistency_inside"}
    only_clip = figures(video, case, Judges(clip=Texts()))
    assert "background_consistency" in only_clip and "subject_consistency" not in only_clip


def test_spans_and_places_may_be_given():
    video, case = draw(("ball", [(8, 24)], 10)), scene(BALL)
    found = figures(video, case, ALL, spans=[Spans([(0, 16)])])
    assert found["one_object"] == pytest.approx((21 - 4 - 4) / 21)
    frames = np.arange(0, FRAMES, 2)
    boxes = np.full((1, len(frames), 4), np.nan, np.float32)
    boxes[0, 4:12] = (10, 20, 22, 32)
    seen = Seen(frames, boxes, np.array([True]))
    without = dataclasses.replace(ALL, detector=None)
    assert figures(video, case, without, seen=seen)["one_object"] == 1
    boxes[0, 4:8] = np.nan
    assert figures(video, case, without, seen=seen)["one_object"] == pytest.approx(17 / 21)


def test_a_word_that_the_detector_does_not_know_says_nothing():
    ghost = ("ghost", [(8, 24)], picture(RED))
    found = figures(draw(("ball", [(8, 24)], 10)), scene(ghost), ALL)
    for name in ("one_object", "subject_similarity", "s2v_consistency"):
        assert math.isnan(found[name])
    both = figures(draw(("ball", [(8, 24)], 10)), scene(BALL, ghost), ALL)
    assert both["subject_similarity"] == 1 and math.isnan(both["two_objects"])


def test_one_frame_and_nobody():
    one = Scene("one", "green", Clock(fps=8, frames=1, stride=4), (), size=(SIDE, SIDE))
    found = figures(draw()[:1], one, ALL)
    assert math.isnan(found.pop("text_similarity_inside"))
    assert found.pop("text_similarity") == 1
    assert all(math.isnan(value) for value in found.values())
    with pytest.raises(DataError, match="case one: the video has 41 frames, but 1 were asked for"):
        figures(draw(), one, ALL)


def test_subjects_of_one_word_are_told_apart():
    class Balls(Finder):
        def detect(self, video, words):
            boxes = np.float32([[2, 20, 14, 32], [30, 20, 42, 32]])
            return [Detections(boxes, np.float32([0.5, 0.9]), np.zeros(2, int)) for _ in video]

    video = draw(("ball", [(0, FRAMES)], 2), ("cup", [(0, FRAMES)], 30))
    pictures = [[reference(picture(color)[0], None)] for color in (BLUE, RED)]
    frames = np.array([0, 5])
    seen = look(video, ["ball", "ball"], pictures, frames, Balls(), Colors())
    assert seen.boxes[:, :, 0].tolist() == [[30, 30], [2, 2]] and seen.present.all()
    swapped = look(video, ["ball", "ball"], pictures[::-1], frames, Balls(), Colors())
    assert swapped.boxes[:, :, 0].tolist() == [[2, 2], [30, 30]]
    alone = look(video, ["ball"], pictures[1:], frames, Balls(), Colors())
    assert alone.boxes[0, :, 0].tolist() == [2, 2]  # red, though the other one is surer
    sure = look(video, ["ball"], pictures[1:], frames, Balls(), None)
    assert sure.boxes[0, :, 0].tolist() == [30, 30]
    three = look(video, ["ball"] * 3, [*pictures, []], frames, Balls(), Colors())
    assert three.present.sum(1).tolist() == [2, 2]  # one box shows one subject


def test_a_detectors_word_for_a_subject():
    coco = ("person", "dog", "cup", "stop sign")
    assert detector_word("Dog", coco) == "dog"
    assert detector_word("a small brown dog", coco) == "dog"
    assert detector_word("woman", coco) == "person"
    assert detector_word("stop sign", coco) == "stop sign"
    assert detector_word("ghost", coco) is None
    assert detector_word("ghost", None) == "ghost"


def test_references_are_cut_in_two():
    plain = reference(picture(RED)[0], Cutter())
    assert plain.ground is None and plain.subject.shape == (
        128,
        128,
        3,
    )  # white margins are cut off
    beside = reference(picture(RED, GREEN)[0], Cutter())
    assert (beside.subject[80, 80] == RED).all() and (beside.subject[0, 0] == 255).all()
    assert (beside.ground[0, 0] == GREEN).all() and (beside.ground[[60, 128], 128] == 128).all()
    whole = reference(picture(RED, GREEN)[0], None)
    assert whole.ground is None and (whole.subject == picture(RED, GREEN)[0]).all()
    nothing = reference(picture(GREEN, GREEN)[0], Cutter())
    assert nothing.ground is None and (nothing.subject == GREEN).all()
    white = np.full((8, 8, 3), 255, np.uint8)
    assert (reference(white, Cutter()).subject == 255).all()


def test_subjects_are_shown_in_squares():
    image = np.full((2, 4, 3), 9, np.uint8)
    square = show(image)
    assert square.shape == (4, 4, 3) and (square[1:3] == 9).all() and (square[[0, 3]] == 255).all()
    mask = np.zeros((2, 4), bool)
    assert (hide(image, ~mask) == 128).all() and (hide(image, mask) == 9).all()
    box = np.float32([1, 0, 3, 2])
    assert (subject_in(image, box, mask) == 9).all()  # an empty mask knows nothing
    assert subject_in(image, np.full(4, np.nan, np.float32), mask) is None


def test_judges_are_made_of_perceivers(monkeypatch):
    def missing(*arguments):
        raise ConfigError("not installed")

    monkeypatch.setattr(motion, "load_farneback", missing)
    monkeypatch.setattr(Lpips, "load", missing)
    made = Judges.of(Perceivers(Finder(), Cutter(), Colors(), ContentShots()))
    assert made.clip is None and made.flow is None and made.lpips is None
    assert isinstance(made.detector, Finder) and isinstance(made.segmenter, Cutter)
    texts = Texts()
    monkeypatch.setattr(judges.motion, "load_farneback", lambda: still)
    made = Judges.of(Perceivers(Finder(), Cutter(), texts, ContentShots()))
    assert made.clip is made.embedder is texts and made.flow is still


def test_names_are_imported_when_they_are_used():
    for name in quality.__all__:
        assert getattr(quality, name) is not None
    assert sorted(quality.__all__) == sorted(quality._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        quality.nothing  # noqa: B018


def stretched(video, times, scale):
    """The same at a higher rate, and larger."""
    frames = np.arange(times * (len(video) - 1) + 1) // times
    return video[frames].repeat(scale, 1).repeat(scale, 2)


def asked_of(case, times, scale):
    """The same of a video that is `stretched`."""

    def later(one):
        spans = [(times * start, times * end) for start, end in one.spans]
        return dataclasses.replace(one, spans=Spans(spans))

    return dataclasses.replace(
        case,
        clock=Clock(fps=times * 8, frames=times * (FRAMES - 1) + 1, stride=4),
        size=(scale * SIDE, scale * SIDE),
        subjects=tuple(map(later, case.subjects)),
        events=tuple(map(later, case.events)),
    )


BY_FRAMES = {"temporal_flickering", "subject_consistency", "background_consistency"}
"""What VBench defines from one frame to the next, so that it depends on the rate."""


@pytest.mark.parametrize(("times", "scale"), [(1, 2), (2, 1)])
def test_figures_do_not_depend_on_size_and_those_of_time_not_on_the_rate(times, scale):
    ball = ("ball", [(4, 12), (20, 32)], picture(RED, GREEN))
    cup = ("cup", [(0, FRAMES)], picture(BLUE))
    shown = [("ball", [(8, 12), (20, 36)], 5), ("cup", [(0, FRAMES)], 30)]
    for subjects in ([ball], [ball, cup]):
        case = scene(*subjects, events=(Event("all is green", Spans([(8, 16)])),))
        video = draw(*shown[: len(subjects)])
        plain = figures(video, case, ALL)
        other = figures(stretched(video, times, scale), asked_of(case, times, scale), ALL)
        known = {name for name, value in plain.items() if not math.isnan(value)}
        assert known == {name for name, value in other.items() if not math.isnan(value)}
        assert {"subject_similarity", "s2v_decoupling", "event_similarity", "movement"} <= known
        assert ("one_object" in known) != ("two_objects" in known)
        for name in known:
            if times == 1 or name.removesuffix("_inside") not in BY_FRAMES:
                assert other[name] == pytest.approx(plain[name], abs=0.03), name
        assert 0.5 < plain["one_object" if len(subjects) == 1 else "two_objects"] < 1
        assert 0.5 < plain["subject_similarity"] < 0.95


def test_several_spans_on_time():
    spans = [(4, 12), (20, 32)]
    found = figures(draw(("ball", spans, 10)), scene(("ball", spans, picture(RED))), ALL)
    assert found["one_object"] == found["subject_similarity"] == 1
    assert found["subject_consistency_inside"] == pytest.approx(1)
