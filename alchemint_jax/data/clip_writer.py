"""Datasets of clips are written by a builder of TFDS, whole or not at all."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from etils import epath
from jaxtyping import UInt8
from numpy import ndarray

from alchemint_jax.data import records
from alchemint_jax.data.clips import ClipShape
from alchemint_jax.errors import DataError
from alchemint_jax.places import local
from alchemint_jax.scene.scene import Scene

Clip = tuple[Scene, UInt8[ndarray, "f h w 3"]]


def write_clips(
    out: Path | str, name: str, shape: ClipShape, splits: Mapping[str, Iterable[Clip]]
) -> Path:
    """Writes clips into the new directory `out`, which appears only when it is whole.

    Args:
        out: the directory.
        name: what TFDS calls the dataset, in lower case with underscores.
        shape: what each record has room for.
        splits: the clips of each split, a scene and its frames each: of "train", and of
            "validation", on which training measures its loss.

    Returns:
        The directory.

    Raises:
        DataError: there is something in `out`, a clip does not fit, or it cannot be written.
    """
    out = local(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: holds something; choose another directory or remove it first")

    class Clips(  # type: ignore[call-arg]
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        VERSION = tfds.core.Version("1.0.0")
        # TFDS looks this up with `importlib_resources`, which it installs only on Python < 3.9.
        code_path = epath.Path(__file__)

        def _info(self) -> tfds.core.DatasetInfo:
            features = shape.features()
            return Info(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(clips) for split, clips in splits.items()}

        def _generate_examples(self, clips: Iterable[Clip]) -> Iterator[tuple[int, dict]]:
            for index, (scene, video) in enumerate(clips):
                yield index, shape.record(scene, video, index)

    Clips.name = name
    prepare(out, lambda folder: Clips(data_dir=folder, file_format="array_record"))
    return out


class Info(tfds.core.DatasetInfo):
    """What TFDS says of a dataset, without a look at what others have published.

    For that look each builder makes a folder in the system's temporary one, which stays there.
    """

    def initialize_from_bucket(self) -> None:
        """Leaves it as it is."""


def prepare(out: Path, builder: Callable[[str], Any], **cards: Mapping[str, Any]) -> None:
    """Has a builder write the new directory `out`.

    Args:
        out: the directory, which may be there if it is empty.
        builder: makes the TFDS builder of a data_dir.
        cards: JSON files at its top, by the names of these without the suffix.

    Raises:
        DataError: it cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with _quiet_tfds():
            builder(str(temporary)).download_and_prepare()
        shutil.rmtree(temporary / "downloads", ignore_errors=True)
        for name, card in cards.items():
            records.write_json(temporary / f"{name}.json", card)
        temporary.chmod(0o755)
        os.replace(temporary, out)
    except RuntimeError as error:  # what ArrayRecord and TFDS make of a full disk
        raise DataError(f"{out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Silences TFDS: it draws several bars at once and speaks of downloads; ours is one line."""
    from tensorflow_datasets.core.utils import tqdm_utils

    bars, logger = getattr(tqdm_utils, "_active", True), logging.getLogger("absl")
    level = logger.level
    tfds.display_progress_bar(False)
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        tfds.display_progress_bar(bars)
