r"""What inbetweening does between a first and a last frame, on clips whose middle is known.

    python -m studies.inbetween --model runs/sprites_inbetween/export \
        --limit 32 --steps 10 --batch 8 \
        --out runs/inbetween.json --figure runs/inbetween.svg

The docstring of configs/sprites_inbetween.py says how the model is trained. Boards are clips of the
sprites world that no training draws: the model is given the first and the last frame of each as
pictures, beside what the board says of subjects, and what it makes in between is compared with the
clip. All ways see the same boards and the same noise; to fade from one frame to the other, for
which nothing is sampled, is there to compare with.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import paired, scores
from alchemint_jax.evaluate.quality import psnr, ssim
from alchemint_jax.sampling.control import Control, Inbetween
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites.cases import sprites_clips
from studies import turns, variants
from studies.charts import Panel, forest

Video = UInt8[np.ndarray, "f h w 3"]

TITLES = {"psnr": "PSNR", "ssim": "SSIM", "pace": "error of pace"}
SHOWN = {"psnr": "dB; more is better", "ssim": "1 is best", "pace": "0 is best, 1 the worst"}
GAINS = {"psnr": "dB; above 0 is better", "ssim": "above 0 is better", "pace": "below 0 is better"}
"""Labels of axes by figure: of what is measured, and of what is gained."""
PLAIN = "plain"
CONTROLS: dict[str, Control | None] = {
    PLAIN: None,
    "KAB": Inbetween(edge=1, middle=1),
    "KAB, all layers": Inbetween(edge=1, middle=1, steps=(0, 1), layers=(0, 1)),
    "ReTRo": Inbetween(near=0, far=0),
    "KAB, ReTRo": Inbetween(),
}
VISIBLE = 16
"""Levels of 255 by which a channel of a pixel must change to count: decoded videos flicker."""
WITHOUT = "no keyframes"
FADE = "fade"


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """A case without keyframes, and the clip that it asks for."""

    case: Scene
    clip: Video

    def given(self) -> Scene:
        """The case, with the first and the last frame of the clip."""
        return dataclasses.replace(self.case, keyframes=self.clip[[0, -1]])


def between(clock: Any) -> tuple[int, int]:
    """The frames [start, end) whose latent frames hold neither keyframe."""
    return 1, int(clock.frames - clock.stride)


def pace(video: Video, truth: Video) -> float:
    """How far the pace of a video is from the true one, from 0 to 1.

    Of all pixels that visibly change from one frame to the next, each step has a share. It is half
    of the sum of the differences between the shares of both videos; 1 where nothing changes in one
    of them alone.
    """
    shares = [_steps(one) for one in (video, truth)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _steps(video: Video) -> Float64[np.ndarray, " n"]:
    changed = np.abs(np.diff(video.astype(np.int16), axis=0)).max(-1) > VISIBLE
    steps = changed.sum((1, 2)).astype(np.float64)
    steps = np.append(steps, not steps.any())  # the last one is for what stands still
    return steps / steps.sum()


def fade(clip: Video) -> Video:
    """From the first frame to the last one, evenly."""
    share = np.linspace(0, 1, len(clip))[:, None, None, None]
    return ((1 - share) * clip[:1] + share * clip[-1:] + 0.5).astype(np.uint8)


def score(
    boards: Sequence[Board], videos: Sequence[np.ndarray] | np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """One row for each board."""
    rows = []
    for board, video in zip(boards, videos, strict=True):
        start, end = between(board.case.clock)
        # As one tall frame, so that frames that equal a keyframe do not outweigh all others.
        own, true = (np.concatenate(x[start:end])[None] for x in (video, board.clip))
        # The steps onto the first frame behind these, too.
        steps = (np.asarray(x)[start - 1 : end + 1] for x in (video, board.clip))
        rows.append(
            {
                **{"seed": seed, "case": board.case.id, "subject": 0, "asked": []},
                **{"psnr": psnr(own, true), "ssim": ssim(own, true), "pace": pace(*steps)},
            }
        )
    return rows


def measure(
    pipe: Pipeline, boards: Sequence[Board], *, seed: int, **settings: Any
) -> dict[str, Any]:
    """The figures of each way, and of each less those of the plain model, board by board.

    `seed` draws the noise, and `settings` are those of `benchmark.render`.
    """
    pipe = dataclasses.replace(pipe, clean_keyframes=True)
    bare = {board.case.id: board.case for board in boards}

    def without(scenes: Sequence[Scene], **more: Any) -> np.ndarray:
        return pipe.render([bare[scene.id] for scene in scenes], **more)

    ways: dict[str, Callable[..., np.ndarray]] = {WITHOUT: without} | {
        name: functools.partial(pipe.render, control=control) for name, control in CONTROLS.items()
    }
    videos, seconds = turns.drawn_in_turns(
        ways, [board.given() for board in boards], seed=seed, **settings
    )
    videos = {
        WITHOUT: videos.pop(WITHOUT),
        FADE: np.stack([fade(board.clip) for board in boards]),
        **videos,
    }
    rows = {name: score(boards, own, seed) for name, own in videos.items()}
    ids = [board.case.id for board in boards]
    return {
        "controls": {name: repr(control) for name, control in CONTROLS.items() if control},
        "variants": {
            name: {
                figure: scores.estimate(np.array([row[figure] for row in own]), ids)
                for figure in SHOWN
            }
            for name, own in rows.items()
        },
        "cost": {name: turns.cost(own, seconds[PLAIN]) for name, own in seconds.items()},
        "cpu_seconds": seconds,
        "differences": {
            name: {figure: paired.difference(own, rows[PLAIN], figure) for figure in SHOWN}
            for name, own in rows.items()
            if name != PLAIN
        },
    }


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a line for each way, with gains over the plain model."""
    digits = {"psnr": 2, "ssim": 4, "pace": 4}
    lines = ["| | " + " | ".join(f"{TITLES[x]} ({label})" for x, label in SHOWN.items()) + " |"]
    lines.append("|---|" + "---:|" * len(SHOWN))

    def cells(kind: str, name: str, sign: str) -> str:
        own = found[kind][name]
        forms = {x: f"{sign}.{digits[x]}f" for x in SHOWN}
        shown = (
            f"{own[x]['mean']:{form}} ({own[x]['low']:{form}} to {own[x]['high']:{form}})"
            for x, form in forms.items()
        )
        return " | ".join(shown)

    for name in found["variants"]:
        lines.append(f"| {name} | {cells('variants', name, '')} |")
        if name in found["differences"]:
            lines.append(f"| {name}: gain | {cells('differences', name, '+')} |")
    return "\n".join(lines) + "\n"


