"""One render, as anybody can have it from Python: frames, what was measured, and what was attended.

renderer = Renderer.load("sprites")
renderer.draw(ask, folder, tell)
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alchemint_jax import __version__, media, weights
from alchemint_jax.compilation import prepare_jax
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.results import plain
from alchemint_jax.sampling.control import Gating
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.sample import Models, Watch
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.studio import preview
from alchemint_jax.studio.asking import Ask
from alchemint_jax.studio.attention import reference_attention
from alchemint_jax.studio.checking import storyboard
from alchemint_jax.studio.decoded import Decoded
from alchemint_jax.studio.measuring import measured
from alchemint_jax.studio.preview import Preview
from alchemint_jax.studio.rulers import rulers
from alchemint_jax.studio.sameness import key_of, scheme_of
from alchemint_jax.studio.schemes import with_scheme
from alchemint_jax.studio.strips import as_png, strip_of
from alchemint_jax.studio.worker import Loaded, Tell
from alchemint_jax.studio.workspace import write_json
from alchemint_jax.worlds import named
from alchemint_jax.worlds.sprites.world import World

_SMALL = 512  # of a model's width; steps of larger ones take long enough to look at each
_SEVERAL = 4  # steps between two looks at small models that make more of them
_UPSCALED = 256  # pixels, the shorter side of videos that are written
_BETWEEN = 0.12  # seconds between two previews


@dataclass(frozen=True, eq=False)
class Renderer:
    """A model, who measures its clips, and how its latents are looked at.

    Attributes:
        pipe: the model.
        tracker: who measures.
        preview: shows latents.
        every: steps between two looks.
        identity: of the model, for `sameness.key_of`.
    """

    pipe: Pipeline
    tracker: Tracker
    preview: Preview | Decoded
    every: int
    identity: str

    @classmethod
    def load(cls, model: str) -> Renderer:
        """Loads a model by name or folder, and compiles what its renders need if it is small.

        Clips as small as those of the sprites world are measured by its tracker, others by the
        perceived one.
        """
        pipe = Pipeline.load(model)
        sprites = pipe.settings.size == (World.size, World.size)
        tracker = named.tracker("sprites" if sprites else named.PERCEIVED)
        small = pipe.models.dit.config.dim <= _SMALL
        renderer = cls(
            pipe,
            tracker,
            Decoded.of(pipe) or _fitted(pipe),
            _SEVERAL if small and pipe.settings.steps > _SEVERAL else 1,
            identity(pipe),
        )
        if small and not pipe.keyframes and not pipe.canvas:
            renderer.warm()
        return renderer

    def warm(self) -> None:
        """Compiles what a render of the usual length needs."""
        limits = self.pipe.limits
        clock = Clock(self.pipe.fps, limits.max_frames, limits.stride)
        seconds = clock.second(limits.max_frames - 1)
        board = Storyboard.from_dict({"prompt": "nothing", "duration": seconds})
        scene = self.pipe.scene(board)
        seen: list[jax.Array] = []
        watch = Watch(lambda done, latents: seen.append(latents), self.every)
        steps = None if self.pipe.settings.distilled else self.every
        self.pipe.generate(board, steps=steps, watch=watch)
        self.preview.frames(np.asarray(seen[-1][0]))
        reference_attention(self.pipe, scene, seen[-1])

    def about(self) -> Pipeline:
        """The model without its weights: it says what can be rendered, and checks boards."""
        pipe = self.pipe
        bare = Models(pipe.models.dit, {}, pipe.models.vae, {})
        texts = dataclasses.replace(pipe.texts, params=dict, cache=None)
        tower: Any = None if pipe.image_encoder is None else (pipe.image_encoder[0], {})
        return dataclasses.replace(pipe, models=bare, texts=texts, image_encoder=tower)

    def draw(self, pictures: Path, ask: Ask, folder: Path, tell: Tell) -> None:
        """Renders, measures and writes result.json, clip.mp4 and strip.png into a folder.

        Args:
            pictures: the folder of the board's pictures.
            ask: what for.
            folder: one that is there.
            tell: hears ("step", (done, total)) and ("preview", frames as a picture), and may raise
                an error to stop it.
        """
        began = time.monotonic()
        board = storyboard(ask.board, pictures)
        plan = self.pipe.settings.plan(ask.steps, ask.guidance, ask.solver)
        scene, scheme = self.pipe.scene(board), scheme_of(self.pipe, ask)
        pipe = with_scheme(self.pipe, scheme)
        look = _Look(self, plan.levels().sigmas, plan.steps, tell)
        frames = pipe.generate(
            board,
            seed=ask.seed,
            steps=plan.steps,
            guidance=plan.weights,
            solver=plan.solver,
            control=Gating.of(ask.gating),
            watch=Watch(look, self.every),
        )
        assert look.latents is not None
        attended = reference_attention(pipe, scene, look.latents, ask.seed)
        clock = scene.clock
        rows = measured(self.tracker, frames, scene)
        shares = [None] * len(rows) if attended is None else attended.tolist()
        for row, share, entry in zip(rows, shares, ask.board.get("subjects", []), strict=True):
            row |= {"attention": share, "image": entry["image"]}
            row["asked_seconds"] = clock.seconds(row["asked"])
            row["seen_seconds"] = None if row["seen"] is None else clock.seconds(row["seen"])
        strip, layout = strip_of(frames)
        media.write_bytes(folder / "strip.png", as_png(strip))
        scale = max(1, math.ceil(_UPSCALED / min(frames.shape[1:3])))
        media.write_video(folder / "clip.mp4", frames, float(clock.fps), scale)
        said = {
            "seed": ask.seed,
            "steps": plan.steps,
            "solver": plan.solver,
            "guidance": dataclasses.asdict(plan.guidance),
            "gating": ask.gating,
            "scheme": scheme,
            "key": key_of(self.identity, self.pipe, board, ask),
            "size": list(frames.shape[1:3]),
            "strip": layout,
            "subjects": rows,
            "seconds": time.monotonic() - began,
        }
        write_json(folder / "result.json", {**plain(said), **rulers(clock, board.duration)})


def _fitted(pipe: Pipeline) -> Preview:
    """The linear map of a model's autoencoder."""
    vae, params = pipe.models.vae, pipe.models.vae_params
    encode = jax.jit(partial(vae.apply, method="encode"))
    return preview.fit(
        lambda video: encode({"params": params}, jnp.asarray(video)),
        vae.config.temporal_stride,
        vae.config.spatial_stride,
        pipe.settings.size,
    )


