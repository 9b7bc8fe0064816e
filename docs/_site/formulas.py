"""TeX as pictures that any browser draws, without a script, a font or a network."""

from __future__ import annotations

import html
import re

import matplotlib
from matplotlib.path import Path
from matplotlib.textpath import TextPath

SIZE = 10.0
MARGIN = 0.5
_COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
_ARITHMATEX = re.compile(
    r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', flags=re.DOTALL
)


def drawn(page: str) -> str:
    """The HTML of a page with every formula that Arithmatex has marked drawn as SVG."""
    return _ARITHMATEX.sub(lambda match: svg(html.unescape(match[2]), match[1] == "div"), page)


def svg(tex: str, display: bool) -> str:
    """A formula as an inline SVG, in em: it has the size and the colour of the text around it.

    Raises:
        ValueError: Matplotlib does not know a command of it.
    """
    tex = " ".join(tex.split())
    shown = tex.replace(r"\frac", r"\dfrac") if display else tex
    with matplotlib.rc_context({"mathtext.fontset": "cm"}):
        path = TextPath((0, 0), f"${shown}$", size=SIZE)
    box = path.get_extents()
    left, top = box.x0 - MARGIN, -box.y1 - MARGIN
    width, height = box.width + 2 * MARGIN, box.height + 2 * MARGIN
    steps = []
    for points, code in path.iter_segments(curves=True, simplify=False):
        if code == Path.CLOSEPOLY:
            steps.append("Z")
            continue
        pairs = points.reshape(-1, 2)
        steps.append(_COMMANDS[code] + " ".join(f"{x:.2f} {-y:.2f}" for x, y in pairs))
    style = f"height:{height / SIZE:.3f}em;vertical-align:{(box.y0 - MARGIN) / SIZE:.3f}em"
    picture = (
        f'<svg class="formula" role="img" aria-label="{html.escape(tex)}" style="{style}" '
        f'viewBox="{left:.2f} {top:.2f} {width:.2f} {height:.2f}">'
        f'<path d="{"".join(steps)}"/></svg>'
    )
    return f'<div class="formula-block">{picture}</div>' if display else picture
