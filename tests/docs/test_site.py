"""The documents build into a site that needs nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FETCHED = r'<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built as `make docs` does but without running notebooks."""
    folder = tmp_path_factory.mktemp("site")
    settings = {"JAX_PLATFORMS": "cpu", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_a_reader_fetches_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        found = re.findall(FETCHED, page.read_text())
        assert not found, f"{page.relative_to(site)}: {found}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", sheet.read_text()), sheet.name


def test_every_encoding_has_its_formula_and_its_curve(site):
    pages = sorted((ROOT / "docs" / "encodings").glob("*.md"))
    assert len(pages) == 10
    for page in pages:
        name = page.stem
        html = (site / "encodings" / ("" if name == "index" else name) / "index.html").read_text()
        assert '<div class="formula-block"><svg' in html, name
        assert "arithmatex" not in html, name
        if name != "index":
            assert f'src="../{name}.svg"' in html
            assert (site / "encodings" / f"{name}.svg").read_text().startswith("<?xml")


def test_references_show_arguments_and_sources(site):
    html = (site / "api" / "rotary" / "index.html").read_text()
    assert html.count("Source") >= 20 and "theta_hw" in html and "ConfigError" in html


@pytest.mark.parametrize(
    ("guide", "shown"),
    [
        ("add_scheme", ("StartRope", "split_intervals")),
        ("add_dataset", ("rolling_balls", "view_size: ", "write_clips")),
        ("add_detector", ("ColorDetector", "Every frame is looked at by itself")),
        ("control", ("register_dataclass", "Steered", "HIDDEN")),
    ],
)
def test_guides_show_the_examples_that_the_tests_run(site, guide, shown):
    html = (site / "guides" / guide / "index.html").read_text()
    text = re.sub(r"<[^>]*>", "", html)
    assert all(words in text for words in shown) and "--8" not in html
