"""Writes tests/goldens: small networks of the reference libraries with random weights, their
inputs and what the references make of them. Run by `make goldens`, which installs the references.

A `reference_NAME.py` beside this file that has `write(directory)` fills tests/goldens/NAME, which
stays as it is until that is done.
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
        reference = importlib.import_module(f"reference_{name}")
        if not hasattr(reference, "write"):
            if sys.argv[1:]:
                sys.exit(f"reference_{name}.py writes no goldens")
            continue
        target, partial = GOLDENS / name, GOLDENS / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        reference.write(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
        print(f"{target}: {size / 2**20:.2f} MiB")
