"""What the worker processes of a loader do besides reading."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent(index: int, count: int) -> None:
    """Has this process end as soon as the one that started it is gone, however that ended.

    One that is killed cannot end its workers, which would wait for ever to be asked for more, and
    keep the memory that they hold.
    """
    del index, count  # what Grain tells every worker
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()  # waits at a pipe that the parent alone holds open
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
