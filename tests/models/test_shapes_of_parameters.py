"""Shapes of parameters are found once for each module."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from alchemint_jax.models import layers

traced = []


class Counted(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, scale=None):
        traced.append(self.width)
        return layers.Linear(self.width, (None, None))(x if scale is None else x * scale)


@pytest.fixture(autouse=True)
def forget():
    layers._abstract_params.cache_clear()
    traced.clear()


def shape_of(params):
    return params["Linear_0"]["kernel"].shape


def test_a_module_is_traced_once_and_another_is_not_taken_for_it():
    x = jnp.zeros((1, 3))
    first = layers.abstract_params(Counted(2), x)
    assert layers.abstract_params(Counted(2), x + 1) == first and traced == [2]
    assert shape_of(first) == (3, 2)
    assert shape_of(layers.abstract_params(Counted(4), x)) == (3, 4)
    assert shape_of(layers.abstract_params(Counted(2), jnp.zeros((1, 5)))) == (5, 2)
    layers.abstract_params(Counted(2), x, scale=jax.ShapeDtypeStruct((), jnp.float32))
    assert traced == [2, 4, 2, 2]


def test_a_caller_may_change_what_it_got():
    x = jnp.zeros((1, 3))
    layers.abstract_params(Counted(2), x).clear()
    assert shape_of(layers.abstract_params(Counted(2), x)) == (3, 2)
