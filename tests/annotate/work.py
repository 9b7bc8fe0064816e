"""Tasks for processes of a pool: this module is light, for each of them imports it."""

from __future__ import annotations

import os
import signal


def start(base):
    def work(task, tell):
        tell(f"began {task}")
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "raise":
            raise ValueError("a mistake")
        if task == "memory":
            return os.environ["GLIBC_TUNABLES"]
        return base + task

    return work
