"""What can be measured of each picture. Nothing is decided here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from alchemint_jax.annotate.rows import Row
from alchemint_jax.annotate.settings import Scores
from alchemint_jax.annotate.stages.pictures import covered_by, read_picture
from alchemint_jax.annotate.tracks import border_share

_NOTHING = {"whole": 0.0, "filled": 0.0}  # as of a mask that is empty
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def scores(row: Row, out: Path, settings: Scores) -> Row:
    """Adds `scores` to each picture of a row.

    size: share of the frame that the box covers. overlap: share of the box that another subject
    covers. border: share of the box's outline on the border of the frame. sure: of the detector.
    pixels: shorter side. The rest is of the picture: see `measure`.
    """
    height, width = row["size"]
    subjects = []
    for number, subject in enumerate(row["subjects"]):
        others = [s for i, s in enumerate(row["subjects"]) if i != number]
        sure = {one[0]: one[5] for one in subject["seen"]}
        read = {one["file"]: read_picture(out / one["file"]) for one in subject["pictures"]}
        # How well a subject was cut out is known of the picture that has it alone.
        cuts = {
            one["frame"]: measure_mask(read[one["file"]][..., 3] > 127)
            for one in subject["pictures"]
            if one["kind"] == "segment"
        }
        made = []
        for picture in subject["pictures"]:
            left, top, right, bottom = picture["box"]
            at = [picture["frame"], *picture["box"]]
            found = {
                "size": (right - left) * (bottom - top) / (height * width),
                "overlap": max([covered_by(at, other) for other in others], default=0.0),
                "border": border_share(picture["box"], row["size"]),
                "sure": sure.get(picture["frame"], 0.0),
                "pixels": float(min(picture["size"])),
                **measure(read[picture["file"]], settings.side),
                **cuts.get(picture["frame"], _NOTHING),
            }
            rounded = {name: round(float(value), 4) for name, value in found.items()}
            made.append({**picture, "scores": rounded})
        subjects.append({**subject, "pictures": made})
    return {**row, "subjects": subjects}


def measure(picture: UInt8[np.ndarray, "h w 4"], side: int) -> dict[str, Any]:
    """Brightness, share of black and white pixels, and sharpness.

    brightness: mean luma where it is opaque, 0 to 255. clipped: share of those that are below 3 or
    above 252. sharpness: variance of the Laplacian of luma at a fixed size.
    """
    mask = picture[..., 3] > 127
    luma = picture[..., :3].astype(np.float32) @ _LUMA
    inside = luma[mask] if mask.any() else np.zeros(1)
    return {
        "brightness": inside.mean(),
        "clipped": ((inside < 3) | (inside > 252)).mean(),
        "sharpness": _sharpness(luma, side),
    }


def measure_mask(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """whole: share of a mask in its largest part. filled: share of the picture that it covers."""
    from scipy import ndimage  # as in `pictures`

    parts, count = ndimage.label(mask)
    largest = np.bincount(parts.ravel())[1:].max() if count else 0
    return {"whole": largest / max(1, mask.sum()), "filled": mask.mean()}


def _sharpness(luma: np.ndarray, side: int) -> float:
    from scipy import ndimage  # as in `pictures`

    scale = side / min(luma.shape)
    size = (max(3, round(luma.shape[1] * scale)), max(3, round(luma.shape[0] * scale)))
    small = Image.fromarray(luma).resize(size, Image.Resampling.BILINEAR)
    return float(ndimage.laplace(np.asarray(small, np.float64)).var())
