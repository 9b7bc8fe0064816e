"""Clips and references through the autoencoder, once: what the diffusion transformer trains on.

    DIR/dataset.json                          what it is; written last
    DIR/SPLIT/SPLIT-00000-of-00040.array_record

A record holds `latents` float16 [t h w c] and `references` float16 [r v h w c] (each view a latent
frame of its own, zero where the slot is unused), both normalised, `intervals` int32 [r m 2] in
pixel frames, `caption`, `words`, `n_subjects`, `index` and `fps`; where the dataset has events,
also `events` and their `event_intervals` int32 [e 2], empty rows (0, 0).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.data import clips, records, whole
from alchemint_jax.data.examples import kept_fields
from alchemint_jax.errors import DataError, WeightsError
from alchemint_jax.progress import Progress
from alchemint_jax.scene.clock import Clock

Encoder = Callable[[UInt8[np.ndarray, "b f h w 3"]], Float[Any, "b t h2 w2 c"]]
"""Pixels in 0..255 to normalised latents."""

_MARK = "dataset.json"
_KIND = "_latents"
"""What the name of the dataset ends in; it begins with that of the clips."""
_SCHEMA = 1


def encode_dataset(
    data_dir: Path | str,
    vae_dir: Path | str,
    out: Path | str,
    batch: int = 8,
    views: int | None = None,
    shard: int = 512,
) -> Path:
    """Encodes every clip and reference of a dataset with the autoencoder of a model.

    `out` appears only when it is whole; an interrupted run goes on after its last finished shard.
    Returns `out`, at once if it already holds this very dataset.

    Args:
        data_dir: a dataset of clips, see `data.clips`.
        vae_dir: a model directory, or the name of a bundled model, with a `vae` in it.
        out: the directory to write.
        batch: clips encoded at a time.
        views: keep only the first so many views of each subject; None keeps all.
        shard: clips in a file.

    Raises:
        DataError: there is no dataset at `data_dir`, its clips do not fill latent frames of this
            autoencoder, or there is something else at `out`.
        WeightsError: there is no autoencoder at `vae_dir`.
    """
    from alchemint_jax import weights

    directory = weights.locate(vae_dir)
    weights.check_part(directory, "vae")
    identity = fingerprint(weights.component_folder(directory, "vae"))
    module: Any = weights.open_component(directory, "vae")[0]  # no weights are read yet
    _check_fits(data_dir, vae_dir, module.config)
    # A dataset that is already there needs no weights; without them nothing is to be begun.
    encode = None if (Path(out) / _MARK).is_file() else _vae_encoder(directory)

    def lazily(pixels: np.ndarray) -> np.ndarray:
        nonlocal encode
        encode = encode or _vae_encoder(directory)
        return encode(pixels)

    return encode_with(lazily, identity, data_dir, out, batch=batch, views=views, shard=shard)


def _check_fits(data_dir: Path | str, vae_dir: Path | str, config: Any) -> None:
    """Refuses clips of which the autoencoder would leave frames or edges out."""
    clip = clips.open_split(data_dir, clips.splits(data_dir)[0])[0]
    clock = Clock(1, len(clip["video"]), config.temporal_stride)
    if not clock.whole:
        closest = Clock.for_duration(clock.duration, clock.fps, clock.stride).frames
        raise DataError(
            f"{data_dir}: clips have {clock.frames} frames, and the autoencoder of {vae_dir} takes "
            f"{clock.stride}k+1, such as {closest}; write them again with as many"
        )
    for name in ("video", "references"):
        *_, height, width, _ = clip[name].shape
        if height % config.spatial_stride or width % config.spatial_stride:
            raise DataError(
                f"{data_dir}: {name}: {height} x {width} pixels are no multiples of "
                f"{config.spatial_stride}, which the autoencoder of {vae_dir} needs"
            )


def encode_with(
    encode: Encoder,
    identity: str,
    data_dir: Path | str,
    out: Path | str,
    *,
    batch: int = 8,
    views: int | None = None,
    shard: int = 512,
) -> Path:
    """`encode_dataset` with any encoder; `identity` tells its datasets from another encoder's."""
    data_dir, out = Path(data_dir), Path(out)
    if batch < 1 or shard < 1 or (views is not None and views < 1):
        raise DataError(f"batch, shard and views must be at least 1: {batch=}, {shard=}, {views=}")
    sources = {split: clips.open_split(data_dir, split) for split in clips.splits(data_dir)}
    if not sources.get("train"):
        raise DataError(f"{data_dir}: there are no clips in a split named 'train'")
    wanted = {
        "dataset": clips.name(data_dir) + _KIND,
        "schema": _SCHEMA,
        "vae": identity,
        "source": clips.describe(data_dir),
        "views": views,
        "shard": shard,
        "splits": {split: len(source) for split, source in sources.items()},
    }
    partial = whole.begin(out, wanted, _MARK)
    if partial is None:
        return out
    first = _encode_all(encode, sources, partial, batch, views, shard)
    frames = int(sources["train"][0]["video"].shape[0])
    geometry = {
        "frames": frames,
        "stride": Clock.of_latents(first["fps"], frames, len(first["latents"])).stride,
        "fps": first["fps"],
        "latents": list(first["latents"].shape),
        "references": list(first["references"].shape),
        **({"events": len(first["events"])} if "events" in first else {}),
    }
    whole.finish(partial, out, {**wanted, **geometry}, _MARK)
    return out


