"""Pictures of each subject from several frames: the box, the subject alone, and on a smooth ground.

They are PNGs in DIR/pictures/SCENE/. A picture of the subject alone has the whole box in its
colours, and the mask as its transparency; the others have no transparency.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from alchemint_jax import media
from alchemint_jax.annotate import tracks as tracking
from alchemint_jax.annotate.follow import crop
from alchemint_jax.annotate.rows import Real, Row, clock_of, rounded
from alchemint_jax.annotate.settings import Pictures
from alchemint_jax.annotate.stages.detect import scene_frames
from alchemint_jax.perceive import Segmenter

FOLDER = "pictures"
_FEW = 48  # pixels across of a smooth ground
_RUNS = zlib.Z_RLE


def pictures(row: Row, base: Path, out: Path, segmenter: Segmenter, settings: Pictures) -> Row:
    """Takes pictures of the subjects of a scene, and writes them below `out`.

    `areas` of a subject are rows of a frame, and how many of its pixels show it.
    """
    clock = clock_of(row)
    apart = clock.count(settings.apart)
    views = [
        choose_views(row, number, settings.views, apart) for number in range(len(row["subjects"]))
    ]
    step = max(1, clock.count(settings.areas)) if settings.areas else row["frames"]
    measured = [
        {f for s, e in subject["frames"] for f in range(s, e, step)} if settings.areas else set()
        for subject in row["subjects"]
    ]
    wanted = [{*some, *more} for some, more in zip(views, measured, strict=True)]
    made: list[list[Row]] = [[] for _ in views]
    areas: list[list[list[int]]] = [[] for _ in views]
    folder = out / FOLDER / row["id"]
    for frame, image in scene_frames(row, base, {f for some in wanted for f in some}):
        for number, some in enumerate(wanted):
            if frame not in some:
                continue
            box = np.array(box_at(row["subjects"][number], frame))
            mask = segmenter.segment(image[None], box[None].astype(np.float32))[0]
            areas[number].append([frame, int(mask.sum())])
            if frame in views[number]:
                name = f"{number}-{frame:06d}"
                for one in _take(image, mask, box, settings, folder, name, row["id"]):
                    made[number].append({**one, "frame": frame})
    subjects = [
        {**subject, "pictures": some, "areas": area}
        for subject, some, area in zip(row["subjects"], made, areas, strict=True)
    ]
    return {**row, "subjects": subjects}


def choose_views(row: Row, number: int, count: int, apart: int) -> list[int]:
    """Frames that show a subject well, at most one in each of `count` parts of its time.

    A frame is good where the detector is sure, the box is large and free of other boxes and of the
    border of the frame.
    """
    subject = row["subjects"][number]
    others = [s for i, s in enumerate(row["subjects"]) if i != number]
    inside = [one for one in subject["seen"] if any(s <= one[0] < e for s, e in subject["frames"])]
    if not inside:
        return []
    largest = max(_area(one) for one in inside)
    values = [_value(one, others, row["size"]) * (_area(one) / largest) ** 0.5 for one in inside]
    found: list[int] = []
    for part in np.array_split(np.arange(len(inside)), min(count, len(inside))):
        best = max(part, key=lambda i: (values[i], -i))
        frame = inside[best][0]
        if all(abs(frame - other) >= apart for other in found):
            found.append(frame)
    return found


def _area(one: Sequence[Real]) -> float:
    return max(0.0, one[3] - one[1]) * max(0.0, one[4] - one[2])


def _value(one: Sequence[Real], others: Sequence[Row], size: Sequence[int]) -> float:
    covered = max([covered_by(one, other) for other in others], default=0.0)
    return float(one[5]) * (1 - 0.8 * covered) * (1 - tracking.border_share(one[1:5], size))


def covered_by(one: Sequence[Real], other: Row) -> float:
    """The share of a subject's box in a frame that the box of another subject covers."""
    box = box_at(other, int(one[0]))
    if box is None:
        return 0.0
    mine, theirs = np.array([one[1:5]], float), np.array([box], float)
    return float(tracking.inside(mine, theirs)[0, 0])


