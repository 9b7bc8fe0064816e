"""Grounding DINO, through transformers: finds whatever words name.

Source: S. Liu et al., "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object
Detection", arXiv:2303.05499.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.perceive import Detections
from alchemint_jax.perceive.boxes import select
from alchemint_jax.perceive.pixels import batches
from alchemint_jax.perceive.pretrained import load

CHECKPOINT = "IDEA-Research/grounding-dino-tiny"


@dataclasses.dataclass(frozen=True, eq=False)
class GroundingDinoDetector:
    """A `Detector` of any words.

    All words are asked at once, and each is scored by its own tokens: by the mean of their largest
    and their mean probability. So no box is given a mixture of two words, or half of one.

    Attributes:
        model: a GroundingDinoForObjectDetection.
        tokenizer: of its texts; it must be a fast one, which says where in the text a token is.
        processor: of its images.
        threshold: the least score of what is found.
        overlap: of two boxes of one word whose intersection over union is larger, the more likely
            one is kept.
        batch: frames that the network sees at once.
    """

    model: Any = dataclasses.field(repr=False)
    tokenizer: Any = dataclasses.field(repr=False)
    processor: Any = dataclasses.field(repr=False)
    threshold: int | float = 0.25
    overlap: int | float = 0.7
    batch: int = 1

    @classmethod
    def load(cls, checkpoint: str = CHECKPOINT, **fields: Any) -> GroundingDinoDetector:
        """One with published weights; `fields` are those of the dataclass."""
        kinds = "GroundingDinoForObjectDetection", "AutoTokenizer", "AutoImageProcessor"
        return cls(*load(checkpoint, *kinds), **fields)

    @property
    def vocabulary(self) -> None:
        """Any word may be asked for."""
        return None

    def detect(self, video: UInt8[np.ndarray, "f h w 3"], words: Sequence[str]) -> list[Detections]:
        """See `Detector.detect`. Texts that are too long for one forward pass take several."""
        texts = self._texts(words)
        found = []
        for part in batches(range(len(video) if texts else 0), self.batch):
            frames = video[part[0] : part[-1] + 1]
            looks = [self._look(frames, *text) for text in texts]
            for rows in zip(*looks, strict=True):
                boxes, scores, numbers = (np.concatenate(x) for x in zip(*rows, strict=True))
                size = video.shape[1], video.shape[2]
                found.append(select(boxes, scores, numbers, size, self.threshold, self.overlap))
        return found or [Detections.none() for _ in video]

    def _texts(self, words: Sequence[str]) -> list[tuple[str, dict[int, list[int]]]]:
        """What to ask: each text with the tokens of its words, which go by their number.

        A word is a phrase between full stops, in small letters, as in training.
        """
        texts: list[tuple[str, dict[int, list[int]]]] = []
        for number, word in enumerate(words):
            phrase = " ".join(word.lower().replace(".", " ").split())
            if not phrase:
                continue
            before, tokens = texts[-1] if texts else ("", {})
            text = f"{before} {phrase}.".lstrip()
            if tokens and len(self._places(text)) > self.model.config.max_text_len:
                text, tokens = f"{phrase}.", {}
            mine = range(len(text) - 1 - len(phrase), len(text) - 1)
            found = [n for n, (start, _) in enumerate(self._places(text)) if start in mine]
            if not found:
                continue  # nothing that could be read
            texts = texts[:-1] if tokens else texts
            texts.append((text, {**tokens, number: found}))
        return texts

    def _places(self, text: str) -> list[tuple[int, int]]:
        """Where each token is in the text; what marks its ends has no length."""
        places = self.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        return [(a, b) if a < b else (-1, -1) for a, b in places]

    def _look(
        self, frames: UInt8[np.ndarray, "b h w 3"], text: str, tokens: dict[int, list[int]]
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each frame the boxes of all queries, the best word of each, and its score."""
        import torch

        images = self.processor(images=list(frames), return_tensors="pt")
        asked = self.tokenizer([text] * len(frames), return_tensors="pt")
        with torch.inference_mode():
            seen = self.model(**images.to(self.model.device), **asked.to(self.model.device))
        shares = seen.logits.sigmoid().cpu().numpy()
        scores = np.stack(
            [
                (shares[..., mine].max(-1) + shares[..., mine].mean(-1)) / 2
                for mine in tokens.values()
            ],
            -1,
        )
        best, numbers = scores.argmax(-1), np.array(list(tokens))
        height, width = frames.shape[1:3]
        boxes = seen.pred_boxes.cpu().numpy() * np.array([width, height] * 2, np.float32)
        half = boxes[..., 2:] / 2
        corners = np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)
        return list(zip(corners, scores.max(-1), numbers[best], strict=True))
