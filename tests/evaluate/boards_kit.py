"""Boards for the tests of formats."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
from PIL import Image

from alchemint_jax.evaluate.boards import Draft, Role, write_set
from alchemint_jax.scene.spans import Spans
from alchemint_jax.scene.storyboard import Storyboard


def role(word, *rows, picture=None):
    return Role(word, Spans(rows), picture)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (60, 40, 3), np.uint8)


def size_of(path):
    with Image.open(path) as image:
        return image.size


def pictured(draft, *pictures):
    roles = zip(draft.roles, pictures, strict=True)
    cast = tuple(dataclasses.replace(role, picture=picture) for role, picture in roles)
    return dataclasses.replace(draft, roles=cast)


def written(folder, *drafts):
    return write_set(folder / "set", drafts, {"made_by": "a test"})


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_pictures(path):
    found = rows(path)
    for line in found:
        for one in line["subjects"]:
            one.pop("image", None)
    return found


PAIR = Draft(
    "pair",
    "a dog chases a cat",
    5.0,
    (role("dog", (0.0, 1.0), (2.0, 5.0)), role("cat", (1.0, 3.0))),
    (("the cat leaps", (1.0, 2.0)),),
)


def board(draft):
    line = draft.line()
    del line["id"]
    return Storyboard.from_dict(line, pictures=False)
