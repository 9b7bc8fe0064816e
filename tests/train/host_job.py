"""Jobs of several processes on this machine: what one process runs, and how tests start them.

All of them talk over the loopback interface, and share two processor cores with everything else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import toy_task
from forked import Forked

from alchemint_jax import places

ROOT = Path(__file__).parents[2]
HEARTBEAT = 10  # seconds; also of a process that is only starved by the others
WAIT = 20  # seconds for all to come
BOUND = WAIT + HEARTBEAT + 20  # seconds in which a job that lost a process must have ended

# What a process says that ended because of another: we, or JAX where it notices first.
TELLS = re.compile(
    r"another process of this job has ended"
    r"|not all processes of the job came"
    r"|another task died"
    r"|leader task was preempted/died"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Of a job, the same for all its processes; `batch` is that of one of them."""

    workdir: str
    """A folder: also of what the processes say."""
    processes: int
    devices: int = 1
    mesh: dict[str, int] = dataclasses.field(default_factory=dict)
    batch: int = 8
    total_steps: int = 40
    checkpoint_every: int = 4
    pause: float = 0.02
    evaluate_every: int = 0
    address: str = ""
    """Where the run is, if that is a bucket."""

    @property
    def run(self) -> str:
        return self.address or self.workdir


class Job:
    """The running processes of a job; see `running`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.processes: list[Forked] = []

    def start(self) -> None:
        address = f"127.0.0.1:{free_port()}"
        # By default, all the addresses that there are.
        bound = {"JAX_COORDINATOR_BIND_ADDRESS": address}
        for process in range(self.options.processes):
            said = Path(self.options.workdir) / "said" / str(process)
            arguments = (self.options, address, process)
            self.processes.append(Forked(main, *arguments, said=said, **bound))

    def err(self, process: int) -> str:
        """What a process wrote to standard error."""
        return self.processes[process].err

    def wait(self, seconds: float) -> list[int]:
        """The exit statuses, once all have ended; it is an AssertionError if they do not."""
        end = time.monotonic() + seconds
        for number, process in enumerate(self.processes):
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise AssertionError(f"process {number} goes on:\n{self.err(number)}") from None
        return [process.returncode for process in self.processes]

    def results(self, seconds: float = 300) -> list[list[str]]:
        """What each process reports in the end; all must end well."""
        statuses = self.wait(seconds)
        said = [self.err(number) for number in range(len(statuses))]
        assert not any(statuses), (statuses, said)
        results = []
        for process in self.processes:
            lines = process.out.splitlines()
            results += [line.split()[1:] for line in lines if line.startswith("RESULT ")]
        assert len(results) == len(statuses)
        return results

    def until(self, condition: Any, seconds: float = 120) -> None:
        """Waits for something that happens while all processes run."""
        end = time.monotonic() + seconds
        while not condition():
            for number, process in enumerate(self.processes):
                assert process.poll() is None, self.err(number)
            assert time.monotonic() < end, "the job did not get that far"
            time.sleep(0.005)


@contextlib.contextmanager
def running(options: Options) -> Iterator[Job]:
    """A job; whatever happens, no process of it is left at the end."""
    job = Job(options)
    try:
        job.start()
        yield job
    finally:
        for process in job.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)  # also if it is stopped
            process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def latest(workdir: Path | str) -> int:
    """The newest whole checkpoint, 0 if there is none."""
    if places.is_address(workdir):
        found = places.files_of(workdir).glob(f"{workdir}/checkpoints/*/commit_success.txt")
        names = [name.split("/")[-2] for name in found]
    else:
        folder = Path(workdir) / "checkpoints"
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return max((int(name) for name in names if name.isdigit()), default=0)


def seen(workdir: Path | str, process: int) -> list[list[str]]:
    """The examples (in hexadecimal) of every step that a process of the last job took."""
    return json.loads((Path(workdir) / "seen" / f"{process}.json").read_text())


class Watched(toy_task.ToyTask):
    """Keeps a list of the examples it was asked for."""

    def train_data(self, *share: Any) -> Iterator[dict[str, Any]]:
        for batch in super().train_data(*share):
            self.steps.append([x.tobytes().hex() for x in batch["x"]])
            yield batch

    def sample(self, params: Any) -> dict[str, Any]:
        """One process computes this by itself: it must not wait for the others."""
        import jax

        assert jax.process_index() == 0
        out = jax.jit(self.module.apply)({"params": params}, np.ones((1, 4), np.float32))
        assert np.isfinite(np.asarray(out)).all()
        return {}

    @property
    def steps(self) -> list[list[str]]:
        return vars(self).setdefault("_steps", [])


def main(options: Options, address: str, process: int) -> None:
    """One process of a job."""
    import jax

    from alchemint_jax import sharding, train
    from alchemint_jax.train.evaluation import EvaluateConfig
    from alchemint_jax.train.hosts import Hosts, joined

    jax.config.update("jax_num_cpu_devices", options.devices)
    task = Watched(batch=options.batch, pause=options.pause)
    periods = {"checkpoint_every": options.checkpoint_every, "validate_every": 6, "sample_every": 9}
    scored = EvaluateConfig(options.evaluate_every, "toy_world:BOARDS", limit=6, batch=2)
    config = toy_task.config(options.total_steps, **periods, evaluate=scored)
    with joined(Hosts(address, options.processes, process, WAIT, HEARTBEAT)):
        mesh = sharding.make_mesh(**options.mesh)
        result = train.fit(task, config, options.run, mesh=mesh)
        folder = Path(options.workdir) / "seen"
        folder.mkdir(exist_ok=True)
        (folder / f"{process}.json").write_text(json.dumps(task.steps))
        word = "interrupted" if result.interrupted else "finished"
        print("RESULT", word, result.step, flush=True)