def draw_figure(found: Mapping[str, Any]) -> bytes:
    """All ways and figures; and what controls gain over the plain model, as SVG."""
    gains = {name: own for name, own in found["differences"].items() if name in CONTROLS}
    blocks = {
        block: [
            Panel(
                TITLES[figure],
                labels[figure],
                {name: cell[figure] for name, cell in own.items()},
            )
            for figure in SHOWN
        ]
        for block, own, labels in (
            ("all ways", found["variants"], SHOWN),
            ("gain over plain", gains, GAINS),
        )
    }
    title = f"Between two frames of {found['limit']} clips, in {found['steps']} steps"
    return forest(blocks, title, baseline=PLAIN)


def _boards(pipe: Pipeline, limit: int, seed: int) -> list[Board]:
    if not pipe.settings.given_frames:
        raise ConfigError("was not trained to be given frames")
    return [Board(case, clip) for case, clip in sprites_clips(limit, seed)]


STUDY = variants.Study(
    description="Measure what inbetweening does between two given frames.",
    model="runs/sprites_inbetween/export",
    limit=32,
    boards=_boards,
    case=lambda board: board.case,
    measure=measure,
    shown=TITLES,
    draw=draw_figure,
    whole=True,
)
main = functools.partial(variants.main, STUDY)
"""The command line of this module."""


if __name__ == "__main__":
    sys.exit(main())
