r"""Which interval scheme times subjects best? Trains every arm of a config alike and compares them.

    python -m alchemint_jax.evaluate.study --workdir runs/schemes --rows runs/schemes.jsonl \
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import arguments, media, results, shipped, weights
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.data.encode import fingerprint
from alchemint_jax.errors import AlchemintError, ConfigError
from alchemint_jax.evaluate import benchmark, scores
from alchemint_jax.evaluate.figure import forest
from alchemint_jax.outputs import check_outputs
from alchemint_jax.train.config import load_config, run_file
from alchemint_jax.worlds.sprites import SpritesBenchmark

Rows = list[dict[str, Any]]

SPRITES = SpritesBenchmark()
MEASURES = scores.measures(SPRITES.tracker)

KEPT = ("case", "subject", "subjects", "similar", "n_frames", "asked", "shown", *MEASURES)
"""What tables need of a row, besides its seed."""
REPORT = Path("report", "report.json")
FIGURES = ("t_iou", "t_l2", "presence", "absence", "detected", "identity")
PAPER = {
    "MidRope": {"t_iou": 0.453, "t_l2": 0.300},
    "WeRope": {"t_iou": 0.469, "t_l2": 0.288},
}
"""AlcheMinT's own ablation, for orientation: another model, other boards, another tracker."""
SINGLE: dict[str, tuple[Callable[[int, int], float], float, float]] = {
    "short intervals": (lambda start, end: end - start, 0, 0.25),
    "medium intervals": (lambda start, end: end - start, 0.25, 0.45),
    "long intervals": (lambda start, end: end - start, 0.45, 1.01),
    "early intervals": (lambda start, end: (start + end) / 2, 0, 1 / 3),
    "middle intervals": (lambda start, end: (start + end) / 2, 1 / 3, 2 / 3),
    "late intervals": (lambda start, end: (start + end) / 2, 2 / 3, 1.01),
}
"""Single intervals [start, end) whose length or middle is a share of the clip from low to high."""


def groups(rows: Rows) -> Iterator[tuple[str, Rows]]:
    """All subjects, the groups of a report, and single intervals by their length and place."""
    yield "all", rows
    parts = dict(scores.groups(rows))
    yield from parts.items()
    single = parts["one interval"]
    for name, (of, low, high) in SINGLE.items():
        yield name, [r for r in single if low <= of(*r["asked"][0]) / r["n_frames"] < high]


def difference(one: Rows, other: Rows, figure: str) -> dict[str, float]:
    """Mean of `one` less `other`, subject by subject of the same boards and seeds.

    The 95 % interval resamples boards. Raises ConfigError if the two did not see the same subjects.
    """
    if _boards(one) != _boards(other):
        raise ConfigError("two arms have rows of different boards or seeds; they do not compare")
    # A report has None for a rate that nothing could be counted for; as a float it is NaN.
    a, b = (np.array([row[figure] for row in rows], np.float64) for rows in (one, other))
    return scores.estimate(a - b, [row["case"] for row in one])


def _boards(rows: Rows) -> list[tuple[Any, ...]]:
    return [(row["seed"], row["case"], row["subject"], row["asked"]) for row in rows]


def compare(arms: Mapping[str, Rows], baseline: str) -> dict[str, Any]:
    """The tables of a study; `arms` maps each arm to its rows of all seeds, in the same order."""
    return {
        "arms": {
            arm: {
                name: scores.summarise(part, MEASURES) | {"correlation": scores.correlations(part)}
                for name, part in groups(rows)
                if part
            }
            for arm, rows in arms.items()
        },
        "baseline": baseline,
        "differences": {
            arm: {
                name: {figure: difference(part, other, figure) for figure in FIGURES}
                for (name, part), (_, other) in zip(
                    groups(rows), groups(arms[baseline]), strict=True
                )
                if part
            }
            for arm, rows in arms.items()
            if arm != baseline and baseline in arms
        },
        "per_seed": {
            arm: {
                str(seed): float(np.mean([row["t_iou"] for row in rows if row["seed"] == seed]))
                for seed in sorted({row["seed"] for row in rows})
            }
            for arm, rows in arms.items()
        },
        "paper": PAPER,
    }


