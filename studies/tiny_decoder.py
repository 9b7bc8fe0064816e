r"""How near a small decoder comes to the whole one, and in how much of its time.

    python -m studies.tiny_decoder \
        --tiny runs/sprites_tiny_decoder/export/tiny_decoder.safetensors \
        --out runs/tiny_decoder.json

Latents are those of drawn clips and of boards that a model renders; no training has seen either.
Both decoders turn them into frames, and so does the linear map that the studio fits to models
without a small decoder. Times are of one clip, in turn.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from alchemint_jax import arguments, media, results
from alchemint_jax.bench import hardware
from alchemint_jax.bench.measure import Side, alternate, compare, summary
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import students
from alchemint_jax.evaluate.benchmark import check_model, fingerprints
from alchemint_jax.outputs import check_outputs
from alchemint_jax.sampling.loading import TINY
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.sample import Models, decode
from alchemint_jax.studio import preview
from alchemint_jax.weights import locate
from alchemint_jax.weights.directories import tiny_decoder
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.world import sample_clip
from studies.step_cache import latents_of, psnr


def latents(pipe: Pipeline, count: int, seed: int) -> dict[str, Float[np.ndarray, "b t h w c"]]:
    """What is decoded, by name: of drawn clips, and of boards from noise."""
    videos = np.stack([sample_clip(i, seed).video for i in range(count)])
    scenes = sprites_cases(count, seed)
    check_model(pipe, scenes)
    return {
        "clips": np.concatenate([_encode(pipe.models, video) for video in videos]),
        "boards": latents_of(pipe, scenes, pipe.settings.plan(), None, seed),
    }


def _encode(models: Models, video: np.ndarray) -> np.ndarray:
    encode = jax.jit(lambda p, x: models.vae.apply({"params": p}, x, method="encode"))
    return np.asarray(encode(models.vae_params, video[None].astype(np.float32) / 127.5 - 1))


def measure(pipe: Pipeline, given: dict[str, np.ndarray], repeats: int) -> dict[str, Any]:
    """PSNR of the small decoder and of the linear map against the whole decoder, and times.

    Of the small decoder also the energies of edges and of motion, as shares of the whole one's.

    Args:
        pipe: loaded with a small decoder.
        given: latents by name.
        repeats: pairs of calls that are timed.
    """
    small = pipe.models
    whole, vae = small._replace(preview=None), small.vae.config
    fitted = preview.fit(
        lambda video: np.concatenate([_encode(small, (one + 1) * 127.5) for one in video]),
        vae.temporal_stride,
        vae.spatial_stride,
        pipe.settings.size,
    )
    found: dict[str, Any] = {}
    for name, z in given.items():
        wanted, shown = (decode(models, jnp.asarray(z)) for models in (whole, small))
        found[name] = {
            "psnr": {
                "small decoder": psnr(shown, wanted),
                "linear map": psnr(np.stack([fitted.frames(one) for one in z]), wanted),
            },
            "edges": students.edge_energy(shown) / students.edge_energy(wanted),
            "motion": students.motion_energy(shown) / students.motion_energy(wanted),
        }
        for energy in ("edges", "motion"):
            found[name][energy] = float(np.mean(found[name][energy]))
    one = jnp.asarray(given["clips"][:1])
    sides = {
        name: Side(partial(decode, models, one), lambda frames: frames, lambda _: {})
        for name, models in (("small", small), ("whole", whole))
    }
    seconds = alternate(sides, repeats)
    ratio = compare(seconds["small"], seconds["whole"])
    return {"frames": found, "seconds": {n: summary(s) for n, s in seconds.items()}, "ratio": ratio}


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(description="Compare a small decoder with the whole one.")
    count = arguments.whole(1)
    made.add_argument("--model", default="sprites/fast", help="renders the boards")
    made.add_argument("--tiny", default=TINY, help="a file; by default the one of the model")
    made.add_argument("--limit", type=count, default=8, help="clips, and boards")
    made.add_argument("--seed", type=arguments.seed, default=11, help="of clips and boards")
    made.add_argument("--repeats", type=count, default=7, help="of each time, in turn")
    made.add_argument("--out", type=Path, required=True, help="the JSON to write")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    options = parser()
    args = options.parse_args(argv)
    prepare_jax()
    try:
        media.check_writable(args.out, [".json"])
        read = [] if args.tiny == TINY else [("--tiny", Path(args.tiny))]
        check_outputs([("--out", args.out)], read)
        pipe = Pipeline.load(args.model, vae=args.tiny)
        if pipe.models.preview is None:
            raise AlchemintError(f"--tiny {args.tiny}: is no small decoder")
        decoder, params = pipe.models.preview
        file = tiny_decoder(locate(args.model)) if args.tiny == TINY else Path(args.tiny)
        assert file is not None  # it was read
        given = latents(pipe, args.limit, args.seed)
        found = {
            "machine": hardware.machine(jax.devices(), ["jax"]),
            "model": args.model,
            "weights": fingerprints(args.model),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "limit": args.limit,
            "seed": args.seed,
            "widths": decoder.config.widths,
            "parameters": sum(math.prod(x.shape) for x in jax.tree.leaves(params)),
            **measure(pipe, given, args.repeats),
        }
        results.write_json(args.out, found)
    except AlchemintError as error:
        options.error(str(error))
    except KeyboardInterrupt:
        return 130
    for name, of in found["frames"].items():
        print(name + ": " + ", ".join(f"{who} {value:.1f} dB" for who, value in of["psnr"].items()))
    print(f"{found['ratio']['ratio']:.3f} of the whole decoder's time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