def box_at(subject: Row, frame: int) -> list[Real] | None:
    """Where a subject is: as seen, or between the two nearest; None where it is not there."""
    if not any(s <= frame < e for s, e in subject["frames"]):
        return None
    seen = subject["seen"]
    at = [one[0] for one in seen]
    boxes = np.array([one[1:5] for one in seen], float)
    return [float(np.interp(frame, at, boxes[:, i])) for i in range(4)]


def _take(
    image: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    box: np.ndarray,
    settings: Pictures,
    folder: Path,
    name: str,
    scene: str,
) -> list[Row]:
    size = image.shape[:2]
    seen = crop(image, box, size, settings.margin)
    cut = crop(mask, box, size, settings.margin)
    small = _smaller(seen, cut, settings.side)
    kinds = {"crop": _rgba(small[0], np.ones_like(small[1]))}
    if cut.any():
        kinds["segment"] = _rgba(*small)
        if settings.inpaint:
            kinds["inpaint"] = _rgba(_on_smooth(*small), np.ones_like(small[1]))
    made = []
    for kind, pixels in kinds.items():
        file = f"{name}-{kind}.png"
        write_picture(folder / file, pixels)
        made.append(
            {
                "file": f"{FOLDER}/{scene}/{file}",
                "kind": kind,
                "box": rounded(box),
                "size": list(seen.shape[:2]),
            }
        )
    return made


def _smaller(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], side: int
) -> tuple[np.ndarray, np.ndarray]:
    scale = min(1.0, side / max(mask.shape))
    if scale == 1.0:
        return np.ascontiguousarray(image), mask
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    pixels = Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS)
    cover = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(pixels), np.asarray(cover) > 127


def _rgba(image: np.ndarray, mask: np.ndarray) -> UInt8[np.ndarray, "h w 4"]:
    return np.concatenate([image, (mask * 255).astype(np.uint8)[..., None]], -1)


def _on_smooth(image: np.ndarray, mask: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """The subject in front of its surroundings, so blurred that nothing of them is left but light.

    What is blurred is the ground alone: weights keep the subject out of it.
    """
    from scipy import ndimage  # a quarter of a second that the first process has no use for

    ground = ~ndimage.binary_dilation(mask, iterations=3)
    if not ground.any():
        return image
    # A blur so wide needs few pixels.
    few = (_FEW, max(1, round(_FEW * image.shape[0] / image.shape[1])))
    weight = _shrunk(ground.astype(np.float32), few)
    parts = [_shrunk(image[..., c] * ground, few) for c in range(3)]
    blurred = ndimage.gaussian_filter(weight, _FEW / 8) + 1e-6
    colors = [
        (ndimage.gaussian_filter(part, _FEW / 8) + 1e-6 * part.mean() / weight.mean()) / blurred
        for part in parts
    ]
    small = _picture(np.stack(colors, -1))
    smooth = small.resize((image.shape[1], image.shape[0]), Image.Resampling.BICUBIC)
    soft = _picture(255 * ndimage.gaussian_filter(mask.astype(np.float32), 1.0))
    return np.asarray(Image.composite(Image.fromarray(image), smooth, soft))


def _shrunk(channel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(channel.astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def write_picture(path: Path, pixels: UInt8[np.ndarray, "h w 4"]) -> None:
    """Writes a PNG, whole or not at all; the folder is made. It is RGB where all is opaque.

    Raises:
        AlchemintError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels[..., 3].min() == 255:
        pixels = np.ascontiguousarray(pixels[..., :3])
    buffer = io.BytesIO()
    # Rows of a photograph hardly repeat others: to look for runs alone is faster, and no larger.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=3, compress_type=_RUNS)
    media.write_bytes(path, buffer.getvalue())


def read_picture(path: Path) -> UInt8[np.ndarray, "h w 4"]:
    """A picture that was written here."""
    with Image.open(path, formats=["PNG"]) as image:
        return np.asarray(image.convert("RGBA"))