def table(comparison: Mapping[str, Any]) -> str:
    """Markdown: one line per arm, all boards, with the correlations of moment and length and what
    the paper measured.

    The 95 % intervals are over boards: they say nothing about other seeds.
    """
    rates = ("presence", "absence", "identity")
    paper = [name for name in comparison["arms"] if name in comparison["paper"]]
    head = ["t-IOU", f"less {comparison['baseline']}", "t-L2", *rates, "moment", "length"]
    head += ["paper's t-IOU, t-L2"] if paper else []
    lines = ["| trained with | " + " | ".join(head) + " |", "|---|" + "---:|" * len(head)]
    for arm, parts in comparison["arms"].items():
        every, gain = parts["all"], comparison["differences"].get(arm)
        cells = [_with_interval(every["t_iou"], ".2f")]
        cells.append(_with_interval(gain["all"]["t_iou"], "+.2f") if gain else "")
        cells += [f"{every[name]['mean']:.2f}" for name in ("t_l2", *rates)]
        cells += [f"{every['correlation'][name]:.2f}" for name in ("midpoint", "length")]
        if paper:
            theirs = comparison["paper"].get(arm)
            cells.append(f"{theirs['t_iou']:.3f}, {theirs['t_l2']:.3f}" if theirs else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _with_interval(figure: Mapping[str, float], form: str) -> str:
    return f"{figure['mean']:{form}} ({figure['low']:{form}} to {figure['high']:{form}})"


BLOCKS = {
    "t-IOU by length": ("short intervals", "medium intervals", "long intervals"),
    "t-IOU by place": ("early intervals", "middle intervals", "late intervals"),
    "t-IOU by board": ("1 subject", "2 subjects", "3 subjects", "similar subjects"),
}


def figure(comparison: Mapping[str, Any]) -> str:
    """An SVG of every arm: its figures on all boards, and t-IOU by kind of interval and board."""
    arms = comparison["arms"]
    blocks = {
        "all boards": {
            MEASURES[name]: {arm: parts["all"][name] for arm, parts in arms.items()}
            for name in ("t_iou", "t_l2", "presence", "absence", "identity")
        }
    }
    for name, groups in BLOCKS.items():
        block = {
            group: {arm: parts[group]["t_iou"] for arm, parts in arms.items()}
            for group in groups
            if all(group in parts for parts in arms.values())
        }
        if block:
            blocks[name] = block
    title = "Interval schemes: means, and 95 % intervals over boards"
    return forest(blocks, title, comparison["baseline"])


def check_arm(config: str, overrides: list[str]) -> None:
    """Raises AlchemintError, naming the arm, where it cannot start: its autoencoder, its data or
    what it starts from is not there.
    """
    from alchemint_jax.train.run import find_job

    task = find_job(config, overrides)[1]
    try:
        task.train_data()
    except AlchemintError as error:
        raise type(error)(f"{config}: {error}") from error


def run_arm(config: str, workdir: Path, seed: int, settings: Mapping[str, Any]) -> Rows:
    """Trains one arm with one seed and scores it; what is already done is read."""
    from alchemint_jax.train.run import run_config

    made, report = workdir / "study.json", workdir / REPORT
    if report.is_file() or made.is_file():
        found = _load(made)
        if found != settings:
            raise ConfigError(f"{made}: of {found}, not {settings}; use another --workdir")
    if not report.is_file():
        workdir.mkdir(parents=True, exist_ok=True)
        media.write_bytes(made, json.dumps(settings).encode())
        seeds = [f"train.seed={seed}", f"loader.seed={seed}"]
        result = run_config(config, workdir, [*settings["set"], *seeds])
        if result.interrupted or result.signal is not None:
            raise KeyboardInterrupt
        boards = settings["boards"]
        benchmark.run_benchmark(
            str(workdir / "export"), SPRITES, report.parent, limit=boards, batch=16
        )
    try:
        return _checked(_load(report)["rows"], seed)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{report}: not a report of this command ({error})") from error


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


def _checked(rows: Any, seed: int) -> Rows:
    """Rows of a report, or of a file of rows, without what no table uses.

    Raises ValueError, KeyError or TypeError where they are not.
    """
    kept = [{name: row[name] for name in KEPT} | {"seed": seed} for row in rows]
    if not kept:
        raise ValueError("there are no rows")
    for row in kept:
        for name in MEASURES:
            if not isinstance(row[name], int | float | None):
                raise TypeError(f"{name} is {row[name]!r}, not a number")
    return kept


def read_rows(path: Path, settings: Mapping[str, Any]) -> dict[tuple[str, int], Rows]:
    """What each arm and seed of a file of rows scored; nothing where there is no file.

    Raises ConfigError, naming the line, where it is not of this command or has other settings.
    """
    found: dict[tuple[str, int], Rows] = {}
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else (), 1):
        try:
            entry = json.loads(line)
            arm, seed, made = (entry[name] for name in ("arm", "seed", "settings"))
            if not (isinstance(arm, str) and isinstance(seed, int)):
                raise ValueError("an arm and a seed of it are needed")
            rows = _checked(entry["rows"], seed)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: not a line of this command ({error})") from error
        if made != settings:
            raise ConfigError(f"{path}:{number}: of {made}, not {settings}; use another --rows")
        found[arm, seed] = rows
    return found