def open_encoded(data_dir: Path | str, split: str) -> records.ShardedSource:
    """The records of a split of an encoded dataset. Raises DataError if it is missing or broken."""
    header = read_header(data_dir)
    directory = Path(data_dir) / split
    if split not in header["splits"]:
        raise DataError(f"{data_dir}: no split {split!r}; it has {' and '.join(header['splits'])}")
    count = header["splits"][split]
    paths = [directory / name for name in _shard_names(split, count, header["shard"])]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise DataError(f"{directory}: {missing[0]} is missing; encode the dataset again")
    try:
        source = records.ShardedSource(paths)
        found = len(source)
    except Exception as error:  # ArrayRecord raises many kinds for damaged files
        raise DataError(f"{directory}: cannot be opened ({error}); encode it again") from error
    if found != count:
        raise DataError(f"{directory}: has {found} records, not {count}; encode it again")
    return source


def read_header(data_dir: Path | str) -> dict[str, Any]:
    """`dataset.json` of an encoded dataset: the VAE's fingerprint and temporal stride, fps, frames,
    shapes, splits, and the most `events` of a clip where it has some.
    """
    path = Path(data_dir) / _MARK
    if not path.is_file():
        raise DataError(
            f"{data_dir}: is not a finished encoded dataset ({_MARK} is missing); encode one there"
        )
    header = records.read_json(path)
    if not str(header.get("dataset")).endswith(_KIND) or header.get("schema") != _SCHEMA:
        raise DataError(f"{path}: is not an encoded dataset of schema {_SCHEMA}")
    # Datasets that were encoded before it was written down.
    clock = Clock.of_latents(header["fps"], header["frames"], header["latents"][0])
    return {"stride": clock.stride} | header


def check_encoder(data_dir: Path | str, vae_dir: Path | str) -> None:
    """Raises DataError unless a dataset was encoded by the autoencoder of this very model."""
    from alchemint_jax import weights

    folder = weights.component_folder(weights.locate(vae_dir), "vae")
    if read_header(data_dir)["vae"] != fingerprint(folder):
        raise DataError(
            f"{data_dir}: was encoded by another autoencoder than that of {vae_dir}; encode the "
            f"dataset again with --vae {vae_dir}, or name the model that encoded it"
        )


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


