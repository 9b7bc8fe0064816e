"""Errors meant for the person at the keyboard.

Each carries one complete message: what was wrong, where (file, line, field), and what to do.
The command line prints it as ``error: ...`` and exits with status 2.
"""

from __future__ import annotations

from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 3) -> list[str]:
    """The first `most` of what could be many, and how many more there are: messages stay short."""
    more = len(items) - most
    return [*items[:most], f"and {more} more"] if more > 0 else list(items)


class AlchemintError(ValueError):
    """Something a user can act on; the base of every error below."""


class StoryboardError(AlchemintError):
    """A storyboard, or a picture it names, cannot be used.

    Its message says what is wrong, where (file, field and, for YAML, line), and what to do.

    Examples:
        >>> try:
        ...     al.Storyboard.from_dict({"prompt": "a red disc", "duration": -1})
        ... except al.StoryboardError as error:
        ...     print(error)
        storyboard: duration: must be between 0 and 600, not -1.0

    Source:
        This repository.
    """


class WeightsError(AlchemintError):
    """Weights are missing, unreadable, or do not fit the model."""


class NonFiniteError(WeightsError):
    """Weights, or what a network made with them, are NaN or infinite somewhere."""


class DataError(AlchemintError):
    """A dataset or a record cannot be used."""


class ConfigError(AlchemintError):
    """A configuration is inconsistent or names something that does not exist."""


class TrainingError(AlchemintError):
    """Training cannot start or go on."""
