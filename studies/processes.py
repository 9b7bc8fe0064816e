"""What a command takes, with all the processes that it starts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from alchemint_jax.errors import AlchemintError

# Under Linux a process begins with the peak of memory of the one that started it, so a study that
# has made a film would measure itself. This one between them is small.
_BETWEEN = """
import json, resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


class Taken(NamedTuple):
    """Seconds by the clock, processor seconds, and MiB of the largest process."""

    seconds: float
    processor_seconds: float
    largest_process_mib: float


def run(*words: str) -> Taken:
    """Runs a command of Python's, such as ``-m alchemint_jax annotate``, to its end.

    Raises:
        AlchemintError: it failed.
    """
    begun = time.monotonic()
    command: Sequence[str] = [sys.executable, "-c", _BETWEEN, sys.executable, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.monotonic() - begun
    status, processor, largest = json.loads(done.stdout)
    if status:
        raise AlchemintError(f"python {' '.join(words[:3])} ended with status {status}")
    return Taken(seconds, processor, largest)
