"""YAML and JSON files of plain values, read without trusting them: sizes, depth, aliases, tags."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from alchemint_jax.errors import StoryboardError

FieldPath = tuple[str | int, ...]

MAX_FILE_BYTES = 256 * 1024
MAX_VALUES = 10_000  # after expanding YAML aliases
MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"


def show(value: Any) -> str:
    """A value for an error message: short, and never itself an error."""
    try:
        return reprlib.repr(value)
    except Exception:  # an integer of thousands of digits, or a broken __repr__
        return f"a value of type {type(value).__name__}"


def describe(value: Any) -> str:
    """What kind of thing a value is, in the words of the file format."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {show(value)}"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return show(value)


def read(path: str | os.PathLike[str]) -> tuple[Any, dict[FieldPath, int]]:
    """The values in a .json file, or in a YAML file by any other name; None if it is empty.

    Returns:
        Dicts, lists, text, numbers, booleans and None; and the line of each field, by its path of
        keys and indices, as far as known (JSON: none).

    Raises:
        StoryboardError: naming the file and, where known, the line.
    """
    path = Path(path)
    return parse(_read_text(path), str(path), path.suffix.lower() == ".json")


def parse(text: str, source: str, is_json: bool = False) -> tuple[Any, dict[FieldPath, int]]:
    """The values in a YAML or JSON text, and the line of each field, as `read` returns them.

    Raises:
        StoryboardError: naming the source and, where known, the line.
    """
    lines: dict[FieldPath, int] = {}
    if is_json:
        return _parse_json(text, source), lines
    return _parse_yaml(text, source, lines), lines


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise StoryboardError(f"{path}: is a folder; name the storyboard file in it")
        if path.exists() and not path.is_file():  # a pipe or a device may block for ever
            raise StoryboardError(f"{path}: is not a regular file")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StoryboardError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RuntimeError) as error:
        if isinstance(error, StoryboardError):
            raise
        raise StoryboardError(f"{str(path)!r}: {error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise StoryboardError(f"{path}: is larger than {MAX_FILE_BYTES >> 10} KiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StoryboardError(
            f"{path}: is not UTF-8 text (line {line}); save it as UTF-8"
        ) from error


def _parse_json(text: str, source: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise StoryboardError(f"{source}: {show(key)} is given twice")
            result[key] = value
        return result

    try:
        return json.loads(text, object_pairs_hook=unique) if text.strip() else None
    except json.JSONDecodeError as error:
        raise StoryboardError(f"{source}: {error.msg} (line {error.lineno})") from error
    except RecursionError as error:
        raise StoryboardError(f"{source}: is nested too deeply") from error
    except ValueError as error:  # ours, or an integer of thousands of digits
        if isinstance(error, StoryboardError):
            raise
        raise StoryboardError(f"{source}: {error}") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses deep nesting before Python's stack does."""

    depth = 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _parse_yaml(text: str, source: str, lines: dict[FieldPath, int]) -> Any:
    """Plain Python values; fills ``lines`` with the line of every field."""
    values = 0

    def fail(node: yaml.Node, problem: str) -> NoReturn:
        raise StoryboardError(f"{source}: {problem} (line {node.start_mark.line + 1})")

    def scalar(node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("int", "float", "bool", "null"):
            try:
                return loader.construct_object(node)
            except (ValueError, LookupError):  # "!!bool perhaps", or endless digits
                fail(node, f"{show(node.value)} is not a valid {kind}")
        if kind not in ("str", "timestamp", "value", "merge"):
            fail(node, f"tag {node.tag} is not supported; write plain text and numbers")
        return node.value

    def convert(node: yaml.Node, path: FieldPath, depth: int) -> Any:
        nonlocal values
        values += 1
        if values > MAX_VALUES:
            fail(node, f"has more than {MAX_VALUES} values once its aliases are expanded")
        if depth > MAX_DEPTH:  # an alias can hold itself
            fail(node, "is nested too deeply")
        lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return scalar(node)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            fail(node, f"tag {node.tag} is not supported; write plain lists and mappings")
        if isinstance(node, yaml.SequenceNode):
            return [convert(child, (*path, i), depth + 1) for i, child in enumerate(node.value)]
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                fail(key_node, "a field name must be a word")
            scalar(key_node)  # for its errors; "on" is a name here, not a truth value
            key = key_node.value
            if key in result:
                fail(key_node, f"{show(key)} is given twice")
            lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = convert(child, (*path, key), depth + 1)
        return result

    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return None if root is None else convert(root, (), 0)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise StoryboardError(f"{source}: holds a control character (line {line})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark else ""
        problem = error.problem or error.context
        raise StoryboardError(f"{source}: is not valid YAML: {problem}{where}") from error
