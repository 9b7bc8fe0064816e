"""Checkpoints: the state and the position in the data, in one atomic step of orbax.

A step either exists whole or not at all; a process killed while writing leaves the last one. The
position is the number of examples that all processes have read together, and the state is saved
array by array: so other processes, of another number, on another mesh, can go on.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from alchemint_jax.errors import ConfigError, TrainingError
from alchemint_jax.train.hosts import lost
from alchemint_jax.train.optimizer import FROZEN
from alchemint_jax.train.state import State


def local_folder(directory: Path | str) -> Path:
    """The path of a folder that this machine can write.

    Raises:
        ConfigError: for an address such as gs://bucket/run, which would become a folder "gs:".
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(directory)):
        raise ConfigError(
            f"{directory} is not a folder: mount the storage (gcsfuse, NFS, Lustre) on every host, "
            "and give the path it is mounted at"
        )
    return Path(directory)


class Checkpoints:
    """The checkpoints of a run; the newest ``keep`` steps stay.

    Args:
        directory: where they are; created if missing.
    """

    def __init__(self, directory: Path | str, keep: int = 3) -> None:
        self.directory = local_folder(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=True
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # the others may be gone, and to wait for a write is to wait for them
        try:
            self.wait()
        except TrainingError:
            with contextlib.suppress(Exception):  # it says the same again
                self._manager.close()
            if kind is None:  # otherwise what is already on its way says more
                raise
        else:
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Says what can be done about a disk that is full; orbax fails at the next call."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if lost(error):
                raise
            problem = str(error).partition("\n")[0][:300]
            raise TrainingError(
                f"cannot write a checkpoint in {self.directory}: {problem}; free space there, "
                "then the same command goes on from the last checkpoint that is whole"
            ) from error

    def latest(self) -> int | None:
        """The newest complete step, if any."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """All complete steps, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: State, examples: int) -> None:
        """Starts writing in the background; the state may be donated as soon as this returns.

        Frozen parameters are left out: see ``StatePlan.frozen``.

        ``examples`` is how many all processes have read together in the ``step`` steps.
        """
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_moving(state)),
                    data=ocp.args.JsonSave({"examples": examples}),
                ),
            )

    def wait(self) -> None:
        """Returns once everything that was saved is on disk.

        Raises:
            TrainingError: if it could not be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def restore(self, step: int, abstract: State) -> State:
        """The state of a step, with the shardings of ``abstract`` (any mesh will do).

        It is without frozen parameters.

        Raises:
            TrainingError: if the checkpoint does not fit the model.
        """
        # Orbax would find out too, but leaves its readers running behind an error.
        saved = _shapes(ocp.StandardCheckpointHandler().metadata(self._path(step)).tree["params"])
        wanted = _shapes(abstract["params"])
        if saved != wanted:
            names = sorted(n for n in saved | wanted if saved.get(n) != wanted.get(n))
            told = [f"{n} is {saved.get(n)} there, {wanted.get(n)} here" for n in names[:5]]
            raise self._misfit(step, "; ".join(told))
        return self._read(step, "state", ocp.args.StandardRestore(_moving(abstract)))

    def examples(self, step: int) -> int:
        """How many examples had been read when a step was saved.

        Raises:
            TrainingError: if the checkpoint does not say.
        """
        return int(self._read(step, "data", ocp.args.JsonRestore())["examples"])

    def _read(self, step: int, name: str, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{name: args}))[name]
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            if lost(error):
                raise
            raise self._misfit(step, " ".join(str(error).split())[:400]) from error

    def _path(self, step: int) -> Any:
        return epath.Path(self.directory) / str(step) / "state"

    def _misfit(self, step: int, problem: str) -> TrainingError:
        return TrainingError(
            f"checkpoint {self.directory / str(step)} does not fit this configuration ({problem}); "
            "train in another workdir, or restore the configuration the run was started with"
        )


def _moving(state: State) -> State:
    return {name: tree for name, tree in state.items() if name != FROZEN}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
