"""When is each referenced subject on screen? The classical tracker of the sprites world: no
weights, no hints.

It is given a clip and the reference pictures, nothing else: neither the words nor the intervals
asked for. The colour of a reference selects blobs in the clip; where several references share a
colour, blobs are chained over time and the chains are shared out by shape. What a subject *is* gets
decided from its blobs alone, among all shapes of the world, and only then compared with the
reference: identity can fail. What has another colour than the reference is not seen at all.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.tracker import Sighting
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites import appearance, shapes
from alchemint_jax.worlds.sprites.appearance import COLOR_NAMES, Blobs
from alchemint_jax.worlds.sprites.world import World


class Kind(NamedTuple):
    """The identity of a subject, as far as the tracker tells subjects apart."""

    shape: str
    color: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.color} {self.shape}"


@dataclasses.dataclass(frozen=True)
class Tracking:
    """What it takes to call a subject present. Times in frames."""

    min_area: float = 0.3
    """Share of the subject's own usual area."""
    usual: tuple[float, float] = (90.0, 130.0)
    """Percentile of the areas seen that is the usual one, and its floor in pixels."""
    min_run: int = 2
    max_gap: int = 2
    """Longer gaps are bridged only while another subject covers the place."""
    max_hidden: int = 12


_DEFAULT = Tracking()
NOTES = {
    "Detected, identity": "Seen at all, in the colour of the reference; and what was seen is "
    "nearest to its shape among all shapes of the world. The right shape in another colour counts "
    "as never seen.",
    "Likeness": "How clean a shape is: overlap of its outline with that of the shape asked for, in "
    "the frames that show the whole of it. Identity inside, leak and confusion compare outlines, "
    "too; of references of another colour a subject has nothing.",
    "How it is measured": "By a classical tracker that sees the clip and the references, and is "
    "not told when a subject should be there.",
}
"""For readers of a report."""


def similar(kinds: Sequence[Kind]) -> bool:
    """Whether two subjects have one shape or one colour."""
    return any(set(a) & set(b) for a, b in itertools.combinations(kinds, 2))


@dataclasses.dataclass(frozen=True, eq=False)
class SpriteSighting(Sighting):
    """What was seen of one reference's subject, and where; `asked` and `seen` are kinds."""

    asked: Kind
    seen: Kind | None
    """What the blobs look like most; None if the subject was not detected."""
    area: Float[np.ndarray, " f"] = dataclasses.field(kw_only=True)
    """Pixels of the subject per frame, 0 where nothing is seen."""
    xy: Float[np.ndarray, "f 2"] = dataclasses.field(kw_only=True)
    """Centroid in pixels, NaN where nothing is seen."""


