"""Encoded clips for the diffusion transformer: whether they fit a config, and their conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import Conditions, Events

if TYPE_CHECKING:
    from alchemint_jax.train.dit_task import DiTTask


def check_data(task: DiTTask, header: Mapping[str, Any]) -> None:
    """Refuses data that a task is not for.

    Args:
        task: to be trained.
        header: the card of its data, see `encoded.read_header`.

    Raises:
        ConfigError: naming the field and what the data have.
    """
    task.check_trainable()
    model, sampling, where = task.model, task.sampling, task.data
    slots = max(bucket["references"][0] for bucket in header["buckets"])
    if 0 < model.slots < slots:
        raise ConfigError(
            f"model.slots is {model.slots}, but clips in {where} have up to {slots} references"
        )
    if model.events != bool(header.get("events")):
        has, wanted = ("no ", "with") if model.events else ("", "without")
        raise ConfigError(
            f"model.events is {model.events}, but clips in {where} have {has}events; "
            f"change it, or make them {wanted} --events"
        )
    if model.cuts != bool(header.get("cuts")):
        has, wanted = ("no ", "with") if model.cuts else ("", "without")
        raise ConfigError(
            f"model.cuts is {model.cuts}, but clips in {where} have {has}cuts; "
            f"change it, or make them {wanted} --cuts"
        )
    fitted = getattr(model.scheme, "stride", header["stride"])
    if fitted != header["stride"]:
        raise ConfigError(
            f"model.scheme.stride is {fitted}, but a latent frame in {where} holds "
            f"{header['stride']} pixel frames; set it to that"
        )
    if abs(sampling.fps - header["fps"]) > 1e-3:
        raise ConfigError(
            f"sampling.fps is {sampling.fps:g}, but clips in {where} have {header['fps']:g} frames "
            "per second; set it to that, or encode them at another rate"
        )
    for bucket in header["buckets"]:
        _check_bucket(task, bucket)
    sizes = [tuple(one["size"]) for one in header["buckets"] if "size" in one]
    if sizes and tuple(sampling.size) not in sizes:
        raise ConfigError(
            f"sampling.size is {tuple(sampling.size)}, but clips in {where} are of "
            f"{' and '.join(map(str, dict.fromkeys(sizes)))} pixels; set it to one of these"
        )


def _check_bucket(task: DiTTask, bucket: Mapping[str, Any]) -> None:
    chosen = task.sampling.reference_size
    cells, pictures = bucket["latents"][-3:-1], bucket["references"][-3:-1]
    if "size" in bucket:
        size, found = tuple(bucket["size"]), tuple(bucket["reference_size"])
    else:  # encoded before it was written down
        size = tuple(task.sampling.size)
        found = tuple(n * s // c for n, s, c in zip(pictures, size, cells, strict=True))
    if found != tuple(chosen or size):
        raise ConfigError(
            f"sampling.reference_size is {chosen}, but references in {task.data} are of {found} "
            f"pixels, beside clips of {size}"
        )
    _, *patch = task.model.patch
    for what, grid in (("clips", cells), ("references", pictures)):
        if any(side % p for side, p in zip(grid, patch, strict=True)):
            raise ConfigError(
                f"{what} in {task.data} are of {list(grid)} latent cells, which model.patch "
                f"{tuple(task.model.patch)} does not divide; encode them at another size"
            )


def cached_conditions(batch: Mapping[str, jax.Array]) -> Conditions:
    """The conditions of a batch that has states of texts, of any float type."""
    text, tags = (batch[name].astype(jnp.float32) for name in ("text", "tags"))
    events = None
    if "events" in batch:
        states = batch["events"].astype(jnp.float32)
        events = Events(
            states=states,
            used=batch["event_used"],
            intervals=batch["event_intervals"],
            null=_as_long(batch["null_event"], states.shape[2]),
            cuts=batch.get("cuts"),
            cut_used=batch.get("cut_used"),
        )
    return Conditions(
        text=text,
        null_text=_as_long(batch["null_text"], text.shape[1]),
        references=batch["references"],
        used=batch["used"],
        intervals=batch["intervals"],
        tags=tags,
        tag_mask=batch["tag_mask"],
        events=events,
    )


def _as_long(states: Float[Array, "b n d"], length: int) -> Float[Array, "b l d"]:
    """With padding, which is zero."""
    missing = length - states.shape[1]
    return jnp.pad(states.astype(jnp.float32), ((0, 0), (0, missing), (0, 0)))
