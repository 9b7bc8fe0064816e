#!/usr/bin/env bash
# Surprise: TensorFlow Datasets serializes the same example to other bytes in every process, so that
#   files of records made twice from the same data differ, and so do their checksums. The features
#   are a protobuf map, whose order changes from process to process whatever PYTHONHASHSEED says.
#   get_tf_example(...).SerializeToString(deterministic=True) gives the same bytes each time.
# Guess: the same data gives the same files, as TFDS puts records in an order that their keys decide.
# Versions: tensorflow-datasets 4.9.10, protobuf 7.36.2 (upb), Python 3.11.
# Source: ExampleSerializer.serialize_example in tensorflow_datasets/core/example_serializer.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet tensorflow-datasets==4.9.10 protobuf==7.36.2
cat >"$folder/serialize.py" <<'PY'
from hashlib import sha256

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.example_serializer import ExampleSerializer

names = "abcdefghijkl"
features = tfds.features.FeaturesDict(dict.fromkeys(names, np.int64))
example = features.encode_example({name: i for i, name in enumerate(names)})
serializer = ExampleSerializer(features.get_serialized_info())
plain = serializer.serialize_example(example)
assert plain == serializer.serialize_example(example)
stable = serializer.get_tf_example(example).SerializeToString(deterministic=True)
print(*(sha256(data).hexdigest()[:16] for data in (plain, stable)), len(plain), len(stable))
PY
PYTHONHASHSEED=0 "$folder/venv/bin/python" - "$folder/serialize.py" <<'PY'
import subprocess
import sys
from importlib.metadata import version

from google.protobuf.internal import api_implementation

print("tensorflow-datasets", version("tensorflow-datasets"), end=" ")
print("protobuf", version("protobuf"), api_implementation.Type())
print("serialize_example, deterministic=True, bytes of each")
rows = []
for _ in range(5):
    row = subprocess.check_output([sys.executable, sys.argv[1]], text=True)
    print(row, end="")
    rows.append(row.split())
plain, stable, *sizes = (set(column) for column in zip(*rows))
assert len(plain) > 1, "this has changed"
assert len(stable) == 1 and len(set.union(*sizes)) == 1, "this has changed"
PY
