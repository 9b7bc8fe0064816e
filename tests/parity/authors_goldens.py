"""Writes tests/goldens/authors: what the released code of others makes of small random inputs.

    python tests/parity/authors_goldens.py --tempocontrol DIR --tgi DIR --ts-attn DIR \\
        --kaleido DIR --relay DIR

Each DIR is a clone of the authors' repository at the commit that is named below; the script says
which, for each that is not given, and leaves its golden as it is. Nothing of that code is in this
repository: it is read from the clones and run, on a CPU, in an environment that has PyTorch
(`make parity` prepares one). What it gave is committed, and `tests/test_authors.py` compares.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent
GOLDENS = HERE.parent / "goldens" / "authors"


class Source(NamedTuple):
    """A repository, the commit that was run, and the licence that it names."""

    url: str
    commit: str
    licence: str


SOURCES = {
    "tempocontrol": Source(
        "https://github.com/Shira-Schiber/TempoControl",
        "701dbd27509b7b6a5e1a357108890d32e3410a8e",
        "Apache-2.0",
    ),
    "tgi": Source(
        "https://github.com/teunchoi/TGI", "2de059eefec389193e1d4191f359cdc374424ae9", "none named"
    ),
    "ts_attn": Source(
        "https://github.com/Hong-yu-Zhang/TS-Attn",
        "b800edd250c5ad39d9103e86e8370ee9db4483a1",
        "none named",
    ),
    "kaleido": Source(
        "https://github.com/zai-org/Kaleido",
        "4c6c75769f758d1847ef418f782d2cc7c1524d6a",
        "none named",
    ),
    "relay": Source(
        "https://github.com/GordonChen19/Prompt-Relay",
        "d1d0d2bb7dbfe9c8d324d72d4f92a6f760bdfe46",
        "Apache-2.0, named in the file of its attention",
    ),
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in SOURCES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="DIR")
    given = vars(parser.parse_args(arguments))
    GOLDENS.mkdir(parents=True, exist_ok=True)
    for name, source in SOURCES.items():
        if given[name] is None:
            print(f"{name}: not given; git clone {source.url}, git checkout {source.commit}")
            continue
        arrays = importlib.import_module(f"authors_{name}").goldens(given[name])
        target = GOLDENS / f"{name}.safetensors"
        arrays = {key: np.array(x, order="C") for key, x in arrays.items()}  # it asks for no less
        # One entry: of several, each writing would have another order.
        save_file(arrays, target, metadata={"source": ", ".join(source)})
        print(f"{target}: {target.stat().st_size / 2**10:.0f} KiB")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main(sys.argv[1:])
