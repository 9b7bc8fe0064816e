"""The onsets of a sound as a curve over latent frames (needs librosa)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.scene.clock import Clock

RATE, HOP = 22050, 512
"""Samples a second, and from one value of the strength of onsets to the next."""
LOUD, SIGMA = 0.7, 2.0
"""Peaks as high stay what they are; what lies between is smoothed, over so many latent frames."""


def onset_curve(path: str, clock: Clock) -> Float[np.ndarray, " t"]:
    """How strong the onsets of a sound are in each latent frame, from 0 to 1.

    Args:
        path: a sound file, whose start is that of the clip; what is longer is cut off, and after
            its end there is silence.
        clock: of the clip.

    Raises:
        ConfigError: librosa is missing, or the file has no sound that can be read, or no onsets
            while the clip lasts.

    Source:
        The audio masks of TempoControl's released code, arXiv 2510.02226.
    """
    strength = onset_strength(path)
    seconds = np.arange(len(strength)) * (HOP / RATE)
    curve = per_latent_frame(strength, seconds, clock)
    if np.ptp(curve) == 0:
        raise ConfigError(
            f"tempo: {path}: has no onsets in the {clock.duration:g} s that the clip lasts"
        )
    return peaks(curve)


def onset_strength(path: str) -> Float[np.ndarray, " n"]:
    """The flux of the mel spectrum, every `HOP` samples; raises ConfigError, see `onset_curve`."""
    if not Path(path).is_file():
        raise ConfigError(f"tempo: {path}: there is no such file")
    try:
        import librosa
    except ImportError as error:
        raise ConfigError(
            f"tempo: {path}: sound is read by librosa, which is not installed; install "
            'alchemint-jax[audio] (pip install "alchemint-jax[audio]"), or give seconds'
        ) from error
    try:
        sound, _ = librosa.load(path, sr=RATE, mono=True)
        strength = librosa.onset.onset_strength(y=sound, sr=RATE, hop_length=HOP)
    except Exception as error:  # each of the decoders below has errors of its own
        raise ConfigError(f"tempo: {path}: no sound that can be read ({error!r})") from error
    return np.asarray(strength, np.float64)


def per_latent_frame(
    values: Float[np.ndarray, " n"], seconds: Float[np.ndarray, " n"], clock: Clock
) -> Float[np.ndarray, " t"]:
    """The largest of the values that fall into each latent frame; after the last one, 0."""
    frames = int(clock.frames)
    found = np.interp([clock.second(i) for i in range(frames)], seconds, values, right=0.0)
    number = np.array([clock.count(second) for second in seconds], int)
    inside = number < frames
    np.maximum.at(found, number[inside], values[inside])
    rows = clock.held(np.stack([np.arange(clock.latent_frames)] * 2, axis=-1))
    return np.array([found[start:end].max() for start, end in rows])


def peaks(curve: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """Brought to the range from 0 to 1; what is below `LOUD` is smoothed."""
    from scipy.ndimage import gaussian_filter1d  # slow to import, and seldom needed

    scaled = (curve - curve.min()) / np.ptp(curve)
    return np.where(scaled >= LOUD, scaled, gaussian_filter1d(scaled, SIGMA))
