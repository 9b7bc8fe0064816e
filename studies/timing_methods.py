r"""Ways to say when, on a model that never knew time: its figures, and what each way costs.

The model is the arm NoInterval of configs/sprites_schemes.py: its references are placed as if they
were on screen all the time, in training, too. It is trained on fewer clips than the arms that are
compared there, each of which it sees once:

    alchemint data sprites --out data/sprites --clips 3200
    alchemint data encode --data data/sprites --vae sprites --out data/schemes_latents
    alchemint train --config configs/sprites_schemes.py:NoInterval --workdir runs/untimed
    python -m studies.timing_methods --model runs/untimed/export --limit 64 --steps 5 --batch 16 \
        --out runs/timing_methods.json --figure runs/timing_methods.svg

No way trains anything. All see the same boards and the same noise: once with pictures of the
subjects, and once with words alone, where pictures and word tags are emptied, as guidance empties
them. Costs are CPU time of a batch, against the same batch without any control.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.rotary import NoInterval
from alchemint_jax.sampling.control import Control, Gating, TempoControl, Together
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites.cases import sprites_cases
from alchemint_jax.worlds.sprites.tracker import SpritesTracker
from studies import variants
from studies.charts import Panel, forest

TRACKER = SpritesTracker()
MEASURES = scores.measures(TRACKER) | {"accuracy": "frames right"}
TITLES = MEASURES | {"cost": "cost"}
SHOWN = {
    "t_iou": "1 is best",
    "accuracy": "share of frames; 1 is best",
    "presence": "share of frames; 1 is best",
    "absence": "share of frames; 1 is best",
    "identity": "share of subjects; 1 is best",
    "cost": "time of a batch / without control",
}
"""Labels of axes by figure."""
TEMPO = TempoControl(steps=(0, 0.2), iterations=4, rate=0.05, magnitude=1.0, entropy=0.1)
"""Few rounds of large steps: the model makes five steps, and its clips have nine latent frames."""
PLAIN = "no control"
METHODS: dict[str, Control | None] = {
    PLAIN: None,
    "gating": Gating(),
    "TempoControl": TEMPO,
    "gating, TempoControl": Together((Gating(), TEMPO)),
}
GIVEN = {
    "pictures": (PLAIN, "gating", "gating, TempoControl"),
    "words alone": (PLAIN, "TempoControl"),
}
"""The ways that are measured, by what the model is given. Half of the boards are rendered with
words alone, of which it makes little."""


class WordsAlone(Pipeline):
    """A pipeline whose pictures and word tags are empty, as guidance empties them."""

    def conditions(
        self,
        scenes: Sequence[Scene],
        negative_prompt: str | None = None,
        slots: int | None = None,
    ) -> Conditions:
        """See `Pipeline.conditions`."""
        given = super().conditions(scenes, negative_prompt, slots)
        return given._replace(
            references=jnp.zeros_like(given.references), tags=jnp.zeros_like(given.tags)
        )


def without_pictures(pipe: Pipeline) -> WordsAlone:
    """The same model, given words alone."""
    return WordsAlone(*(getattr(pipe, field.name) for field in dataclasses.fields(pipe)))


def measure(
    pipe: Pipeline, cases: Sequence[Scene], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each method, and of each less those without any control, board by board.

    `seed` draws the noise, and `settings` are those of `benchmark.render`.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, list[float]] = {}
    for given, names in GIVEN.items():
        whole = given == "pictures"
        chosen = pipe if whole else without_pictures(pipe)
        boards = cases if whole else cases[: -(-len(cases) // 2)]
        for name in names:
            key = f"{given}: {name}"
            print(key, file=sys.stderr, flush=True)
            taken: list[float] = []

            def draw(scenes: Any, *, name: str = name, taken: list = taken, **more: Any) -> Any:
                began = time.process_time()
                found = chosen.render(scenes, control=METHODS[name], **more)  # noqa: B023
                taken.append(time.process_time() - began)
                return found

            videos = render(draw, boards, seed=seed, **settings)
            found = scores.score(boards, videos, TRACKER)["rows"]
            rows[key] = [row | {"seed": seed, "accuracy": frames_right(row)} for row in found]
            seconds[key] = taken
    return {
        "methods": {name: repr(control) for name, control in METHODS.items() if control},
        "variants": {
            key: scores.summarise(own, MEASURES) | {"cost": cost(seconds, key)}
            for key, own in rows.items()
        },
        "differences": {
            key: {
                figure: paired.difference(own, rows[base(key)], figure)
                for figure in SHOWN
                if figure != "cost"
            }
            for key, own in rows.items()
            if key != base(key)
        },
        "cpu_seconds": seconds,
    }


def base(key: str) -> str:
    """The same without control."""
    return f"{key.partition(': ')[0]}: {PLAIN}"


def cost(seconds: Mapping[str, Sequence[float]], key: str) -> dict[str, float]:
    """CPU time against that without control: of all batches together, the least and the largest.

    The first batch, which is compiled, is left out if there are others.
    """
    own, plain = (np.array(seconds[name]) for name in (key, base(key)))
    first = 1 if len(own) > 1 else 0
    ratios = own[first:] / plain[first:]
    mean = own[first:].sum() / plain[first:].sum()
    return {"mean": float(mean), "low": float(ratios.min()), "high": float(ratios.max())}


def frames_right(row: Mapping[str, Any]) -> float:
    """The share of frames in which a subject is seen where it was asked for, and only there."""
    asked, shown = (np.zeros(row["n_frames"], bool) for _ in range(2))
    for frames, spans in ((asked, row["asked"]), (shown, row["shown"])):
        for start, end in spans:
            frames[start:end] = True
    return float((asked == shown).mean())


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each method, with gains over the same without control."""
    lines = ["| | " + " | ".join(TITLES[name] for name in SHOWN) + " |"]
    lines.append("|---|" + "---:|" * len(SHOWN))
    for key, summary in found["variants"].items():
        cells = ["{mean:.2f} ({low:.2f} to {high:.2f})".format(**summary[name]) for name in SHOWN]
        lines.append(f"| {key} | {' | '.join(cells)} |")
        if gaps := found["differences"].get(key):
            cells = ["{mean:+.2f} ({low:+.2f} to {high:+.2f})".format(**x) for x in gaps.values()]
            lines.append(f"| {key}: gain | {' | '.join(cells)} | |")
    return "\n".join(lines) + "\n"


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """All methods and figures, with pictures and with words alone, as SVG."""
    unknown = dict.fromkeys(("mean", "low", "high"))
    blocks = {
        given: [
            Panel(
                TITLES[figure],
                axis,
                {
                    name: found["variants"].get(f"{given}: {name}", {figure: unknown})[figure]
                    for name in METHODS
                },
            )
            for figure, axis in SHOWN.items()
        ]
        for given in GIVEN
    }
    title = f"{found['limit']} boards in {found['steps']} steps of a model that never knew time"
    return forest(blocks, title, baseline=PLAIN)


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Scene]:
    if not pipe.limits.max_subjects:
        raise ConfigError("takes no references")
    if not isinstance(pipe.models.dit.config.scheme, NoInterval):
        raise ConfigError("knows time; give a model whose scheme is NoInterval")
    return sprites_cases(limit, seed)


STUDY = variants.Study(
    description="Measure ways to say when, on a model that never knew time.",
    model="runs/untimed/export",
    limit=64,
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
