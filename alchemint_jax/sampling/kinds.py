"""Published models that take pictures of subjects and have no tensors but those of Wan2.1.

What makes them models of subjects is a rule: where the latents of pictures stand beside the video,
or that all pictures are on a canvas in place of its first frame; with which time they are
modulated; and how guidance weighs the passes. Nothing in their files says so. A kind is such a
rule, with the settings that its authors sample with.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.rotary import NoInterval, ReferenceLayout
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.sampling.wan_settings import NEGATIVE
from alchemint_jax.weights.files import PICKLES

PLAIN = "plain"
"""Says that a model is of no kind, whatever its files are called."""
_BADLY_DRAWN_FACES = "画得不好的脸部，"
_LARGE = 5120  # width of the transformer of 14B parameters


@dataclasses.dataclass(frozen=True)
class Kind:
    """How models of one kind take pictures, and how their authors sample them.

    Attributes:
        slots: how many pictures a scene may have.
        layout: where they stand.
        sampled: fields of `Settings` that differ from those of Wan2.1.
        sampled_large: further ones, of the model of 14B parameters.
        safetensors: which files hold the weights and are no pickles.
        canvas: whether pictures are on one canvas, which an image-to-video transformer is given; it
            has no slots then.
    """

    slots: int
    layout: ReferenceLayout
    sampled: Mapping[str, Any]
    sampled_large: Mapping[str, Any]
    safetensors: str
    canvas: bool = False

    def config(self, plain: DiTConfig, where: str) -> DiTConfig:
        """The configuration of a transformer of Wan2.1, with pictures as this kind takes them.

        They are modulated with the time of the video, though they are clean, and their intervals
        turn nothing: `sampling.control.Gating` is what times them. There are no further tensors.

        Raises:
            WeightsError: it is another transformer than this kind is a rule for.
        """
        if self.canvas:
            if not plain.image_dim or plain.image_positions or plain.slots:
                raise WeightsError(
                    f"{where}: models of this kind are image-to-video transformers of Wan2.1 that "
                    "continue one picture, and this one is not; with the kind 'plain' it is loaded "
                    "as it is"
                )
            return dataclasses.replace(plain, scheme=NoInterval())
        if plain.image_dim or plain.slots or plain.in_channels != plain.out_channels:
            raise WeightsError(
                f"{where}: models of this kind are text-to-video transformers of Wan2.1 without "
                "additions, and this one is not; with the kind 'plain' it is loaded as it is"
            )
        return dataclasses.replace(
            plain,
            slots=self.slots,
            index=False,
            tags=False,
            scheme=NoInterval(),
            layout=self.layout,
            reference_time="video",
        )

    def settings(self, wan: Settings, dim: int) -> Settings:
        """The settings of Wan2.1 as this kind changes them; `dim` is the transformer's width."""
        large = self.sampled_large if dim >= _LARGE else {}
        return dataclasses.replace(wan, **self.sampled, **large)

    def refuse_pickle(self, path: str | os.PathLike[str]) -> None:
        """Raises WeightsError for a file that is never read, naming those that can be."""
        if Path(path).suffix.lower() in PICKLES:
            raise WeightsError(
                f"{path} may be a pickle, which is never loaded, since unpickling runs code from "
                f"the file: fetch the weights as safetensors ({self.safetensors})"
            )


KINDS = {
    # Phantom, arXiv 2502.11079; github.com/Phantom-video/Phantom
    "phantom": Kind(
        slots=4,
        layout=ReferenceLayout.trailing(4),
        sampled={
            "solver": "unipc",
            "grid": "wan",
            "shift": 5.0,
            "steps": 50,
            # v = n + 5 (i - n) + 7.5 (ti - i): n has neither text nor pictures, i has no text.
            "guidance": Guidance(text=0, image=-2.5, both=7.5),
            "negative_prompt": NEGATIVE,
        },
        sampled_large={"fps": 24.0, "max_frames": 121},
        safetensors="Phantom-Wan-1_3B_fp16.safetensors of Kijai/WanVideo_comfy; the authors' own "
        "of 14B are safetensors",
    ),
    # Kaleido, arXiv 2510.18573; github.com/zai-org/Kaleido
    "kaleido": Kind(
        slots=3,
        layout=ReferenceLayout.r_rope(3, offset=(80, 80)),
        sampled={
            "size": (512, 896),
            "solver": "euler",
            "grid": "linear",
            "shift": 7.0,
            "steps": 50,
            # v = i + 6 (ti - i): pictures stay in the pass without text.
            "guidance": Guidance(text=0, image=-5, both=6),
            "negative_prompt": NEGATIVE.replace(_BADLY_DRAWN_FACES, ""),
        },
        sampled_large={},
        safetensors="Wan_2_1_kaleido_14B-S2V_experimental_fp16.safetensors of Kijai/WanVideo_comfy",
    ),
    # MAGREF, arXiv 2505.23742; github.com/MAGREF-Video/MAGREF, as its generate.py calls it
    "magref": Kind(
        slots=0,
        layout=ReferenceLayout(),
        sampled={
            "solver": "unipc",
            "grid": "wan",
            "shift": 3.0,
            "steps": 40,
            "guidance": Guidance(text=0, image=0, both=5),
            "negative_prompt": "镜头晃动，" + NEGATIVE,
        },
        sampled_large={},
        safetensors="those of MAGREF-Video/MAGREF, or a repackaged fp16 file",
        canvas=True,
    ),
}


def kind_of(name: str | None, *paths: str | os.PathLike[str] | None) -> Kind | None:
    """The kind of that name or, without a name, the one that a file or folder is called after.

    Args:
        name: a key of `KINDS`, or `PLAIN` for none of them.
        paths: of the transformer and of the model; the first that is called after a kind decides.

    Raises:
        ConfigError: there is no such kind.
    """
    if name == PLAIN:
        return None
    if name is not None:
        if name not in KINDS:
            raise ConfigError(
                f"there is no kind of model {name!r}; there are {', '.join([*KINDS, PLAIN])}"
            )
        return KINDS[name]
    called = [Path(path).name.lower() for path in paths if path is not None]
    return next((kind for text in called for key, kind in KINDS.items() if key in text), None)
