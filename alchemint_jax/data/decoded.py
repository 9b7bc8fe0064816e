"""What a model's decoder shows of clips: what a small decoder is trained on.

    DIR/decoded.json                                   the card: what it is; written last
    DIR/SPLIT/SPLIT-00000-of-00010.array_record        records of a split

A record holds `latents` float16 [t h w c], normalised, and `video` uint8 [f h2 w2 3], the frames
that the decoder makes of exactly these latents. They are those of clips and, behind them, those at
the ends of a teacher's paths, with noise: latents of a video that is still being made are not as
clean. Each clip has its own share of it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import grain
import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax import places
from alchemint_jax.data import records, teacher_paths, whole
from alchemint_jax.data.clips import open_split
from alchemint_jax.data.encoded import fingerprint
from alchemint_jax.data.loader import LoaderConfig, pipeline
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.data.text_states import as_half, shard_names
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.progress import Progress
from alchemint_jax.scene.clock import Clock

MARK = "decoded.json"
KIND = "decoded_clips"
SCHEMA = 1
SPLITS = ("train", "validation")


def write_decoded(
    data_dir: Path | str,
    model: Path | str,
    out: Path | str,
    clips: int | None = None,
    *,
    paths: Path | str | None = None,
    noise: float = 0.1,
    seed: int = 0,
    shard: int = 64,
) -> Path:
    """Encodes clips and decodes them again, as a model does.

    `out` appears only when it is whole; an interrupted run goes on after its last finished shard.
    Returns `out`, at once if it already holds these very frames.

    Args:
        data_dir: of a dataset of clips.
        model: whose autoencoder is taken.
        out: the directory to write.
        clips: of the training split, the first ones; all of them where None. Of the validation
            split there are a tenth as many at the most.
        paths: of a teacher (see `teacher_paths`), whose latents at the end of each path come after
            those of the clips. What a transformer makes differs from what an encoder does.
        noise: the largest standard deviation of what is added to latents.
        seed: of the noise.
        shard: clips in a file.

    Raises:
        DataError: there are no clips, something else is at `out`, or the paths are of another
            autoencoder or of other sizes than the clips.
        NonFiniteError: the autoencoder gave NaN or infinity.
    """
    from alchemint_jax import weights

    out, drawn = places.local(out), {split: open_split(data_dir, split) for split in SPLITS}
    counts = {split: len(source) for split, source in drawn.items()}
    if clips is not None:
        counts = {"train": min(clips, counts["train"])} | {
            "validation": min(max(1, clips // 10), counts["validation"])
        }
    vae = fingerprint(weights.component_folder(weights.locate(model), "vae"))
    sources = {split: _Source(drawn[split], counts[split]) for split in SPLITS}
    if paths is not None:
        _check_paths(paths, vae, model, drawn["train"][0]["video"].shape)
        ends = {split: teacher_paths.open_split(paths, split) for split in SPLITS}
        sources = {split: dataclasses.replace(sources[split], ends=ends[split]) for split in SPLITS}
        counts = {split: len(source) for split, source in sources.items()}
    wanted = {
        "kind": KIND,
        "schema": SCHEMA,
        "vae": vae,
        "clips": Path(data_dir).name,
        "noise": noise,
        "seed": seed,
        "splits": counts,
        "shard": shard,
    } | ({} if paths is None else {"paths": Path(paths).name})
    wanted = json.loads(json.dumps(wanted))  # as it is read again
    partial = whole.begin(out, wanted, MARK)
    if partial is None:
        return out
    shown, record, done = _Shown(model, noise, seed), {}, 0
    with Progress(sum(counts.values()), "decoding") as progress:
        for number, split in enumerate(SPLITS):
            for i, name in enumerate(shard_names(split, counts[split], shard)):
                path = partial / split / name
                indices = range(i * shard, min((i + 1) * shard, counts[split]))
                if not path.is_file():
                    made = shown.records(sources[split], number, indices, progress, done)
                    records.write_shard(path, made)
                done += len(indices)
                record = records.ShardedSource([path])[0]
    shapes = {name: list(x.shape) for name, x in record.items()}
    whole.finish(partial, out, wanted | {"shapes": shapes}, MARK)
    return out


@functools.cache
def _encoder(vae: Any) -> Callable[[Any, np.ndarray], Any]:
    """Of parameters and a video, its latents: a program for each shape and autoencoder."""
    import jax

    from alchemint_jax.models.vae import tiled_encode

    return jax.jit(lambda params, video: tiled_encode(vae, params, video))


@dataclasses.dataclass(frozen=True)
class _Source:
    """What is decoded: the first `count` clips and, behind them, the `ends` of paths."""

    clips: Any
    count: int
    ends: Any = ()

    def __len__(self) -> int:
        return self.count + len(self.ends)

    def clip(self, index: int) -> UInt8[np.ndarray, "f h w 3"] | None:
        """A clip; None where the end of a path stands."""
        return self.clips[index]["video"] if index < self.count else None

    def end(self, index: int) -> Float[np.ndarray, "t h w c"]:
        """The latents where a path ends."""
        return self.ends[index - self.count]["states"][-1].astype(np.float32)


def _check_paths(paths: Path | str, vae: str, model: Path | str, video: tuple[int, ...]) -> None:
    """Refuses paths of another autoencoder, or of clips of another shape than `video`."""
    card = teacher_paths.read_card(paths)
    if card["model"]["vae"] != vae:
        raise DataError(
            f"{paths}: its latents are of another autoencoder than that of {model}; give the model "
            "that was the teacher"
        )
    shape = (card["frames"], *card["size"])
    if shape != video[:3]:
        theirs, ours = ("{} frames of {} x {}".format(*x) for x in (shape, video))
        raise DataError(f"{paths}: its clips have {theirs}, but the clips have {ours}")


class _Shown:
    """The autoencoder of a model, and the noise."""

    def __init__(self, model: Path | str, noise: float, seed: int) -> None:
        from alchemint_jax import weights
        from alchemint_jax.models.vae import VAE

        module, self._params = weights.load(weights.locate(model), "vae")
        self._vae = cast(VAE, module)
        self._encode = _encoder(module)
        self._noise, self._seed = noise, seed

    def records(
        self, source: _Source, split: int, indices: range, progress: Progress, done: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Those of some clips."""
        from alchemint_jax.sampling.sample import decode_with

        for number, index in enumerate(indices):
            latents = self._latents(source, index)
            rng = np.random.default_rng((self._seed, split, index))
            scale = self._noise * rng.random()
            noise = scale * rng.standard_normal(latents.shape, np.float32)
            half = as_half(latents + noise, "the autoencoder gave latents")
            frames = decode_with(self._vae, self._params, half.astype(np.float32))
            yield {"latents": half[0], "video": frames[0]}
            progress.update(done + number + 1)

    def _latents(self, source: _Source, index: int) -> Float[np.ndarray, "1 t h w c"]:
        clip = source.clip(index)
        if clip is None:
            return source.end(index)[None]
        return np.asarray(self._encode(self._params, clip[None].astype(np.float32) / 127.5 - 1))


