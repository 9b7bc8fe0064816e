"""The file of rows of a study: what every subject scored, a line for each arm and seed.

Tables can be made again from it where the runs are gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alchemint_jax import media
from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.worlds.sprites import SpritesBenchmark

Rows = list[dict[str, Any]]

SPRITES = SpritesBenchmark()
NAMES = (
    *("t_iou", "t_l2", "frame_iou", "presence", "absence", "detected", "identity", "likeness"),
    *("recall_0.3", "recall_0.5", "recall_0.7"),
)
"""The figures that files of rows have."""
MEASURES = {name: scores.measures(SPRITES.tracker)[name] for name in NAMES}
KEPT = ("case", "subject", "subjects", "similar", "n_frames", "asked", "shown", *MEASURES)
"""What tables need of a row, besides its seed."""


def checked(rows: Any, seed: int) -> Rows:
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
            rows = checked(entry["rows"], seed)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(
                f"{path}:{number}: is not a line of this command ({error})"
            ) from error
        if made != settings:
            raise ConfigError(
                f"{path}:{number}: was made with {made}, not {settings}; use another --rows"
            )
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
    first = {seed: paired.boards(rows) for (_, seed), rows in reversed(every.items())}
    for (arm, seed), rows in every.items():
        if paired.boards(rows) != first[seed]:
            raise ConfigError(f"{path}: {arm}, seed {seed}: has other boards; use another --rows")
        kept = [{name: row[name] for name in KEPT} for row in rows]
        entry = {"arm": arm, "seed": seed, "settings": settings, "rows": kept}
        lines.append(json.dumps(entry, allow_nan=False, separators=(",", ":")))
    media.write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
