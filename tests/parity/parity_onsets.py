"""The onsets of a sound: librosa hears clicks when they are, and nothing else is as high."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import wavfile

from alchemint_jax.errors import ConfigError
from alchemint_jax.sampling.control.onsets import onset_curve
from alchemint_jax.scene import Clock

CLOCK = Clock(16, 81, 4)


@pytest.mark.parametrize("rate", [22050, 48000])
def test_clicks_are_peaks(tmp_path, rate):
    """At 0.9, 2.0 and 4.3 s of 5 s: latent frames 4, 8 and 18 hold pixel frames 14, 32 and 68."""
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 1e-3, 8 * rate)
    for second in (0.9, 2.0, 4.3, 6.0):
        at = int(second * rate)
        sound[at : at + rate // 20] += rng.normal(0, 0.3, rate // 20)
    path = tmp_path / "clicks.wav"
    wavfile.write(path, rate, sound.astype(np.float32))
    curve = onset_curve(str(path), CLOCK)
    high = np.flatnonzero(curve >= 0.7).tolist()
    assert high == [4, 8, 18] and curve.shape == (21,)
    path.write_bytes(b"no sound")
    with pytest.raises(ConfigError, match="no sound that can be read"):
        onset_curve(str(path), CLOCK)
