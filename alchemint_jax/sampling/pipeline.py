"""From a storyboard to frames: tokenizer, text encoder, autoencoder and transformer, joined."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from alchemint_jax import images, timebase, weights
from alchemint_jax.errors import StoryboardError, WeightsError
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.dit.conditioning import Conditions, Tokens, encode_text, latent_intervals
from alchemint_jax.models.umt5 import UMT5Encoder
from alchemint_jax.models.vae import VAE
from alchemint_jax.progress import Progress
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.sample import Models, decode, encode_pictures, sample_latents
from alchemint_jax.storyboard import Limits, Storyboard
from alchemint_jax.text import ByteTokenizer, clean_text

PixelIntervals = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A loaded model. Make one with `Pipeline.load`."""

    models: Models
    text_encoder: UMT5Encoder
    text_params: dict
    settings: settings.Settings

    @classmethod
    def load(cls, model: str | os.PathLike[str] = "sprites") -> Pipeline:
        """Loads the bundled model by name, or a directory written by training.

        Raises:
            WeightsError: saying what is missing or does not fit.
        """
        directory = weights.locate(model)
        chosen = settings.load(directory)
        vae, vae_params = weights.load(directory, "vae")
        dit, dit_params = weights.load(directory, "transformer")
        encoder, text_params = weights.load(directory, "text_encoder")
        # `load` has checked that each component is of its class.
        models = Models(cast(DiT, dit), dit_params, cast(VAE, vae), vae_params)
        pipe = cls(models, cast(UMT5Encoder, encoder), text_params, chosen)
        pipe._check_parts(str(directory))
        return pipe

    @property
    def fps(self) -> float:
        """Frames per second of every video this model makes."""
        return self.settings.fps

    @property
    def limits(self) -> Limits:
        """What storyboards this model can do."""
        config = self.models.dit.config
        return self.settings.limits(config.slots, config.events)

    def generate(
        self,
        board: Storyboard,
        seed: int | None = None,
        steps: int | None = None,
        guidance: Guidance | None = None,
        progress: bool = False,
        solver: str | None = None,
    ) -> UInt8[np.ndarray, "f h w 3"]:
        """Renders a storyboard. Same seed, same frames.

        What is None comes from the storyboard or the model.

        Raises:
            StoryboardError: naming what this model cannot do.
            ConfigError: there is no such solver.
        """
        board = board.validate_for(self.limits)
        assert board.fps is not None and board.size is not None  # filled in by validate_for
        self.check_lengths(
            {"prompt": board.prompt, "negative_prompt": board.negative_prompt},
            {f"subjects[{i}].word": subject.word for i, subject in enumerate(board.subjects)},
            board.source,
        )
        size, frames = board.size, timebase.frames_for(board.duration, board.fps)
        pictures = [images.load_reference(subject.image, size) for subject in board.subjects]
        intervals = [
            timebase.merge_intervals(
                timebase.seconds_to_frames(s.appears, board.fps, frames, duration=board.duration)
            )
            for s in board.subjects
        ]
        slots = self.models.dit.config.slots
        blank = np.full((slots - len(pictures), *size, 3), 255, np.uint8)
        references = np.concatenate([np.stack(pictures), blank]) if pictures else blank
        return self.render(
            [board.prompt],
            references[None],
            [[subject.word for subject in board.subjects]],
            [intervals],
            seed=next(s for s in (seed, board.seed, 0) if s is not None),
            steps=steps,
            guidance=guidance,
            frames=frames,
            negative_prompt=board.negative_prompt,
            progress=progress,
            solver=solver,
        )[0]

    def render(
        self,
        prompts: Sequence[str],
        references: UInt8[np.ndarray, "b r h w 3"],
        words: Sequence[Sequence[str]],
        intervals: Sequence[Sequence[PixelIntervals]],
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: Guidance | None = None,
        frames: int | None = None,
        negative_prompt: str = "",
        progress: bool = False,
        solver: str | None = None,
    ) -> UInt8[np.ndarray, "b f h w 3"]:
        """Renders a batch.

        For each video there is a prompt and, for each slot, a picture, a word and pixel-frame
        intervals. Slots without any interval, and those beyond the words of a video, are empty.
        Video i of a batch depends on `(seed, i)` and its own inputs alone.

        Raises:
            StoryboardError: a text is longer than the model reads.
            ConfigError: there is no such solver.
        """
        self.check_lengths(
            {f"prompts[{i}]": prompt for i, prompt in enumerate(prompts)}
            | {"negative_prompt": negative_prompt},
            {f"words[{i}][{j}]": w for i, video in enumerate(words) for j, w in enumerate(video)},
        )
        frames = frames or self.settings.max_frames
        plan = self.settings.plan(steps, guidance, solver)
        conditions = self.conditions(prompts, references, words, intervals, negative_prompt)
        stride = self.models.vae.config.spatial_stride
        height, width = (side // stride for side in references.shape[2:4])
        shape = (timebase.latent_frames(frames), height, width, self.models.vae.config.z_dim)
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(len(prompts)))
        noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
        with Progress(plan.steps, "sampling", quiet=not progress) as bar:
            latents = sample_latents(self.models, conditions, noise, plan, bar.update)
        return decode(self.models, latents)

    def conditions(
        self,
        prompts: Sequence[str],
        references: np.ndarray,
        words: Sequence[Sequence[str]],
        intervals: Sequence[Sequence[PixelIntervals]],
        negative_prompt: str = "",
    ) -> Conditions:
        """What the transformer is conditioned on, encoded; the arguments are those of `render`."""
        b, slots = references.shape[:2]
        most = max([2, *(len(runs) for video in intervals for runs in video)])
        frames = np.zeros((b, slots, most, 2), np.int32)
        tags = [["" for _ in range(slots)] for _ in range(b)]
        for i, (video_words, video_intervals) in enumerate(zip(words, intervals, strict=True)):
            for j, (word, runs) in enumerate(zip(video_words, video_intervals, strict=True)):
                tags[i][j] = word
                frames[i, j, : len(runs)] = np.asarray(runs, np.int32).reshape(-1, 2)
        used = (frames[..., 1] > frames[..., 0]).any(-1)
        text, null = (
            self._tokens(texts, self.settings.text_length)
            for texts in (prompts, [negative_prompt] * b)
        )
        flat = self._tokens([word for video in tags for word in video], self.settings.tag_length)
        tag = Tokens(*(x.reshape(b, slots, self.settings.tag_length) for x in flat))
        encode = partial(_encode_text, self.text_params, encoder=self.text_encoder)
        return Conditions(
            text=encode(text),
            null_text=encode(null),
            references=encode_pictures(
                self.models.vae_params, jnp.asarray(references), vae=self.models.vae
            ),
            used=jnp.asarray(used),
            intervals=latent_intervals(jnp.asarray(frames)),
            tags=encode(tag),
            tag_mask=tag.mask & jnp.asarray(used)[..., None],
        )

    def _tokens(self, texts: Sequence[str], length: int) -> Tokens:
        ids, mask = ByteTokenizer(length).encode(list(texts))
        return Tokens(jnp.asarray(ids), jnp.asarray(mask))

    def check_lengths(
        self, texts: Mapping[str, str], words: Mapping[str, str], source: str = "render"
    ) -> None:
        """Text that the model would cut off is refused, not ignored.

        `texts` and `words` (of subjects) are by the names that errors give them.

        Raises:
            StoryboardError: naming source, text and how much the model reads.
        """
        limits = ((self.settings.text_length, texts), (self.settings.tag_length, words))
        for length, named in limits:
            for name, text in named.items():
                size = len(clean_text(text).encode("utf-8", "replace"))
                if size > length - 1:  # the last one says that the text ends
                    raise StoryboardError(
                        f"{source}: {name}: {size} bytes long; this model reads {length - 1}; "
                        "shorten it"
                    )

    def _check_parts(self, source: str) -> None:
        """Parts of different models are refused before they meet inside a network."""
        dit, vae = self.models.dit.config, self.models.vae.config
        pairs = {
            "transformer in_channels": (dit.in_channels, "vae z_dim", vae.z_dim),
            "transformer out_channels": (dit.out_channels, "vae z_dim", vae.z_dim),
            "transformer text_dim": (
                dit.text_dim,
                "text_encoder dim",
                self.text_encoder.config.dim,
            ),
        }
        for name, (value, other, wanted) in pairs.items():
            if value != wanted:
                raise WeightsError(
                    f"{source}: {name} is {value}, but {other} is {wanted}; all parts must come "
                    "from the same model"
                )
        units = [vae.spatial_stride * patch for patch in dit.patch[1:]]
        if any(side % unit for side, unit in zip(self.settings.size, units, strict=True)):
            raise WeightsError(
                f"{source}: {settings.FILE}: size {list(self.settings.size)} is not a multiple of "
                f"{units}, what the autoencoder and the transformer join to one token"
            )


@partial(jax.jit, static_argnames=("encoder",))
def _encode_text(params: dict, tokens: Tokens, *, encoder: UMT5Encoder) -> jax.Array:
    return encode_text(encoder, params, tokens)
