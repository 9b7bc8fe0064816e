"""What several commands do with their arguments."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from alchemint_jax import places
from alchemint_jax.errors import DataError, WeightsError, listed
from alchemint_jax.staging import staged


@contextlib.contextmanager
def tidy() -> Iterator[None]:
    """Lets SIGTERM, too, remove what is half written: without this it ends the process at once."""

    def stop(number: int, frame: Any) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: the others keep the default of the function called."""
    return {name: value for name, value in options.items() if value is not None}


def guidance_weights(args: argparse.Namespace) -> dict[str, Any]:
    """The guidance that was asked for."""
    return given(
        text=args.guidance_text,
        image=args.guidance_image,
        both=args.guidance_both,
        low=args.guidance_low,
        interval=args.guidance_interval,
    )


def warn(warnings: list[str]) -> None:
    """Says so on standard error; a long list in part."""
    for warning in listed(warnings):
        print(f"alchemint: warning: {warning}", file=sys.stderr)


def model_parts(model: str) -> list[tuple[str, Path]]:
    """What `check_outputs` is to keep of a model."""
    from alchemint_jax.weights import parts

    return parts(model)


def model_folder(model: str) -> Path:
    """The folder of a model, bundled or not."""
    from alchemint_jax.weights import BUNDLED, locate

    return locate(model) if model in BUNDLED else Path(model)


def model_name(option: str, name: str) -> str:
    """A model that is there: a bundled one, a folder, or a local copy of what an address names."""
    from alchemint_jax.weights import BUNDLED, locate, no_model
    from alchemint_jax.weights.directories import in_bucket

    if in_bucket(name):
        return str(locate(name))
    if name in BUNDLED or Path(name).is_dir():
        return name
    raise WeightsError(f"{option} {name}: {no_model(name)}")


def existing_folder(option: str, name: str) -> Path:
    """A folder that is there, or a local copy of what an address names."""
    if places.is_address(name):
        return staged(name)
    if Path(name).is_dir():
        return Path(name)
    raise DataError(f"{option} {name}: no such folder")


def report_lines(report: Mapping[str, Any], indent: str = "") -> list[str]:
    """A report for people: numbers and words, nested ones indented.

    Long lists stay in the file, and so do groups without subjects.
    """
    lines: list[str] = []
    for name, value in report.items():
        if isinstance(value, Mapping) and set(value) == {"mean", "low", "high"}:
            mean, low, high = (f"{value[key]:.4g}" for key in ("mean", "low", "high"))
            lines.append(f"{indent}{name}: {mean} ({low} to {high})")
        elif isinstance(value, Mapping):
            if value.get("subjects") != 0:
                lines += [f"{indent}{name}:", *report_lines(value, indent + "  ")]
        elif isinstance(value, float):
            lines.append(f"{indent}{name}: {value:.4g}")
        elif isinstance(value, (str, int, Path)):
            lines.append(f"{indent}{name}: {value}")
    return lines
