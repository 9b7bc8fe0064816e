r"""How timing and identity depend on the number of sampling steps and on the weights of guidance.

    python -m studies.sampling --model sprites --limit 32 \
        --out docs/results/sprites_curves.json --figure docs/results/sprites_curves.svg

One setting varies at a time; the others are the model's own. All points see the same boards and the
same noise. Points that the file has are not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import arguments, media, results, weights
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate.benchmark import fingerprints, run_benchmark
from alchemint_jax.evaluate.scores import measures
from alchemint_jax.outputs import check_outputs
from alchemint_jax.worlds.sprites import SpritesBenchmark
from studies.charts import Panel, curves

SPRITES = SpritesBenchmark()
MEASURES = measures(SPRITES.tracker)
SHOWN = {
    "t_iou": "t-IOU",
    "t_l2": "t-L2, share of clip",
    "identity": "identity",
}
"""Labels of axes by figure."""
SETTINGS = {
    "steps": "sampling steps",
    "both": "weight of guidance by text and references",
    "image": "weight of guidance by references alone",
}
"""Titles by the setting that varies: the number of steps, or a field of `Guidance`."""


def measure(
    model: str, *, limit: int, seed: int, setting: str, value: float | int
) -> dict[str, Any]:
    """The figures of one point, as in a report's `overall`."""
    changed: dict[str, Any]
    if setting == "steps":
        changed = {"steps": int(value)}
    else:
        changed = {"guidance": {setting: value}}
    report = run_benchmark(model, SPRITES, limit=limit, seed=seed, batch=16, **changed)
    return results.plain(report["overall"] | {"correlation": report["correlation"]})


def draw(found: Mapping[str, Any]) -> bytes:
    """An SVG of all points of a file that this command wrote."""
    panels = {
        SETTINGS[setting]: [
            Panel(MEASURES[name], label, {float(x): point[name] for x, point in points.items()})
            for name, label in SHOWN.items()
        ]
        for setting, points in found["points"].items()
    }
    return curves(panels, f"The model {found['model']} on {found['limit']} boards")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Measure a model at other steps and weights.")
    parser.add_argument("--model", default="sprites")
    counts, scales = arguments.whole(1), arguments.guidance_weight
    parser.add_argument("--steps", type=counts, nargs="*", default=[5, 10, 20, 40])
    parser.add_argument("--both", type=scales, nargs="*", default=[1.0, 2.0, 3.0, 5.0])
    parser.add_argument("--image", type=scales, nargs="*", default=[0.0, 1.0, 2.0, 4.0])
    parser.add_argument("--limit", type=counts, default=64, help="boards of each point")
    parser.add_argument("--seed", type=arguments.seed, default=11, help="of boards and noise")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write, and go on with")
    parser.add_argument("--figure", type=Path, required=True, help="the SVG to write")
    args = parser.parse_args(argv)
    wanted = {setting: getattr(args, setting) for setting in SETTINGS}
    prepare_jax()
    try:
        head = {
            "model": args.model,
            "weights": fingerprints(args.model),
            "limit": args.limit,
            "seed": args.seed,
        }
        for path in (args.out, args.figure):
            media.check_writable(path)
        outputs = [("--out", args.out), ("--figure", args.figure)]
        check_outputs(outputs, weights.parts(args.model))
        found = _read(args.out, head)
        if not (any(wanted.values()) or found["points"]):
            raise ConfigError("--steps, --both and --image: there is nothing to measure")
        for setting, values in wanted.items():
            for value in values:
                points = found["points"].setdefault(setting, {})
                if str(value) in points:
                    continue
                print(f"{SETTINGS[setting]}: {value}", file=sys.stderr, flush=True)
                points[str(value)] = measure(
                    args.model, limit=args.limit, seed=args.seed, setting=setting, value=value
                )
                results.write_json(args.out, found)
        media.write_bytes(args.figure, draw(found))
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def _read(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    """The points of an earlier run of the same boards; none where there was no run."""
    if not path.is_file():
        return head | {"points": {}}
    try:
        found = json.loads(path.read_text("utf-8"))
        same = {key: found[key] for key in head} == head
        if not found["points"].keys() <= SETTINGS.keys():
            raise ValueError(f"its points are of {', '.join(found['points'])}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: does not hold curves that this command wrote ({error})"
        ) from error
    if not same:
        raise ConfigError(
            f"{path}: belongs to another model, or other weights, limit or seed; use another --out"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
