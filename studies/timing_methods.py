r"""Ways to say when, on a model that never knew time: its figures, and what each way costs.

    python -m studies.timing_methods --limit 128 --steps 5 --batch 16 \
        --out runs/timing_methods.json --figure runs/timing_methods.svg

The model is sprites/untimed, which draws as the bundled one does and knows no time (see
configs/sprites_untimed.py); `--model` takes any whose scheme is NoInterval. No way trains anything,
and all see the same boards and the same noise. Costs are CPU time of a batch, against the same
batch without any control. Models that have words alone to go by are in `studies.timing_words`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import NoInterval
from alchemint_jax.sampling.control import Gating, TempoControl, Together
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites.cases import sprites_cases
from studies import timing_figures, variants
from studies.timing_figures import PLAIN, SHOWN, TITLES, Way, drawn, figures

GATING = Gating(edge=3.0, lift=2.0)
"""Chosen on other boards, those of seed 101: subjects come and go in what the model learned from,
and it would leave some of them out without the lift."""
TEMPO = TempoControl(steps=(0, 0.2), iterations=4, rate=0.02, magnitude=0.3, entropy=0.1)
"""Few rounds of large steps: the model makes five steps, and its clips have nine latent frames."""
WAYS = {
    PLAIN: Way(),
    "gating": Way(GATING),
    "gating, TempoControl": Way(Together((GATING, TEMPO))),
}


def measure(
    pipe: Pipeline, cases: Sequence[Scene], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each way, and of each less those without any control, board by board.

    `seed` draws the noise, and `settings` are those of `benchmark.render`.
    """
    rows, seconds = drawn("pictures", WAYS, pipe, cases, seed=seed, **settings)
    return figures(WAYS, rows, seconds)


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """All ways and figures, as SVG."""
    return timing_figures.draw_figure(WAYS, found, "a model that never knew time")


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Scene]:
    if not pipe.limits.max_subjects:
        raise ConfigError("takes no references")
    if not isinstance(pipe.models.dit.config.scheme, NoInterval):
        raise ConfigError("knows time; give a model whose scheme is NoInterval")
    return sprites_cases(limit, seed)


STUDY = variants.Study(
    description="Measure ways to say when, on a model that never knew time.",
    model="sprites/untimed",
    limit=128,
    boards=_boards,
    case=lambda case: case,
    measure=measure,
    shown={name: TITLES[name] for name in SHOWN},
    draw=draw_figure,
    whole=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    return variants.main(STUDY, argv)


if __name__ == "__main__":
    sys.exit(main())
