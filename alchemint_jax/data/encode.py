"""Clips and references through the autoencoder, once: what the diffusion transformer trains on.

What is written, and where, is in `data.encoded`. Memory is that of a few windows in 8 bits and of
one tile of the autoencoder, whatever the number, the size and the length of clips.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.data import clips, records, whole
from alchemint_jax.data.buckets import Bucket
from alchemint_jax.data.encoded import KIND, MARK, SCHEMA, fingerprint, latent_scale
from alchemint_jax.data.encoding import AS_IT_IS, Encoding, Part, Window, plan_windows
from alchemint_jax.data.sources import open_source
from alchemint_jax.data.text_states import TextEncoder, TextRows, as_half, shard_names
from alchemint_jax.data.views import Made, make
from alchemint_jax.errors import DataError
from alchemint_jax.places import local
from alchemint_jax.progress import Progress
from alchemint_jax.scene.clock import Clock

Encoder = Callable[[UInt8[np.ndarray, "b f h w 3"]], Float[Any, "b t h2 w2 c"]]
"""Pixels in 0..255 to normalised latents."""

_BATCH_PIXELS = 2**25  # 81 frames of 480 x 832 are as many: about 100 MB
_SMALL_PIXELS = 2**22  # at most so many are encoded whole, not in tiles and streams
_SHARD_BYTES = 2**28


def encode_dataset(
    data_dir: Path | str,
    vae_dir: Path | str,
    out: Path | str,
    encoding: Encoding = AS_IT_IS,
    *,
    batch: int = 8,
    shard: int | None = None,
    text: Path | str | None = None,
    int8_text: bool = False,
    tiles: int = 1,
) -> Path:
    """Encodes the clips and references of a dataset with the autoencoder of a model.

    `out` appears only when it is whole; an interrupted run goes on after its last finished shard.
    Returns `out`, at once if it already holds this very dataset.

    Args:
        data_dir: a dataset, see `data.clips` and `data.timed_clips`.
        vae_dir: a model directory, or the name of a bundled model, with a `vae` in it.
        out: the directory to write.
        encoding: what is made of the clips.
        batch: clips encoded at a time, fewer where they are large.
        shard: clips in a file; None is at most 512, and as many as take 256 MB.
        text: a model whose states of texts are written, too.
        int8_text: run its text encoder in 8 bits.
        tiles: of a large frame, so many are encoded at a time.

    Raises:
        DataError: there is no dataset at `data_dir`, its clips do not fill latent frames of this
            autoencoder, or there is something else at `out`.
        ConfigError: the encoding makes no sense.
        WeightsError: there is no autoencoder at `vae_dir`, or no text encoder at `text`.
    """
    from alchemint_jax import weights

    out, directory = local(out), weights.locate(vae_dir)
    weights.check_part(directory, "vae")
    identity = fingerprint(weights.component_folder(directory, "vae"))
    module: Any = weights.open_component(directory, "vae")[0]  # no weights are read yet
    if encoding.buckets:
        encoding.check_fits(vae_dir, module.config)
    else:
        _check_fits(data_dir, vae_dir, module.config)
    texts = TextEncoder.load(text, int8_text) if text is not None else None
    # A dataset that is already there needs no weights; without them nothing is to be begun.
    encode = None if (out / MARK).is_file() else _vae_encoder(directory, tiles)

    def lazily(pixels: np.ndarray) -> np.ndarray:
        nonlocal encode
        encode = encode or _vae_encoder(directory, tiles)
        return encode(pixels)

    scale = latent_scale(module.config)
    stride = module.config.temporal_stride
    return encode_with(
        *(lazily, identity, data_dir, out, encoding),
        **dict(batch=batch, shard=shard, texts=texts, scale=scale, stride=stride),
    )


def _check_fits(data_dir: Path | str, vae_dir: Path | str, config: Any) -> None:
    """Refuses clips of one shape of which the autoencoder would leave frames or edges out."""
    sources, room = open_source(data_dir)
    if room is None:
        return
    clip = next(source for source in sources.values() if len(source))[0].record
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
    encoding: Encoding = AS_IT_IS,
    *,
    batch: int = 8,
    shard: int | None = None,
    texts: TextEncoder | None = None,
    scale: list[list[float]] | None = None,
    stride: int | None = None,
) -> Path:
    """`encode_dataset` with any encoder; `identity` tells its datasets from another encoder's."""
    data_dir, out = Path(data_dir), local(out)
    if batch < 1 or (shard is not None and shard < 1):
        raise DataError(f"batch and shard must be at least 1: {batch=}, {shard=}")
    sources, room = open_source(data_dir)
    if not sources.get("train"):
        raise DataError(f"{data_dir}: there are no clips in a split named 'train'")
    encoding = encoding.resolved(room, sources["train"][0])
    wanted = {
        "dataset": clips.name(data_dir) + KIND,
        "schema": SCHEMA,
        "vae": identity,
        "scale": scale,
        "source": clips.describe(data_dir),
        "shard": shard,
        "clips": {split: len(source) for split, source in sources.items()},
        "encoder_of_texts": texts and [texts.identity, dataclasses.asdict(texts.lengths)],
        "encoding": encoding.described(),
    }
    wanted = json.loads(json.dumps(wanted))  # as it is read again
    if _is_of_schema_1(out, wanted):
        return out
    partial = whole.begin(out, wanted, MARK)
    if partial is None:
        return out
    rows = TextRows(texts) if texts else None
    parts, skipped = plan_windows(data_dir, sources, encoding, rows)
    card: dict[str, Any] = {"text": rows.write(partial) if rows else None, "skipped": skipped}
    job = _Job(encode, sources, encoding, batch, rows)
    buckets = _encode_all(job, parts, partial, shard)
    splits: dict[str, int] = {}
    for bucket in buckets:
        for split, count in bucket["splits"].items():
            splits[split] = splits.get(split, 0) + count
    if stride is None:
        longest = max(buckets, key=lambda one: one["frames"])
        stride = int(Clock.of_latents(1, longest["frames"], longest["latents"][0]).stride)
    card |= {"fps": encoding.fps, "stride": stride, "splits": splits, "buckets": buckets}
    if encoding.events:
        card["events"] = encoding.events
    if encoding.cuts:
        card["cuts"] = encoding.cuts
    whole.finish(partial, out, {**wanted, **card}, MARK)
    return out


