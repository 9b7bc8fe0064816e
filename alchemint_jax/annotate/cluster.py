"""Shards on the machines of a Ray cluster: the same stages, into the same folder.

Ray starts a task again whose machine was lost. A shard has its name only when it is whole, and what
was there is not made again, so the folder ends as it would have on one machine. It must be one that
all machines see under the same path, and so must the videos.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alchemint_jax.errors import AlchemintError, ConfigError

_TRIES = 5  # of a task whose process or machine was lost


def run_on_ray(
    start: Callable[..., Any], arguments: tuple[Any, ...], tasks: Sequence[Any], address: str
) -> Iterator[tuple[Any, Exception | None]]:
    """Does tasks on a cluster, as `pool.run_tasks` does in processes.

    Args:
        start: makes the function that does tasks, once in each process.
        arguments: of `start`.
        tasks: what is to be done.
        address: of the cluster; "auto" is that which this machine belongs to, "local" starts one.

    Yields:
        Each task with None, or with what went wrong, as they come.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray needs Ray: pip install 'alchemint-jax[ray]'") from None
    try:
        ray.init(
            address=None if address == "local" else address,
            ignore_reinit_error=True,
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--ray-address {address}: there is no such cluster: {error}") from error
    remote: Any = ray.remote(max_retries=_TRIES, num_cpus=1)(_task)
    most = max(1, 2 * int(ray.cluster_resources().get("CPU", 1)))
    left = list(reversed(tasks))
    running: dict[Any, Any] = {}
    try:
        while left or running:
            while left and len(running) < most:
                task = left.pop()
                running[remote.remote(start, arguments, task)] = task
            (done,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(done)
            try:
                ray.get(done)
            except AlchemintError:  # a mistake of the user's, which Ray passes on
                raise
            except ray.exceptions.RayError as error:
                yield task, error
            else:
                yield task, None
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _task(start: Callable[..., Any], arguments: tuple[Any, ...], task: Any) -> None:
    _loaded(start, arguments)(task, lambda what: None)


@functools.lru_cache(maxsize=1)
def _loaded(start: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What does tasks: a process that is used again has loaded it already."""
    return start(*arguments)
