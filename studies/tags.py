r"""How a model relies on word tags: boards of similar subjects with them, without, and exchanged.

    python -m studies.tags --model sprites --limit 384 --steps 5 \
        --out docs/results/sprites_tags.json

A word tag says which words of the prompt a reference belongs to (AlcheMinT, section 3). Subjects of
one shape or colour are those that a model might confuse. The model is not trained again. It has not
seen a subject without its tag, so that only the exchange tells what the words of a tag do. All
variants see the same boards and the same noise.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites import tracker
from alchemint_jax.worlds.sprites.cases import sprites_cases
from studies import variants

SHOWN = ("t_iou", "t_l2", "identity")
TRACKER = tracker.SpritesTracker()
MEASURES = scores.measures(TRACKER)
VARIANTS: dict[str, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    "tags": lambda words: words,
    "no tags": lambda words: ("",) * len(words),
    "exchanged": lambda words: (*words[1:], words[0]),
}
"""What becomes of the words of a board's subjects; the prompt stays."""


def similar_cases(limit: int, seed: int) -> list[Scene]:
    """The first `limit` sprites boards that have two subjects of one shape or colour."""
    drawn = limit
    while True:
        drawn *= 2
        found = [
            case
            for case in sprites_cases(drawn, seed)
            if tracker.similar(
                [tracker.kind_of(np.asarray(subject.pictures[0])) for subject in case.subjects]
            )
        ]
        if len(found) >= limit:
            return found[:limit]


def retagged(case: Scene, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Scene:
    """The board with other words for its subjects."""
    words = change(tuple(subject.word for subject in case.subjects))
    subjects = (
        dataclasses.replace(subject, word=word)
        for subject, word in zip(case.subjects, words, strict=True)
    )
    return dataclasses.replace(case, subjects=tuple(subjects))


def measure(
    draw: Callable[..., np.ndarray], cases: Sequence[Scene], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each variant, and of each less those with tags, board by board.

    `draw` is `Pipeline.render`, `seed` draws the noise, and `settings` are those of
    `benchmark.render`.
    """
    rows = {}
    for name, change in VARIANTS.items():
        print(name, file=sys.stderr, flush=True)
        changed = [retagged(case, change) for case in cases]
        report = scores.score(cases, render(draw, changed, seed=seed, **settings), TRACKER)
        rows[name] = [row | {"seed": seed} for row in report["rows"]]
    return {
        "variants": {name: scores.summarise(own, MEASURES) for name, own in rows.items()},
        "differences": {
            name: {figure: paired.difference(own, rows["tags"], figure) for figure in SHOWN}
            for name, own in rows.items()
            if name != "tags"
        },
    }


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Scene]:
    if not pipe.models.dit.config.tags:
        raise ConfigError("has no word tags")
    return similar_cases(limit, seed)


STUDY = variants.Study(
    description="Measure a model with and without word tags, on boards of similar subjects.",
    model="sprites",
    limit=128,
    boards=_boards,
    case=lambda case: case,
    measure=measure,
    shown={name: MEASURES[name] for name in SHOWN},
)
main = functools.partial(variants.main, STUDY)
"""The command line of this module."""


if __name__ == "__main__":
    sys.exit(main())
