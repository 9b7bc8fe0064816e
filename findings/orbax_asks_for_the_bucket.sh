#!/usr/bin/env bash
# Surprise: Orbax asks Google's storage for the bucket itself before it lists checkpoints of a gs://
#   folder (to see whether it has a hierarchical namespace), and fails where that is refused. Roles
#   for objects, such as storage.objectUser or storage.objectAdmin, hold no storage.buckets.get, so
#   that a manager of checkpoints cannot be made though each object can be listed, read and written.
# Guess: who may do all with the objects of a bucket may keep checkpoints there; and where the kind of
#   a bucket cannot be told, it is taken for an ordinary one.
# Versions: orbax-checkpoint 0.12.8, jax 0.10.2 (CPU), gcsfs 2026.10.1, google-cloud-storage 3.17.1,
#   Python 3.11. A server on the loopback interface stands in for Google's.
# Source: is_hierarchical_namespace_enabled in orbax/checkpoint/_src/path/gcs_utils.py, which
#   _StandardNameFormat._glob_step_paths in orbax/checkpoint/_src/path/step.py calls
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet \
    orbax-checkpoint==0.12.8 jax==0.10.2 gcsfs==2026.10.1 google-cloud-storage==3.17.1
# gcsfs would ask for the kind of the bucket as well, and go on where it is not told.
JAX_PLATFORMS=cpu GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false "$folder/venv/bin/python" - <<'PY'
import json
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

requests, bucket_is_open = [], False


class Storage(BaseHTTPRequestHandler):
    """A bucket with one step in a folder, for somebody who has a role for objects."""

    def do_GET(self):
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        status, said = 404, {"error": {"code": 404, "message": "no such object"}}
        if path == "/storage/v1/b/bucket/o":
            status, said = 200, {"prefixes": ["run/7/"]} if query["prefix"] == ["run/"] else {}
        elif path == "/storage/v1/b/bucket/o/run%2F7%2Fcommit_success.txt":
            status, said = 200, {"bucket": "bucket", "name": "run/7/commit_success.txt", "size": "0"}
        elif path == "/storage/v1/b/bucket" and bucket_is_open:
            status, said = 200, {"name": "bucket"}
        elif path == "/storage/v1/b/bucket":
            status, said = 403, {"error": {"code": 403, "message": "no storage.buckets.get access"}}
        requests.append((path, status))
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{server.server_port}"
os.environ["GOOGLE_CLOUD_PROJECT"] = "project"

import orbax.checkpoint as ocp
from etils import epath
from google.api_core.exceptions import Forbidden

logging.disable(logging.WARNING)
print(*(f"{name} {version(name)}" for name in ("orbax-checkpoint", "jax", "gcsfs", "google-cloud-storage")))


def steps():
    options = ocp.CheckpointManagerOptions(create=False, read_only=True)
    with ocp.CheckpointManager("gs://bucket/run", options=options) as manager:
        return list(manager.all_steps())


listed = [path.name for path in epath.Path("gs://bucket/run").iterdir()]
print("the folder holds", listed, requests)
assert listed == ["7"]
requests.clear()
try:
    found = steps()
except Forbidden as error:
    found = error.message.replace(os.environ["STORAGE_EMULATOR_HOST"], "")
print("CheckpointManager, bucket refused:", found)
print(" ", requests)
assert ("/storage/v1/b/bucket", 403) in requests, "this has changed"
assert "no storage.buckets.get access" in str(found), "this has changed"
bucket_is_open = True
found = steps()
print("CheckpointManager, bucket shown:", found)
assert found == [7], "this has changed"
PY
