"""All parts of the settings."""

from __future__ import annotations

from dataclasses import dataclass

from alchemint_jax.annotate.settings.output import Clips, Pack, Select
from alchemint_jax.annotate.settings.pictures import Pairs, Pictures, Redux, Scores
from alchemint_jax.annotate.settings.source import Captions, Chat, Entities, Ingest, Shots
from alchemint_jax.annotate.settings.subjects import Detect, Perceive, Presence, Track


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen; each stage reads its part alone."""

    perceive: Perceive = Perceive()
    ingest: Ingest = Ingest()
    shots: Shots = Shots()
    chat: Chat = Chat()
    captions: Captions = Captions()
    entities: Entities = Entities()
    detect: Detect = Detect()
    track: Track = Track()
    presence: Presence = Presence()
    pictures: Pictures = Pictures()
    redux: Redux = Redux()
    scores: Scores = Scores()
    pairs: Pairs = Pairs()
    select: Select = Select()
    clips: Clips = Clips()
    pack: Pack = Pack()