class _Look:
    """Tells how far sampling is, and shows what it comes to; keeps the last latents."""

    def __init__(self, renderer: Renderer, sigmas: np.ndarray, total: int, tell: Tell):
        self._preview, self._sigmas, self._total, self._tell = renderer.preview, sigmas, total, tell
        self._before: tuple[int, np.ndarray] | None = None
        self._shown = 0.0
        self.latents: jax.Array | None = None

    def __call__(self, done: int, latents: jax.Array) -> None:
        now = np.asarray(latents[0])
        self._tell("step", (done, self._total))
        if self._before is not None and time.monotonic() - self._shown > _BETWEEN:
            first, before = self._before
            levels = float(self._sigmas[first]), float(self._sigmas[done])
            ahead = preview.clean_sample(before, now, levels)
            self._tell("preview", _packed(self._preview.frames(ahead), done))
            self._shown = time.monotonic()
        self._before, self.latents = (done, now), latents


def _packed(frames: UInt8[np.ndarray, "f h w 3"], done: int) -> dict[str, Any]:
    """A preview as the page takes it."""
    strip, layout = strip_of(frames)
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, format="JPEG", quality=85)
    return {"step": done, "strip": layout, "jpeg": base64.b64encode(buffer.getvalue()).decode()}


def load(model: str, pictures: Path) -> Loaded:
    """What the worker loads."""
    prepare_jax()
    renderer = Renderer.load(model)
    return Loaded(partial(renderer.draw, pictures), renderer.about(), renderer.identity)


def identity(pipe: Pipeline) -> str:
    """Names what renders: the weights of a model that was read from files, how it is used, the
    program, and the device.
    """
    assert pipe.origin is not None
    folders = [weights.component_folder(pipe.origin.directory, one) for one in weights.COMPONENTS]
    files = sorted(path for folder in folders for path in folder.glob("*") if path.is_file())
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    program = (__version__, jax.__version__, jax.devices()[0].device_kind)
    dit = pipe.models.dit
    model = (pipe.origin.fingerprint(), stats, pipe.settings, dit.config, str(dit.dtype))
    return hashlib.sha256(repr((program, model)).encode()).hexdigest()
