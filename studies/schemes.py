r"""Which interval scheme times subjects best? Trains every arm of a config alike and compares them.

    python -m studies.schemes --workdir runs/schemes --rows runs/schemes.jsonl \
        --out runs/schemes.json --figure runs/schemes.svg

Arms are the `ARMS` of the config file. For each seed all arms see the same data in the same order
and render the same boards from the same noise, so they are compared board by board. Training
resumes where it stopped, and an arm that is finished, or that the file of rows had at the start, is
not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax import arguments, media, results, shipped, weights
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.data.encoded import fingerprint
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate import benchmark
from alchemint_jax.outputs import check_outputs
from alchemint_jax.train.config import load_config, run_file
from alchemint_jax.train.run import find_job, run_config
from studies.comparison import compare, figure, table
from studies.rows import SPRITES, Rows, checked, read_rows, write_rows

REPORT = Path("report", "report.json")


def check_arm(config: str, overrides: list[str]) -> None:
    """Raises AlchemintError, naming the arm, where it cannot start: its autoencoder, its data or
    what it starts from is not there.
    """
    task = find_job(config, overrides)[1]
    try:
        task.train_data()
    except AlchemintError as error:
        raise type(error)(f"{config}: {error}") from error


def run_arm(config: str, workdir: Path, seed: int, settings: Mapping[str, Any]) -> Rows:
    """Trains one arm with one seed and scores it; what is already done is read."""
    made, report = workdir / "study.json", workdir / REPORT
    if report.is_file() or made.is_file():
        found = _load(made)
        if found != settings:
            raise ConfigError(
                f"{made}: was made with {found}, not {settings}; use another --workdir"
            )
    if not report.is_file():
        workdir.mkdir(parents=True, exist_ok=True)
        media.write_bytes(made, json.dumps(settings).encode())
        seeds = [f"train.seed={seed}", f"loader.seed={seed}"]
        result = run_config(config, workdir, [*settings["set"], *seeds])
        if result.interrupted or result.signal is not None:
            raise KeyboardInterrupt
        boards = settings["boards"]
        model = str(workdir / "export")
        benchmark.run_benchmark(model, SPRITES, report.parent, limit=boards, batch=16)
    try:
        return checked(_load(report)["rows"], seed)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{report}: is not a report of this command ({error})") from error


def settings_of(config: Path, arm: str, overrides: list[str], boards: int) -> dict[str, Any]:
    """What rows of one study have alike: `arm` speaks for all arms of the config.

    It does not tell whether an arm or the training of all was changed: those need another file of
    rows and another workdir. Raises ConfigError, naming the file, where that config has nothing to
    render with.
    """
    values = load_config(f"{config}:{arm}", overrides)
    try:
        steps, vae = values.sampling.steps, values.vae
    except AttributeError as error:
        raise ConfigError(f"{config}:{arm}: needs sampling.steps and vae: {error}") from error
    return {
        "config": config.name,
        "set": overrides,
        "boards": boards,
        "steps": steps,
        "vae": fingerprint(weights.component_folder(weights.locate(vae), "vae")),
    }


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); use another --workdir") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Train and compare the arms of a study.")
    parser.add_argument("--config", type=shipped.find, default="configs/sprites_schemes.py")
    parser.add_argument("--arms", nargs="+", help="which; all of the config's where not given")
    parser.add_argument("--seeds", type=arguments.seed, nargs="+", default=[0, 1, 2])
    boards = arguments.whole(1)
    parser.add_argument("--limit", type=boards, default=64, help="boards to score each arm on")
    parser.add_argument("--baseline", default="WeRope", help="the arm that others are compared to")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--figure", type=Path, help="an SVG to write")
    parser.add_argument("--rows", type=Path, help="JSON Lines of every subject; goes on with these")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE")
    args = parser.parse_args(argv)
    comparison: dict[str, Any] = {}
    prepare_jax()
    try:
        names = args.arms or run_file(args.config).get("ARMS", ())
        arms: dict[str, Rows] = {arm: [] for arm in names}
        if args.baseline not in arms:
            raise ConfigError(f"--baseline {args.baseline}: not among {', '.join(arms)}")
        for path in filter(None, (args.out, args.figure)):
            media.check_writable(path)  # now, not after hours of training
        outputs = [("--out", args.out), ("--figure", args.figure), ("--rows", args.rows)]
        runs = [("a run in", args.workdir / f"{a}-{s}") for a in arms for s in args.seeds]
        check_outputs(outputs, [("--config", args.config), *runs])
        settings = settings_of(args.config, args.baseline, args.set, args.limit)
        known = read_rows(args.rows, settings) if args.rows else {}
        seeds = dict.fromkeys(args.seeds)
        folders = {(arm, seed): args.workdir / f"{arm}-{seed}" for arm in arms for seed in seeds}
        if args.rows and set(folders) - set(known):
            media.check_writable(args.rows)
        for arm in dict.fromkeys(
            run[0]
            for run, folder in folders.items()
            if run not in known and not (folder / REPORT).is_file()
        ):
            check_arm(f"{args.config}:{arm}", args.set)  # of all, before one is trained
        for seed in seeds:
            for arm in arms:
                print(f"{arm}, seed {seed}", file=sys.stderr, flush=True)
                if (arm, seed) not in known:
                    name, folder = f"{args.config}:{arm}", folders[arm, seed]
                    known[arm, seed] = run_arm(name, folder, seed, settings)
                    if args.rows:
                        write_rows(args.rows, known, settings)
                arms[arm] += known[arm, seed]
            comparison = compare(arms, args.baseline)
            results.write_json(args.out, comparison)
            if args.figure:
                media.write_bytes(args.figure, figure(comparison))
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    print(table(comparison))
    return 0


if __name__ == "__main__":
    sys.exit(main())
