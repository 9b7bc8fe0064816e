"""What a file is by its first bytes, wherever one is opened that is not what its name says."""

from __future__ import annotations

import codecs
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from alchemint_jax import images, weights
from alchemint_jax.errors import StoryboardError, WeightsError
from alchemint_jax.signatures import mistaken
from alchemint_jax.tokenizers import UMT5Tokenizer
from alchemint_jax.weights import files

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n"


def _zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
    return out.getvalue()


def _tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.addfile(tarfile.TarInfo("weights"))
    return out.getvalue()


KINDS = {
    "Git LFS pointer.*git lfs pull": LFS,
    "HTML page.*download it again": b"\n <!DOCTYPE html><html>",
    "HTML page": b"<html>",
    "HTML page, not": codecs.BOM_UTF8 + b"<!doctype html>",
    "HTML page, ": codecs.BOM_UTF16_LE + "<html>ä".encode("utf-16-le"),
    "HTML page, n": b"<!-- " + b"saved from " * 60 + b"--><html>",
    "empty file, not a safetensors file: fetch or save": b"",
    "begins with zeros and is not a safetensors file": bytes(8),
    "begins with zeros and is not a safe": bytes(8) + b"{}",
    "text that begins 'Zugriff verweigert – ": "Zugriff verweigert – bitte anmelden".encode(),
    "XML document": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "GGUF file.*bf16": b"GGUF\3\0\0\0" + bytes(40),
    "pickle.*never loaded.*safetensors": pickle.dumps({"a": 1}),
    "zip archive.*never loaded": _zip(),
    "tar archive.*unpack": _tar(),
    "gzip archive": b"\x1f\x8b\x08\0" + bytes(30),
    "HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(30),
    "text that begins 'Entry not found'": b"Entry not found",
    "text that begins .*error": b'{"error": "Invalid username or password."}',
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_something_else(tmp_path, kind):
    file = tmp_path / "model.safetensors"
    file.write_bytes(KINDS[kind])
    with pytest.raises(WeightsError, match=f"(?s)safetensors (is )?(an? ?)?{kind}") as caught:
        files.open_files([file])
    assert "truncated" not in str(caught.value)
    with pytest.raises(WeightsError, match=f"(?s) (is )?(an? ?)?{kind}"):
        weights.load(file, "transformer")


@pytest.mark.parametrize("size", range(0x280, 0x580, 0x40))
def test_a_header_is_no_pickle_whatever_its_length(tmp_path, size):
    """Its length comes first: 640 begins as a pickle does."""
    file = tmp_path / "x.safetensors"
    whole = size.to_bytes(8, "little") + b"{}".ljust(size)
    file.write_bytes(whole)
    assert files.open_files([file]) == {} and mistaken(file, "weights") is None
    file.write_bytes(save({"a": np.ones(3, np.float32)})[:-1])
    with pytest.raises(WeightsError, match="truncated"):
        files.open_files([file])


def test_json_pictures_and_vocabularies_that_were_not_fetched(tmp_path):
    for name in ("config.json", "a.png", "tokenizer.json"):
        (tmp_path / name).write_bytes(LFS)
    with pytest.raises(WeightsError, match=r"config\.json is a Git LFS pointer, not JSON: .*pull"):
        files.read_json(tmp_path / "config.json")
    with pytest.raises(WeightsError, match=r"tokenizer\.json is a Git LFS pointer, not a tok"):
        UMT5Tokenizer.load(tmp_path)
    with pytest.raises(StoryboardError, match=r"a\.png: is a Git LFS pointer, not a picture"):
        images.check_image(tmp_path / "a.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    images.check_image(tmp_path / "a.png")


def test_links_to_nowhere_are_neither_files_nor_absent(tmp_path):
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (tmp_path / name).symlink_to("../blobs/abc")
    says = r"is a link to \.\./blobs/abc, where there is nothing"
    for read in (files.find, UMT5Tokenizer.load, lambda x: files.read_json(x / "config.json")):
        with pytest.raises(WeightsError, match=says):
            read(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"eps": NaN}', "eps is nan"),
        ('{"a": {"b": [0, -Infinity]}}', r"a\.b\[1\] is -inf"),
        ('{"latents_std": [1, 1e39]}', r"latents_std\[1\] is 1e\+39; a number must be finite"),
        ('{"eps": 1e999}', "eps is inf"),
    ],
)
def test_json_has_no_nan(tmp_path, text, says):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=rf"config\.json: {says}"):
        files.read_json(tmp_path / "config.json")
