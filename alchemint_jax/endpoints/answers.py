"""Answers of servers, kept on disk: the same question costs nothing again, and has one answer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any


class Answers:
    """A folder with an answer in each file, named by the SHA-256 of its question.

    It is a convenience: what cannot be read or written is asked for again.

    Args:
        folder: where; None keeps nothing.
    """

    def __init__(self, folder: Path | None):
        self._folder = folder

    def get(self, question: Any) -> bytes | None:
        """The answer to a question, if it is known; questions are plain values."""
        path = self._path(question)
        with contextlib.suppress(OSError):
            return None if path is None else path.read_bytes()
        return None

    def put(self, question: Any, answer: bytes) -> None:
        """Keeps an answer, whole or not at all."""
        path = self._path(question)
        if path is None:
            return
        temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(answer)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _path(self, question: Any) -> Path | None:
        if self._folder is None:
            return None
        text = json.dumps(question, sort_keys=True)
        return self._folder / hashlib.sha256(text.encode()).hexdigest()
