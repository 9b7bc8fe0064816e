"""Which pictures are taken of subjects, and how they are measured."""

from __future__ import annotations

from dataclasses import dataclass

Real = float | int


@dataclass(frozen=True)
class Pictures:
    """Which pictures are taken of each subject.

    Attributes:
        views: frames of each subject, spread over its time on screen.
        apart: the least time between two of them, in seconds.
        side: longer sides are scaled down to it, in pixels.
        margin: around a box, as a share of its sides.
        network: side of the square that the embedded segmenter sees of a box, a multiple of 32: 320
            has finer edges than 160, and takes four times as long.
        inpaint: whether pictures are also made in front of a smooth fill of their surroundings.
        areas: seconds between the frames in which a subject is cut out to measure its area; 0
            measures it where pictures are taken, which costs nothing. Less than the time of a
            frame measures every one.
    """

    views: int = 4
    apart: Real = 0.5
    side: int = 384
    margin: Real = 0.12
    network: int = 160
    inpaint: bool = True
    areas: Real = 0.0


@dataclass(frozen=True)
class Redux:
    """Pictures of the same subjects in another pose or light, made elsewhere; see the guide.

    Attributes:
        folder: with a folder for each scene; empty is none.
        side: longer sides are scaled down to it, in pixels.
    """

    folder: str = ""
    side: int = 384


@dataclass(frozen=True)
class Scores:
    """How pictures are measured.

    Attributes:
        side: shorter side to which a picture is scaled before its blur is measured.
    """

    side: int = 128


@dataclass(frozen=True)
class Pairs:
    """Pictures of a subject from other scenes of its video.

    Attributes:
        most: of each subject.
        alike: two subjects of one word are one if their pictures are so alike.
        copy: pictures that are more alike than this are left out: they teach nothing.
    """

    most: int = 2
    alike: Real = 0.86
    copy: Real = 0.985
