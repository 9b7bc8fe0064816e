"""What orbax' threads say of an error that is raised as well is kept from standard error.

A checkpoint that cannot be written or read makes orbax log the error in each of its threads, which
then end with a traceback, and leaves readers behind that find their event loop closed: hundreds of
lines, among which the one sentence that says what to do would be lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

_ORBAX = f"{os.sep}orbax{os.sep}"


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Drops log records of orbax, and tracebacks of its threads; errors are raised as usual."""
    logger = logging.getLogger("absl")
    before = threading.excepthook, sys.excepthook, sys.unraisablehook

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if not _from_orbax(args.exc_traceback, args.exc_value):
            before[0](args)

    def printed(
        kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        if not _from_orbax(trace, error):
            before[1](kind, error, trace)

    def ignored(args: Any) -> None:  # sys.UnraisableHookArgs is a name for type checkers only
        if not _from_orbax(args.exc_traceback, args.exc_value):
            before[2](args)

    logger.addFilter(_says_nothing_of_orbax)
    threading.excepthook, sys.excepthook, sys.unraisablehook = thread_ended, printed, ignored
    try:
        yield
    finally:
        threading.excepthook, sys.excepthook, sys.unraisablehook = before
        logger.removeFilter(_says_nothing_of_orbax)


def _says_nothing_of_orbax(record: logging.LogRecord) -> bool:
    return _ORBAX not in record.pathname


def _from_orbax(trace: types.TracebackType | None, error: BaseException | None) -> bool:
    # A reader that comes too late is called by tensorstore, with no frame of orbax.
    if isinstance(error, RuntimeError) and str(error) == "Event loop is closed":
        return True
    while trace is not None:
        if _ORBAX in trace.tb_frame.f_code.co_filename:
            return True
        trace = trace.tb_next
    return False
