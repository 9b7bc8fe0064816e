"""Writes tests/goldens: small networks of the reference libraries with random weights, their
inputs and what the references make of them. Run by `make goldens`, which installs the references.

Each `reference_NAME.py` beside this file has `write(directory)`, which fills tests/goldens/NAME.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
GOLDENS = HERE.parent / "goldens"

if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    wanted = sys.argv[1:] or sorted(p.stem[10:] for p in HERE.glob("reference_*.py"))
    for name in wanted:
        target = GOLDENS / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        importlib.import_module(f"reference_{name}").write(target)
        size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
        print(f"{target}: {size / 2**20:.2f} MiB")
