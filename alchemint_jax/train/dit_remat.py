"""The ways in which a step of the transformer can run, and how much memory each should take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from alchemint_jax.models.dit.remat import AUTO, POLICIES, guessed_bytes
from alchemint_jax.ops.attention import choose, platform
from alchemint_jax.train.remat import Way, Ways

if TYPE_CHECKING:
    from alchemint_jax.train.dit_task import DiTTask

Shapes = Mapping[str, jax.ShapeDtypeStruct]


def ways(task: DiTTask, batch: Shapes, mesh: Mesh, accumulate: int) -> Ways | None:
    """What there is to choose from; None where the config has chosen.

    Args:
        task: whose `model.remat` is "auto", or else.
        batch: shapes of the largest batch, of all devices together.
        mesh: of the step.
        accumulate: parts that a batch is split into.
    """
    if task.model.remat != AUTO:
        return None
    cfg, itemsize = task.model, jnp.dtype(task.compute).itemsize
    parts = mesh.shape["data"] * mesh.shape["fsdp"] * accumulate
    samples = batch["latents"].shape[0] / parts
    length = tokens(task, batch)
    here = samples * length / mesh.shape["context"]
    kernels = choose(
        cfg.attention, platform(), jnp.dtype(task.compute), length, length, cfg.head_dim
    )
    # Where no kernel attends, probabilities are kept too: before and after the softmax.
    heads = cfg.n_heads / (mesh.shape["context"] * mesh.shape["tensor"])
    scores = 2 * 4 * samples * heads * length**2 if kernels == "plain" else 0.0
    found = []
    for policy in POLICIES:
        if policy == "offload" and platform() == "cpu":
            continue  # its memory is the host's
        guess = guessed_bytes(
            policy, here, cfg.dim, cfg.ffn_dim / mesh.shape["tensor"], cfg.n_layers, itemsize
        )
        guess += scores * (cfg.n_layers if policy == "none" else 1)
        model = dataclasses.replace(cfg, remat=policy)
        found.append(Way(policy, dataclasses.replace(task, model=model), guess))
    return Ways(batch, tuple(found), task.compute)


def tokens(task: DiTTask, batch: Shapes) -> int:
    """Tokens of one sample of a batch that attend to each other."""
    (_, t, h, w, _), (_, slots, high, wide, _) = batch["latents"].shape, batch["references"].shape
    pt, ph, pw = task.model.patch
    words = batch["tag_mask"].shape[-1] if task.model.tags else 0
    return (t // pt) * (h // ph) * (w // pw) + slots * ((high // ph) * (wide // pw) + words)


def largest(batch: Shapes, header: Mapping[str, Any]) -> Shapes:
    """The batch with clips of the largest bucket of a dataset.

    Args:
        batch: shapes of any batch of it.
        header: its card, see `encoded.read_header`.
    """
    bucket = max(header["buckets"], key=lambda one: math.prod(one["latents"][:-1]))
    found = dict(batch)
    for name, before, kept in (("latents", 1, 4), ("references", 2, 3)):
        x = batch[name]
        shape = (*x.shape[:before], *bucket[name][-kept:])
        found[name] = jax.ShapeDtypeStruct(shape, x.dtype, sharding=x.sharding)
    return found
