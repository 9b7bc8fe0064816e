"""Perceivers by name: ours, those of the extra `[perceive]`, and users' own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from alchemint_jax.imported import imported
from alchemint_jax.perceive import Detector, Embedder, Segmenter, ShotFinder


def _yolo() -> Detector:
    from alchemint_jax.perceive.yolo import YoloDetector

    return YoloDetector()


def _u2netp() -> Segmenter:
    from alchemint_jax.perceive.u2netp import U2netSegmenter

    return U2netSegmenter()


def _efficientnet() -> Embedder:
    from alchemint_jax.perceive.efficientnet import EfficientnetEmbedder

    return EfficientnetEmbedder()


def _content() -> ShotFinder:
    from alchemint_jax.perceive.shots import ContentShots

    return ContentShots()


DETECTORS: Mapping[str, Callable[[], Detector]] = {"yolov3-tiny": _yolo}
SEGMENTERS: Mapping[str, Callable[[], Segmenter]] = {"u2netp": _u2netp}
EMBEDDERS: Mapping[str, Callable[[], Embedder]] = {"efficientnet-lite0": _efficientnet}
SHOT_FINDERS: Mapping[str, Callable[[], ShotFinder]] = {"content": _content}


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

    Each name is a key of `DETECTORS`, `SEGMENTERS`, `EMBEDDERS` or `SHOT_FINDERS`, or MODULE:NAME,
    an object in a module of the user's.

    Raises:
        ConfigError: there is none of that name, or it is something else.
    """
    return Perceivers(
        _load(detector, DETECTORS, Detector),
        _load(segmenter, SEGMENTERS, Segmenter),
        _load(embedder, EMBEDDERS, Embedder),
        _load(shots, SHOT_FINDERS, ShotFinder),
    )


def _load(name: str, ours: Mapping[str, Callable[[], Any]], protocol: type) -> Any:
    if name in ours:
        return ours[name]()
    return imported(name, protocol, ours, "alchemint_jax.perceive")
