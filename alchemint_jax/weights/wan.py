"""Networks in the formats of other projects: where their files lie, what they hold, how they map.

A directory in Wan's diffusers format has `transformer/`, `vae/`, `text_encoder/` and others. Beside
the transformer's own files there may be `alchemint.json` and `alchemint.safetensors`, with what
AlcheMinT adds to Wan and diffusers has no names for; diffusers ignores both.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax.errors import WeightsError, listed
from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.weights import files, signs
from alchemint_jax.weights.configs import config_from_dict, config_to_dict
from alchemint_jax.weights.layouts import clip, dit, umt5, vae
from alchemint_jax.weights.layouts.moves import Entry
from alchemint_jax.weights.tensors import Row, Stacked, Tensor

ADDITIONS = "alchemint"
_HEAD = 128  # width of an attention head in every Wan
# Fields of a transformer that Wan's own configuration does not have.
_ADDED_FIELDS = (
    "theta_t", "theta_hw", "slots", "index", "tags", "scheme", "mix_queries", "layout",
    "learned_timing", "reference_time", "events",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one network is stored elsewhere.

    Attributes:
        entries: the tensors of a configuration.
        read_config: config.json and its path, for errors, to our configuration.
        write_config: the way back.
        stem: of its weight file, without ending.
        other_names: names of a file that stand for, or are as good as, others (tied tensors).
        ignored: names of a file that the network does not need.
        prefixes: one of these may stand before every name; the entries are without.
    """

    entries: Callable[[Any], list[Entry]]
    read_config: Callable[[Mapping[str, Any], str], Any]
    write_config: Callable[[Any], dict[str, Any]]
    stem: str = "model"
    other_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


_TRANSFORMER = Layout(
    dit.entries,
    dit.config_from_diffusers,
    dit.config_to_diffusers,
    stem="diffusion_pytorch_model",
)
TRANSFORMERS = ("transformer", "transformer_2")
"""The components that are one; Wan2.2's A14B has two of them."""
LAYOUTS = {
    **dict.fromkeys(TRANSFORMERS, _TRANSFORMER),
    "vae": Layout(
        vae.entries,
        vae.config_from_diffusers,
        vae.config_to_diffusers,
        stem="diffusion_pytorch_model",
    ),
    "text_encoder": Layout(
        umt5.entries,
        umt5.config_from_diffusers,
        umt5.config_to_diffusers,
        other_names=umt5.ALIASES,
    ),
    "image_encoder": Layout(
        clip.entries,
        clip.config_from_diffusers,
        clip.config_to_diffusers,
        ignored=clip.IGNORED,
        # transformers 5 leaves out what all published files have.
        prefixes=(clip.PREFIX,),
    ),
}
ORIGINAL = Layout(
    dit.original_entries,
    dit.config_from_diffusers,
    dit.config_to_original,
    stem="diffusion_pytorch_model",
    prefixes=(dit.PREFIX,),
)
"""Of transformers alone; Wan's own autoencoder and text encoder are pickles."""


def layout_of(component: str, values: Mapping[str, Any]) -> Layout:
    """The layout that a component's config.json is of."""
    original = component in TRANSFORMERS and values.get("_class_name") == dit.ORIGINAL_CLASS
    return ORIGINAL if original else LAYOUTS[component]


def read_config(folder: Path, component: str, values: Mapping[str, Any]) -> Any:
    """Our configuration, with AlcheMinT's additions where there are any.

    Raises:
        WeightsError: see the layouts, or the additions are damaged.
    """
    where, layout = str(folder / "config.json"), layout_of(component, values)
    config = layout.read_config(values, where)
    if layout is ORIGINAL and config.image_dim:
        # An image-to-video transformer of Wan2.2 calls itself as those of Wan2.1 do.
        names = files.open_files(files.find(folder))
        if not any("img_emb" in name for name in names):
            config = dataclasses.replace(config, image_dim=0, image_positions=0)
    extra = folder / f"{ADDITIONS}.json"
    if component not in TRANSFORMERS or not extra.is_file():
        return config
    fields = files.read_json(extra)
    if not isinstance(fields, dict) or (unknown := sorted(set(fields) - set(_ADDED_FIELDS))):
        known = ", ".join(_ADDED_FIELDS)
        raise WeightsError(
            f"{extra}: "
            + (f"unknown {', '.join(listed(unknown))}; " if isinstance(fields, dict) else "")
            + f"it must be an object with {known}"
        )
    return config_from_dict(DiTConfig, config_to_dict(config) | fields, where=str(extra))


