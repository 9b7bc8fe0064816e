"""The calibration on a filmed clip is of one clip, and says so of others."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax import media
from alchemint_jax.errors import DataError
from studies import referee_real


def test_labels_are_of_one_clip(tmp_path):
    video = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), np.uint8)
    media.write_video(tmp_path / "short.mp4", video, 8)
    with pytest.raises(DataError, match=r"short\.mp4: has 3 frames; the labels are of 01_dog\.mp4"):
        referee_real.labelled(tmp_path / "short.mp4")
    with pytest.raises(DataError, match=r"--clip .*none\.mp4: cannot be read"):
        referee_real.labelled(tmp_path / "none.mp4")