def write_rows(
    path: Path, known: Mapping[tuple[str, int], Rows], settings: Mapping[str, Any]
) -> None:
    """The file that `read_rows` reads: a line for each arm and seed, without what no table uses.

    Lines that others have added to it before stay. Raises ConfigError, and writes nothing, where
    arms do not have the same boards.
    """
    lines = []
    every = read_rows(path, settings) | dict(known)
    first = {seed: _boards(rows) for (_, seed), rows in reversed(every.items())}
    for (arm, seed), rows in every.items():
        if _boards(rows) != first[seed]:
            raise ConfigError(f"{path}: {arm}, seed {seed}: has other boards; use another --rows")
        kept = [{name: row[name] for name in KEPT} for row in rows]
        entry = {"arm": arm, "seed": seed, "settings": settings, "rows": kept}
        lines.append(json.dumps(entry, allow_nan=False, separators=(",", ":")))
    media.write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


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
        rows = args.rows and shipped.find(args.rows)
        for path in filter(None, (args.out, args.figure)):
            media.check_writable(path)  # now, not after hours of training
        outputs = [("--out", args.out), ("--figure", args.figure), ("--rows", args.rows)]
        runs = [("a run in", args.workdir / f"{a}-{s}") for a in arms for s in args.seeds]
        check_outputs(outputs, [("--config", args.config), *runs])
        settings = settings_of(args.config, args.baseline, args.set, args.limit)
        known = read_rows(rows, settings) if rows else {}
        seeds = dict.fromkeys(args.seeds)
        folders = {(arm, seed): args.workdir / f"{arm}-{seed}" for arm in arms for seed in seeds}
        if args.rows and (rows == args.rows or set(folders) - set(known)):
            media.check_writable(args.rows)  # what came with the package is only read
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
                    if rows:
                        write_rows(args.rows, known, settings)
                arms[arm] += known[arm, seed]
            comparison = compare(arms, args.baseline)
            results.write_json(args.out, comparison)
            if args.figure:
                media.write_bytes(args.figure, figure(comparison).encode())
    except AlchemintError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    print(table(comparison))
    return 0


if __name__ == "__main__":
    sys.exit(main())