def tensors(
    folder: Path, layout: Layout, config: Any, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Our parameters, by path, from the files in `folder`.

    Raises:
        WeightsError: see `files`; what is missing, unexpected or misshapen is listed at once.
    """
    found = named(files.open_files(files.find(folder)), layout, config)
    added = {path: shape for path, shape in shapes.items() if path.startswith(dit.ADDED)}
    if layout is _TRANSFORMER and added:
        extra = folder / f"{ADDITIONS}.safetensors"
        if not extra.is_file():
            raise WeightsError(f"{extra} is missing, which {folder / ADDITIONS}.json announces")
        ours = files.open_files([extra])
        files.compare(extra, added, ours)
    else:
        ours = {}
    wanted = {path: shape for path, shape in shapes.items() if path not in ours}
    return to_ours(folder, layout.entries(config), wanted, found) | ours


def named(found: Mapping[str, Tensor], layout: Layout, config: Any) -> dict[str, Tensor]:
    """The tensors of a file under the names that its layout's entries have."""
    result = {name: tensor for name, tensor in found.items() if name not in layout.ignored}
    wanted = {entry.name for entry in layout.entries(config)}
    for prefix in layout.prefixes:
        if result and all(name.startswith(prefix) for name in result):
            stripped = {name.removeprefix(prefix): tensor for name, tensor in result.items()}
        else:
            stripped = {prefix + name: tensor for name, tensor in result.items()}
        if len(wanted & stripped.keys()) > len(wanted & result.keys()):
            result = stripped
    for other, name in layout.other_names.items():
        if other in result:
            result.setdefault(name, result[other])
            del result[other]
    return result


def to_ours(
    where: Path,
    entries: Sequence[Entry],
    shapes: Mapping[str, tuple[int, ...]],
    found: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Our parameters of the given `shapes`, made of foreign tensors by name.

    Raises:
        WeightsError: all that is missing, unexpected, misshapen or not floating point.
    """
    wanted = {entry.name: entry.foreign_shape(shapes[entry.path]) for entry in entries}
    files.compare(where, wanted, found, hint=signs.hint(wanted, found))
    rows: dict[str, dict[int | None, Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.path, {})[entry.layer] = entry
    return {path: _joined(found, by_layer) for path, by_layer in rows.items()}


def _joined(found: Mapping[str, Tensor], by_layer: Mapping[int | None, Entry]) -> Tensor:
    rows = {layer: entry.move.ours(found[entry.name]) for layer, entry in by_layer.items()}
    return rows[None] if None in rows else Stacked([rows[layer] for layer in range(len(rows))])


def from_ours(entries: Sequence[Entry], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Foreign tensors by name, from our parameters by path."""

    def tensor(entry: Entry) -> Tensor:
        whole = ours[entry.path]
        return entry.move.foreign(whole if entry.layer is None else Row(whole, entry.layer))

    return {entry.name: tensor(entry) for entry in entries}


def write(
    folder: Path,
    component: str,
    config: Any,
    ours: Mapping[str, Tensor],
    layout: Layout | None = None,
    **options: Any,
) -> None:
    """Writes a component in the format of diffusers (or of `layout`); options as `files.write`.

    Raises:
        WeightsError: the format cannot hold the network, or writing failed.
    """
    layout = layout or LAYOUTS[component]
    added = {path: tensor for path, tensor in ours.items() if path.startswith(dit.ADDED)}
    if added and layout is ORIGINAL:
        raise WeightsError(
            "Wan's own format has no place for references and dense captions; write wan-diffusers"
        )
    texts = {"config.json": json.dumps(layout.write_config(config), indent=2) + "\n"}
    if component in TRANSFORMERS and layout is not ORIGINAL and _adds(config):
        fields = {name: config_to_dict(config)[name] for name in _ADDED_FIELDS}
        texts[f"{ADDITIONS}.json"] = json.dumps(fields, indent=2) + "\n"
        if added:
            files.write(folder, ADDITIONS, added, {}, **options)
    files.write(folder, layout.stem, from_ours(layout.entries(config), ours), texts, **options)
    # Those of an earlier save would be read with it.
    stale = [f"{ADDITIONS}.json"] if f"{ADDITIONS}.json" not in texts else []
    stale += [] if added else [f"{ADDITIONS}.safetensors"]
    for name in stale:
        (folder / name).unlink(missing_ok=True)


def _adds(config: DiTConfig) -> bool:
    plain = DiTConfig()
    return any(getattr(config, name) != getattr(plain, name) for name in _ADDED_FIELDS)


def guess_config(found: Mapping[str, Tensor], where: Path) -> tuple[DiTConfig, Layout]:
    """The transformer in a single file without config.json, from the shapes of its tensors.

    Raises:
        WeightsError: it is no transformer of Wan.
    """
    names = {name.removeprefix(dit.PREFIX): tensor.shape for name, tensor in found.items()}
    try:
        if "head.head.weight" in names:
            layout, first, head, text, time = (
                ORIGINAL, "ffn.0", "head.head", "text_embedding.0", "time_embedding.0",
            )  # fmt: skip
            image, positions = "img_emb.proj.0.weight", "img_emb.emb_pos"
        else:
            embedder = "condition_embedder"
            layout, first, head, text, time = (
                _TRANSFORMER, "ffn.net.0.proj", "proj_out",
                f"{embedder}.text_embedder.linear_1", f"{embedder}.time_embedder.linear_1",
            )  # fmt: skip
            image = f"{embedder}.image_embedder.norm1.weight"
            positions = f"{embedder}.image_embedder.pos_embed"
        dim, channels, pt, ph, pw = names["patch_embedding.weight"]
        layers = {name.split(".")[1] for name in names if name.startswith("blocks.")}
        if dim % _HEAD:
            raise ValueError(f"a width of {dim}, which is no multiple of {_HEAD}")
        config = DiTConfig(
            dim=dim,
            n_heads=dim // _HEAD,
            n_layers=len(layers),
            ffn_dim=names[f"blocks.0.{first}.weight"][0],
            in_channels=channels,
            out_channels=names[f"{head}.weight"][0] // math.prod((pt, ph, pw)),
            text_dim=names[f"{text}.weight"][1],
            freq_dim=names[f"{time}.weight"][1],
            patch=(pt, ph, pw),
            image_dim=names[image][0] if image in names else 0,
            image_positions=names[positions][1] if positions in names else 0,
        )
    except (KeyError, ValueError, IndexError) as e:
        why = f"{e} is missing" if isinstance(e, KeyError) else f"its shapes are others: {e}"
        hint = signs.hint({}, found)
        raise WeightsError(f"{where} does not hold a transformer of Wan ({why}). {hint}") from e
    return config, layout