def _is_of_schema_1(out: Path, wanted: dict[str, Any]) -> bool:
    """Whether a dataset that was encoded before there were buckets is the one that is wanted."""
    if not (out / MARK).is_file() or wanted["encoder_of_texts"] or wanted["encoding"]["buckets"]:
        return False
    found = records.read_json(out / MARK)
    same = all(found.get(name) == wanted[name] for name in ("dataset", "vae", "source"))
    return found.get("schema") == 1 and same and found.get("splits") == wanted["clips"]


@dataclasses.dataclass(frozen=True)
class _Job:
    encode: Encoder
    sources: dict[str, Any]
    encoding: Encoding
    batch: int
    rows: TextRows | None


def _encode_all(
    job: _Job, parts: list[Part], directory: Path, shard: int | None
) -> list[dict[str, Any]]:
    """Writes the shards that are not there yet; returns what the card says of each bucket."""
    cards: dict[Bucket, dict[str, Any]] = {}
    done = 0
    with Progress(sum(len(part.windows) for part in parts), "encoding clips") as progress:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress.update(done)

        for part in parts:
            folder = directory / str(part.bucket) / part.split
            each = shard or _shard_size(part.bucket)
            names = shard_names(part.split, len(part.windows), each)
            for i, name in enumerate(names):
                members = part.windows[i * each : (i + 1) * each]
                if (folder / name).is_file():
                    advance(len(members))
                else:
                    records.write_shard(folder / name, _encode_shard(job, part, members, advance))
            first = records.ShardedSource([folder / names[0]])[0]
            card = cards.setdefault(part.bucket, _card(part.bucket, job.encoding, first, each))
            card["splits"][part.split] = len(part.windows)
    return [cards[bucket] for bucket in sorted(cards)]


