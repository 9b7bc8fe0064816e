#!/usr/bin/env bash
# Surprise: to read one record of a shuffled dataset of Grain takes the longer the fewer records there
#   are: milliseconds of two of them, microseconds of a thousand. The time is that of finding the
#   place of the record in the shuffled order, in each epoch again. So tests and small studies, which
#   have few records and many epochs, spend seconds on an order of two.
# Guess: to shuffle fewer records is no slower than to shuffle many.
# Versions: grain 0.2.18, numpy 2.4.2, Python 3.11.
# Source: the documentation of MapDataset.shuffle says that it shuffles globally, and nothing of time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet grain==0.2.18 numpy==2.4.2
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata
import time

import grain

print("grain", importlib.metadata.version("grain"))


def milliseconds(records, shuffled):
    """Processor time to read one record, in the mean of many of several epochs."""
    dataset = grain.MapDataset.range(records)
    dataset = (dataset.shuffle(seed=1) if shuffled else dataset).repeat()
    reads = 200
    assert sorted(dataset[i] for i in range(records)) == list(range(records))
    began = time.process_time()
    for i in range(reads):
        dataset[i]
    return 1e3 * (time.process_time() - began) / reads


taken = {n: (milliseconds(n, True), milliseconds(n, False)) for n in (2, 10, 100, 1000)}
for records, (shuffled, plain) in taken.items():
    print(f"{records:5} records: {shuffled:.3f} ms for each, {plain:.3f} ms unshuffled")
assert taken[2][0] > 10 * taken[1000][0], "few records are no longer slower"
assert taken[2][0] > 3 * taken[10][0]
assert taken[2][1] < 3 * taken[1000][1]
PY
