"""The API reference: every public name is there, says all there is to say, and its example runs."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import re
from pathlib import Path

import pytest
from docstring_examples import run_example
from griffe import Docstring, DocstringSectionKind

import alchemint_jax as al

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONSTANTS = {
    *("evaluate.quality.LESS_IS_BETTER", "evaluate.quality.TITLES"),
    *("flow.FINALS", "flow.GRIDS", "rotary.SCHEMES", "weights.BUNDLED"),
}
ROOMS = ("evaluate", "evaluate.quality", "flow", "rotary", "weights")
LOAD = functools.cache(al.Pipeline.load)  # examples share what they load

logging.getLogger("griffe").setLevel(logging.ERROR)


def shown() -> list[str]:
    """Names on the pages, after `alchemint_jax.`, with the members that a page asks for."""
    found = []
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        pattern = r"^::: alchemint_jax\.(\S+)\n(?:    options:\n      members: \[([^]]*)\])?"
        for name, members in re.findall(pattern, page.read_text(), re.M):
            found += [name, *(f"{name}.{member}" for member in re.findall(r"\w+", members))]
    return found


NAMES = [name for name in shown() if name not in CONSTANTS]


def resolve(name: str):
    value = al
    for part in name.split("."):
        value = getattr(value, part)
    return value


def sections(value) -> dict[str, set[str]]:
    """Titles of the sections of a docstring, with the names that each is about."""
    found: dict[str, set[str]] = {}
    for section in Docstring(inspect.getdoc(value) or "").parse("google"):
        if section.kind is DocstringSectionKind.admonition:
            found[section.title or ""] = {str(section.value.contents)}
        elif section.kind in (DocstringSectionKind.parameters, DocstringSectionKind.attributes):
            found[section.kind.value] = {item.name for item in section.value}
        else:
            found[section.kind.value] = set()
    return found


def lacking(value) -> list[str]:
    """What a docstring does not say."""
    has = sections(value)
    wanted = {"examples", "Source"}
    described = has.get("parameters", set()) | has.get("attributes", set())
    missing: set[str] = set()
    if inspect.isclass(value):
        if dataclasses.is_dataclass(value):
            missing = {field.name for field in dataclasses.fields(value)} - described
        elif hasattr(value, "_fields"):
            missing = set(value._fields) - described
        if "__post_init__" in vars(value):
            wanted.add("raises")
    else:
        signature = inspect.signature(value)
        missing = set(signature.parameters) - {"self", "cls"} - described
        wanted.add("raises")
        if signature.return_annotation not in (None, "None"):
            wanted.add("returns")
    return sorted(wanted - has.keys()) + sorted(missing)


def test_every_public_name_is_on_a_page():
    rooms = {name for name in al.__all__ if inspect.ismodule(getattr(al, name))}
    wanted = {*al.__all__} - rooms - {"__version__"}
    public = {f"{room}.{name}" for room in ROOMS for name in resolve(room).__all__}
    wanted |= {name for name in public if not inspect.ismodule(resolve(name))}
    assert rooms == {room for room in ROOMS if "." not in room}
    assert not wanted - set(shown())
    assert len(shown()) == len(set(shown()))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_all_there_is_to_say(name):
    assert not lacking(resolve(name))


def test_what_is_left_out_is_seen():
    def bare(x: int) -> int:
        """Nothing is said."""
        return x

    assert lacking(bare) == ["Source", "examples", "raises", "returns", "x"]


# tests/test_bundled.py runs these: it has compiled what they need.
RENDERING = ("Pipeline.generate", "Pipeline.render", "evaluate.run_benchmark")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RENDERING])
def test_the_example_runs(name, monkeypatch):
    monkeypatch.setattr(al.Pipeline, "load", LOAD)
    monkeypatch.chdir(ROOT)
    run_example(resolve(name))
