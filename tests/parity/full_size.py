"""Memory and time of a transformer of real size: written, loaded, run once, saved. By hand:

    python tests/parity/full_size.py DIR [VARIANT]

DIR needs room for the weights twice (Wan2.1-1.3B: 11.4 GB) and is removed afterwards. Each step is
a process of its own; memory is sampled, "own" being what a process has allocated and "mapped" the
pages of files that it sees, which the system takes back when it needs them.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from alchemint_jax import weights
from alchemint_jax.models.dit import VARIANTS, DiT
from alchemint_jax.weights import store
from alchemint_jax.weights.tensors import Tensor, extent

GB = 10**9


class Memory:
    """The most memory this process has had since it was asked last, in bytes, by kind."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._sample()
            time.sleep(0.01)

    def _sample(self) -> None:
        for line in Path("/proc/self/status").read_text().splitlines():
            kind, _, value = line.partition(":")
            if kind in ("RssAnon", "RssFile"):
                self._most[kind] = max(self._most.get(kind, 0), 1024 * int(value.split()[0]))

    def most(self) -> tuple[int, int]:
        """Own and mapped; counting starts again."""
        self._sample()
        found = self._most["RssAnon"], self._most["RssFile"]
        self._most = {}
        return found


class Random(Tensor):
    """Random values that exist only while they are written."""

    def load(self, box):
        scale = 1 / math.sqrt(extent(box)[-2]) if len(box) > 1 else 0.1
        return scale * np.random.default_rng(box[0][0]).standard_normal(extent(box), np.float32)


def random_tensors(config) -> dict[str, Tensor]:
    """Random parameters."""
    leaves = store._named(DiT(config).abstract_params())
    return {path: Random(leaf.shape, "F32", (1, *leaf.shape[1:])) for path, leaf in leaves.items()}


def step(kind: str, directory: Path, variant: str) -> None:
    config, memory, began = VARIANTS[variant], Memory(), time.monotonic()
    size = 4 * sum(math.prod(x.shape) for x in jax.tree.leaves(DiT(config).abstract_params()))
    base = memory.most()[0]

    def report(what: str) -> None:
        nonlocal began
        own, mapped = memory.most()
        seconds = time.monotonic() - began
        print(
            f"{what:8} {seconds:6.1f} s   own {own / GB:5.2f} GB "
            f"({(own - base) / size:.3f} of the parameters)   mapped {mapped / GB:5.2f} GB",
            flush=True,
        )
        began = time.monotonic()

    if kind == "write":
        print(f"{variant}: {size / GB:.2f} GB of float32 parameters", flush=True)
        folder = directory / "a" / "transformer"
        tensors = random_tensors(config)
        store.write_tensors(folder, "transformer", config, tensors, "wan-diffusers")
        return report("write")
    if kind == "convert":
        weights.convert(directory / "a", directory / "b", "alchemint")
        report("convert")
        return shutil.rmtree(directory / "b")
    module, params = weights.load(directory / "a", "transformer")
    jax.block_until_ready(params)
    report("load")
    text = jnp.ones((1, 8, config.text_dim))
    latents = jnp.ones((1, 1, 4, 4, config.in_channels))
    velocity = jax.jit(module.apply)({"params": params}, latents, jnp.asarray([0.5]), text)
    assert np.isfinite(velocity).all() and np.std(velocity) > 0
    report("forward")
    weights.save(directory / "b", "transformer", config, params, format="wan-diffusers")
    report("save")
    for file in sorted((directory / "a" / "transformer").iterdir()):
        other = directory / "b" / "transformer" / file.name
        subprocess.run(["cmp", file, other], check=True)
    index = directory / "a" / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    parts = json.loads(index.read_text())["weight_map"]
    print(f"saved as it was: {len(parts)} tensors in {len(set(parts.values()))} files")


def main(directory: Path, variant: str = "wan2.1-1.3b") -> None:
    directory.mkdir()
    try:
        for kind in ("write", "convert", "use"):
            command = [sys.executable, __file__, str(directory), variant, kind]
            subprocess.run(command, check=True)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        step(sys.argv[3], Path(sys.argv[1]), sys.argv[2])
    else:
        main(Path(sys.argv[1]), *sys.argv[2:])
