"""Shortcuts around the stages of Wan2.2's autoencoder: every value, by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from vae_setup import normal

from alchemint_jax.models.vae.shortcuts import (
    folded,
    folded_pairs,
    patchify,
    unfolded,
    unpatchify,
)


def test_channels_of_a_patch_are_colour_column_row():
    x = np.asarray(normal(0, 1, 2, 4, 6, 3))
    y = np.asarray(patchify(jnp.asarray(x), 2))
    assert y.shape == (1, 2, 2, 3, 12)
    for c, column, row in np.ndindex(3, 2, 2):
        np.testing.assert_array_equal(
            y[..., 4 * c + 2 * column + row], x[:, :, row::2, column::2, c]
        )
    np.testing.assert_array_equal(unpatchify(jnp.asarray(y), 2), x)
    np.testing.assert_array_equal(patchify(jnp.asarray(x), 1), x)


def _averaged(cells, features):
    """Means of consecutive channels of [... c] in float64."""
    group = cells.shape[-1] // features
    return np.stack(
        [cells[..., group * i : group * (i + 1)].mean(-1) for i in range(features)], axis=-1
    )


@pytest.mark.parametrize("features", [4, 8, 16])
def test_squares_become_channels_and_neighbours_their_mean(features):
    x = np.asarray(normal(1, 1, 3, 4, 2, 4), np.float64)
    cells = np.stack(
        [x[:, :, row::2, column::2, c] for c, row, column in np.ndindex(4, 2, 2)], axis=-1
    )
    np.testing.assert_allclose(
        folded(normal(1, 1, 3, 4, 2, 4), features, 2), _averaged(cells, features), atol=1e-6
    )


def test_without_halving_only_the_width_changes():
    x = normal(2, 1, 2, 2, 2, 4)
    np.testing.assert_array_equal(folded(x, 4, 1), x)
    np.testing.assert_allclose(folded(x, 2, 1), _averaged(np.asarray(x), 2), atol=1e-6)


def test_frame_0_is_the_second_of_its_pair():
    """With twice the width, even channels are of the earlier frame: zeros before frame 0."""
    x = normal(3, 1, 5, 2, 4, 3)
    y, kept = folded_pairs(x, 6, 2)
    assert y.shape == (1, 3, 1, 2, 6) and kept.shape[1] == 0
    means = np.asarray(x, np.float64).reshape(1, 5, 1, 2, 2, 2, 3).mean((3, 5))
    earlier = np.concatenate([np.zeros_like(means[:, :1]), means[:, 1::2]], axis=1)
    np.testing.assert_allclose(y[..., 0::2], earlier, atol=1e-6)
    np.testing.assert_allclose(y[..., 1::2], means[:, 0::2], atol=1e-6)
    np.testing.assert_array_equal(folded_pairs(x[:, :4], 6, 2)[1], x[:, 3:4])


def test_channels_become_squares_by_copies():
    """Half the width: output o takes input 2 o + the parity of the row, in both columns."""
    x = np.asarray(normal(4, 1, 2, 2, 3, 8))
    y = np.asarray(unfolded(jnp.asarray(x), 4, 1, first=True))
    assert y.shape == (1, 2, 4, 6, 4)
    for o, row, column in np.ndindex(4, 2, 2):
        np.testing.assert_array_equal(y[:, :, row::2, column::2, o], x[..., 2 * o + row])


@pytest.mark.parametrize("first", [True, False])
def test_of_frame_0_the_later_copy_is_kept(first):
    """Width stays: output o of frame p takes input o; half of it: 4 o + 2 p + the row's parity."""
    x = np.asarray(normal(5, 1, 3, 2, 2, 8))
    same, half = (np.asarray(unfolded(jnp.asarray(x), n, 2, first)) for n in (8, 2))
    assert same.shape[1] == half.shape[1] == (5 if first else 6)
    places = [(f, p) for f in range(3) for p in range(2)][first:]
    for at, (f, p) in enumerate(places):
        for row, column in np.ndindex(2, 2):
            cell = (slice(None), at, slice(row, None, 2), slice(column, None, 2))
            np.testing.assert_array_equal(same[cell], x[:, f])
            np.testing.assert_array_equal(half[cell], x[:, f, :, :, 2 * p + row :: 4])
