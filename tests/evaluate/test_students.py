"""What says whether a student may stand in for its teacher: by hand; and blur does not pass."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import metrics, students
from alchemint_jax.worlds.sprites import SpritesTracker
from alchemint_jax.worlds.sprites.world import sample_clip

PERFECT = {"relative_mse": 0.0, "edges": 1.0, "motion": 1.0, "diversity": 1.0}
PERFECT |= {"t_iou": 0.0, "identity": 0.0}
STANDARD = students.Standard()


def test_figures_by_hand():
    teacher = np.array([[1.0, 3.0], [1.0, 3.0]])  # of variance 1
    assert students.relative_mse(teacher, teacher).tolist() == [0, 0]
    mean = np.full_like(teacher, 2)
    assert students.relative_mse(mean, teacher).tolist() == [1, 1]
    assert students.relative_mse(teacher * [[1], [2]], teacher).tolist() == [0, 5]
    # Two frames of 2 x 2 cells: a step of 2 along rows in the first, nothing in the second.
    frames = np.array([[[0, 2], [0, 2]], [[1, 1], [1, 1]]], np.float32)[None, ..., None]
    assert students.edge_energy(frames).tolist() == [1.0]  # two of eight differences are 2
    assert students.motion_energy(frames).tolist() == [1.0]
    turned = np.swapaxes(frames, 2, 3)
    assert students.edge_energy(turned) == students.edge_energy(frames)
    assert students.diversity(frames, frames + 3).tolist() == [3.0]
    assert students.diversity(frames, frames).tolist() == [0.0]


def test_bytes_are_no_trap():
    frames = np.array([250, 5], np.uint8).reshape(1, 2, 1, 1, 1)
    assert students.motion_energy(frames).tolist() == [245.0]
    assert students.diversity(frames[:, :1], frames[:, 1:]).tolist() == [245.0]


def test_a_teacher_that_makes_one_value_is_no_teacher():
    with pytest.raises(ConfigError, match="same value everywhere"):
        students.relative_mse(np.ones((2, 3)), np.zeros((2, 3)))


@pytest.mark.parametrize(
    "name, passes, fails",
    [
        ("relative_mse", 0.07, 0.0701),
        ("edges", 0.951, 0.949),
        ("edges", 1.049, 1.051),
        ("motion", 0.951, 0.94),
        ("diversity", 0.91, 0.89),
        ("t_iou", -0.019, -0.021),
        ("t_iou", 0.2, -0.03),
        ("identity", -0.019, -0.021),
    ],
)
def test_each_figure_has_its_limit(name, passes, fails):
    assert STANDARD.missed(PERFECT | {name: passes}) == []
    for value in (fails, float("nan")):
        (missed,) = STANDARD.missed(PERFECT | {name: value})
        assert missed.startswith(students.TITLES[name])


def test_a_blurred_video_fails_though_the_tracker_likes_it():
    """Frames that are smeared out keep their subjects in their time: only energies can tell."""
    clips = [sample_clip(i, seed=5, subjects=2) for i in range(3)]
    teacher = np.stack([clip.video for clip in clips]).astype(np.float32)
    blurred = teacher.copy()
    for axis in (2, 3):
        blurred = (np.roll(blurred, 1, axis) + blurred + np.roll(blurred, -1, axis)) / 3
    tracker = SpritesTracker()

    def timing(videos):
        found = []
        for clip, video in zip(clips, videos, strict=True):
            sightings = tracker.track((video + 0.5).astype(np.uint8), clip.scene)
            asked = [subject.spans for subject in clip.scene.subjects]
            shown = [sighting.spans for sighting in sightings]
            found += [metrics.t_iou(s, a) for s, a in zip(shown, asked, strict=True)]
        return np.mean(found)

    edges = students.edge_energy(blurred) / students.edge_energy(teacher)
    figures = PERFECT | {
        "relative_mse": students.relative_mse(blurred, teacher).mean(),
        "edges": edges.mean(),
        "motion": (students.motion_energy(blurred) / students.motion_energy(teacher)).mean(),
        "t_iou": timing(blurred) - timing(teacher),
    }
    assert figures["t_iou"] >= -STANDARD.loss and figures["relative_mse"] < STANDARD.relative_mse
    missed = STANDARD.missed(figures)
    assert any(line.startswith("edge energy") for line in missed)
    assert STANDARD.missed(PERFECT) == []
