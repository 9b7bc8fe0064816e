"""Commands of the studies that are printed anywhere are those that there are."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRINTED = re.compile(r"python -m (studies\.[a-z_]+)((?:[^\n`]|(?<=\\)\n)*)")
PLACES = ("*.md", "Makefile", "configs/*.py", "studies/*.py", "notebooks/*.py", "docs/**/*.md")
CARDS = "alchemint_jax/bundled/**/*.md"


def _printed():
    for pattern in (*PLACES, CARDS):
        for path in sorted(ROOT.glob(pattern)):
            if path.name != "CHANGELOG.md":
                for module, rest in PRINTED.findall(path.read_text()):
                    yield path.name, module, shlex.split(rest.replace("\\\n", " "), comments=True)


def test_there_are_commands():
    assert len(list(_printed())) > 15
    for path in (ROOT / "studies").glob("*.py"):
        if "def main" in path.read_text() and path.stem != "variants":
            assert any(module == f"studies.{path.stem}" for _, module, _ in _printed()), path


@pytest.mark.parametrize("module", sorted({module for _, module, _ in _printed()}))
def test_printed_options_exist(module, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(module).main(["--help"])
    assert stop.value.code == 0
    known = capsys.readouterr().out
    for place, name, words in _printed():
        for word in words if name == module else ():
            assert not word.startswith("--") or f"{word} " in f"{known} ", (place, word)