def read_card(data_dir: Path | str) -> dict[str, Any]:
    """The card of a set of decoded clips.

    `vae` is the fingerprint of the autoencoder, `splits` has the records of each, and `shapes`
    those of the fields of a record.

    Raises DataError if there is no such set.
    """
    return whole.read_card(
        data_dir, MARK, KIND, SCHEMA, "set of decoded clips", "alchemint data decode"
    )


def decoded_loader(
    data_dir: Path | str,
    split: str,
    config: LoaderConfig,
    cells: int | None = None,
    share: Share = WHOLE,
) -> grain.IterDataset:
    """Batches of `latents` float32 [b t h w c] and `video` uint8 [b f h2 w2 3].

    `cells` cuts a window of that many latent frames, starting anywhere. A decoder shows one pixel
    frame of the first of them, the last that it stands for, wherever the window starts.

    Raises DataError if there are none, and ConfigError if `cells` or `share` does not fit.
    """
    card = read_card(data_dir)
    total = card["shapes"]["latents"][0]
    if cells is not None and not 1 <= cells <= total:
        raise ConfigError(f"cells must be from 1 to {total}, got {cells}")
    folder = places.place(data_dir) / split
    names = shard_names(split, card["splits"][split], card["shard"])
    if missing := places.absent(folder, names):
        raise DataError(f"{folder}: {missing[0]} is missing; decode the clips again")
    source = records.ShardedSource([folder / name for name in names])
    return pipeline(source, _Window(cells or total), config, share)


@dataclasses.dataclass(frozen=True)
class _Window(grain.transforms.RandomMap):
    """A part of a clip; latents become floats."""

    cells: int

    def random_map(
        self, element: dict[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        latents, video = element["latents"], element["video"]
        start = int(rng.integers(len(latents) - self.cells + 1))
        clock = Clock.of_latents(1, len(video), len(latents))
        (_, first), (_, end) = clock.held([(start, start), (start, start + self.cells - 1)])
        return {
            "latents": latents[start:][: self.cells].astype(np.float32),
            "video": video[first - 1 : end],
        }