def _vae_encoder(directory: Path) -> Encoder:
    import jax
    import jax.numpy as jnp

    from alchemint_jax import weights
    from alchemint_jax.models.vae import TILE, tiled_encode

    loaded: tuple[Any, Any] = weights.load(directory, "vae")
    module, params = loaded

    @jax.jit
    def encode(params: Any, pixels: jax.Array) -> Any:
        if max(pixels.shape[2:4]) <= TILE:
            video = pixels.astype(jnp.float32) / 127.5 - 1
            return module.apply({"params": params}, video, method="encode")

        def one(clip: jax.Array) -> jax.Array:
            video = clip[None].astype(jnp.float32) / 127.5 - 1
            return tiled_encode(module, params, video)[0]

        # As generation does it: memory is that of one tile, not of `batch` whole clips.
        return jax.lax.map(one, pixels)

    return lambda pixels: np.asarray(encode(params, pixels))


def _encode_all(
    encode: Encoder,
    sources: dict[str, clips.ClipSource],
    directory: Path,
    batch: int,
    views: int | None,
    shard: int,
) -> dict[str, Any]:
    """Writes the shards that are not there yet; returns the first record."""
    todo: list[tuple[Path, clips.ClipSource, range]] = []
    done = 0
    for split, source in sources.items():
        for i, name in enumerate(_shard_names(split, len(source), shard)):
            members = range(i * shard, min((i + 1) * shard, len(source)))
            if (directory / split / name).is_file():
                done += len(members)
            else:
                todo.append((directory / split / name, source, members))
    with Progress(sum(map(len, sources.values())), "encoding clips", start=done) as progress:
        for path, source, members in todo:

            def advance(count: int) -> None:
                nonlocal done
                done += count
                progress.update(done)

            records.write_shard(path, _encode_shard(encode, source, members, batch, views, advance))
    train = sorted((directory / "train").glob("*.array_record"))
    return records.ShardedSource(train[:1])[0]


def _encode_shard(
    encode: Encoder,
    source: clips.ClipSource,
    members: range,
    batch: int,
    views: int | None,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    examples, latents = [], []
    for start in range(0, len(members), batch):
        part = [source[i] for i in members[start : start + batch]]
        latents.append(_in_batches(encode, np.stack([clip.pop("video") for clip in part]), batch))
        examples += part
        advance(len(part))
    # The references of a whole shard together: hardly a batch of one-frame videos is padded.
    images, places = [], []
    for row, example in enumerate(examples):
        kept = example["references"][:, :views]
        for slot, view in np.ndindex(int(example["n_subjects"]), kept.shape[1]):
            images.append(kept[slot, view])
            places.append((row, slot, view))
        example["references"] = kept
    encoded = _in_batches(encode, np.stack(images)[:, None], 8 * batch)[:, 0]
    slots, kept_views = examples[0]["references"].shape[:2]
    references = np.zeros((len(examples), slots, kept_views, *encoded.shape[1:]), np.float16)
    references[tuple(np.transpose(places))] = encoded
    return [
        _record(example, clip, reference)
        for example, clip, reference in zip(
            examples, np.concatenate(latents), references, strict=True
        )
    ]


def _in_batches(encode: Encoder, pixels: np.ndarray, batch: int) -> np.ndarray:
    """Encodes any number of videos in batches of one shape (one compilation), as float16."""
    out = []
    for start in range(0, len(pixels), batch):
        part = pixels[start : start + batch]
        missing = batch - len(part)
        full = np.pad(part, [(0, missing)] + [(0, 0)] * (part.ndim - 1)) if missing else part
        values = np.asarray(encode(full), np.float32)[: len(part)]
        if not np.isfinite(values).all() or np.abs(values).max() > np.finfo(np.float16).max:
            raise DataError("the autoencoder gave latents that are not finite in float16")
        out.append(values.astype(np.float16))
    return np.concatenate(out)


def _record(example: dict[str, Any], latents: np.ndarray, references: np.ndarray) -> dict[str, Any]:
    return {"latents": latents, "references": references, **kept_fields(example)}


def _shard_names(split: str, count: int, shard: int) -> list[str]:
    total = -(-count // shard)
    return [f"{split}-{i:05d}-of-{total:05d}.array_record" for i in range(total)]
