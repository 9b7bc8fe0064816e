"""Whole videos, made here and by another library: the same weights, noise and steps, in turn.

Both know the states of the prompt, make latents of noise and frames of latents, in float32. Where
the frames differ by more than rounding does, times are not of the same work, and that is said.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax import weights
from alchemint_jax.bench import hardware
from alchemint_jax.bench.measure import Side, alternate, compare, summary
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene

LEAST_PSNR = 50.0
"""Decibels: frames that are nearer than that, by a root mean square of 0.8 of 255, are the same."""
_PACKAGES = ("jax", "jaxlib", "flax")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What both sides make.

    Attributes:
        model: a folder in the format of diffusers.
        prompt: what the video shows.
        size: height and width in pixels.
        frames: pixel frames.
        steps: of the solver.
        scale: of guidance by text.
        shift: of the noise levels.
        noise: that the flow starts from, [t h w c].
    """

    model: Path
    prompt: str
    size: tuple[int, int]
    frames: int
    steps: int
    scale: float
    shift: float
    noise: Float[np.ndarray, "t h w c"]


Make = Callable[[], UInt8[np.ndarray, "f h w 3"]]


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another library.

    Attributes:
        name: of it.
        packages: whose versions to state.
        load: what makes the frames; the pipeline is ours, for parts that the library cannot read.
        settings: fields of ours that are as the library samples, where it does not read them.
    """

    name: str
    packages: tuple[str, ...]
    load: Callable[[Asked, Pipeline], Make]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def run(
    peer: Peer,
    model: str,
    prompt: str,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    steps: int | None = None,
    repeats: int = 7,
    say: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Measures both sides, in JSON's types; `same` says whether their frames are.

    Args:
        peer: the other library.
        model: a folder in the format of diffusers, of a model that makes videos of text.
        prompt: what the video shows.
        size: height and width in pixels; the model's own by default.
        frames: pixel frames; as many as the model makes by default.
        steps: of the solver; the model's own by default.
        repeats: calls of each side that are timed.
        say: is told what happens.

    Raises:
        ConfigError: the model is of another kind, or cannot make such videos.
    """
    folder = weights.locate(model)
    _check_kind(folder, peer)
    say(f"loading {model}")
    pipe = Pipeline.load(model, dtype="float32")
    if pipe.models.low is not None:
        raise ConfigError(f"{model}: has two experts; --vs {peer.name} is for models of one")
    pipe = dataclasses.replace(pipe, settings=dataclasses.replace(pipe.settings, **peer.settings))
    plan = pipe.settings.plan(steps)
    clock = Clock(pipe.fps, frames or pipe.limits.max_frames, pipe.limits.stride)
    scene = Scene("clip", prompt, clock, size=size or pipe.settings.size)
    try:
        pipe.check(scene)
    except DataError as error:
        raise ConfigError(f"{model}: {error}") from error
    vae, (height, width) = pipe.models.vae.config, scene.size or pipe.settings.size
    cells = (height // vae.spatial_stride, width // vae.spatial_stride)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((clock.latent_frames, *cells, vae.z_dim), np.float32)
    asked = Asked(
        folder, prompt, (height, width), int(clock.frames), plan.steps,
        plan.guidance.text + plan.guidance.both, pipe.settings.shift, noise,
    )  # fmt: skip

    def ours() -> np.ndarray:
        return pipe.render([scene], steps=plan.steps, noise=noise[None], negative_prompt="")[0]

    makers: dict[str, Make] = {"ours": ours, peer.name: peer.load(asked, pipe)}
    say(f"{repeats} videos of {' and '.join(makers)}")
    first = {name: make() for name, make in makers.items()}  # what is made once is made now
    agreement = agree(first["ours"], first[peer.name])
    sides = {
        name: Side(make, lambda frames: frames, hardware.peak_memory)
        for name, make in makers.items()
    }
    memory = {name: side.memory(side.call) for name, side in sides.items()}
    seconds = alternate(sides, repeats)
    return {
        "machine": hardware.machine(jax.devices(), [*_PACKAGES, *peer.packages]),
        "repeats": repeats,
        "model": str(model),
        "peer": peer.name,
        "what": {
            "size": f"{height}x{width}",
            "frames": asked.frames,
            "steps": plan.steps,
            "solver": plan.solver,
            "guidance": asked.scale,
            "dtype": "float32",
        },
        "agreement": agreement,
        "same": agreement["psnr"] is None or agreement["psnr"] >= LEAST_PSNR,
        "sides": {
            name: {"seconds": summary(seconds[name]), "memory": memory[name]} for name in sides
        },
        "ours_to_peer": compare(seconds["ours"], seconds[peer.name]),
    }


def _check_kind(folder: Path, peer: Peer) -> None:
    index = folder / "model_index.json"
    try:
        name = json.loads(index.read_text("utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError):
        name = None
    if name != "WanPipeline":
        raise ConfigError(
            f"{folder}: --vs {peer.name} makes videos of text by a model in the format of "
            f"diffusers, whose model_index.json names WanPipeline; this one names {name}"
        )


def agree(
    ours: UInt8[np.ndarray, "f h w 3"], theirs: UInt8[np.ndarray, "f2 h2 w2 3"]
) -> dict[str, Any]:
    """How near two videos are: the largest difference, of 255, and the PSNR in decibels.

    The PSNR is None where nothing differs.

    Raises:
        ConfigError: they are of other shapes.
    """
    if ours.shape != theirs.shape:
        raise ConfigError(f"the other library made {theirs.shape} frames, not {ours.shape}")
    difference = ours.astype(np.float64) - theirs
    square = float(np.mean(difference**2))
    return {
        "most": float(np.abs(difference).max()),
        "psnr": 10 * float(np.log10(255**2 / square)) if square else None,
    }


def as_text(found: dict[str, Any]) -> str:
    """The result of `run`, for people."""
    machine, what, peer = found["machine"], found["what"], found["peer"]
    known = ("jax", "torch", "diffusers", "transformers", "diffsynth")
    versions = ", ".join(f"{name} {machine[name]}" for name in known if name in machine)
    lines = [
        f"{machine['device']} ({machine['threads']} CPU threads); {versions}; medians and "
        f"quartiles of {found['repeats']} videos",
        f"{found['model']}: {what['size']} x {what['frames']} frames, {what['steps']} steps of "
        f"{what['solver']}, guidance {what['guidance']:g}, {what['dtype']}",
    ]
    for name, side in found["sides"].items():
        low, high = side["seconds"]["quartiles"]
        lines.append(f"  {name:<10}{side['seconds']['median']:.4g} s ({low:.4g} to {high:.4g})")
    low, high = found["ours_to_peer"]["pairs"]["quartiles"]
    ratio = found["ours_to_peer"]["ratio"]
    lines.append(f"  ours / {peer} {ratio:.3f} of medians, {low:.3f} to {high:.3f} turn by turn")
    psnr, most = found["agreement"]["psnr"], found["agreement"]["most"]
    near = "equal" if psnr is None else f"{psnr:.1f} dB apart, by at most {most:g} of 255"
    verdict = "the same" if found["same"] else "NOT the same, so these times are of other work"
    return "\n".join([*lines, f"  frames {near}: {verdict}"])
