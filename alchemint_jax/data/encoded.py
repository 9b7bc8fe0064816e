"""Encoded datasets on disk: where things are, and whether they are for a model.

    DIR/dataset.json                                     the card: what it is; written last
    DIR/33x64x64/SPLIT/SPLIT-00000-of-00040.array_record the records of a bucket
    DIR/text/...                                         states of texts, see `text_states`

Each bucket is a shape of clips: frames, height and width. A record holds `latents` float16
[t h w c] and `references` float16 [r v h w c] (each view a latent frame of its own, zero where the
slot is unused), both normalised, `intervals` int32 [r m 2] in pixel frames, `caption`, `words`,
`n_subjects`, `index` and `fps`; where the dataset has events, also `events` and their
`event_intervals` int32 [e 2], empty rows (0, 0), and where it has cuts, `cuts` int32 [c], 0 in
empty rows. Where it has states of texts, `caption_row`, `word_rows` and `event_rows` say which are
theirs. `clip` and `start` say what was encoded: the name of the clip, and the first frame of the
window, at the rate of the dataset. `reference_sources` says of each slot whether its pictures are
from outside of the window, `reference_kinds` what each view is, and `left_out` who is on screen
without a slot, and why.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from alchemint_jax import places
from alchemint_jax.data import records
from alchemint_jax.data.text_states import Lengths, TextStates, identify, shard_names
from alchemint_jax.errors import DataError, WeightsError
from alchemint_jax.scene.clock import Clock

MARK = "dataset.json"
KIND = "_latents"
"""What the name of the dataset ends in; it begins with that of the clips."""
SCHEMA = 2


def read_header(data_dir: Path | str) -> dict[str, Any]:
    """The card of an encoded dataset.

    `vae`, the fingerprint of the autoencoder, its temporal `stride` and, unless it was not written
    down, its `scale` (means and deviations of the latents); `fps`; `splits`, the records of each;
    `buckets`, of each its `folder`, `frames`, `shard`, `splits`, the shapes of `latents` and
    `references`, and unless nobody knows their `size` and `reference_size` in pixels; the most
    `events` and `cuts` of a clip where it has some; and `text`, what is known of the states of
    texts, or None.

    Raises DataError if there is no such dataset.
    """
    folder = places.place(data_dir)
    path = folder / MARK
    if places.absent(folder, [MARK]):
        raise DataError(
            f"{data_dir}: is not a finished encoded dataset ({MARK} is missing); encode one there"
        )
    header = records.read_json(path)
    if not str(header.get("dataset")).endswith(KIND) or header.get("schema") not in (1, SCHEMA):
        raise DataError(f"{path}: is not an encoded dataset of schema 1 or {SCHEMA}")
    if header["schema"] == 1:
        return _of_one_shape(header)
    return header


def _of_one_shape(header: dict[str, Any]) -> dict[str, Any]:
    """The card of a dataset of schema 1, whose only bucket lies at the top."""
    kept = ("frames", "latents", "references", "shard", "splits")
    # The stride was not always written down.
    stride = Clock.of_latents(header["fps"], header["frames"], header["latents"][0]).stride
    bucket = {"folder": "", **{name: header[name] for name in kept}}
    return {"stride": stride, "text": None} | header | {"buckets": [bucket]}


def read_in_place(data_dir: places.AnyPlace) -> bool:
    """Whether an address is of an encoded dataset whose records can be read where they are.

    ArrayRecord reads gs://, and no other buckets. Raises AlchemintError if nothing can be asked.
    """
    folder = places.place(data_dir)
    return os.fspath(folder).startswith("gs://") and not places.absent(folder, [MARK])


def open_encoded(data_dir: Path | str, split: str, bucket: int = 0) -> records.ShardedSource:
    """The records of a split of a bucket. Raises DataError if it is missing or broken."""
    header = read_header(data_dir)
    if split not in header["splits"]:
        raise DataError(f"{data_dir}: no split {split!r}; it has {' and '.join(header['splits'])}")
    card = header["buckets"][bucket]
    directory = places.place(data_dir) / card["folder"] / split
    count = card["splits"].get(split, 0)
    names = shard_names(split, count, card["shard"])
    paths = [directory / name for name in names]
    if missing := places.absent(directory, names):
        raise DataError(f"{directory}: {missing[0]} is missing; encode the dataset again")
    try:
        source = records.ShardedSource(paths)
        found = len(source)
    except Exception as error:  # ArrayRecord raises many kinds for damaged files
        raise DataError(f"{directory}: cannot be opened ({error}); encode it again") from error
    if found != count:
        raise DataError(f"{directory}: has {found} records, not {count}; encode it again")
    return source


def open_texts(data_dir: Path | str, lengths: Lengths) -> TextStates:
    """The states of a dataset's texts. Raises DataError if it has none, or of other lengths."""
    card = read_header(data_dir)["text"]
    if card is None:
        raise DataError(
            f"{data_dir}: has no states of texts; encode it again with --text MODEL, or set "
            "cached_text to False"
        )
    found = Lengths(**card["lengths"])
    if found != lengths:
        raise DataError(
            f"{data_dir}: texts were read as {found}, but the config's sampling says {lengths}; "
            "make them the same, or encode the dataset again"
        )
    return TextStates(data_dir, card)


def check_encoder(data_dir: Path | str, vae_dir: Path | str) -> None:
    """Raises DataError unless a dataset was encoded by the autoencoder of this very model."""
    from alchemint_jax import weights

    directory = weights.locate(vae_dir)
    header = read_header(data_dir)
    if header["vae"] != (found := fingerprint(weights.component_folder(directory, "vae"))):
        raise DataError(
            f"{data_dir}: was encoded by another autoencoder ({header['vae'][:12]}) than that of "
            f"{vae_dir} ({found[:12]}); encode the dataset again with --vae {vae_dir}, or name the "
            "model that encoded it"
        )
    module: Any = weights.open_component(directory, "vae")[0]
    if header.get("scale") not in (None, scale := latent_scale(module.config)):
        raise DataError(
            f"{data_dir}: latents were scaled by {header['scale']}, but the autoencoder of "
            f"{vae_dir} says {scale}; restore its config.json, or encode the dataset again"
        )


def check_text_encoder(data_dir: Path | str, model: Path | str) -> None:
    """Raises DataError unless states of texts are of the text encoder of this very model."""
    from alchemint_jax import weights

    card, directory = read_header(data_dir)["text"], weights.locate(model)
    if card and card["encoder"] not in (found := [identify(directory, i) for i in (False, True)]):
        raise DataError(
            f"{data_dir}: texts were read by another text encoder ({card['encoder'][:12]}) than "
            f"that of {model} ({found[0][:12]}); encode the dataset again with --text {model}, or "
            "name the model whose text encoder it was"
        )


def latent_scale(config: Any) -> list[list[float]]:
    """How an autoencoder's latents are normalised: means and standard deviations of channels."""
    return [list(config.latents_mean), list(config.latents_std)]


def fingerprint(component: Path) -> str:
    """SHA-256 over the safetensors files of a component directory."""
    files = sorted(component.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{component}: no .safetensors file; pass a directory that holds vae/")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
