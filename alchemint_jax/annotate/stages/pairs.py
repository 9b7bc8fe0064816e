"""The same subject in other scenes of its video: pictures that no frame of this scene was near."""

from __future__ import annotations

import numpy as np

from alchemint_jax.annotate.rows import Row, usable
from alchemint_jax.annotate.settings import Pairs
from alchemint_jax.annotate.stages.track import read_vector

CROSS = "cross"


def pairs(rows: list[Row], settings: Pairs) -> list[Row]:
    """Adds pictures of other scenes to the subjects of rows, and says who is the same.

    Subjects of one video and category whose vectors are alike have one `identity`.
    """
    members = [
        (at, number)
        for at, row in enumerate(rows)
        if usable(row)
        for number in range(len(row["subjects"]))
    ]
    subject = {key: rows[key[0]]["subjects"][key[1]] for key in members}
    vector = {key: read_vector(one["vector"]) for key, one in subject.items()}
    names: dict[tuple[int, int], str] = {}
    made: dict[tuple[int, int], Row] = {}
    for key in members:
        mine = subject[key]
        found = [
            (float(vector[key] @ vector[other]), other)
            for other in members
            if other[0] != key[0]
            and rows[other[0]]["video"] == rows[key[0]]["video"]
            and subject[other]["category"] == mine["category"]
        ]
        found = sorted((f for f in found if f[0] >= settings.alike), key=lambda f: (-f[0], f[1]))
        here = {name for other, name in names.items() if other[0] == key[0]}
        known = (names[other] for _, other in found if other in names)
        same = next((name for name in known if name not in here), None)  # two are never one
        names[key] = same or f"{rows[key[0]]['id']}-{key[1]}"
        more = [
            _borrowed(subject[other], rows[other[0]]["id"], alike)
            for alike, other in found
            if alike <= settings.copy
        ]
        extra = [one for one in more if one is not None][: settings.most]
        made[key] = {**mine, "identity": names[key], "pictures": mine["pictures"] + extra}
    return [
        {**row, "subjects": [made[at, number] for number in range(len(row["subjects"]))]}
        if usable(row)
        else row
        for at, row in enumerate(rows)
    ]


def _borrowed(subject: Row, scene: str, alike: float) -> Row | None:
    """The surest picture of a subject alone, as one of another scene."""
    alone = [one for one in subject["pictures"] if one["kind"] == "segment"]
    if not alone:
        return None
    best = alone[int(np.argmax([one["scores"]["sure"] for one in alone]))]
    return {
        **best,
        "kind": CROSS,
        "scene": scene,
        "frame": -1,
        "scene_frame": best["frame"],
        "alike": round(alike, 4),
    }
