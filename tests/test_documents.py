"""Commands that documents show can be given as they stand."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from alchemint_jax import cli
from alchemint_jax.train.config import load_config

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "launch" / "README.md",
    ROOT / "alchemint_jax" / "bundled" / "sprites" / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "configs").glob("*.py")),
    *sorted((ROOT / "notebooks").glob("*.py")),
    *sorted((ROOT / "alchemint_jax").glob("**/*.py")),
    *sorted((ROOT / "studies").glob("*.py")),
]


def commands(path):
    """Lines that call us, as words; a bare `alchemint plan` is only mentioned."""
    text = re.sub(r"\\+\n\s*", " ", path.read_text())
    calls = r"^[ #]*`?((?:alchemint|python -m (?:alchemint_jax|studies)\S*) [^\n`]*)"
    for line in re.findall(calls, text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        if any(word.startswith("-") for word in words[1 + 2 * (words[0] == "python") :]):
            yield words


class Parsed(Exception):
    """The arguments were taken."""


def parse(words, monkeypatch):
    """Has the command read its arguments, and do no more."""
    if words[0] == "alchemint":
        cli._parse(words[1:])
        return
    original = argparse.ArgumentParser.parse_args

    def parse_args(parser, argv=None, namespace=None):
        original(parser, words[3:])
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(Parsed):
            importlib.import_module(words[2]).main()


def test_commands_are_complete(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    wrong = []
    for path in DOCUMENTS:
        for words in commands(path):
            try:
                parse(words, monkeypatch)
            except SystemExit:
                wrong.append(f"{path}: {shlex.join(words)}: {capsys.readouterr().err}")
    assert not wrong, "\n".join(wrong)


def test_commands_are_found():
    found = [words for path in DOCUMENTS for words in commands(path)]
    assert sum(words[0] == "alchemint" for words in found) > 30
    modules = {words[2].rpartition(".")[2] for words in found if words[0] == "python"}
    assert {"schemes", "kernels", "tags", "sampling"} <= modules


def test_files_that_are_named_are_there():
    """Those of this repository; what commands write, and folders of one's own, are not in it."""
    ours = r"(?:configs|examples|launch|docs|notebooks|studies|alchemint_jax|tests)/[\w./-]*\w"
    missing = []
    for path in DOCUMENTS:
        for name in re.findall(rf"(?<![\w./-]){ours}", path.read_text()):
            found = [ROOT / name, path.parent / name, ROOT / "alchemint_jax" / name]
            meant = re.search(r"[/_][A-Z]{3,}\b", name)  # configs/NAME.py
            if not meant and not any(place.exists() for place in found):
                missing.append(f"{path}: {name}")
    assert not missing, "\n".join(missing)


def test_links_lead_somewhere():
    """In what is read in the repository; `mkdocs build --strict` looks at the pages of the site."""
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        text = path.read_text()
        for link in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text):
            assert not link or (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_layout_is_that_of_the_repository():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(r"^## Layout\n\n```\n(.*?)^```", text, re.M | re.S)
    named = re.findall(r"^( *)(\S+)", block, re.M)
    assert len(named) > 20
    for indent, name in named:
        assert (ROOT / ("alchemint_jax" if indent else "") / name).exists(), name
    rooms = {path.parent.name for path in (ROOT / "alchemint_jax").glob("*/__init__.py")}
    assert rooms == {name.rstrip("/") for indent, name in named if indent and "/" in name}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_documents_name_configs_that_there_are():
    named = {
        name
        for text in DOCUMENTS
        for name in re.findall(r"--config (configs/\w+\.py(?::\w+)?)(?=\s)", text.read_text())
    }
    assert {"configs/sprites.py:pictures", "configs/wan_1_3b.py:lora"} < named
    for name in named:
        load_config(ROOT / name)
