"""Stages, one after the other, over shards: what is there already is not made again.

The fingerprint of a shard is a hash of the stage, its version, its settings, and the fingerprint of
the shard that it was made from. So it changes with everything that it depends on, and with nothing
else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemint_jax.annotate.rows import Row, digest, failed, read_shard, usable, write_shard
from alchemint_jax.errors import AlchemintError, ConfigError

Work = Callable[[Row], Row | Sequence[Row]]


@dataclass(frozen=True)
class Stage:
    """A step of the way from files to scenes.

    Attributes:
        name: of its folder.
        version: raised when its code makes other rows.
        parts: what its result depends on, besides its rows: settings, names.
        run: from the rows of a shard to those of the next.
    """

    name: str
    version: int
    parts: Sequence[Any]
    run: Callable[[list[Row]], list[Row]]

    def fingerprint(self, upstream: str) -> str:
        """Of a shard that this stage makes from another one."""
        parts = [p if isinstance(p, str | bool) else dataclasses.asdict(p) for p in self.parts]
        return digest([self.name, self.version, parts, upstream])


def each(work: Work) -> Callable[[list[Row]], list[Row]]:
    """A stage's function from one that takes a single row: what goes wrong stays in that row."""

    def run(rows: list[Row]) -> list[Row]:
        found: list[Row] = []
        for row in rows:
            made = attempt(work, row) if usable(row) else row
            found += [made] if isinstance(made, dict) else made
        return found

    return run


def attempt(work: Work, row: Row) -> Row | Sequence[Row]:
    """What the work makes of a row; where it fails, the row with the reason.

    Raises:
        ConfigError: the settings name something that is not there, which is no fault of a row.
    """
    try:
        return work(row)
    except ConfigError:
        raise
    except AlchemintError as error:
        return failed(row, str(error))
    except MemoryError:
        return failed(row, "there is not enough memory")
    except Exception as error:  # a back end may raise anything, and other rows should go on
        return failed(row, f"{type(error).__name__}: {error}"[:500])


def run_shard(
    stages: Sequence[Stage],
    folder: Path,
    number: int,
    source: tuple[str, list[Row]],
    tell: Callable[[str], None] = lambda name: None,
) -> str:
    """Takes one shard through all stages, from the first that is not there on.

    Args:
        stages: in order.
        folder: where their folders are.
        number: of the shard.
        source: the fingerprint and the rows that the first stage begins with.
        tell: is called with a stage's name when its shard is there.

    Returns:
        The fingerprint of the last shard.
    """
    places = _places(stages, folder, number, source[0])
    first, rows = _begin(places, source[1])
    for stage in stages[:first]:
        tell(stage.name)
    for stage, (path, fingerprint) in list(zip(stages, places, strict=True))[first:]:
        rows = stage.run(rows)
        write_shard(path, fingerprint, rows)
        tell(stage.name)
    return places[-1][1]


def fail_shard(
    stages: Sequence[Stage],
    folder: Path,
    number: int,
    source: tuple[str, list[Row]],
    reason: str,
) -> None:
    """Makes rows with a reason of the stage that a shard does not get through."""
    places = _places(stages, folder, number, source[0])
    first, rows = _begin(places, source[1])
    if first < len(stages):
        lost = [
            failed(row, f"{stages[first].name}: {reason}") if usable(row) else row for row in rows
        ]
        write_shard(*places[first], lost)
    run_shard(stages, folder, number, source)


def _places(
    stages: Sequence[Stage], folder: Path, number: int, upstream: str
) -> list[tuple[Path, str]]:
    """Where the shard of each stage is to be, and its fingerprint."""
    places = []
    for stage in stages:
        upstream = stage.fingerprint(upstream)
        places.append((folder / stage.name / f"part-{number:05d}.jsonl", upstream))
    return places


def _begin(places: Sequence[tuple[Path, str]], rows: list[Row]) -> tuple[int, list[Row]]:
    """The first stage that is to be run, and the rows that it takes."""
    for i in reversed(range(len(places))):
        if (found := read_shard(*places[i])) is not None:
            return i + 1, found
    return 0, rows
