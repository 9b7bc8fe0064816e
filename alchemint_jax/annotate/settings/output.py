"""What is kept, and what is written."""

from __future__ import annotations

from dataclasses import dataclass

Real = float | int


@dataclass(frozen=True)
class Select:
    """All thresholds on what is kept. Everything that was measured stays in stages/scores.

    Attributes:
        subjects: the most in a scene.
        guessed: whether a subject is kept whose word is a guess: see `named_by` in the guide.
        shortest: seconds on screen.
        sure: mean score over its time on screen.
        smallest, largest: share of the frame that its box covers.
        pixels: shorter side of a picture.
        overlap: of a picture's box with that of another subject, as a share of it.
        darkest, brightest: mean luma inside the mask, 0 to 255.
        clipped: share of pixels that are black or white.
        sharpness: variance of the Laplacian.
        whole: share of the mask in its largest part.
        border: share of the box's outline that lies on the border of the frame.
        filled: share of its box that a mask covers; below it, the mask missed the subject.
        mixture: how often each kind of picture is drawn, over the kinds there are.
        cross: share of draws that take a picture from another scene, where there is one.
    """

    subjects: int = 12
    guessed: bool = True
    shortest: Real = 0.5
    sure: Real = 0.2
    smallest: Real = 0.003
    largest: Real = 0.95
    pixels: int = 32
    overlap: Real = 0.7
    darkest: Real = 12.0
    brightest: Real = 243.0
    clipped: Real = 0.5
    sharpness: Real = 8.0
    whole: Real = 0.7
    border: Real = 0.45
    filled: Real = 0.15
    mixture: tuple[tuple[str, Real], ...] = (
        ("crop", 1),
        ("segment", 5),
        ("inpaint", 3),
        ("redux", 1),
    )
    cross: Real = 0.3


@dataclass(frozen=True)
class Clips:
    """The videos that are written.

    Attributes:
        side: shorter side in pixels, where a clip is encoded again; 0 keeps the size.
        quality: of H.264 (CRF); less is better, and larger.
        preset: of x264.
        x264: more of its settings, as its x264-params takes them. These make the preset faster, for
            files of the same size with a slightly larger error; empty is the preset alone.
    """

    side: int = 0
    quality: int = 18
    preset: str = "veryfast"
    x264: str = "subme=1:trellis=0"


@dataclass(frozen=True)
class Pack:
    """What is written in the end.

    Attributes:
        dataset: whether DIR/dataset is written.
        report: the most scenes that are shown in the report.
        validation: share of videos whose scenes make the split `validation`.
        shard: clips in a file of the dataset.
    """

    dataset: bool = True
    report: int = 48
    validation: Real = 0.0
    shard: int = 64
