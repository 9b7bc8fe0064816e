"""Reading charts back: what lies where in an SVG that matplotlib wrote."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def marks(svg: bytes) -> dict[str, np.ndarray]:
    """Places [n, 2] (right, down) of the dots of each group that a chart gave a name to."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{_SVG}g"):
        places = [(use.get("x"), use.get("y")) for use in group.iter(f"{_SVG}use")]
        if "/" in group.get("id", "") and places:
            found[group.get("id")] = np.array(places, np.float64)
    return found


def texts(svg: bytes) -> list[str]:
    """All that is written in it."""
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{_SVG}text") if text.text]


def assert_charts_alike(found: bytes, committed: bytes) -> None:
    """The same dots in the same places, and the same words.

    Ticks are left to matplotlib, and so are tenths of a point.
    """
    one, other = marks(found), marks(committed)
    assert one.keys() == other.keys() and one
    for name, places in other.items():
        np.testing.assert_allclose(one[name], places, atol=0.5, err_msg=name)
    words = [{t for t in texts(svg) if any(map(str.isalpha, t))} for svg in (found, committed)]
    assert words[0] == words[1]
