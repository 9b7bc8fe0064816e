"""What a loaded model is made of, what it can be asked, and whether its parts belong together."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

from alchemint_jax.errors import StoryboardError, WeightsError
from alchemint_jax.models.clip import CLIPVision
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.canvas import MOST
from alchemint_jax.sampling.control import Relay, TSAttn
from alchemint_jax.sampling.prompts import whole_text
from alchemint_jax.sampling.sample import Models
from alchemint_jax.sampling.step_cache import AUTO, FILE, Tables, fingerprint
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.scene.limits import Further, Limits
from alchemint_jax.scene.scene import Scene


class Origin(NamedTuple):
    """Where a model was read from.

    Attributes:
        directory: of the model.
        transformer: a model's directory, a file, or the index of several.
    """

    directory: Path
    transformer: str | os.PathLike[str]

    @classmethod
    def of(cls, directory: Path, transformer: str | os.PathLike[str] | None) -> Origin:
        """The transformer is the model's own where it is None."""
        return cls(directory, directory if transformer is None else transformer)

    def tables(self, cache: str | os.PathLike[str]) -> Tables:
        """The step caches of a file or, with "auto", of the one beside the weights."""
        return Tables.load(self.directory / FILE if cache == AUTO else cache)

    def fingerprint(self) -> str:
        """Of the transformer, see `step_cache.fingerprint`."""
        return fingerprint(self.transformer)


