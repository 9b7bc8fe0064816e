"""The autoencoder as diffusers stores it (`AutoencoderKLWan`, as in Wan's `*-Diffusers`).

Names are those of diffusers/models/autoencoders/autoencoder_kl_wan.py: the encoder numbers its
blocks through, samplers included; the decoder nests them in stages. Where stages have shortcuts
(Wan2.2), the encoder nests them, too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.vae import VARIANTS, VAEConfig
from alchemint_jax.weights.layouts.moves import CONV, Entry, reshaped

CLASS = "AutoencoderKLWan"


def entries(config: VAEConfig) -> list[Entry]:
    """Every tensor of the file, in the order of the network."""
    return [*_encoder(config), *_decoder(config)]


def _encoder(config: VAEConfig) -> list[Entry]:
    widths = [config.base_dim * mult for mult in config.dim_mult]
    found = _conv("encoder.conv_in", "encoder.conv_in")
    count, before = 0, config.base_dim
    for i, width in enumerate(widths):
        for j in range(config.num_res_blocks):
            theirs = f"{i}.resnets.{j}" if config.residual else f"{count}"
            ours = f"encoder.stage{i}_block{j}"
            found += _residual(f"encoder.down_blocks.{theirs}", ours, before, width)
            count, before = count + 1, width
        if i < len(widths) - 1:
            theirs = f"{i}.downsampler" if config.residual else f"{count}"
            ours, temporal = f"encoder.stage{i}_down", config.temporal_downsample[i]
            found += _sampler(f"encoder.down_blocks.{theirs}", ours, temporal)
            count += 1
    found += _ends("encoder", widths[-1], widths[-1])
    return [*found, *_conv("quant_conv", "encoder.quant")]


def _decoder(config: VAEConfig) -> list[Entry]:
    widths = [config.decoder_dim * mult for mult in reversed(config.dim_mult)]
    found = [
        *_conv("post_quant_conv", "decoder.post_quant"),
        *_conv("decoder.conv_in", "decoder.conv_in"),
    ]
    before = widths[0]
    for i, width in enumerate(widths):
        theirs, ours = f"decoder.up_blocks.{i}", f"decoder.stage{i}"
        for j in range(config.num_res_blocks + 1):
            found += _residual(f"{theirs}.resnets.{j}", f"{ours}_block{j}", before, width)
            before = width
        if i < len(widths) - 1:
            temporal = config.temporal_downsample[-1 - i]
            sampler = "upsampler" if config.residual else "upsamplers.0"
            found += _sampler(f"{theirs}.{sampler}", f"{ours}_up", temporal)
            before = width if config.residual else width // 2
    return [*found, *_ends("decoder", widths[0], widths[-1])]


def _conv(theirs: str, ours: str) -> list[Entry]:
    return [
        Entry(f"{theirs}.weight", f"{ours}.kernel", CONV),
        Entry(f"{theirs}.bias", f"{ours}.bias"),
    ]


def _norm(theirs: str, ours: str, width: int, axes: int = 3) -> Entry:
    """A gain, which they keep with `axes` axes of length one behind it."""
    move = reshaped((width,), (width, *[1] * axes))
    return Entry(f"{theirs}.gamma", f"{ours}.gamma", move)


def _residual(theirs: str, ours: str, before: int, width: int) -> list[Entry]:
    found = [
        _norm(f"{theirs}.norm1", f"{ours}.norm1", before),
        *_conv(f"{theirs}.conv1", f"{ours}.conv1"),
        _norm(f"{theirs}.norm2", f"{ours}.norm2", width),
        *_conv(f"{theirs}.conv2", f"{ours}.conv2"),
    ]
    if before != width:
        found += _conv(f"{theirs}.conv_shortcut", f"{ours}.shortcut")
    return found


def _sampler(theirs: str, ours: str, temporal: bool) -> list[Entry]:
    found = _conv(f"{theirs}.resample.1", f"{ours}.conv")
    if temporal:
        found += [
            Entry(f"{theirs}.time_conv.weight", f"{ours}.time_kernel", CONV),
            Entry(f"{theirs}.time_conv.bias", f"{ours}.time_bias"),
        ]
    return found


def _ends(side: str, middle: int, last: int) -> list[Entry]:
    """The lowest resolution, and the last layers."""
    theirs, ours = f"{side}.mid_block", f"{side}.middle"
    return [
        *_residual(f"{theirs}.resnets.0", f"{ours}.block1", middle, middle),
        # The only norm of pictures there, not of videos.
        _norm(f"{theirs}.attentions.0.norm", f"{ours}.attention.norm", middle, axes=2),
        *_conv(f"{theirs}.attentions.0.to_qkv", f"{ours}.attention.qkv"),
        *_conv(f"{theirs}.attentions.0.proj", f"{ours}.attention.proj"),
        *_residual(f"{theirs}.resnets.1", f"{ours}.block2", middle, middle),
        _norm(f"{side}.norm_out", f"{side}.norm_out", last),
        *_conv(f"{side}.conv_out", f"{side}.conv_out"),
    ]


def _count(value: Any) -> bool:
    return type(value) is int and value > 0


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _several(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


# Their field: ours, what its value must be, in words and as a check.
_FIELDS: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "base_dim": ("base_dim", "a whole number above 0", _count),
    "z_dim": ("z_dim", "a whole number above 0", _count),
    "dim_mult": (
        "dim_mult",
        "a list of whole numbers above 0",
        lambda value: value != [] and _several(_count)(value),
    ),
    "num_res_blocks": ("num_res_blocks", "a whole number above 0", _count),
    "is_residual": ("residual", "true or false", lambda value: type(value) is bool),
    "patch_size": (
        "patch",
        "null or a whole number above 0",
        lambda value: value is None or _count(value),
    ),
    "decoder_base_dim": (
        "decoder_base_dim",
        "null or a whole number above 0",
        lambda value: value is None or _count(value),
    ),
    "temperal_downsample": (
        "temporal_downsample",
        "a list of true and false",
        _several(lambda value: type(value) is bool),
    ),
    "latents_mean": ("latents_mean", "a list of numbers", _several(_number)),
    "latents_std": (
        "latents_std",
        "a list of numbers above 0",
        _several(lambda value: _number(value) and value > 0),
    ),
}
# Their other fields, and the values with which their network is ours. Dropout is off when a video
# is encoded or decoded, and the factors only repeat what the other fields say.
_FIXED: dict[str, tuple[Any, ...]] = {"attn_scales": ([],)}
# Three colours of each pixel of a patch; three where they are left out.
_CHANNELS = ("in_channels", "out_channels")
# Clipping is no choice in diffusers today, whatever the published file of Wan2.2 says.
_IGNORED = ("dropout", "scale_factor_temporal", "scale_factor_spatial", "clip_output")


def config_from_diffusers(values: Mapping[str, Any], where: str) -> VAEConfig:
    """Our configuration, from the fields of a vae/config.json; absent ones are Wan2.1's.

    Args:
        values: the object in the file.
        where: the file, named in errors.

    Raises:
        WeightsError: it describes another network, or one that we do not have. All such fields are
            listed.
    """
    name = values.get("_class_name", CLASS)
    if name != CLASS:
        raise WeightsError(f"{where}: _class_name is {name!r}; the autoencoder must be a {CLASS}")
    problems: list[str] = []
    fields: dict[str, Any] = {}
    for field, value in values.items():
        if field in _FIELDS:
            ours, expected, fits = _FIELDS[field]
            if fits(value):
                fields[ours] = tuple(value) if isinstance(value, list) else value
            else:
                problems.append(f"{field} is {value!r}; expected {expected}")
        elif field in _FIXED:
            if value not in _FIXED[field]:
                allowed = " or ".join(map(repr, _FIXED[field]))
                problems.append(f"{field} is {value!r}; only {allowed} is supported")
        elif field not in (*_CHANNELS, *_IGNORED) and not field.startswith("_"):
            problems.append(f"{field} is not a known field of {CLASS}")
    patch = values.get("patch_size")
    colours = 3 * (int(patch) if patch and _count(patch) else 1) ** 2
    problems += [
        f"{field} is {values.get(field, 3)!r}; with patch_size {patch!r} it must be {colours}"
        for field in _CHANNELS
        if values.get(field, 3) != colours
    ]
    if not problems:
        fields["patch"] = fields.get("patch") or 1
        if fields.get("decoder_base_dim") == fields.get("base_dim", VARIANTS["wan2.1"].base_dim):
            fields["decoder_base_dim"] = None
        try:
            config = dataclasses.replace(VARIANTS["wan2.1"], **fields)
        except ConfigError as e:
            raise WeightsError(f"{where}: {e}") from e
        problems = _misfits(config)
    if problems:
        raise WeightsError("\n  ".join([f"{where} cannot be read:", *problems]))
    return config


def _misfits(config: VAEConfig) -> list[str]:
    lengths = {
        "temperal_downsample": (len(config.temporal_downsample), len(config.dim_mult) - 1),
        "latents_mean": (len(config.latents_mean), config.z_dim),
        "latents_std": (len(config.latents_std), config.z_dim),
    }
    because = {"temperal_downsample": "dim_mult has one more"}
    return [
        f"{field} has {found} values; expected {expected}, "
        + because.get(field, f"since z_dim is {config.z_dim}")
        for field, (found, expected) in lengths.items()
        if found != expected
    ]


def config_to_diffusers(config: VAEConfig) -> dict[str, Any]:
    """The fields of a vae/config.json that diffusers' `AutoencoderKLWan` is built from.

    Raises:
        WeightsError: diffusers cannot run such an autoencoder.
    """
    # Their encoder takes four frames at a time, whatever its configuration says.
    if config.temporal_stride not in (1, 2, 4):
        raise WeightsError(
            f"diffusers cannot run this autoencoder: temporal_downsample merges "
            f"{config.temporal_stride} frames into one, and {CLASS} at most 4"
        )
    ours = dataclasses.asdict(config)
    fields = {field: ours[name] for field, (name, _, _) in _FIELDS.items()}
    return {
        "_class_name": CLASS,
        **{f: list(v) if isinstance(v, tuple) else v for f, v in fields.items()},
        "decoder_base_dim": config.decoder_dim,
        "patch_size": config.patch if config.patch > 1 else None,
        **dict.fromkeys(_CHANNELS, 3 * config.patch**2),
        **{field: allowed[0] for field, allowed in _FIXED.items()},
        "dropout": 0.0,
        "scale_factor_temporal": config.temporal_stride,
        "scale_factor_spatial": config.spatial_stride,
    }
