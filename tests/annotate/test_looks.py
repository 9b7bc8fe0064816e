"""Colours of clothes."""

from __future__ import annotations

import numpy as np

from alchemint_jax.annotate.looks import color_vector, joined


def dressed(top, bottom, seed=0, size=(90, 40), ground=(120, 130, 110)):
    """Somebody in front of a ground, with noise; a different one for each seed."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), ground, np.uint8)
    height, width = size
    image[height // 10 : height // 2, width // 5 : -width // 5] = top
    image[height // 2 :, width // 4 : -width // 4] = bottom
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


RED, BLUE, BLACK = (170, 40, 40), (50, 70, 150), (25, 25, 30)


def test_the_same_clothes_are_alike_and_others_are_not():
    first = color_vector(dressed(RED, BLACK))
    assert np.isclose(np.linalg.norm(first), 1, atol=1e-9)
    again = color_vector(dressed(RED, BLACK, 1, (140, 50), (150, 110, 110)))  # larger, elsewhere
    other, swapped = color_vector(dressed(BLUE, BLACK)), color_vector(dressed(BLACK, RED))
    assert first @ again > 0.9
    assert first @ other < 0.65 and first @ swapped < 0.3


def test_any_size_of_picture_has_one():
    for size in ((1, 1), (2, 300), (400, 3)):
        vector = color_vector(np.zeros((*size, 3), np.uint8))
        assert np.isclose(np.linalg.norm(vector), 1, atol=1e-9)


def test_a_join_is_a_weighted_mean():
    images = [dressed(RED, BLACK), dressed(BLUE, BLACK)]
    vectors = np.array([[0.6, 0.8], [1.0, 0.0]])
    colors = [color_vector(image) for image in images]
    both = joined(vectors, images, 0.25)
    assert np.isclose(both[0] @ both[1], 0.75 * 0.6 + 0.25 * (colors[0] @ colors[1]))
    assert joined(vectors, images, 0) is vectors
    assert joined(np.zeros((0, 2)), [], 0.5).shape == (0, 2)