@dataclasses.dataclass(frozen=True)
class Parts:
    """The networks of a model and how it is sampled.

    Attributes:
        models: transformer and autoencoder, with their parameters.
        texts: tokenizer and text encoder.
        settings: how the model is sampled where the caller does not say.
        image_encoder: of models that continue pictures, with its parameters; None elsewhere.
        relay: how events are told to a model without an event branch; None tells it none.
        clean_keyframes: whether keyframes are clean latents with a time of 0.
        canvas: whether pictures of subjects are side by side where a first frame would be.
        origin: where the model was read from; None where nobody says.
        cache: which passes are computed at which steps where the caller does not say; None
            computes all of them.
    """

    models: Models
    texts: Texts
    settings: settings.Settings
    image_encoder: tuple[CLIPVision, dict] | None = None
    relay: Relay | TSAttn | None = None
    clean_keyframes: bool = False
    canvas: bool = False
    origin: Origin | None = None
    cache: Tables | None = None

    @property
    def fps(self) -> float:
        """Frames per second of every video this model makes."""
        return self.settings.fps

    @property
    def limits(self) -> Limits:
        """What storyboards this model can do."""
        config = self.models.dit.config
        stride = self.models.vae.config.temporal_stride
        events = config.events or self.relay is not None
        return self.settings.limits(
            MOST if self.canvas else config.slots,
            events,
            stride,
            self.keyframes,
            self.more_keyframes,
            config.cuts,
        )

    @property
    def conditioned(self) -> bool:
        """Whether the transformer has channels for frames that are given."""
        config = self.models.dit.config
        return config.in_channels != config.out_channels

    @property
    def more_keyframes(self) -> Further:
        """Which frames it can be given besides those that it must be."""
        if self.canvas:
            return "none"
        if self.conditioned:
            return "frames"
        if self.clean_keyframes:
            return "latent frames"
        return "first" if self.settings.given_frames else "none"

    @property
    def keyframes(self) -> int:
        """How many frames the model must be given: 0, 1 (the first) or 2 (the last one too)."""
        if self.canvas:
            return 0
        if self.image_encoder is None:
            return int(self.conditioned)
        tokens = self.image_encoder[0].config.n_tokens
        return max(1, self.models.dit.config.image_positions // tokens)

    def check_texts(self, scene: Scene) -> None:
        """Refuses text that the model would cut off.

        Raises:
            StoryboardError: naming scene, text and how much the model reads.
        """
        texts = [("prompt", scene.caption, self.settings.text_length)]
        said = [event.text for event in scene.events]
        if isinstance(self.relay, Relay):
            for i, text in enumerate(said):
                whole = whole_text(scene.caption, text)
                texts.append((f"prompt and events[{i}].text", whole, self.settings.text_length))
        elif self.relay and said:
            whole = " ".join([scene.caption, *said])
            texts.append(("prompt and events", whole, self.settings.text_length))
        for i, subject in enumerate(scene.subjects):
            texts.append((f"subjects[{i}].word", subject.word, self.settings.tag_length))
        for i, event in enumerate(scene.events if self.relay is None else ()):
            texts.append((f"events[{i}].text", event.text, self.settings.event_length))
        for name, text, length in texts:
            self._check_length(scene.id, name, text, length)

    def check_negative(self, source: str, text: str) -> None:
        """Refuses a negative prompt that the model would cut off, or has no use for.

        Raises:
            StoryboardError: naming the source.
        """
        if text and self.settings.distilled:
            raise StoryboardError(
                f"{source}: negative_prompt: this model has its guidance inside, and nothing leads "
                "it away from a text; remove it, or use the model that it was made from"
            )
        self._check_length(source, "negative_prompt", text, self.settings.text_length)

    def _check_length(self, source: str, name: str, text: str, length: int) -> None:
        if problem := self.texts.excess(text, length):
            raise StoryboardError(f"{source}: {name}: {problem}")


def check_parts(parts: Parts, source: str) -> None:
    """Refuses parts of different models before they meet inside a network.

    Raises:
        WeightsError: naming the source, both parts and their numbers.
    """
    dit, vae = parts.models.dit.config, parts.models.vae.config
    pairs = {
        # Beside the latents: a mask for each frame that one latent frame holds, and pictures.
        "transformer in_channels": (
            dit.in_channels
            - (vae.temporal_stride + vae.z_dim if dit.image_dim or parts.conditioned else 0),
            "vae z_dim",
            vae.z_dim,
        ),
        "transformer out_channels": (dit.out_channels, "vae z_dim", vae.z_dim),
        "transformer scheme.stride": (
            getattr(dit.scheme, "stride", vae.temporal_stride),
            "vae temporal_stride",
            vae.temporal_stride,
        ),
        "transformer text_dim": (
            dit.text_dim,
            "text_encoder dim",
            parts.texts.encoder.config.dim,
        ),
    }
    if preview := parts.models.preview:
        for name in ("z_dim", "temporal_stride", "spatial_stride"):
            ours = getattr(preview[0].config, name)
            pairs[f"small decoder {name}"] = (ours, f"vae {name}", getattr(vae, name))
    if (parts.models.low is None) != (parts.settings.boundary is None):
        alone = parts.models.low is None
        raise WeightsError(
            f"{source}: "
            + (
                "boundary says when transformer_2 takes over, and there is no transformer_2"
                if alone
                else f"transformer_2 is there, but {settings.FILE} has no boundary, which says "
                "when it takes over"
            )
        )
    clean = parts.settings.given_frames or parts.clean_keyframes
    if clean and (parts.conditioned or dit.patch[0] != 1):
        raise WeightsError(
            f"{source}: clean latents of given frames (given_frames) are for transformers without "
            "channels of a condition, whose tokens are of one latent frame"
        )
    for name, (value, other, wanted) in pairs.items():
        if value != wanted:
            raise WeightsError(
                f"{source}: {name} is {value}, but {other} is {wanted}; all parts must come "
                "from the same model"
            )
    units = [vae.spatial_stride * patch for patch in dit.patch[1:]]
    size = parts.settings.size
    for name, sides in (
        ("size", size),
        ("reference_size", parts.settings.reference_size or size),
    ):
        if any(side % unit for side, unit in zip(sides, units, strict=True)):
            raise WeightsError(
                f"{source}: {settings.FILE}: {name} {list(sides)} is not a multiple of "
                f"{units}, what the autoencoder and the transformer join to one token"
            )
