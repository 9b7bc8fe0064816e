"""Commands that documents show can be given as they stand."""

from __future__ import annotations

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
    *sorted((ROOT / "configs").glob("*.py")),
]


def commands(path):
    """Lines that call `alchemint`, as words; a bare `alchemint plan` is only mentioned."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    for line in re.findall(r"^ *`?(alchemint [^\n`]*)", text, re.MULTILINE):
        words = shlex.split(line, comments=True)[1:]
        if len(words) > 1:
            yield words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_complete(path, capsys):
    for words in commands(path):
        try:
            cli._parse(words)
        except SystemExit:
            pytest.fail(f"{shlex.join(words)}: {capsys.readouterr().err}")


def test_commands_are_found():
    assert sum(len(list(commands(path))) for path in DOCUMENTS) > 30


def test_documents_name_configs_that_there_are():
    named = {
        name
        for text in DOCUMENTS
        for name in re.findall(r"--config (configs/\w+\.py(?::\w+)?)(?=\s)", text.read_text())
    }
    assert {"configs/sprites.py:pictures", "configs/wan_1_3b.py:lora"} < named
    for name in named:
        load_config(ROOT / name)
