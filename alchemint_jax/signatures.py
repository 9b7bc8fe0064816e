"""What a file is by its first bytes, where it is not what its name says."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

_SAFETENSORS = "fetch the safetensors version (for Wan the *-Diffusers repository)"
_PICKLED = f"unpickling runs code from the file, so it is never loaded; {_SAFETENSORS}"
_ANSWER = "it was saved in place of the file, often because a log-in is needed; download it again"
# Beginnings, what they are of, and what to do; bytes are compared as they are, case ignored.
_BEGINNINGS = (
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a Git LFS pointer",
        "it only stands for the file, which was not fetched; run `git lfs pull` in its repository, "
        "or download the file itself",
    ),
    (
        rb"\s*<(!--|(!doctype html|html|head|body|script|title|meta)\b)",
        "an HTML page",
        _ANSWER,
    ),
    (rb"\s*<\?xml\b", "an XML document", _ANSWER),
    (
        rb"GGUF",
        "a GGUF file",
        "its weights are quantised, and such files are not read; fetch safetensors in bf16, fp16 "
        "or fp32",
    ),
    (rb"\x80[\x02-\x05]", "a pickle", _PICKLED),
    (rb"PK\x03\x04", "a zip archive, which is how PyTorch pickles weights", _PICKLED),
    (rb"\x93NUMPY", "a NumPy array", _SAFETENSORS),
    (rb"\x89HDF\r\n", "an HDF5 file", _SAFETENSORS),
    (rb"\x1f\x8b", "a gzip archive", "unpack it, and give what is in it"),
    (rb".{257}ustar", "a tar archive", "unpack it, and give what is in it"),
)
_KINDS = [(re.compile(start, re.I | re.S), kind, cure) for start, kind, cure in _BEGINNINGS]
_UTF16 = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HEAD = 512
_SHOWN = 60


def mistaken(path: str | os.PathLike[str], wanted: str, text: bool = False) -> str | None:
    """What `path` is instead of what is wanted, and what to do; None if its bytes do not tell.

    Args:
        path: of a file that could not be read as what it should be, or a link to nowhere.
        wanted: what it should be, with its article: "a safetensors file".
        text: whether that may be text; if not, a file of text is mistaken, too.

    Returns:
        The end of a sentence that begins with the path: "is a pickle, not ...; ...".
    """
    path = Path(path)
    try:
        if path.is_symlink() and not path.exists():
            return (
                f"is a link to {os.readlink(path)}, where there is nothing; fetch it again, or "
                "copy the folder with what its links stand for (cp -rL)"
            )
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if not head:
        return f"is an empty file, not {wanted}: fetch or save it again"
    if not head[:8].strip(b"\0"):
        return (
            f"begins with zeros and is not {wanted}: it was fetched or saved in part; do it again"
        )
    head = _in_utf8(head)
    # The length of a safetensors header can look like the beginning of something else.
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return None
    for start, kind, cure in _KINDS:
        if start.match(head):
            return f"is {kind}, not {wanted}: {cure}"
    line = head.split(b"\n")[0].strip()
    if not text and line and _is_text(head):
        said = line.decode("utf-8", "ignore")
        shown = said[:_SHOWN] + ("..." if len(said) > _SHOWN else "")
        return f"is a text that begins {shown!r}, not {wanted}: download it again"
    return None


def _in_utf8(head: bytes) -> bytes:
    """Text that begins with a byte order mark as UTF-8 without it; all else as it is."""
    for mark, codec in ((codecs.BOM_UTF8, "utf-8"), *_UTF16):
        if head.startswith(mark):
            return head[len(mark) :].decode(codec, "ignore").encode()
    return head


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)
