"""Shards on a cluster: what is asked of Ray, by a stand-in for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from alchemint_jax.annotate.cluster import run_on_ray
from alchemint_jax.errors import ConfigError


def start(log):
    def work(task, tell):
        tell(task)
        if task == "lost":
            raise LostError
        log.append(task)

    return work


class LostError(Exception):
    pass


class Log(list):
    __hash__ = object.__hash__


def stand_in(started, cpus=1):
    def remote(**options):
        started.append(options)

        def wrap(function):
            def call(*args):
                try:
                    return SimpleNamespace(value=function(*args), error=None)
                except LostError as error:
                    return SimpleNamespace(value=None, error=error)

            class Remote:
                remote = staticmethod(lambda *args: Reference(call(*args)))

            return Remote

        return wrap

    class Reference:
        def __init__(self, result):
            self.result = result

    def get(reference):
        if reference.result.error:
            raise reference.result.error

    return SimpleNamespace(
        init=lambda **options: started.append(options),
        remote=remote,
        get=get,
        wait=lambda references, num_returns: (references[:1], references[1:]),
        cancel=lambda reference, force: None,
        cluster_resources=lambda: {"CPU": cpus},
        exceptions=SimpleNamespace(RayError=LostError),
    )


def test_every_task_is_done_once_and_what_is_lost_is_told(monkeypatch):
    started, log = [], Log()
    monkeypatch.setitem(sys.modules, "ray", stand_in(started))
    tasks = ["a", "b", "lost", "c", "d"]
    found = dict(run_on_ray(start, (log,), tasks, "head:6379"))
    assert list(found) == tasks and sorted(log) == ["a", "b", "c", "d"]
    assert isinstance(found["lost"], LostError) and found["a"] is None
    assert started[0]["address"] == "head:6379" and started[1]["max_retries"] > 1


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="alchemint-jax\\[ray\\]"):
        list(run_on_ray(start, ([],), ["a"], "auto"))


def test_a_cluster_that_is_not_there(monkeypatch):
    def init(**options):
        raise ConnectionError("refused")

    ray = stand_in([])
    ray.init = init
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(ConfigError, match="--ray-address nowhere"):
        list(run_on_ray(start, ([],), ["a"], "nowhere"))
