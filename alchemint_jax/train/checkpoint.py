"""Checkpoints: the state and the position in the data, in one atomic step of orbax.

A step either exists whole or not at all; a process killed while writing leaves the last one. The
position is the number of examples that all processes have read together, and the state is saved
array by array: so other processes, of another number, on another mesh, can go on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from alchemint_jax import places
from alchemint_jax.errors import ConfigError, TrainingError
from alchemint_jax.train.hosts import lost
from alchemint_jax.train.optimizer import FROZEN
from alchemint_jax.train.state import State


def run_place(workdir: places.AnyPlace) -> places.Place:
    """The folder of a run: a local path, or one in a bucket of Google's.

    Raises:
        ConfigError: orbax cannot write there.
    """
    where = places.place(workdir)
    if places.is_address(where) and not os.fspath(where).startswith("gs://"):
        raise ConfigError(
            f"{where}: checkpoints are written to folders and to gs:// only (orbax knows no other "
            "buckets); mount a file system (FSx for Lustre, NFS) on every host, and give the path "
            "it is mounted at"
        )
    return where


_PARTIAL = ".orbax-checkpoint-tmp"  # after the step, until it is whole
_RAISED = OSError, RuntimeError, ValueError  # where a disk does not take a checkpoint
_FULL = re.compile(r"No space left|[Qq]uota exceeded")
_STATUS = re.compile(r"[A-Z_]+: ")  # of tensorstore, which reads and writes files


@dataclasses.dataclass
class _Kept:
    """Says to orbax which checkpoints stay: the newest, and the best."""

    newest: int
    best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """For each of the checkpoints, oldest first."""
        del context
        first = len(checkpoints) - self.newest
        return [i >= first or found.step == self.best for i, found in enumerate(checkpoints)]


class Checkpoints:
    """The checkpoints of a run; the newest ``keep`` steps stay, and the one of the step ``best``.

    In a bucket a step is whole once its last object is there, ``commit_success.txt`` of orbax.

    Args:
        directory: where they are, see `run_place`; created if missing.
    """

    def __init__(self, directory: places.AnyPlace, keep: int = 3) -> None:
        self.directory = run_place(directory)
        self._remote = places.is_address(self.directory)
        self._kept = _Kept(keep)
        folders: tuple[places.Place, ...] = ()
        if not self._remote:
            self.directory = self.directory.absolute()
            folders = (self.directory, *self.directory.parents)
        self._made = [folder for folder in folders if not folder.exists()]
        self._begun: set[int] = set()
        for folder in folders:
            if folder.exists() and not folder.is_dir():
                raise ConfigError(
                    f"{folder} is a file where a folder should be: remove it, or train in another "
                    "workdir"
                )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept,
            cleanup_tmp_directories=True,
            enable_async_checkpointing=True,
        )
        with places.reaching(self.directory) if self._remote else contextlib.nullcontext():
            self._manager = ocp.CheckpointManager(self.directory, options=options)

    @property
    def best(self) -> int | None:
        """The step that stays, however old it is; set it on all processes alike."""
        return self._kept.best

    @best.setter
    def best(self, step: int | None) -> None:
        self._kept.best = step

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
            self._tidy()
            if kind is None:  # otherwise what is already on its way says more
                raise
        else:
            self._manager.close()
            if kind is not None:
                self._tidy()

    def _tidy(self) -> None:
        """After a failure: removes what was begun and is no checkpoint, and folders still empty.

        Orbax would remove the first when the next run saves, but where the disk is full that space
        is what is missing. Only steps that this very process began to write are touched.
        """
        for step in () if self._remote else self._begun:
            shutil.rmtree(self.directory / f"{step}{_PARTIAL}", ignore_errors=True)
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # there is something in it
                return

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Says what can be done about a disk that is full; orbax fails at the next call."""
        try:
            yield
        except Exception as error:
            if lost(error) or not (self._remote or isinstance(error, _RAISED)):
                raise
            if self._remote:  # which is better not asked again
                raise TrainingError(
                    f"cannot write a checkpoint in {self.directory}: {places.trouble(error)}; the "
                    "same command continues from the last checkpoint that is whole"
                ) from error
            problem = str(error).partition("\n")[0][:300]
            advice = "mend that"
            if _FULL.search(str(error)):
                problem, advice = "the disk is full", "free space there"
            raise TrainingError(
                f"cannot write a checkpoint in {self.directory}: {problem}; {advice}, then the "
                f"same command {self._goes_on(self._on_disk())}"
            ) from error

    def _on_disk(self) -> list[int]:
        """As `steps`, when orbax cannot be asked: a step gets its name when it is whole."""
        try:
            names = [path.name for path in self.directory.iterdir() if path.is_dir()]
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def _goes_on(self, steps: list[int]) -> str:
        if steps:
            return f"continues from checkpoint {steps[-1]}, the last that is whole"
        return "starts from the beginning, as no checkpoint is whole"

    def latest(self) -> int | None:
        """The newest complete step, if any."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """All complete steps, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self, step: int, state: State, examples: int, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Starts writing in the background; the state may be donated as soon as this returns.

        Frozen parameters are left out: see ``StatePlan.frozen``.

        Args:
            step: number of finished steps.
            state: after them.
            examples: how many all processes have read together in these steps.
            notes: what else a run that goes on should know, in JSON's types.
        """
        self._begun.add(step)
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_moving(state)),
                    data=ocp.args.JsonSave({**(notes or {}), "examples": examples}),
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
            TrainingError: if the checkpoint does not fit the model, or is damaged.
        """
        # Orbax would find out too, but leaves its readers running behind an error.
        with self._reading(step):
            saved = self._saved(step)
        wanted = _shapes(abstract["params"])
        if saved != wanted:
            names = sorted(n for n in saved | wanted if saved.get(n) != wanted.get(n))
            told = [f"{n} is {saved.get(n)} there, {wanted.get(n)} here" for n in names[:5]]
            raise self._misfit(step, "; ".join(told))
        return self._read(step, "state", ocp.args.StandardRestore(_moving(abstract)))

    def average(self, step: int, abstract: State) -> Any:
        """The averaged weights of a step alone, with the shardings of ``abstract``.

        Raises:
            TrainingError: if the checkpoint is damaged.
        """
        wanted = {"ema": abstract["ema"]}
        args = ocp.args.PyTreeRestore(
            item=wanted,
            restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
            partial_restore=True,
        )
        with self._reading(step), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            return reader.restore(self._path(step), args=args)["ema"]

    def examples(self, step: int) -> int:
        """How many examples had been read when a step was saved.

        Raises:
            TrainingError: if the checkpoint does not say, or is damaged.
        """
        found = self.notes(step)
        with self._reading(step):
            return int(found["examples"])

    def notes(self, step: int) -> dict[str, Any]:
        """What was noted when a step was saved, ``examples`` among it.

        Raises:
            TrainingError: if the checkpoint is damaged.
        """
        return self._read(step, "data", ocp.args.JsonRestore())

    def _read(self, step: int, name: str, args: Any) -> Any:
        with self._reading(step):
            return self._manager.restore(step, args=ocp.args.Composite(**{name: args}))[name]

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Tells a checkpoint that is damaged from one that does not fit the configuration."""
        try:
            yield
        except TrainingError:
            raise
        except Exception as error:  # orbax raises that very class, too
            problem = " ".join(str(error).split())
            if lost(error) or "RESOURCE_EXHAUSTED" in problem or isinstance(error, RuntimeError):
                raise
            folder = self.directory / str(step)
            if self._remote and not isinstance(error, KeyError | TypeError | ValueError):
                raise TrainingError(f"checkpoint {folder}: {places.trouble(error)}") from error
            if isinstance(error, PermissionError) or "PERMISSION_DENIED" in problem:
                raise TrainingError(
                    f"checkpoint {folder} cannot be read ({problem[:300]}): let this user read all "
                    "files in it"
                ) from error
            strange = isinstance(error, ValueError | KeyError | TypeError) and not (
                isinstance(error, json.JSONDecodeError | UnicodeError) or _STATUS.match(problem)
            )
            if strange and self._is_whole(step):
                raise self._misfit(step, problem[:400]) from error
            raise self._damaged(step, _without_details(problem)) from error

    def _damaged(self, step: int, problem: str) -> TrainingError:
        folder = self.directory / str(step)
        others = [other for other in self.steps() if other != step and self._is_whole(other)]
        return TrainingError(
            f"checkpoint {folder} is damaged, as if it had been copied in part ({problem}): copy "
            f"it again, or remove that folder, and the same command {self._goes_on(others)}"
        )

    def _is_whole(self, step: int) -> bool:
        """Whether a checkpoint says what is in it; that all of it can be read is not tried."""
        try:
            data = json.loads((self._path(step).parent / "data" / "metadata").read_text())
            return int(data["examples"]) >= 0 and bool(self._saved(step))
        except Exception:  # whatever orbax and tensorstore raise for a damaged one
            return False

    def _saved(self, step: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters in a checkpoint."""
        metadata = ocp.StandardCheckpointHandler().metadata(self._path(step))
        return _shapes(metadata.tree["params"])

    def _path(self, step: int) -> Any:
        return epath.Path(self.directory) / str(step) / "state"

    def _misfit(self, step: int, problem: str) -> TrainingError:
        return TrainingError(
            f"checkpoint {self.directory / str(step)} does not fit this configuration ({problem}); "
            "train in another workdir, or restore the configuration the run was started with"
        )


def _moving(state: State) -> State:
    return {name: tree for name, tree in state.items() if name != FROZEN}


def _without_details(problem: str) -> str:
    """What orbax or tensorstore says, without the specification that follows."""
    return re.split(r" \[|\. See full TensorStore", problem)[0][:300]


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
