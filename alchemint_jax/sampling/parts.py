"""What a loaded model is made of, and whether its parts belong together."""

from __future__ import annotations

import dataclasses

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.clip import CLIPVision
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.canvas import MOST
from alchemint_jax.sampling.control import Relay
from alchemint_jax.sampling.sample import Models
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.scene.limits import Limits


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
    """

    models: Models
    texts: Texts
    settings: settings.Settings
    image_encoder: tuple[CLIPVision, dict] | None = None
    relay: Relay | None = None
    clean_keyframes: bool = False
    canvas: bool = False

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
        if self.canvas:
            return self.settings.limits(MOST, events, stride)
        limits = self.settings.limits(config.slots, events, stride, self.keyframes)
        if self.clean_keyframes:
            return dataclasses.replace(limits, more_keyframes="latent frames")
        return dataclasses.replace(limits, more_keyframes="frames" if self.continues else "none")

    @property
    def continues(self) -> bool:
        """Whether the transformer has channels for given frames."""
        return _continues(self.models.dit.config)

    @property
    def keyframes(self) -> int:
        """How many frames the model must be given: 0, 1 (the first) or 2 (the last one too)."""
        if self.canvas or not self.continues:
            return 0
        if self.image_encoder is None:
            return 1
        tokens = self.image_encoder[0].config.n_tokens
        return max(1, self.models.dit.config.image_positions // tokens)


def _continues(config: DiTConfig) -> bool:
    return config.in_channels > config.out_channels


def check_parts(parts: Parts, source: str) -> None:
    """Refuses parts of different models before they meet inside a network.

    Raises:
        WeightsError: naming the source, both parts and their numbers.
    """
    dit, vae = parts.models.dit.config, parts.models.vae.config
    pairs = {
        # Beside the latents: a mask for each frame that one latent frame holds, and pictures.
        "transformer in_channels": (
            dit.in_channels - (vae.temporal_stride + vae.z_dim if _continues(dit) else 0),
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
