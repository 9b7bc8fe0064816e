"""What can be chosen about an annotation: one frozen dataclass for each stage.

A file (YAML or JSON) holds the parts and fields that are to be different, and
`--config.PART.FIELD=VALUE` sets one. Lengths of time are seconds, areas are shares of the frame.
"""

from alchemint_jax.annotate.settings.load import load_settings
from alchemint_jax.annotate.settings.output import Clips, Pack, Select
from alchemint_jax.annotate.settings.pictures import Pairs, Pictures, Redux, Scores
from alchemint_jax.annotate.settings.source import Captions, Chat, Entities, Ingest, Shots
from alchemint_jax.annotate.settings.subjects import Detect, Perceive, Presence, Track
from alchemint_jax.annotate.settings.whole import Settings

__all__ = [
    "Captions",
    "Chat",
    "Clips",
    "Detect",
    "Entities",
    "Ingest",
    "Pack",
    "Pairs",
    "Perceive",
    "Pictures",
    "Presence",
    "Redux",
    "Scores",
    "Select",
    "Settings",
    "Shots",
    "Track",
    "load_settings",
]
