"""Attention on a mesh: each device attends for its samples, heads and part of the queries.

Axes: b batch, n m tokens, k heads, d head dim, e width of the values.

What shares a sequence (the `context` axis, of c devices) exchanges it for heads. Let h be the
largest number that divides both c and the heads here. Each h neighbours give one another all heads
of their tokens for all their tokens of some heads (all-to-all), back again at the end, and fetch
the keys and values of these heads from the other c / h groups (all-gather). Where the heads divide
(h = c, known as Ulysses) every device sends 4 n k d / c numbers times (c - 1) / c, where keys and
values that go round in a ring are 2 n k d (c - 1) / c: c / 2 times as many. For 12 heads on 8
devices (h = 4) it is 0.63 n k d for 1.75 n k d. No head is computed twice, and any kernel may
attend on each device, unchanged, in the forward and in the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from alchemint_jax import sharding

Attend = Callable[..., jax.Array]


def attend_on_mesh(
    attend: Attend,
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None,
    mesh: AbstractMesh,
) -> Float[Array, "b n k e"]:
    """`attend(q, k, v, key_mask)`, each device for its own part.

    Samples, tokens and heads that do not divide are padded; fewer samples or heads than parts are
    whole on each device. Keys and values are whole where that is less to send than an exchange:
    where they are few, such as those of a text.

    Args:
        attend: runs on each device; `key_mask` may be None.
        q: queries.
        k: keys.
        v: values.
        key_mask: which keys are seen.
        mesh: the current one.
    """
    (b, n, heads, _), m = q.shape, k.shape[1]
    batch, tokens, across, _ = sharding.spec("batch", "tokens", "heads", None)
    batch = batch if b >= sharding.parts(batch, mesh) else None
    across = across if heads >= sharding.parts(across, mesh) else None
    rows, c, columns = (sharding.parts(axis, mesh) for axis in (batch, tokens, across))
    along = tokens if m * (c - 1) >= n else None

    if key_mask is None and along and m % c:
        key_mask = jnp.ones((b, m), bool)
    args, specs = [_padded(q, rows, c, columns)], [P(batch, tokens, across, None)]
    for x in (k, v):
        args.append(_padded(x, rows, sharding.parts(along, mesh), columns))
        specs.append(P(batch, along, across, None))
    if key_mask is not None:
        # Nobody sees a token of padding; a sample of padding sees all, since it must see a key.
        seen = _padded(key_mask, 1, sharding.parts(along, mesh), value=False)
        args.append(_padded(seen, rows, value=True))
        specs.append(P(batch, along))
    run = _exchanging(attend, tokens, c) if along else attend
    # Not all collectives below are known to the check of what varies along which axis.
    split = jax.shard_map(
        run, mesh=mesh, in_specs=tuple(specs), out_specs=specs[0], check_vma=False
    )
    return split(*args)[:b, :n, :heads]


def _padded(x: jax.Array, *multiples: int, value: bool | float = 0) -> jax.Array:
    """Leading dimensions as multiples of these; the new entries are `value`."""
    extra = [(0, -n % multiple) for n, multiple in zip(x.shape, multiples, strict=False)]
    extra += [(0, 0)] * (x.ndim - len(extra))
    return jnp.pad(x, extra, constant_values=value) if any(map(sum, extra)) else x


def _exchanging(attend: Attend, axis: str, c: int) -> Attend:
    """`attend` for all queries of h neighbours, all keys, and one h-th of the heads here."""

    def run(
        q: jax.Array, k: jax.Array, v: jax.Array, key_mask: jax.Array | None = None
    ) -> jax.Array:
        h = math.gcd(q.shape[2], c)
        neighbours = [[first + i for i in range(h)] for first in range(0, c, h)]
        alike = [[first + i for i in range(0, c, h)] for first in range(h)]  # have the same heads

        def swap(x: jax.Array, split: int, joined: int) -> jax.Array:
            if h == 1:
                return x
            return jax.lax.all_to_all(
                x, axis, split, joined, axis_index_groups=neighbours, tiled=True
            )

        def gather(x: jax.Array) -> jax.Array:
            if h == c:
                return x
            return jax.lax.all_gather(x, axis, axis=1, axis_index_groups=alike, tiled=True)

        q, k, v = (swap(x, 2, 1) for x in (q, k, v))
        k, v = gather(k), gather(v)
        if key_mask is not None:
            key_mask = jax.lax.all_gather(key_mask, axis, axis=1, tiled=True)
        return swap(attend(q, k, v, key_mask), 1, 2)

    return run
