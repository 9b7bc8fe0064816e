"""How far the judge of any video can be trusted: known faults in a filmed clip, labelled by eye.

    python -m studies.referee_real --clip 01_dog.mp4 --out docs/results/referee_real.json

The clip is one of the demonstrations of SAM 2 (github.com/facebookresearch/sam2, Apache-2.0): a dog
leaves the picture for a second and comes back, beside a woman who stays. Its labels are below. It
is no part of this repository; the labels are for a file of this number of frames.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media, results
from alchemint_jax.annotate import timeline
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.evaluate.calibration import SIDE, Truth, calibrate, lines
from alchemint_jax.evaluate.clip import Clip
from alchemint_jax.evaluate.perceived import perceived_tracker
from alchemint_jax.outputs import check_outputs
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene, Subject
from alchemint_jax.scene.spans import Spans

FRAMES = 289
PICTURE = 20  # the frame of which the references are parts
LABELS = {
    "dog": ([(0, 73), (103, 289)], (472, 324, 712, 544)),
    "woman": ([(0, 289)], (244, 80, 440, 556)),
}
"""The frames that show each subject, within two, and its place in one of them: left, top, right and
bottom in pixels of a frame that is 1280 wide."""


def labelled(path: Path) -> Truth:
    """The clip, and what it shows.

    Raises:
        DataError: it is no video, or another one.
    """
    try:
        clip = Clip(path, SIDE)
    except DataError as error:
        raise DataError(f"--clip {path}: {error}") from error
    if len(clip) != FRAMES:
        raise DataError(
            f"--clip {path}: has {len(clip)} frames; the labels are of 01_dog.mp4 with {FRAMES}"
        )
    ((_, frame),) = timeline.frames(path, [PICTURE])
    subjects = []
    for word, (spans, place) in LABELS.items():
        left, top, right, bottom = (round(x * frame.shape[1] / 1280) for x in place)
        picture = np.ascontiguousarray(frame[top:bottom, left:right])
        subjects.append(Subject(word, Spans(spans), picture[None]))
    clock = Clock(clip.fps, len(clip), 4)
    scene = Scene("dog", "a woman throws a disc for a dog", clock, tuple(subjects))
    return Truth(scene, np.asarray(clip))


def table(found: Mapping[str, Any]) -> str:
    """The faults as a table of Markdown."""
    rows = ["| fault | slope | bias | half seen at | within |", "|---|---:|---:|---:|---|"]
    for name, one in found["faults"].items():
        unit = "s" if one["unit"] == "s" else one["figure"]
        slope = "" if one["slope"] is None else f"{one['slope']['mean']:.3f}"
        bias = "" if one["bias"] is None else f"{one['bias']['mean']:+.3f} {unit}"
        half = "" if one.get("half") is None else f"{one['half']:.2f}"
        fine = [amount for amount, within in one["within"].items() if within]
        within = "yes" if len(fine) == len(one["within"]) else ", ".join(fine) or "no"
        rows.append(f"| {name}, filmed | {slope} | {bias} | {half} | {within} |")
    return "\n".join(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        description="Calibrate the judge of any video on a filmed clip."
    )
    parser.add_argument("--clip", type=Path, required=True, help="01_dog.mp4")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    args = parser.parse_args(argv)
    try:
        media.check_writable(args.out)
        check_outputs([("--out", args.out)], [("--clip", args.clip)])
        truth = labelled(args.clip)
        prepare_jax()
        settings = {"tracker": "perceived", "clip": args.clip.name}
        found = calibrate([truth], perceived_tracker(), settings=settings, thresholds=False)
        results.write_json(args.out, found)
    except AlchemintError as error:
        parser.error(str(error))
    print("\n".join(lines(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