def _shard_size(bucket: Bucket) -> int:
    """Clips in a file: as Wan's latents, so many that they take 256 MB, 512 at the most."""
    latents = bucket.frames * bucket.height * bucket.width // 8  # bytes
    return max(1, min(512, _SHARD_BYTES // max(1, latents)))


def _card(bucket: Bucket, encoding: Encoding, first: dict[str, Any], shard: int) -> dict[str, Any]:
    return {
        "folder": str(bucket),
        "frames": bucket.frames,
        "size": list(bucket.size),
        "reference_size": list(encoding.pictures_in(bucket)),
        "latents": list(first["latents"].shape),
        "references": list(first["references"].shape),
        "shard": shard,
        "splits": {},
    }


def _encode_shard(
    job: _Job, part: Part, members: list[Window], advance: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    """The records of some windows, each as soon as its pictures are encoded."""
    bucket, encoding, source = part.bucket, job.encoding, job.sources[part.split]
    high, wide = encoding.pictures_in(bucket)
    many = max(1, min(job.batch, _BATCH_PIXELS // (bucket.frames * bucket.height * bucket.width)))
    several = max(1, min(8 * job.batch, _BATCH_PIXELS // (high * wide)))
    pictures = _Pictures(job.encode, several, (high, wide))
    groups = [members[i : i + many] for i in range(0, len(members), many)]

    def load(group: list[Window]) -> list[Made]:
        return [make(source, one, bucket, encoding, job.rows) for one in group]

    waiting: list[tuple[dict[str, Any], list[tuple[int, int]], int]] = []
    for made in _ahead(load, groups):
        videos = np.stack([one.video for one in made]) if many > 1 else made[0].video[None]
        latents = in_batches(job.encode, videos, many)
        for one, own in zip(made, latents, strict=True):
            places = [(i, j) for i, views in enumerate(one.references) for j in range(len(views))]
            last = pictures.add([one.references[i][j] for i, j in places])
            waiting.append(({"latents": own, **one.fields}, places, last))
        advance(len(made))
        while waiting and waiting[0][2] <= pictures.done:
            yield _record(*waiting.pop(0)[:2], pictures, encoding)
    pictures.finish()
    for record, places, _ in waiting:
        yield _record(record, places, pictures, encoding)


def _record(
    record: dict[str, Any],
    places: list[tuple[int, int]],
    pictures: _Pictures,
    encoding: Encoding,
) -> dict[str, Any]:
    assert encoding.slots and encoding.views
    views = pictures.take(len(places))
    references = np.zeros((encoding.slots, encoding.views, *pictures.shape), np.float16)
    for place, view in zip(places, views, strict=True):
        references[place] = view
    return {"references": references, **record}


class _Pictures:
    """Encodes pictures in batches, so that hardly one is padded, and gives them back in order."""

    def __init__(self, encode: Encoder, batch: int, size: tuple[int, int]):
        self._encode, self._batch, self._size = encode, batch, size
        self._raw: list[np.ndarray] = []
        self._encoded: list[np.ndarray] = []
        self._taken = self._added = 0

    def add(self, images: list[np.ndarray]) -> int:
        """Takes pictures [h w 3]; returns how many it has been given in all."""
        self._raw += images
        self._added += len(images)
        while len(self._raw) >= self._batch:
            self._run(self._batch)
        return self._added

    @property
    def done(self) -> int:
        """How many are encoded."""
        return self._taken + len(self._encoded)

    def finish(self) -> None:
        """Encodes those that have waited for others."""
        if self._raw:
            self._run(len(self._raw))

    def take(self, count: int) -> list[np.ndarray]:
        """The next ones."""
        found, self._encoded = self._encoded[:count], self._encoded[count:]
        self._taken += count
        return found

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of an encoded picture, also where there has been none."""
        if self._encoded:
            return self._encoded[0].shape
        blank = np.full((1, 1, *self._size, 3), 255, np.uint8)
        return in_batches(self._encode, blank, self._batch)[0, 0].shape

    def _run(self, count: int) -> None:
        part, self._raw = self._raw[:count], self._raw[count:]
        found = in_batches(self._encode, np.stack(part)[:, None], self._batch)[:, 0]
        self._encoded += list(found)
        assert self.shape == found.shape[1:]


def _ahead(load: Callable[[Any], Any], items: list[Any]) -> Iterator[Any]:
    """`map`, the next one made while the last one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(load, items[0]) if items else None
        for following in [*items[1:], None]:
            assert coming is not None
            found = coming.result()
            coming = pool.submit(load, following) if following is not None else None
            yield found


def in_batches(encode: Encoder, pixels: np.ndarray, batch: int) -> np.ndarray:
    """Encodes any number of videos in batches of one shape (one compilation), as float16."""
    out = []
    for start in range(0, len(pixels), batch):
        part = pixels[start : start + batch]
        missing = batch - len(part)
        full = np.pad(part, [(0, missing)] + [(0, 0)] * (part.ndim - 1)) if missing else part
        values = np.asarray(encode(full), np.float32)[: len(part)]
        out.append(as_half(values, "the autoencoder gave latents"))
    return np.concatenate(out)


@functools.cache
def _whole(module: Any) -> Callable[[Any, np.ndarray], Any]:
    """Of parameters and pixels, the latents: a program for each shape and autoencoder."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def encode_whole(params: Any, pixels: jax.Array) -> Any:
        video = pixels.astype(jnp.float32) / 127.5 - 1
        return module.apply({"params": params}, video, method="encode")

    return encode_whole


def _vae_encoder(directory: Path, tiles: int = 1) -> Encoder:
    from alchemint_jax import weights
    from alchemint_jax.models.vae import TILE, host_encode

    loaded: tuple[Any, Any] = weights.load(directory, "vae")
    module, params = loaded

    def encode(pixels: np.ndarray) -> np.ndarray:
        if max(pixels.shape[2:4]) <= TILE and pixels.size // 3 <= _SMALL_PIXELS:
            return np.asarray(_whole(module)(params, pixels))
        return np.stack([host_encode(module, params, clip, at_once=tiles) for clip in pixels])

    return encode
