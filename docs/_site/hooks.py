"""What MkDocs calls while it builds the site: mathematics, curves of the encodings, notebooks.

Nothing here needs a network, and a page that was built needs none either.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from nbconvert import MarkdownExporter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGES = {
    "models/sprites.md": "alchemint_jax/bundled/sprites/README.md",
    "models/sprites_events.md": "alchemint_jax/bundled/sprites/events/README.md",
    "guides/launch.md": "launch/README.md",
}
"""Pages that lie elsewhere, beside what they are about."""
EXECUTED = ROOT / "out" / "notebooks"
"""Where `make notebooks` puts what it ran."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and pictures that are made here rather than written."""
    for name, svg in _module("curves").pictures():
        files.append(File.generated(config, f"encodings/{name}.svg", content=svg))
    for name, source in PAGES.items():
        text = (ROOT / source).read_text("utf-8").replace("](../README.md)", "](sprites.md)")
        files.append(File.generated(config, name, content=text))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        ran = EXECUTED / path.name
        page, pictures = _notebook(ran if ran.is_file() else path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    for file in files:
        # Results are linked one by one; nothing has to name each of them.
        if file.src_uri.startswith(("results/", "plans/")) and not file.is_documentation_page():
            file.inclusion = InclusionLevel.NOT_IN_NAV
    return files


def on_page_content(content: str, **_: object) -> str:
    """Draws the formulas of a page."""
    return _module("formulas").drawn(content)


def _notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by name."""
    book = nbformat.read(path, as_version=4)
    book.metadata.setdefault("language_info", {"name": "python"})
    names = {"unique_key": path.stem, "output_files_dir": path.stem}
    text, resources = MarkdownExporter().from_notebook_node(book, names)
    return text, resources["outputs"]


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
