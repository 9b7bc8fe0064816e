r"""One arm of the ablation of R-RoPE on sprites: where references lie that have no time.

After table 5 of Kaleido, arXiv 2510.18573, which compares where references lie beside the video, by
how well subjects keep their looks. Hardware: 2 CPU cores. Commands, after those of
configs/sprites_schemes.py that draw and encode clips and pictures, for one arm:

    alchemint train --config configs/sprites_rrope.py:pictures_first \
        --workdir runs/rrope_pictures/first
    alchemint train --config configs/sprites_rrope.py:first --workdir runs/rrope/first-0

All arms, once each has had its pictures, and their comparison, resumable at any point:

    python -m studies.schemes --config configs/sprites_rrope.py --baseline first \
        --workdir runs/rrope --rows runs/rrope.jsonl --out runs/rrope.json --figure runs/rrope.svg

Every arm starts from the first stage of the bundled model (sprites/pictures), which has references
elsewhere, and gets used to its own places in 600 steps of pictures; 400 steps of clips follow.
Arms, and what Kaleido calls them:

- first: R-RoPE, at times 0, 1, 2, with rows and columns beyond the video (ShiftW&H)
- last: the same places, but at the times after the video
- shift-w: as first, but columns alone are beyond the video (ShiftW)
- shift-h: as first, but rows alone are (ShiftH)
- apart: as first, but each reference is beyond the one before (w/o overlap)
- overlapping: at times 0, 1, 2 on top of the video (Concat)
- before: at times -3, -2, -1 on top of the video
- at-once: all at time -1, on top of the video
- future: at times after the video, on top of it, as Phantom's are

No arm knows when a subject is on screen: what is compared is identity. Concatenation along
channels, which the paper has too, is no layout, and there is no arm for it. It has not been run.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

BEYOND = dict(shift_hw=True, slot_times=(0, 1, 2))
ARMS = {
    "first": BEYOND,
    "last": dict(BEYOND, after_video=True),
    "shift-w": dict(BEYOND, offset=(0, 8)),  # of the 8 rows and 8 columns of a frame's patches
    "shift-h": dict(BEYOND, offset=(8, 0)),
    "apart": dict(BEYOND, stagger=True),
    "overlapping": dict(slot_times=(0, 1, 2)),
    "before": dict(slot_times=(-3, -2, -1)),
    "at-once": dict(slot_times=(-1, -1, -1)),
    "future": dict(slot_times=(0, 1, 2), after_video=True),
}


def get_config(arm: str = "first") -> ConfigDict:
    name = arm.removeprefix("pictures_")
    if name not in ARMS:
        known = ", ".join([*ARMS, *(f"pictures_{one}" for one in ARMS)])
        raise ValueError(f"no arm {arm!r}; there are {known}")
    pictures = arm != name
    base = "pictures_no_tags" if pictures else "NoInterval"  # for their data and their steps
    config = load_config(f"{Path(__file__).with_name('sprites_schemes.py')}:{base}").unlock()
    config.model.tags = True
    config.model.scheme = dict(name="NoInterval")
    config.model.layout = dict(name="ReferenceLayout", **ARMS[name])
    config.init_from = "sprites/pictures" if pictures else f"runs/rrope_pictures/{name}/export"
    return config.lock()
