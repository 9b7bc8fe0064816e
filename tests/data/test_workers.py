"""Worker processes of a loader end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import alchemint_jax

pytestmark = pytest.mark.slow

READER = """
import sys, time
import grain
from alchemint_jax.data import loader

class Same(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        return element

if __name__ == "__main__":
    config = loader.LoaderConfig(batch_size=2, num_workers=2)
    stream = iter(loader.pipeline(list(range(64)), Same(), config))
    next(stream)
    print("reading", flush=True)
    time.sleep(600)
"""


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    (tmp_path / "reader.py").write_text(READER)
    root = str(Path(alchemint_jax.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "reader.py")],
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout.readline() == b"reading\n"
        process.kill()
        # The workers hold this pipe too: it ends when the last of them has.
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
