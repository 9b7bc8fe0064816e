"""The texts of an example: as ids, which a text encoder in the step reads, or as its states."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from alchemint_jax.data.text_states import EMPTY, Lengths, TextStates
from alchemint_jax.scene.packing import Slots, pack_events
from alchemint_jax.scene.scene import Scene
from alchemint_jax.tokenizers import Tokenizer


@runtime_checkable
class Words(Protocol):
    """Makes the fields of an example that its texts are in."""

    def fields(
        self, scene: Scene, record: Mapping[str, Any], packed: Slots, order: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Of an example.

        Args:
            scene: of the record.
            record: what was read.
            packed: who sits in which slot.
            order: for each slot, the number of the subject that sits there, if there is one.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Ids:
    """Texts as token ids and masks.

    Attributes:
        tokenizer: of captions.
        tag_length: tokens of a subject's word.
        event_length: tokens of an event's text; None leaves events out.
        event_rows: rows of events and of the gaps between them.
    """

    tokenizer: Tokenizer
    tag_length: int
    event_length: int | None
    event_rows: int

    def fields(
        self, scene: Scene, record: Mapping[str, Any], packed: Slots, order: np.ndarray
    ) -> dict[str, np.ndarray]:
        """See `Words`."""
        ids, mask = self._encode(packed.words[0], self.tag_length, packed.used[0])
        text_ids, text_mask = self.tokenizer.encode([scene.caption])
        found = {
            "tag_ids": ids,
            "tag_mask": mask,
            "text_ids": text_ids[0],
            "text_mask": text_mask[0],
        }
        if self.event_length is None:
            return found
        rows = pack_events([scene], self.event_rows)
        ids, mask = self._encode(rows.texts[0], self.event_length, rows.used[0])
        return found | {
            "event_ids": ids,
            "event_mask": mask,
            "event_intervals": scene.clock.latent(rows.intervals[0]),
            "event_used": rows.used[0],
        }

    def _encode(self, texts: list[str], length: int, used: np.ndarray) -> Any:
        ids, mask = dataclasses.replace(self.tokenizer, length=length).encode(texts)
        for values in (ids, mask):
            values[~used] = 0
        return ids, mask


@dataclasses.dataclass(frozen=True)
class States:
    """Texts as the states that were encoded with the clips, float16.

    Attributes:
        states: of the dataset.
        lengths: of texts.
        event_rows: rows of events and of the gaps between them.
        events: whether there are events in an example.
    """

    states: TextStates
    lengths: Lengths
    event_rows: int
    events: bool

    def fields(
        self, scene: Scene, record: Mapping[str, Any], packed: Slots, order: np.ndarray
    ) -> dict[str, np.ndarray]:
        """See `Words`."""
        text, _ = self.states.padded([record["caption_row"]], self.lengths.caption)
        used = packed.used[0]
        own = record["word_rows"]
        rows = [own[i] if there else -1 for i, there in zip(order, used, strict=True)]
        tags, tag_mask = self.states.padded(rows, self.lengths.word)
        found = {
            "text": text[0],
            "tags": tags,
            "tag_mask": tag_mask,
            "null_text": self.states.null,
        }
        if not self.events:
            return found
        said = dict(zip(record["events"], record["event_rows"], strict=True)) | {"": EMPTY}
        events = pack_events([scene], self.event_rows)
        used = events.used[0]
        rows = [said[t] if there else -1 for t, there in zip(events.texts[0], used, strict=True)]
        return found | {
            "events": self.states.padded(rows, self.lengths.event)[0],
            "null_event": self.states.null,
            "event_intervals": scene.clock.latent(events.intervals[0]),
            "event_used": used,
        }
