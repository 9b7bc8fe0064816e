"""What stages work with, made when it is first needed: perceivers, a chat client, a probe."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

from alchemint_jax.annotate.engine import Stage, each
from alchemint_jax.annotate.probe import Probe
from alchemint_jax.annotate.settings import Settings
from alchemint_jax.annotate.stages import captions as captions_stage
from alchemint_jax.annotate.stages import clips as clips_stage
from alchemint_jax.annotate.stages import detect as detect_stage
from alchemint_jax.annotate.stages import entities as entities_stage
from alchemint_jax.annotate.stages import pairs as pairs_stage
from alchemint_jax.annotate.stages import pictures as pictures_stage
from alchemint_jax.annotate.stages import redux as redux_stage
from alchemint_jax.annotate.stages import scores as scores_stage
from alchemint_jax.annotate.stages import select as select_stage
from alchemint_jax.annotate.stages import sheets as sheets_stage
from alchemint_jax.annotate.stages import shots as shots_stage
from alchemint_jax.annotate.stages import spans as spans_stage
from alchemint_jax.annotate.stages import track as track_stage
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.endpoints import ChatClient
from alchemint_jax.perceive.choose import Perceivers, load_perceivers

EMBEDDED = "yolov3-tiny"
"""The detector whose frames can be larger, and which can be less sure."""
_SEGMENTER = "u2netp"  # whose boxes can be seen larger, too


class Tools:
    """Everything that is slow to make, once for each process.

    Args:
        settings: of the run.
        perceivers: who looks at frames; None loads those that the settings name.
    """

    def __init__(self, settings: Settings, perceivers: Perceivers | None = None):
        self._settings = settings
        self._given = perceivers

    @functools.cached_property
    def perceivers(self) -> Perceivers:
        """Who looks at frames; the detector reports what is as unsure as the settings want it."""
        if self._given is not None:
            return self._given
        names = dataclasses.asdict(self._settings.perceive)
        found = load_perceivers(**names)
        if "jax" in sys.modules:  # what was loaded runs on it
            prepare_jax()
        if names["detector"] == EMBEDDED:
            detector: Any = found.detector
            detect = self._settings.detect
            floor = min(detect.floor, detector.threshold)
            detector = dataclasses.replace(
                detector, threshold=floor, side=detect.network, batch=max(1, detect.batch)
            )
            found = dataclasses.replace(found, detector=detector)
        if names["segmenter"] == _SEGMENTER:
            segmenter: Any = found.segmenter
            segmenter = dataclasses.replace(segmenter, side=self._settings.pictures.network)
            found = dataclasses.replace(found, segmenter=segmenter)
        return found

    @functools.cached_property
    def client(self) -> ChatClient | None:
        """Who is asked for captions and words; None where no server is named."""
        return ChatClient(self._settings.chat) if self._settings.chat.url else None

    @functools.cached_property
    def probe(self) -> Probe:
        """The process that looks at files first."""
        return Probe(self._settings.ingest.timeout)

    @functools.cached_property
    def redux(self) -> str:
        """What tells the folder of variants from what it was before."""
        return redux_stage.contents(self._settings.redux)

    def close(self) -> None:
        """Ends the probe."""
        if "probe" in self.__dict__:
            self.probe.close()


def all_stages(settings: Settings, base: Path, out: Path, tools: Tools) -> list[Stage]:
    """The stages of a run, in order.

    Args:
        settings: of the run.
        base: the folder that the paths of videos are relative to.
        out: the folder that is written.
        tools: what they work with.
    """
    s, see = settings, settings.perceive
    return [
        Stage(
            "ingest",
            1,
            [s.captions.sidecars],
            each(
                lambda row: captions_stage.sidecar(
                    shots_stage.ingest(row, base, tools.probe), base, s.captions
                )
            ),
        ),
        Stage(
            "shots",
            1,
            [s.shots, see.shots],
            each(lambda row: shots_stage.cut(row, base, tools.perceivers.shots, s.shots)),
        ),
        Stage(
            "captions",
            1,
            [s.captions, s.chat],
            each(lambda row: captions_stage.captions(row, base, tools.client, s.chat, s.captions)),
        ),
        Stage(
            "entities",
            1,
            [s.entities],
            each(lambda row: entities_stage.entities(row, tools.client, s.entities)),
        ),
        Stage(
            "detect",
            4,
            [s.detect, see.detector],
            each(lambda row: detect_stage.detect(row, base, tools.perceivers.detector, s.detect)),
        ),
        Stage(
            "track",
            6,
            [s.track, see.embedder],
            each(
                lambda row: track_stage.track(
                    row,
                    base,
                    tools.perceivers.detector,
                    tools.perceivers.embedder,
                    s.detect,
                    s.track,
                )
            ),
        ),
        Stage("spans", 2, [s.presence], each(lambda row: spans_stage.spans(row, s.presence))),
        Stage(
            "pictures",
            4,
            [s.pictures, see.segmenter],
            each(
                lambda row: pictures_stage.pictures(
                    row, base, out, tools.perceivers.segmenter, s.pictures
                )
            ),
        ),
        Stage(
            "redux",
            2,
            [s.redux, tools.redux],
            each(lambda row: redux_stage.redux(row, out, s.redux)),
        ),
        Stage("scores", 2, [s.scores], each(lambda row: scores_stage.scores(row, out, s.scores))),
        Stage("pairs", 2, [s.pairs], lambda rows: pairs_stage.pairs(rows, s.pairs)),
        Stage("clips", 3, [s.clips], each(lambda row: clips_stage.clip(row, base, out, s.clips))),
        Stage("select", 2, [s.select], each(lambda row: select_stage.select(row, s.select))),
        Stage("sheets", 2, [], each(lambda row: sheets_stage.sheet(row, base, out))),
    ]