@dataclasses.dataclass(frozen=True)
class SpritesTracker:
    """`track` as a tracker of evaluation (see `evaluate.Tracker`)."""

    tracking: Tracking = _DEFAULT

    @property
    def side(self) -> int:
        """Pixels on a side of what it looks at: that of the world."""
        return World.size

    @property
    def variations(self) -> Mapping[str, Sequence[tuple[float, SpritesTracker]]]:
        """Trackers with another threshold, by its name: `calibration` draws their curves."""
        areas = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
        one = [
            (area, SpritesTracker(dataclasses.replace(self.tracking, min_area=area)))
            for area in areas
        ]
        return {"min_area": one}

    @property
    def fingerprint(self) -> str:
        """What its sightings depend on."""
        return repr(self)

    @property
    def measures(self) -> Mapping[str, str]:
        """Likeness: mean overlap in [0, 1] of the outlines of a subject with the shape asked for,
        over the frames that show the whole of it; NaN if none does.
        """
        return {"likeness": "likeness"}

    @property
    def notes(self) -> Mapping[str, str]:
        """For readers of a report."""
        return NOTES

    def check(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Raises DataError if there is no subject of this world on white."""
        kind_of(image)

    def track(self, video: UInt8[np.ndarray, "f h w 3"], case: Scene) -> tuple[SpriteSighting, ...]:
        """See `track`: the first picture of each subject is all that it looks at in a case."""
        size = (World.view_size, World.view_size)
        return track(video, [subject.picture(size) for subject in case.subjects], self.tracking)


def kind_of(reference: UInt8[np.ndarray, "h w 3"]) -> Kind:
    """Shape and colour of the subject in a reference picture; DataError if there is none on
    white.
    """
    masks, strength = appearance.hues(reference[None])
    color = int(masks.sum((1, 2, 3)).argmax())
    blobs = appearance.find_blobs(masks[color], np.zeros_like(masks[color]), strength)
    if not len(blobs.area) or blobs.area.max() < 0.01 * masks[color].size:
        raise DataError(
            "a reference picture shows no subject of the sprites world (one saturated shape on "
            "white); the built-in tracker can only measure those"
        )
    return Kind(shapes.SHAPES[int(blobs.scores[blobs.area.argmax()].argmax())], COLOR_NAMES[color])


def track(
    video: UInt8[np.ndarray, "f h w 3"],
    references: Sequence[np.ndarray],
    tracking: Tracking = _DEFAULT,
) -> tuple[SpriteSighting, ...]:
    """Follows the subject of each reference (uint8 [h w 3]) through a clip; one sighting
    per reference.
    """
    asked = [kind_of(reference) for reference in references]
    masks, strength = appearance.hues(video)
    anything = masks.any(0)
    found: dict[int, SpriteSighting] = {}
    wanted = [shapes.SHAPES.index(kind.shape) for kind in asked]
    for color in sorted({kind.color for kind in asked}):
        members = [i for i, kind in enumerate(asked) if kind.color == color]
        hue = masks[COLOR_NAMES.index(color)]
        others = anything & ~hue
        blobs = appearance.find_blobs(hue, others, strength)
        if len(members) == 1:
            owners = np.ones((len(blobs.area), 1), bool)
        else:
            owners = _share_out(blobs, [wanted[i] for i in members])
        for column, i in enumerate(members):
            alone = owners.sum(1) == 1
            seen = _sighting(blobs, owners[:, column], alone, others, asked[i], tracking)
            columns = [shape if j in members else None for j, shape in enumerate(wanted)]
            own = owners[:, column] & seen.presence[blobs.frame]
            alike = _alike(blobs, own, seen.presence, columns)
            boxes = _boxes(blobs, own, seen.presence)
            found[i] = dataclasses.replace(seen, likeness=alike, boxes=boxes)
    return tuple(found[i] for i in range(len(asked)))


def _sighting(
    blobs: Blobs,
    own: np.ndarray,
    alone: np.ndarray,
    others: np.ndarray,
    asked: Kind,
    tracking: Tracking,
) -> SpriteSighting:
    frames = len(others)
    area = np.bincount(blobs.frame[own], blobs.area[own], frames).astype(np.float64)
    weighted = [
        np.bincount(blobs.frame[own], blobs.area[own] * blobs.xy[own, c], frames) for c in (0, 1)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        xy = np.stack(weighted, -1) / area[:, None]
    judged = own & alone if (own & alone).any() else own
    percentile, floor = tracking.usual
    seen_areas = np.bincount(blobs.frame[judged], blobs.area[judged], frames)
    usual = (
        max(floor, float(np.percentile(seen_areas[seen_areas > 0], percentile)))
        if judged.any()
        else floor
    )
    presence = area >= tracking.min_area * usual
    presence = _bridge(presence, xy, others, np.sqrt(usual / np.pi), tracking)
    for start, end in Spans.where(presence):
        if end - start < tracking.min_run:
            presence[start:end] = False
    seen = None
    judged = judged & presence[blobs.frame]
    if judged.any():
        weight = blobs.area * np.where(blobs.whole, 1.0, 0.05) * judged
        seen = Kind(shapes.SHAPES[int((weight @ blobs.scores).argmax())], asked.color)
    clear = blobs.scores[judged & blobs.whole, shapes.SHAPES.index(asked.shape)]
    likeness = float(clear.mean()) if len(clear) else float("nan")
    return SpriteSighting(presence, asked, seen, {"likeness": likeness}, area=area, xy=xy)


def _alike(
    blobs: Blobs, own: np.ndarray, there: np.ndarray, wanted: Sequence[int | None]
) -> Float[np.ndarray, "f r"]:
    """How like the shape of each reference the blobs of a subject are, by frame.

    None stands for a reference of another colour, which they are not like at all. Where a subject
    is there but not seen, others cover it: it is as in the frame before.
    """
    alike = np.full((len(there), len(wanted)), np.nan)
    area = np.bincount(blobs.frame[own], blobs.area[own], len(there))
    for column, shape in enumerate(wanted):
        if shape is None:
            values = np.zeros(len(there))
        else:
            weights = blobs.area[own] * blobs.scores[own, shape]
            sums = np.bincount(blobs.frame[own], weights, len(there))
            values = np.divide(sums, area, out=np.full(len(there), np.nan), where=area > 0)
            seen = np.maximum.accumulate(np.where(area > 0, np.arange(len(there)), 0))
            values = values[seen]
        alike[there, column] = values[there]
    return alike


def _boxes(blobs: Blobs, own: np.ndarray, there: np.ndarray) -> Float[np.ndarray, "f 4"]:
    """The box around the blobs of a subject in each frame, NaN where none is seen."""
    boxes = np.full((len(there), 4), np.nan)
    for frame in np.unique(blobs.frame[own]):
        y, x = np.nonzero(blobs.mask[own & (blobs.frame == frame)].any(0))
        boxes[frame] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return boxes


def _bridge(
    presence: np.ndarray, xy: np.ndarray, others: np.ndarray, radius: float, tracking: Tracking
) -> np.ndarray:
    """Fills short gaps, and longer ones during which other subjects cover the place in between."""
    presence = presence.copy()
    y, x = np.mgrid[: others.shape[1], : others.shape[2]] + 0.5
    parts = Spans.where(presence)
    for (_, start), (end, _) in itertools.pairwise(parts):
        hidden = end - start <= tracking.max_hidden
        for frame in range(start, end):
            if not hidden or end - start <= tracking.max_gap:
                break
            along = (frame - start + 1) / (end - start + 1)
            centre = (1 - along) * xy[start - 1] + along * xy[end]
            place = np.hypot(x - centre[0], y - centre[1]) < 0.7 * radius
            hidden = bool(others[frame][place].mean() > 0.6) if place.any() else False
        if hidden:
            presence[start:end] = True
    return presence


# Sharing out the blobs of one colour among several references.

_NONE, _TOGETHER = (
    0.45,
    0.78,
)  # likeness at which "nobody" and "two that touch" beat a single subject
_BEAM = 64


def _share_out(blobs: Blobs, wanted: list[int]) -> np.ndarray:
    """Which of the references (given by their shape numbers) each blob shows, bool [n r]; touching
    ones share.
    """
    chains = _chains(blobs)
    blobs = _seen_in_part(blobs, chains)
    options = [
        np.array(bits, bool) for bits in itertools.product((False, True), repeat=len(wanted))
    ]
    usual = [_usual_area(blobs, shape) for shape in wanted]
    beam: list[tuple[float, tuple[np.ndarray, ...]]] = [(0.0, ())]
    for j, chain in enumerate(chains):
        own = [_value(blobs, chain, option, wanted, usual) for option in options]
        ties = [_ties(blobs, earlier, chain) for earlier in chains[:j]]
        grown = []
        for (score, taken), (value, option) in itertools.product(
            beam, zip(own, options, strict=True)
        ):
            for other, (clash, link) in zip(taken, ties, strict=True):
                common = (other & option).sum()
                value += common * (1.5 * link - 0.6 * clash)
            grown.append((score + value, (*taken, option)))
        beam = sorted(grown, key=lambda item: -item[0])[:_BEAM]
    owners = np.zeros((len(blobs.area), len(wanted)), bool)
    for chain, option in zip(chains, beam[0][1], strict=True):
        owners[chain] = option
    return owners


def _seen_in_part(blobs: Blobs, chains: list[np.ndarray]) -> Blobs:
    """Blobs of chains that are cut off by the edge all along are compared with cut shapes."""
    scores = blobs.scores.copy()
    for chain in chains:
        if blobs.cut[chain].all():
            part = blobs.mask[chain], blobs.area[chain], blobs.xy[chain]
            scores[chain] = appearance.likeness(*part, cut=True)
    return dataclasses.replace(blobs, scores=scores)


def _chains(blobs: Blobs, reach: float = 9.0) -> list[np.ndarray]:
    """Blobs linked one to one from frame to frame; a meeting, a parting or a jump in area ends a
    chain.
    """
    chains: list[list[int]] = []
    open_at: dict[int, list[int]] = {}
    for frame in range(int(blobs.frame.max(initial=-1)) + 1):
        now, before = np.flatnonzero(blobs.frame == frame), np.flatnonzero(blobs.frame == frame - 1)
        close = np.linalg.norm(blobs.xy[before, None] - blobs.xy[now], axis=-1) < reach
        close |= (
            np.einsum(
                "ayx,byx->ab",
                blobs.mask[before].astype(np.float32),
                blobs.mask[now].astype(np.float32),
            )
            > 9
        )
        heirs: dict[int, list[int]] = {}
        for column, blob in enumerate(now):
            parents = before[close[:, column]]
            chain = None
            if len(parents) == 1 and close[before == parents[0]].sum() == 1:
                parent = int(parents[0])
                ratio = blobs.area[blob] / blobs.area[parent]
                if 0.75 < ratio < 1.33 or not (blobs.whole[blob] and blobs.whole[parent]):
                    chain = open_at.get(parent)
            if chain is None:
                chain = []
                chains.append(chain)
            chain.append(int(blob))
            heirs[int(blob)] = chain
        open_at = heirs
    return [np.asarray(chain) for chain in chains]


def _usual_area(blobs: Blobs, shape: int) -> float:
    """Median area of the clear blobs of a shape; NaN if there are none."""
    clear = blobs.whole & (blobs.scores.argmax(1) == shape) & (blobs.scores.max(1) > 0.8)
    return float(np.median(blobs.area[clear])) if clear.any() else float("nan")


def _value(
    blobs: Blobs, chain: np.ndarray, option: np.ndarray, wanted: list[int], usual: list[float]
) -> float:
    """How well "these blobs show exactly those references" fits, summed over the frames of a
    chain.
    """
    weight = np.where(blobs.whole[chain], 1.0, 0.3)
    members = np.flatnonzero(option)
    if not len(members):
        return _NONE * float(weight.sum())
    area = np.median(blobs.area[chain])
    largest = max((usual[m] for m in members if np.isfinite(usual[m])), default=np.nan)
    if len(members) == 1:
        crowded = area > 1.3 * largest  # False where the usual area is unknown
        return float(weight @ blobs.scores[chain, wanted[members[0]]]) - 0.3 * crowded * float(
            weight.sum()
        )
    small = area < 1.1 * largest
    return (_TOGETHER - 0.04 * (len(members) - 2) - 0.4 * small) * float(weight.sum())


def _ties(blobs: Blobs, a: np.ndarray, b: np.ndarray) -> tuple[int, bool]:
    """Frames two chains share (one subject cannot be in both), and whether the later one takes up
    the earlier.
    """
    clash = len(np.intersect1d(blobs.frame[a], blobs.frame[b]))
    step = blobs.frame[b[0]] - blobs.frame[a[-1]]
    near = np.linalg.norm(blobs.xy[b[0]] - blobs.xy[a[-1]]) < 16
    clear = blobs.whole[a[-1]] and blobs.whole[b[0]]
    alike = np.abs(blobs.scores[a[-1]] - blobs.scores[b[0]]).max() < 0.12
    return clash, bool(0 < step <= 3 and near and (alike or not clear))
