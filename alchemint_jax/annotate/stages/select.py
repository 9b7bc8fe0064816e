"""What is kept. All thresholds are here, and nothing else is: changing one looks at no frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alchemint_jax.annotate.naming import ORDER
from alchemint_jax.annotate.rows import Row, clock_of, dropped
from alchemint_jax.annotate.settings import Select
from alchemint_jax.annotate.stages.pairs import CROSS
from alchemint_jax.annotate.words import caption_of, detected_kind
from alchemint_jax.scene.spans import Spans


def select(row: Row, settings: Select) -> Row:
    """Keeps subjects and pictures that are good enough; the others are named with the reason.

    Each picture gets a `weight`, the share of draws that are to take it. A scene whose caption is
    made of words gets that of the subjects that are left.
    """
    kept, lost = [], []
    for subject in row["subjects"]:
        good = [one for one in subject["pictures"] if not picture_faults(one, settings)]
        faults = [fault for one in subject["pictures"] for fault in picture_faults(one, settings)]
        reason = subject_fault(subject, row, settings)
        if reason is None and not any(one["kind"] != CROSS for one in good):
            why = max(sorted({*faults}), key=faults.count, default="none was taken")
            reason = f"has no picture that is good enough ({why})"
        if reason is None:
            kept.append({**subject, "pictures": weighted(good, settings)})
        else:
            lost.append({"word": subject["word"], "reason": reason})
    kept.sort(key=lambda s: -s["score"] * sum(e - b for b, e in s["frames"]))
    lost += [
        {"word": s["word"], "reason": f"is one of more than {settings.subjects} subjects"}
        for s in kept[settings.subjects :]
    ]
    kept = sorted(kept[: settings.subjects], key=lambda s: s["track"])
    rest = {name: value for name, value in row.items() if name != "others"}
    found = categories([*row["subjects"], *row["others"]], settings)
    made = {**rest, "subjects": kept, "categories": found, "dropped": row["dropped"] + lost}
    if row["caption_from"] == "words":
        made["caption"] = caption_of([subject["word"] for subject in kept])
    return made if kept else dropped(made, "has no subject that is kept")


def categories(seen: Sequence[Row], settings: Select) -> dict[str, list[list[int]]]:
    """When anything of a kind is on screen, be it kept or not; what is unsure is nothing."""
    every: dict[str, list[list[int]]] = {}
    for one in seen:
        if one["score"] >= settings.sure:
            every.setdefault(detected_kind(one["detected_as"]), []).extend(one["frames"])
    return {name: [list(run) for run in Spans(some)] for name, some in every.items()}


def subject_fault(subject: Row, row: Row, settings: Select) -> str | None:
    """Why a subject is not kept; None if it is."""
    clock = clock_of(row)
    frames = sum(end - start for start, end in subject["frames"])
    if subject["named_by"] == ORDER and not settings.guessed:
        return "its word is a guess: the detector cannot tell it from others of its kind"
    if frames < clock.count(settings.shortest):
        return f"is on screen for {clock.second(frames):.2f} s, less than {settings.shortest:g} s"
    if subject["score"] < settings.sure:
        return f"the detector is not sure: {subject['score']:.2f}, less than {settings.sure:g}"
    return None


def picture_faults(picture: Row, settings: Select) -> list[str]:
    """What is wrong with a picture, in a word or two each."""
    s = picture["scores"]
    masked = picture["kind"] in ("segment", "inpaint", CROSS)
    checks = {
        "small": s["size"] < settings.smallest or s["pixels"] < settings.pixels,
        "large": s["size"] > settings.largest,
        "covered by another subject": s["overlap"] > settings.overlap,
        "dark": s["brightness"] < settings.darkest,
        "bright": s["brightness"] > settings.brightest,
        "black or white": s["clipped"] > settings.clipped,
        "blurred": s["sharpness"] < settings.sharpness,
        "cut off by the border": s["border"] > settings.border,
        "in pieces": masked and s["whole"] < settings.whole,
        "not cut out": masked and s["filled"] < settings.filled,
    }
    return [fault for fault, wrong in checks.items() if wrong]


def weighted(pictures: Sequence[Row], settings: Select) -> list[Row]:
    """Pictures with the share of draws of each: the mixture over the kinds there are."""
    mixture: Mapping[str, float] = dict(settings.mixture)
    own = [one for one in pictures if one["kind"] != CROSS]
    count = {one["kind"]: sum(o["kind"] == one["kind"] for o in pictures) for one in pictures}
    total = sum(mixture.get(kind, 0.0) for kind in count if kind != CROSS)
    cross = settings.cross if CROSS in count else 0.0
    made = []
    for one in pictures:
        if one["kind"] == CROSS:
            share = cross
        elif total > 0:
            share = (1 - cross) * mixture.get(one["kind"], 0.0) / total
        else:  # none of the kinds there are is in the mixture
            share = (1 - cross) / len(own) * count[one["kind"]]
        made.append({**one, "weight": round(share / count[one["kind"]], 6)})
    return made
