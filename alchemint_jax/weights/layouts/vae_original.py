"""The autoencoder in Wan's own names, and small decoders in TAEHV's: files without a config.json.

So are safetensors of Wan2.1_VAE and Wan2.2_VAE, and LightVAE, which is Wan2.1's in a smaller width.
What their configuration is, the shapes of their tensors say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.vae import VARIANTS, TinyDecoderConfig, VAEConfig
from alchemint_jax.weights.layouts import vae
from alchemint_jax.weights.layouts.moves import CONV, Entry

Shapes = Mapping[str, tuple[int, ...]]
# Their parts of a residual block by diffusers' names.
_RESIDUAL = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
_ENDS = {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}
_STAGES = {"encoder": "downsamples", "decoder": "upsamples"}


def entries(config: VAEConfig) -> list[Entry]:
    """Every tensor of a file in Wan's own names."""
    return [
        Entry(_original(entry.name, config), entry.path, entry.move)
        for entry in vae.entries(config)
    ]


def _original(name: str, config: VAEConfig) -> str:
    """Wan's name of a tensor that diffusers calls `name`."""
    side, _, rest = name.partition(".")
    if side not in _STAGES:
        return {"quant_conv": "conv1", "post_quant_conv": "conv2"}[side] + f".{rest}"
    rest, kind = rest.rsplit(".", 1)
    if rest in _ENDS:
        return f"{side}.{_ENDS[rest]}.{kind}"
    if match := re.fullmatch(r"mid_block\.(\w+\.\d)\.(\w+)", rest):
        block, part = match.groups()
        return f"{side}.middle.{_MIDDLE[block]}.{_RESIDUAL.get(part, part)}.{kind}"
    # Blocks of a stage, numbered from 0, and then what resamples; diffusers nests most of them.
    blocks = config.num_res_blocks + (side == "decoder")
    numbers, part = _place(rest, blocks)
    if len(numbers) == 2 and not config.residual:
        numbers = [numbers[0] * (blocks + 1) + numbers[1]]
    where = ".".join(f"{_STAGES[side]}.{number}" for number in numbers)
    return f"{side}.{where}.{_RESIDUAL.get(part, part)}.{kind}"


def _place(rest: str, blocks: int) -> tuple[list[int], str]:
    """The number of a block, or that of its stage and its own, and the part of it that is meant."""
    nested = re.fullmatch(r"\w+_blocks\.(\d+)\.(?:resnets\.(\d+)|\w+sampler(?:s\.0)?)\.(.+)", rest)
    if nested:
        stage, block, part = nested.groups()
        return [int(stage), blocks if block is None else int(block)], part
    _, number, part = rest.split(".", 2)
    return [int(number)], part


def guess(shapes: Shapes) -> VAEConfig:
    """The configuration of a file in Wan's own names.

    Raises:
        KeyError, ValueError: it is no such file.
    """
    base, inputs = shapes["encoder.conv1.weight"][:2]
    z_dim, patch = shapes["conv2.weight"][0], math.isqrt(inputs // 3)
    known = next((v for v in VARIANTS.values() if v.z_dim == z_dim), None)
    if known is None:
        raise ValueError(f"latents of {z_dim} channels, whose means are not known")
    blocks = sorted(
        {
            match[1]
            for name in shapes
            if (match := re.match(r"encoder\.(downsamples\.\d+(?:\.downsamples\.\d+)?)\.\D", name))
        },
        key=lambda name: [int(n) for n in re.findall(r"\d+", name)],
    )
    stages: list[list[int]] = [[]]
    temporal = []
    for block in blocks:
        if f"encoder.{block}.resample.1.weight" in shapes:
            temporal.append(f"encoder.{block}.time_conv.weight" in shapes)
            stages.append([])
        else:
            stages[-1].append(shapes[f"encoder.{block}.residual.2.weight"][0])
    multiples = tuple(widths[0] // base for widths in stages if widths)
    decoder = shapes["decoder.head.0.gamma"][0] // multiples[0]
    return VAEConfig(
        base_dim=base,
        dim_mult=multiples,
        num_res_blocks=len(stages[0]),
        z_dim=z_dim,
        temporal_downsample=tuple(temporal),
        latents_mean=known.latents_mean,
        latents_std=known.latents_std,
        decoder_base_dim=None if decoder == base else decoder,
        patch=patch,
        residual=any(block.count("downsamples") > 1 for block in blocks),
    )


# ------------------------------------------------------------------------------ small decoders

TINY_IGNORED = "encoder."
"""Begins the names of what is not read: their encoder gives latents another timing."""
_TINY_SIGN = "decoder.3.conv.0.weight"


def is_tiny(shapes: Shapes) -> bool:
    """Whether a file is a small decoder's."""
    return _TINY_SIGN in shapes


def tiny_entries(config: TinyDecoderConfig) -> list[Entry]:
    """Every tensor of the decoder; layers are numbered through, those without tensors too."""
    found = _both("decoder.1", "conv_in")
    at = 3
    for i in range(len(config.temporal_upsample)):
        for j in range(config.memory_blocks):
            for number, part in zip((0, 2, 4), ("conv1", "conv2", "conv3"), strict=True):
                found += _both(f"decoder.{at}.conv.{number}", f"stage{i}_memory{j}.{part}")
            at += 1
        # First they double the sides.
        found.append(Entry(f"decoder.{at + 1}.conv.weight", f"stage{i}_grow.kernel", CONV))
        found.append(Entry(f"decoder.{at + 2}.weight", f"stage{i}_out.kernel", CONV))
        at += 3
    return found + _both(f"decoder.{at + 1}", "conv_out")


def _both(theirs: str, ours: str) -> list[Entry]:
    return [
        Entry(f"{theirs}.weight", f"{ours}.kernel", CONV),
        Entry(f"{theirs}.bias", f"{ours}.bias"),
    ]


def guess_tiny(shapes: Shapes) -> TinyDecoderConfig:
    """The configuration of a small decoder's file.

    Raises:
        KeyError, ValueError: it is no such file.
    """
    width, z_dim = shapes["decoder.1.weight"][:2]
    numbers = {int(name.split(".")[1]) for name in shapes if name.startswith("decoder.")}
    memory, at = 0, 3
    while f"decoder.{at + memory}.conv.0.weight" in shapes:
        memory += 1
    widths, temporal = [width], []
    while f"decoder.{at}.conv.0.weight" in shapes:
        at += memory
        made, given = shapes[f"decoder.{at + 1}.conv.weight"][:2]
        if made % given:
            raise ValueError(f"decoder.{at + 1} makes {made} channels of {given}")
        temporal.append(made // given)
        widths.append(shapes[f"decoder.{at + 2}.weight"][0])
        at += 3
    if numbers and at + 1 != max(numbers):
        raise ValueError(f"its layers end at {max(numbers)}, not at {at + 1}")
    patch = math.isqrt(shapes[f"decoder.{at + 1}.weight"][0] // 3)
    try:
        return TinyDecoderConfig(z_dim, tuple(widths), tuple(temporal), memory, patch)
    except ConfigError as e:
        raise ValueError(str(e)) from e
