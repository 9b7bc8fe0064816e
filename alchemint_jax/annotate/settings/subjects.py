"""How subjects are found in frames and followed, and when they count as on screen."""

from __future__ import annotations

from dataclasses import dataclass

Real = float | int


@dataclass(frozen=True)
class Perceive:
    """Who looks at frames: names of `perceive.choose`, or MODULE:NAME."""

    detector: str = "yolov3-tiny"
    segmenter: str = "u2netp"
    embedder: str = "efficientnet-lite0"
    shots: str = "content"


@dataclass(frozen=True)
class Detect:
    """How frames are searched.

    Attributes:
        every: seconds between the frames that are searched; ends are refined afterwards.
        skip: a frame is left out between two of these that show the same, if they lie apart by at
            most so many seconds; 0 leaves out none.
        side: longest side of a searched frame, in pixels; 0 is the whole frame.
        network: longest side of what the embedded detector sees of it, a multiple of 32: 608 finds
            smaller things than 416, and takes almost twice as long.
        floor: detections that are less sure are not kept.
        batch: frames that are searched at once.
        clash: of two detections that overlap by more (IoU), only the surer one is kept: a thing
            often passes for two.
    """

    every: Real = 0.2
    skip: Real = 0.4
    side: int = 640
    network: int = 416
    floor: Real = 0.08
    batch: int = 4
    clash: Real = 0.7


@dataclass(frozen=True)
class Track:
    """How detections become subjects.

    Attributes:
        start: a track begins with a detection that is at least so sure.
        overlap: the least IoU of a detection with where its track is expected.
        patience: seconds for which a track waits for a detection.
        views: pictures of each track by which it is compared.
        colors: how much of what makes pictures alike is colours above and below the waist, from 0
            to 1; the rest is what the embedder says.
        alike: two tracks that are never on screen together are one subject if their pictures are
            so alike, from 0 to 1.
        near: what is added to that where one is first seen near where the other was last seen,
            away from the border of the frame ...
        soon: ... within so many seconds.
        shortest: seconds; what is seen for less is noise.
        sure: the least of the best score of a track ...
        steady: ... or of the mean of its scores, if it is large.
        large: the least share of the frame that half of its boxes cover.
        border: seconds for which a subject that moves out of the frame, or into it, may be on
            screen while it is not detected; changes of the picture say for how long it was.
    """

    start: Real = 0.4
    overlap: Real = 0.2
    patience: Real = 1.0
    views: int = 5
    colors: Real = 0.5
    alike: Real = 0.86
    near: Real = 0.08
    soon: Real = 3.0
    shortest: Real = 0.3
    sure: Real = 0.5
    steady: Real = 0.35
    large: Real = 0.4
    border: Real = 1.5


@dataclass(frozen=True)
class Presence:
    """When a subject counts as on screen.

    Attributes:
        on: a score at which it is there.
        off: a score below which it is not, once it was.
        idle: what does not move and stays below `on` for more seconds than this is not there: a
            stone that is taken for a person now and then.
        gap: shorter gaps are closed, in seconds.
        inside: so are shorter gaps than this, in seconds, between two boxes near each other of
            which neither is at the border of the frame: nobody leaves through the middle.
        least: shorter runs are dropped, in seconds.
    """

    on: Real = 0.35
    off: Real = 0.08
    idle: Real = 3.0
    gap: Real = 0.35
    inside: Real = 1.2
    least: Real = 0.25
