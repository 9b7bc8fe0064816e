"""Where things lie: in a folder of this machine, or at an address in a bucket, as gs://bucket/run.

The only module that tells the two apart. What is local stays a `Path`; an address becomes a path of
etils, which has the same methods and goes through fsspec (gcsfs, s3fs), as orbax does. An object in
a bucket is whole or absent: to write one is one put. A folder of several is whole once its last
object is there, `MARK`, which lists the others with their sizes and SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax.errors import AlchemintError, ConfigError

SCHEMES = {"gs": "gcsfs", "s3": "s3fs"}
"""Kinds of addresses, and the library of each: both come with the extra `cloud`."""
MARK = "whole.json"
"""The last object of a folder of ours in a bucket."""
Place = Any
"""A `Path`, or what etils has for an address, with the same methods."""
AnyPlace = str | os.PathLike[str]
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)([^/]*)(.*)")
_COPY = (
    "this is written to this machine; name a place here, and copy it there (gcloud storage cp "
    "--recursive, aws s3 cp --recursive)"
)
_PATIENCE = 30  # seconds for a bucket to answer at all; gcsfs alone takes a minute and a half


def is_address(name: AnyPlace) -> bool:
    """Whether this is meant as an address, of whatever kind, rather than as a local path."""
    return _ADDRESS.match(os.fspath(name)) is not None


def place(name: AnyPlace) -> Place:
    """A local path, or the path of an address; nothing is asked of the bucket.

    Raises:
        ConfigError: it is no address that can be used, or its library is not installed.
    """
    text = os.fspath(name)
    match = _ADDRESS.match(text)
    if match is None:
        return Path(name)
    scheme, slash, bucket, rest = match.groups()
    if scheme not in SCHEMES:
        raise ConfigError(
            f"{text}: addresses of the kind {scheme}:// are not known; give "
            f"{' or '.join(f'{kind}://BUCKET/PATH' for kind in SCHEMES)}, or a folder"
        )
    if not slash or not bucket:
        raise ConfigError(
            f"{text} is not an address: write {scheme}://BUCKET/PATH (in Python as a string, for "
            "Path makes one slash of two)"
        )
    if re.search(r"[*?\[\]#]", bucket + rest) or ".." in rest.split("/"):
        raise ConfigError(f"{text}: an address has none of * ? [ ] # in it, and no ..")
    if importlib.util.find_spec(SCHEMES[scheme]) is None:
        raise ConfigError(
            f"{text}: {SCHEMES[scheme]} is not installed, which reads and writes {scheme}://; "
            "pip install 'alchemint-jax[cloud]'"
        )
    from etils import epath  # a tenth of a second that only addresses should cost

    return epath.Path(text)


def local(name: AnyPlace, instead: str = _COPY) -> Path:
    """The path of what has to be on this machine, and would else be in a folder called "gs:".

    Raises:
        ConfigError: it is an address; `instead` says what to do.
    """
    if is_address(name):
        raise ConfigError(f"{os.fspath(name)} is an address in a bucket: {instead}")
    return Path(name)


@contextlib.contextmanager
def reaching(where: AnyPlace, advice: str = "") -> Iterator[None]:
    """Says what can be done about a bucket that is missing, closed or out of reach.

    Raises:
        AlchemintError: for whatever the libraries raise in here; `advice` is added to it.
    """
    loggers = [logging.getLogger(name) for name in ("gcsfs", "aiobotocore", "botocore")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:  # they log what they raise as well, with a traceback
        logger.disabled = True
    try:
        yield
    except AlchemintError:
        raise
    except Exception as error:  # fsspec, aiohttp, botocore and google-auth raise many kinds
        raise AlchemintError(f"{os.fspath(where)}: {trouble(error)}{advice}") from error
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was


def trouble(error: BaseException) -> str:
    """What an error of a bucket's libraries comes to, and what to do."""
    kind, text = type(error).__name__, " ".join(str(error).split())[:300]
    code = getattr(error, "code", None)
    if "Credentials" in kind or "RefreshError" in kind:
        return (
            f"no credentials were found ({text}); for gs:// run `gcloud auth application-default "
            "login` or give the machine a service account, for s3:// set AWS_PROFILE or its keys"
        )
    if (
        isinstance(error, PermissionError)
        or kind == "Forbidden"
        or code in (401, 403)
        or re.search(r"Forbidden|AccessDenied|PERMISSION_DENIED|\b(401|403)\b", text)
    ):
        return (
            f"permission is denied ({text}); the account needs to read, list, write and delete "
            "objects there, and to look at the bucket itself (of Google's roles: "
            "storage.objectUser and storage.bucketViewer)"
        )
    if isinstance(error, FileNotFoundError) or kind in ("NotFound", "NoSuchBucket"):
        return f"there is no such bucket, or it has been removed ({text}); correct the address"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; TMPDIR says where files wait for their upload"
    return f"the bucket cannot be reached ({kind}: {text}); check the network, then try again"


