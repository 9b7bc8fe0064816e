"""CLIP, through transformers: tells subjects apart, and whether a word names what an image shows.

Source: A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
arXiv:2103.00020.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from alchemint_jax.perceive.pixels import batches, on_square
from alchemint_jax.perceive.pretrained import load

CHECKPOINT = "openai/clip-vit-base-patch32"


@dataclasses.dataclass(frozen=True, eq=False)
class ClipEmbedder:
    """A `TextEmbedder`. Images are shown whole, on white: what is cut off cannot be compared.

    Attributes:
        model: a CLIPModel.
        tokenizer: of its texts.
        processor: of its images.
        batch: images that the network sees at once.
    """

    model: Any = dataclasses.field(repr=False)
    tokenizer: Any = dataclasses.field(repr=False)
    processor: Any = dataclasses.field(repr=False)
    batch: int = 16

    @classmethod
    def load(cls, checkpoint: str = CHECKPOINT, **fields: Any) -> ClipEmbedder:
        """One with published weights; `fields` are those of the dataclass."""
        return cls(*load(checkpoint, "CLIPModel", "AutoTokenizer", "AutoImageProcessor"), **fields)

    def embed(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float32[np.ndarray, "n d"]:
        """See `Embedder.embed`."""
        vectors = [np.zeros((0, self.model.config.projection_dim), np.float32)]
        for part in batches(range(len(images)), self.batch):
            squares = [on_square(images[index]) for index in part]
            inputs = self.processor(images=squares, return_tensors="pt")
            vectors.append(self._run(self.model.get_image_features, inputs))
        return np.concatenate(vectors)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """See `TextEmbedder.embed_texts`. What is longer than the network reads is cut off."""
        vectors = [np.zeros((0, self.model.config.projection_dim), np.float32)]
        for part in batches(range(len(texts)), self.batch):
            some = [texts[index] for index in part]
            inputs = self.tokenizer(some, padding=True, truncation=True, return_tensors="pt")
            vectors.append(self._run(self.model.get_text_features, inputs))
        return np.concatenate(vectors)

    def _run(self, features: Any, inputs: Any) -> Float32[np.ndarray, "n d"]:
        import torch

        with torch.inference_mode():
            found = features(**inputs.to(self.model.device)).pooler_output
            return torch.nn.functional.normalize(found.float(), dim=-1).cpu().numpy()
