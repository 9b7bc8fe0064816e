"""Perceivers by name: ours, those of the extra `[perceive]`, and users' own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from alchemint_jax.errors import ConfigError
from alchemint_jax.imported import imported
from alchemint_jax.perceive import (
    Detector,
    Embedder,
    Segmenter,
    ShotFinder,
    TextEmbedder,
)


def _yolo(checkpoint: None) -> Detector:
    from alchemint_jax.perceive.yolo import YoloDetector

    return YoloDetector()


def _grounding_dino(checkpoint: str | None) -> Detector:
    from alchemint_jax.perceive.grounding_dino import CHECKPOINT, GroundingDinoDetector

    return GroundingDinoDetector.load(checkpoint or CHECKPOINT)


def _u2netp(checkpoint: None) -> Segmenter:
    from alchemint_jax.perceive.u2netp import U2netSegmenter

    return U2netSegmenter()


def _sam2(checkpoint: str | None) -> Segmenter:
    from alchemint_jax.perceive.sam2 import CHECKPOINT, Sam2Segmenter

    return Sam2Segmenter.load(checkpoint or CHECKPOINT)


def _efficientnet(checkpoint: None) -> Embedder:
    from alchemint_jax.perceive.efficientnet import EfficientnetEmbedder

    return EfficientnetEmbedder()


def _clip(checkpoint: str | None) -> TextEmbedder:
    from alchemint_jax.perceive.clip import CHECKPOINT, ClipEmbedder

    return ClipEmbedder.load(checkpoint or CHECKPOINT)


def _content(checkpoint: None) -> ShotFinder:
    from alchemint_jax.perceive.shots import ContentShots

    return ContentShots()


def _transnet(checkpoint: None) -> ShotFinder:
    from alchemint_jax.perceive.transnet import TransNetShots

    return TransNetShots.load()


# Those that are found elsewhere may be given another checkpoint.
_Makers = Mapping[str, Callable[..., Any]]
DETECTORS: _Makers = {"yolov3-tiny": _yolo, "grounding-dino": _grounding_dino}
SEGMENTERS: _Makers = {"u2netp": _u2netp, "sam2": _sam2}
EMBEDDERS: _Makers = {"efficientnet-lite0": _efficientnet, "clip": _clip}
SHOT_FINDERS: _Makers = {"content": _content, "transnetv2": _transnet}
_ELSEWHERE = (_grounding_dino, _sam2, _clip)


@dataclasses.dataclass(frozen=True)
class Perceivers:
    """Whatever looks at a video."""

    detector: Detector
    segmenter: Segmenter
    embedder: Embedder
    shots: ShotFinder


def load_perceivers(
    detector: str = "yolov3-tiny",
    segmenter: str = "u2netp",
    embedder: str = "efficientnet-lite0",
    shots: str = "content",
) -> Perceivers:
    """One perceiver of each kind; the defaults need no download.

    A name is one of ours (the keys of `DETECTORS`, `SEGMENTERS`, `EMBEDDERS` and `SHOT_FINDERS`),
    or MODULE:NAME, an object in a module of the user's. "grounding-dino", "sam2", "clip" and
    "transnetv2" need the extra [perceive]; the first three take a checkpoint behind a colon, as in
    "clip:DIR", which is a folder or a name on the Hugging Face hub, and download one without.

    Raises:
        ConfigError: there is none of that name, it is something else, or what it needs is missing.
    """
    return Perceivers(
        _load(detector, DETECTORS, Detector),
        _load(segmenter, SEGMENTERS, Segmenter),
        _load(embedder, EMBEDDERS, Embedder),
        _load(shots, SHOT_FINDERS, ShotFinder),
    )


def _load(name: str, ours: _Makers, protocol: type) -> Any:
    own, _, checkpoint = name.partition(":")
    if own not in ours:
        return imported(name, protocol, ours, "alchemint_jax.perceive")
    if checkpoint and ours[own] not in _ELSEWHERE:
        raise ConfigError(f"{name}: the weights of {own} are in a package; write {own!r} alone")
    return ours[own](checkpoint or None)
