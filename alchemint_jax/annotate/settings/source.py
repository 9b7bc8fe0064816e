"""How videos are read, cut into scenes and described."""

from __future__ import annotations

from dataclasses import dataclass

from alchemint_jax.endpoints import Server

Real = float | int


@dataclass(frozen=True)
class Ingest:
    """Which files are looked at, and how many of them share a shard.

    Attributes:
        shard: videos in a shard; one shard is what a killed run does again.
        timeout: seconds that the probe of one file may take.
    """

    shard: int = 1
    timeout: Real = 120.0


@dataclass(frozen=True)
class Shots:
    """How shots become scenes.

    Attributes:
        side: longest side, in pixels, of the frames in which cuts are looked for.
        shortest: scenes that are shorter are left out, in seconds.
        longest: longer shots are cut into equal parts, in seconds.
        trim: what is cut off at each cut, in seconds: transitions spill over it.
    """

    side: int = 96
    shortest: Real = 0.5
    longest: Real = 300.0
    trim: Real = 0.0


@dataclass(frozen=True)
class Chat(Server):
    """A server that speaks the OpenAI chat protocol: see `Server`.

    Attributes:
        frames: pictures of the scene that are sent along for a caption.
        side: their longest side, in pixels.
    """

    frames: int = 6
    side: int = 512


@dataclass(frozen=True)
class Captions:
    """Where captions come from: the list, a file beside the video, or the server.

    Attributes:
        sidecars: whether NAME.txt and NAME.json beside NAME.mp4 are read.
        events: whether the server is asked what happens when.
    """

    sidecars: bool = True
    events: bool = True


@dataclass(frozen=True)
class Entities:
    """Which words of a caption are looked for.

    Attributes:
        most: words of one scene.
    """

    most: int = 6