def check(where: Place, *, writes: bool = False) -> None:
    """Asks for the bucket of an address, before hours are spent; local paths are not looked at.

    Args:
        where: a path from `place`.
        writes: also puts an object there, and deletes it.

    Raises:
        AlchemintError: it is not there, permission is missing, or nothing answers in 30 seconds.
    """
    if not is_address(where):
        return
    probe = os.fspath(where / f".{secrets.token_hex(6)}.probe")

    def ask() -> None:
        fs = files_of(where)
        fs.info(os.fspath(where).split("/")[2])
        if writes:
            fs.pipe_file(probe, b"")
            fs.rm_file(probe)

    with reaching(where):
        _in_time(ask)


def _in_time(ask: Callable[[], None]) -> None:
    """In a thread that is left behind if it takes too long; libraries wait for each step."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            ask()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {_PATIENCE} seconds")
    if errors:
        raise errors[0]


def files_of(where: Place) -> Any:
    """The file system of fsspec that an address belongs to, with nothing remembered of it."""
    import fsspec

    fs = fsspec.filesystem(os.fspath(where).partition(":")[0])
    fs.invalidate_cache()
    return fs


@contextlib.contextmanager
def written(where: Place) -> Iterator[Path]:
    """A folder to write: the path itself, or one that is put into the bucket at the end.

    The latter waits in a temporary folder (of TMPDIR), and nothing is put if there is an error.

    Raises:
        AlchemintError: the bucket does not take it.
    """
    if not is_address(where):
        yield Path(where)
        return
    with tempfile.TemporaryDirectory(prefix="alchemint-") as folder:
        path = Path(folder) / where.name
        yield path
        with reaching(where):
            _put_folder(path, where)


def _put_folder(folder: Path, where: Place) -> None:
    """What an earlier folder has of other objects goes; those that it does not list stay."""
    fs = files_of(where)
    before = read_mark(where)
    if before is not None:
        fs.rm_file(os.fspath(where / MARK))
    files = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        fs.put_file(os.fspath(file), os.fspath(where / name))
        files[name] = {"size": file.stat().st_size, "sha256": digest}
    for name in sorted(set(before or ()) - set(files)):
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(os.fspath(where / name))
    fs.pipe_file(os.fspath(where / MARK), json.dumps({"files": files}, indent=1).encode())


def read_mark(where: Place) -> dict[str, dict[str, Any]] | None:
    """Sizes and SHA-256 of the objects of a folder, by name; None where there is no mark."""
    try:
        return json.loads(files_of(where).cat_file(os.fspath(where / MARK)))["files"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise AlchemintError(f"{where / MARK} is damaged; write that folder again") from error


def absent(folder: Place, names: Sequence[str]) -> list[str]:
    """Those of the names that are no files in a folder; a bucket is asked once for all of them."""
    if not is_address(folder):
        return [name for name in names if not (folder / name).is_file()]
    with reaching(folder):
        try:
            found = files_of(folder).ls(os.fspath(folder), detail=False)
        except FileNotFoundError:
            found = []
    there = {path.rpartition("/")[2] for path in found}
    return [name for name in names if name not in there]


def holds(where: Place) -> bool:
    """Whether there is anything of this address.

    Raises:
        AlchemintError: its bucket cannot be asked.
    """
    with reaching(where):
        return files_of(where).exists(os.fspath(where))


class Mirror:
    """A local folder whose files are kept in a bucket as well, each put there as a whole.

    Args:
        folder: on this machine.
        where: the folder of the bucket.
    """

    def __init__(self, folder: Path, where: Place) -> None:
        self.folder, self.where = folder, where
        self._seen: dict[Path, tuple[int, int]] = {}

    def fetch(self, name: str) -> None:
        """Brings a file that an earlier run has left there, if it has."""
        with reaching(self.where), contextlib.suppress(FileNotFoundError):
            data = files_of(self.where).cat_file(os.fspath(self.where / name))
            (self.folder / name).write_bytes(data)

    def sync(self) -> None:
        """Puts what has changed since the last time.

        Raises:
            AlchemintError: the bucket does not take it.
        """
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            about = file.stat()
            state = (about.st_size, about.st_mtime_ns)
            if self._seen.get(file) != state:
                name = file.relative_to(self.folder).as_posix()
                with reaching(self.where):
                    files_of(self.where).pipe_file(os.fspath(self.where / name), file.read_bytes())
                self._seen[file] = state
