"""What one process reads, and holds, when it starts the recipe of Wan2.1-14B on a pod.

    python -m studies.weights_road --out docs/results/weights_road.json

The weights need not be there: files of the published format and size are written as holes, which
take no room on a disk, with real headers. What a process reads is known before it reads it;
processes of one device are also run, and count what they ask the files for and their memory.
Devices are those that JAX pretends; a process is some of them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[1] / "configs" / "wan_14b.py"
CASES = ((8, 1), (8, 4), (64, 1), (64, 4), (64, 8))  # devices of the mesh, and of a process
RUNS = ((8, 1), (64, 1))  # what is read for real
GB = 10**9


def write_holes(folder: Path, component: str, module: Any, dtype: str, part: int) -> None:
    """A component in diffusers' format whose values nobody has written, so that all are zero."""
    from flax.traverse_util import flatten_dict

    from alchemint_jax.weights import wan
    from alchemint_jax.weights.tensors import DTYPES

    folder.mkdir(parents=True)
    layout = wan.LAYOUTS[component]
    (folder / "config.json").write_text(json.dumps(layout.write_config(module.config)))
    leaves = flatten_dict(module.abstract_params(), sep=".")
    files: list[dict[str, Any]] = [{}]
    size = 0
    for entry in layout.entries(module.config):
        shape = entry.foreign_shape(leaves[entry.path].shape)
        bytes_ = math.prod(shape) * DTYPES[dtype].itemsize
        if files[-1] and size + bytes_ > part:
            files.append({})
            size = 0
        offsets = [size, size + bytes_]
        files[-1][entry.name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        size += bytes_
    names = [f"{layout.stem}-{i:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))]
    for name, header in zip(names, files, strict=True):
        text = json.dumps(header).encode()
        with open(folder / name, "wb") as f:
            f.write(len(text).to_bytes(8, "little") + text)
            f.truncate(f.tell() + max(entry["data_offsets"][1] for entry in header.values()))
    index = {name: file for file, header in zip(names, files, strict=True) for name in header}
    whole = json.dumps({"weight_map": index})
    (folder / f"{layout.stem}.safetensors.index.json").write_text(whole)


def write_model(folder: Path, dtype: str) -> None:
    """The networks that the recipe starts from."""
    from alchemint_jax.models import dit, umt5

    write_holes(
        folder / "transformer", "transformer", dit.DiT(dit.VARIANTS["wan2.1-14b"]), dtype, 5 * GB
    )
    encoder = umt5.UMT5Encoder(umt5.VARIANTS["xxl"])
    write_holes(folder / "text_encoder", "text_encoder", encoder, dtype, 5 * GB)


def recipe(folder: Path, devices: int) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The recipe's tensors, and the leaves that they become on its mesh; both by path."""
    import jax
    from flax.traverse_util import flatten_dict

    from alchemint_jax.train.config import load_config
    from alchemint_jax.train.run import build_job, build_mesh
    from alchemint_jax.train.state import everything, plan_state

    config = load_config(CONFIG, [f"init_from={folder}", "cached_text=False"])
    task, train = build_job(config, CONFIG)
    mesh = build_mesh(config, jax.devices()[:devices])
    plan = plan_state(task, train.optimizer, mesh)
    tensors = task.pretrained()
    leaves = flatten_dict(everything(plan.abstract, "params"), sep=".")
    return tensors, {path: leaves[path] for path in tensors}


def planned(
    tensors: Mapping[str, Any], leaves: Mapping[str, Any], devices: list[Any]
) -> dict[str, float]:
    """What a process with these devices reads, and what of the files is its share."""
    from alchemint_jax.weights import placing
    from alchemint_jax.weights.tensors import DTYPES, extent

    read = sum(piece.size for piece in placing.pieces_read(tensors, leaves, devices))
    share = held = 0
    for path, leaf in leaves.items():
        boxes = set(placing.shards(leaf.shape, leaf.sharding, devices).values())
        count = sum(math.prod(extent(box)) for box in boxes)
        held += count * leaf.dtype.itemsize
        if tensors[path].pieces(next(tensors[path].tiles(tensors[path].whole))):
            share += count * DTYPES[tensors[path].dtype].itemsize
    ratio = read / share
    return {"read_gb": read / GB, "share_gb": share / GB, "read_per_share": ratio, "held": held}


def figures(folder: Path) -> list[dict[str, Any]]:
    """What is read by a process in each of `CASES`; devices in the middle of the mesh."""
    found = []
    for devices, local in CASES:
        tensors, leaves = recipe(folder, devices)
        mesh = next(iter(leaves.values())).sharding.mesh
        first = devices // 2
        case = planned(tensors, leaves, list(mesh.devices.flat)[first : first + local])
        held = case.pop("held")
        found.append({"devices": devices, "of_a_process": local, **case, "held_gb": held / GB})
    return found


def run(folder: Path, devices: int, local: int) -> dict[str, Any]:
    """Reads for real what one process does: the bytes that it asked for, and its memory."""
    from alchemint_jax.weights import files, placing

    tensors, leaves = recipe(folder, devices)
    mesh = next(iter(leaves.values())).sharding.mesh
    mine = list(mesh.devices.flat)[devices // 2 : devices // 2 + local]
    plan = planned(tensors, leaves, mine)
    opened, asked = files.safe_open, 0

    class Counted:
        """A file that counts what is read of it."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.file = opened(*args, **options)

        def __enter__(self) -> Counted:
            self.within = self.file.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self.file.__exit__(*error)

        def get_tensor(self, name: str) -> Any:
            return self.counted(self.within.get_tensor(name))

        def get_slice(self, name: str) -> Counted:
            self.part = self.within.get_slice(name)
            return self

        def __getitem__(self, index: Any) -> Any:
            return self.counted(self.part[index])

        def counted(self, array: Any) -> Any:
            nonlocal asked
            asked += array.nbytes
            return array

    files.safe_open = Counted  # type: ignore[misc, assignment]
    before = _resident()
    kept = []
    for path, leaf in leaves.items():
        way = placing.read_as(tensors[path], leaf, mine)
        boxes = placing.shards(leaf.shape, way, mine).values()
        arrays = placing.read_boxes(tensors[path], boxes, leaf.dtype, path).values()
        # What devices exchange is there twice for a moment.
        kept += [a.copy() if way != leaf.sharding else a for a in arrays]
        del arrays
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    held = sum(array.nbytes for array in kept)
    return {
        "devices": devices,
        "of_a_process": local,
        "asked_gb": asked / GB,
        "asked_per_share": asked / GB / plan["share_gb"],
        "held_gb": held / GB,
        "peak_gb": peak / GB,
        "peak_per_held": peak / held,
    }


def _resident() -> int:
    found = re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def _child(folder: Path, *ran: int) -> Any:
    """`figures`, or `run` of (devices, local), in a process of its own.

    Its memory is to be known, and its devices are set at its start.
    """
    flags = f"--xla_force_host_platform_device_count={max(devices for devices, _ in CASES)}"
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-m", "studies.weights_road", "--folder", str(folder)]
    words += ["--child", *map(str, ran)]
    done = subprocess.run(words, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure what starting a large model reads.")
    parser.add_argument("--out", type=Path, help="a JSON file")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs="*", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child is not None:
        ran = options.child
        print(json.dumps(run(options.folder, *ran) if ran else figures(options.folder)))
        return
    if not options.out:
        parser.error("give --out")
    from alchemint_jax import results

    found: dict[str, Any] = {"recipe": CONFIG.name}
    for dtype in ("F32", "BF16"):
        with tempfile.TemporaryDirectory() as folder:
            write_model(Path(folder), dtype)
            files = Path(folder).rglob("*.safetensors")
            size = sum(file.stat().st_size for file in files) / GB
            told = {"files_gb": size, "planned": _child(Path(folder))}
            found[dtype] = {**told, "runs": [_child(Path(folder), *case) for case in RUNS]}
    results.write_json(options.out, found)
    print(results.to_json(found))


if __name__ == "__main__":
    main()
