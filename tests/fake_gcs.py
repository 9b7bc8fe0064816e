"""A bucket on the loopback interface: what Google's storage answers to the libraries that we use.

    python tests/fake_gcs.py                    # prints its address, and serves until it is ended

gcsfs, tensorstore, google-cloud-storage and google-cloud-cpp (in ArrayRecord) talk to it as to the
real one: objects with generations and conditions on them, listings with prefixes, ranges from
either end, uploads in one piece and in several, batches. Objects live as long as it does.
`POST /faults {"status": 503, "part": "text"}` lets requests fail that hold that part;
`{}` ends it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import email.parser
import email.policy
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, bytes | memoryview, dict[str, str]]
_OBJECT = re.compile(r"(?:/download|/upload)?/storage/v1/b/([^/]+)/o(?:/(.+))?")
_DATE = "2026-01-01T00:00:00.000Z"


@dataclasses.dataclass(frozen=True)
class Object:
    data: bytes
    generation: int
    md5: str
    crc32c: str


def _new(data: bytes, generation: int) -> Object:
    import google_crc32c  # comes with gcsfs

    hashes = hashlib.md5(data).digest(), google_crc32c.Checksum(data).digest()
    return Object(data, generation, *(base64.b64encode(x).decode() for x in hashes))


class Store:
    """Buckets by name; nothing in here knows of HTTP's bytes."""

    def __init__(self, *buckets: str) -> None:
        self.buckets: dict[str, dict[str, Object]] = {name: {} for name in buckets}
        self.uploads: dict[str, tuple[str, str, bytearray, dict[str, str]]] = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.faults: dict[str, Any] = {}

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path, query = (
            urlsplit(url).path,
            {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()},
        )
        if path == "/faults":
            self.faults = json.loads(body)
            return _json({})
        part = self.faults.get("part", "")
        if self.faults and (part in unquote(url) or part.encode() in body):
            return _error(self.faults["status"], "as the test asked for")
        if path.startswith("/batch/"):
            return self._batch(headers, body)
        with self.lock:
            if match := _OBJECT.fullmatch(path):
                bucket, name = match[1], unquote(match[2] or "")
                if bucket not in self.buckets:
                    return _error(404, "The specified bucket does not exist.")
                if path.startswith("/upload/"):
                    return self._upload(method, bucket, query, headers, body)
                if not name:
                    return self._list(bucket, query)
                return self._object(method, bucket, name, query, headers)
            if match := re.fullmatch(r"/storage/v1/b/([^/]+)", path):
                found = match[1] in self.buckets
                return _json({"name": match[1]}) if found else _error(404, "no such bucket")
        return _error(501, f"{method} {path} is not answered here")

    def _object(
        self, method: str, bucket: str, name: str, query: dict, headers: Mapping[str, str]
    ) -> Answer:
        there = self.buckets[bucket].get(name)
        if failed := _condition(there, query):
            return failed
        if there is None or int(query.get("generation", there.generation)) != there.generation:
            return _error(404, f"No such object: {bucket}/{name}")
        if method == "DELETE":
            del self.buckets[bucket][name]
            return 204, b"", {}
        if query.get("alt") != "media":
            return _json(_about(bucket, name, there))
        hashes = f"crc32c={there.crc32c},md5={there.md5}"
        about = {"x-goog-generation": str(there.generation), "x-goog-hash": hashes}
        size, wanted = len(there.data), headers.get("Range", "")
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if not match:
            return 200, there.data, about
        if match[1]:
            start, end = int(match[1]), min(size, int(match[2] or size) + 1)
        else:
            start, end = max(0, size - int(match[2])), size
        if start >= size:
            return _error(416, "range not satisfiable")
        return (
            206,
            memoryview(there.data)[start:end],
            about | {"Content-Range": f"bytes {start}-{end - 1}/{size}"},
        )

    def _list(self, bucket: str, query: dict[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        start, end = query.get("startOffset", ""), query.get("endOffset")
        most, after = int(query.get("maxResults", 1000)), query.get("pageToken", "")
        items, folders = [], set()
        names = sorted(name for name in self.buckets[bucket] if name.startswith(prefix))
        for name in names:
            if name < start or (end is not None and name >= end) or name <= after:
                continue
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folders.add(prefix + head + delimiter)
            elif len(items) == most:
                last = {"nextPageToken": items[-1]["name"]}
                return _json({"items": items, "prefixes": sorted(folders), **last})
            else:
                items.append(_about(bucket, name, self.buckets[bucket][name]))
        return _json({"items": items, "prefixes": sorted(folders)})

    def _upload(
        self, method: str, bucket: str, query: dict, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        if method == "PUT" or "upload_id" in query:
            return self._go_on(query["upload_id"], headers, body)
        kind, name = query["uploadType"], query.get("name", "")
        if kind == "resumable":
            name = name or json.loads(body)["name"]
            number = str(next(self.numbers))
            self.uploads[number] = (bucket, name, bytearray(), query)
            address = f"http://{headers['Host']}/upload/storage/v1/b/{bucket}/o?upload_id={number}"
            return 200, b"", {"Location": address}
        if kind == "multipart":
            about, content = _parts(headers["Content-Type"], body)
            name, body = name or json.loads(about)["name"], content
        return self._put(bucket, name, body, query)

    def _go_on(self, number: str, headers: Mapping[str, str], body: bytes) -> Answer:
        bucket, name, held, query = self.uploads[number]
        held += body
        total = headers.get("Content-Range", "bytes */0").rpartition("/")[2]
        if total == "*" or len(held) < int(total):
            return 308, b"", {"Range": f"bytes=0-{len(held) - 1}"} if held else {}
        del self.uploads[number]
        return self._put(bucket, name, bytes(held), query)

    def _put(self, bucket: str, name: str, data: bytes, query: dict[str, str]) -> Answer:
        if failed := _condition(self.buckets[bucket].get(name), query):
            return failed
        made = self.buckets[bucket][name] = _new(data, next(self.numbers))
        return _json(_about(bucket, name, made))

    def _batch(self, headers: Mapping[str, str], body: bytes) -> Answer:
        head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
        mail = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        out = []
        for part in mail.iter_parts():
            method, url, _ = part.get_content().strip().split(maxsplit=2)
            status, data, _ = self.answer(method, url, {}, b"")
            text = (
                f"HTTP/1.1 {status} said\r\nContent-Type: application/json\r\n\r\n{data.decode()}"
            )
            ours = f"response-{part['Content-ID'].strip('<>')}"
            out.append(
                f"--part\r\nContent-Type: application/http\r\nContent-ID: <{ours}>\r\n\r\n{text}"
            )
        text = "\r\n".join([*out, "--part--\r\n"])
        return 200, text.encode(), {"Content-Type": "multipart/mixed; boundary=part"}


def _parts(kind: str, body: bytes) -> list[bytes]:
    edge = b"--" + re.search(r'boundary="?([^";]+)', kind)[1].encode()
    pieces = body.split(edge)[1:-1]
    return [re.split(rb"\r?\n\r?\n", piece, maxsplit=1)[1].removesuffix(b"\n") for piece in pieces]


def _condition(there: Object | None, query: Mapping[str, str]) -> Answer | None:
    generation = there.generation if there else 0
    match, other = query.get("ifGenerationMatch"), query.get("ifGenerationNotMatch")
    if match is not None and int(match) != generation:
        return _error(412, "At least one of the pre-conditions you specified did not hold.")
    if other is not None and int(other) == generation:
        return (304, b"", {}) if there else _error(404, "no such object")
    return None


def _about(bucket: str, name: str, there: Object) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{there.generation}",
        "bucket": bucket,
        "name": name,
        "generation": str(there.generation),
        "metageneration": "1",
        "size": str(len(there.data)),
        "timeCreated": _DATE,
        "updated": _DATE,
        "md5Hash": there.md5,
        "crc32c": there.crc32c,
    }


def _json(content: Any) -> Answer:
    return 200, json.dumps(content).encode(), {"Content-Type": "application/json"}


def _error(status: int, message: str) -> Answer:
    return status, *_json({"error": {"code": status, "message": message}})[1:]


class Server(ThreadingHTTPServer):
    """Clients may be killed, or have read enough, at any moment."""

    daemon_threads = True

    def handle_error(self, *request: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*request)


def serve(*buckets: str) -> ThreadingHTTPServer:
    """A server that is ready, on a free port."""
    store = Store(*buckets)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm, wbufsize = True, -1

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, data, headers = store.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

        def log_message(self, *words: Any) -> None:
            if os.environ.get("FAKE_GCS_LOG"):
                super().log_message(*words)

    return Server(("127.0.0.1", 0), Handler)


@contextlib.contextmanager
def running() -> Iterator[str]:
    """A server in a process of its own; gives its address."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def environment(address: str) -> dict[str, str]:
    """What has each of the four libraries talk to it; gcsfs asks for nothing else."""
    names = ("STORAGE_EMULATOR_HOST", "CLOUD_STORAGE_EMULATOR_ENDPOINT", "TENSORSTORE_GCS_HTTP_URL")
    more = {"GOOGLE_CLOUD_PROJECT": "test", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    return dict.fromkeys(names, address) | more


if __name__ == "__main__":
    _server = serve("bucket", "other")
    print(f"http://127.0.0.1:{_server.server_address[1]}", flush=True)
    _server.serve_forever()
