"""The studio in a browser: how long people wait for it, how smoothly bars move, and its picture.

    python -m studies.studio --out out/studio.json --picture docs/guides/studio.png

A bar of an example is dragged ten times, and each time the first preview and the finished clip are
waited for, with each model's own number of steps; then one of 200 bars is dragged for two seconds,
and the times between frames are counted. Needs `pip install -e '.[studio,
studio-check]'` and Chromium (`apt-get install chromium`, or $CHROMIUM).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alchemint_jax import media
from alchemint_jax.errors import ConfigError
from alchemint_jax.results import write_json

REPEATS = 10
MODELS = ("sprites/fast", "sprites")
_PATIENCE = 300_000  # milliseconds for a model to load
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, and draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the figures")
    parser.add_argument("--picture", type=Path, help="a picture of the page (PNG)")
    arguments = parser.parse_args(argv)
    found: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count(), "waits": {}}
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder, served(Path(folder), model) as address:
            with opened(address, reduced_motion="reduce") as page:
                found["waits"][model] = waited(page)
                if arguments.picture and model == MODELS[0]:
                    picture(page, arguments.picture)
            if model == MODELS[0]:
                with opened(address) as page:
                    found["dragging"] = dragged(page)
    write_json(arguments.out, found)


@contextlib.contextmanager
def served(workspace: Path, model: str = "sprites") -> Iterator[str]:
    """The address of a studio that runs meanwhile."""
    command = [sys.executable, "-m", "alchemint_jax", "studio", "--no-browser", "--port", "0"]
    command += ["--workspace", str(workspace), "--model", model]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.communicate(timeout=60)


@contextlib.contextmanager
def opened(address: str, **context: Any) -> Iterator[Any]:
    """A page of Chromium that shows an address, once the model is ready.

    Args:
        address: where.
        context: of Playwright, such as a viewport.

    Raises:
        ConfigError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise ConfigError("there is no Chromium: apt-get install chromium, or set $CHROMIUM")
    context.setdefault("viewport", {"width": 1280, "height": 900})
    context.setdefault("bypass_csp", True)  # to wait for what scripts of ours say
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=[*_FLAGS])
        page = browser.new_context(**context).new_page()
        visit(page, address)
        yield page
        browser.close()


def visit(page: Any, address: str) -> None:
    """Shows an address, and waits until the model is ready."""
    page.goto(address)
    page.wait_for_selector("#model.good", timeout=_PATIENCE)
    page.wait_for_selector(".bar")


def pull(page: Any, bar: Any, by: float, steps: int = 8) -> None:
    """Drags a bar by so many pixels, and lets it go."""
    box = bar.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=steps)
    page.mouse.up()


def waited(page: Any) -> dict[str, Any]:
    """Seconds from letting a bar go until the first preview is drawn, and until the clip is."""
    page.evaluate(_LISTEN)
    page.click("#render")  # once, so that all programs are there
    page.wait_for_function("window.times.done", timeout=_PATIENCE)
    page.check("#live")
    previews, clips = [], []
    for number in range(REPEATS):
        page.fill("#seed", str(100 + number))  # of no clip before, which would be shown again
        page.press("#seed", "Enter")
        page.evaluate("window.times = {}")
        pull(page, page.locator(".bar").nth(1), 60 if number % 2 else -60)
        page.wait_for_function("window.times.done && window.times.preview", timeout=_PATIENCE)
        times = page.evaluate("window.times")
        previews.append((times["preview"] - times["released"]) / 1000)
        clips.append((times["done"] - times["released"]) / 1000)
    page.uncheck("#live")
    return {"preview_seconds": summary(previews), "clip_seconds": summary(clips)}


_LISTEN = """
window.times = {};
document.addEventListener("released", () => { window.times.released = performance.now(); });
document.addEventListener("preview", () => { window.times.preview ??= performance.now(); });
document.addEventListener("finished", () => { window.times.done ??= performance.now(); });
"""


def dragged(page: Any) -> dict[str, Any]:
    """Milliseconds between frames while a bar is dragged among 200 of 20 subjects."""
    spans = [[i * 0.375, i * 0.375 + 0.25] for i in range(10)]
    subjects = [{"word": f"subject {i}", "appears": spans} for i in range(20)]
    board = {"prompt": "many subjects", "duration": 4.0, "subjects": subjects}
    made = page.evaluate(
        "board => fetch('/api/boards', {method: 'POST', body: JSON.stringify({board})})"
        ".then(answer => answer.json())",
        board,
    )
    page.goto(f"{page.url.split('#')[0]}#{made['id']}")
    page.reload()
    page.wait_for_function("document.querySelectorAll('.bar').length === 200")
    page.keyboard.press("+")
    bar = page.locator(".bar").nth(55)
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(
        "() => { window.frames_ = []; let last = performance.now();"
        " const count = now => { window.frames_.push(now - last); last = now;"
        " window.counting = requestAnimationFrame(count); };"
        " window.counting = requestAnimationFrame(count); }"
    )
    for step in range(120):
        page.mouse.move(x + 14 * np.sin(step / 9), y)
        page.wait_for_timeout(12)
    times = page.evaluate("() => { cancelAnimationFrame(window.counting); return window.frames_; }")
    page.mouse.up()
    kept = np.array(times[2:])
    return {
        "bars": 200,
        "frames": len(kept),
        "milliseconds": {
            "median": float(np.median(kept)),
            "p95": float(np.percentile(kept, 95)),
            "most": float(kept.max()),
        },
        "frames_per_second": float(1000 * len(kept) / kept.sum()),
    }


def picture(page: Any, path: Path) -> None:
    """Draws the page with a result, as the documents show it."""
    page.locator("#scrub").fill("22")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(600)
    clip = {"x": 0, "y": 0, "width": 1280, "height": 1075}
    shot = Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True))).convert("RGB")
    buffer = io.BytesIO()  # of few colours, and so small enough to be committed
    shot.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    media.write_bytes(path, buffer.getvalue())


def summary(values: list[float]) -> dict[str, Any]:
    """The median, the largest, and all."""
    return {"median": float(np.median(values)), "most": max(values), "all": values}


if __name__ == "__main__":
    main()
