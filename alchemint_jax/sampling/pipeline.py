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
from jaxtyping import Float, UInt8

from alchemint_jax import images, timebase, weights
from alchemint_jax.errors import ConfigError, StoryboardError, WeightsError
from alchemint_jax.events import FrameEvent, pad_events, with_gaps
from alchemint_jax.models.clip import CLIPStates, CLIPVision, preprocess
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.dit.conditioning import Conditions, Events, latent_intervals
from alchemint_jax.models.dit.keyframes import keyframe_condition
from alchemint_jax.models.vae import VAE, tiled_encode
from alchemint_jax.progress import Progress
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.finite import require_finite_conditions
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.sample import Models, decode, encode_pictures, sample_latents
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.sampling.wan_settings import wan_settings
from alchemint_jax.storyboard import Limits, Storyboard
from alchemint_jax.weights import lora

PixelIntervals = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A loaded model; make one with `Pipeline.load`.

    Attributes:
        models: transformer and autoencoder, with their parameters.
        texts: tokenizer and text encoder.
        settings: how the model is sampled where the caller does not say.
        image_encoder: of models that continue pictures, with its parameters; None elsewhere.

    Examples:
        >>> pipe = al.Pipeline.load("sprites")
        >>> pipe.fps, pipe.limits.max_frames
        (8.0, 33)

    Source:
        AlcheMinT, arXiv 2512.10943, on Wan2.1, arXiv 2503.20314.
    """

    models: Models
    texts: Texts
    settings: settings.Settings
    image_encoder: tuple[CLIPVision, dict] | None = None

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = "sprites",
        int8_text: bool = False,
        loras: lora.Given | None = None,
        dtype: str | None = None,
    ) -> Pipeline:
        """Loads a model.

        Args:
            model: the bundled one by name, a directory written by training, or one in Wan2.1's
                diffusers format.
            int8_text: keep a large text encoder in 8 bits: a quarter of the memory.
            loras: LoRA files (or folders of peft or diffusers) for the transformer, and how
                strongly each counts (1: as trained): a mapping, or pairs. Their order does not
                matter.
            dtype: of the transformer's computation, and of its matrices on the device: "float32" or
                "bfloat16"; None is float32 on a CPU and bfloat16 elsewhere. Norms, modulations and
                the embedding of time are float32 in any case, and so are the other networks.

        Returns:
            The pipeline, its parameters on the default device.

        Raises:
            WeightsError: saying what is missing or does not fit.
            ConfigError: there is no such dtype, a LoRA is named twice, or its strength is not a
                finite number.

        Examples:
            >>> al.Pipeline.load("sprites").settings.size
            (64, 64)

        Source:
            The layout is that of diffusers' pipelines; this repository.
        """
        dtype = dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
        if dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"dtype is {dtype!r}; use 'float32' or 'bfloat16'")
        directory = weights.locate(model)
        indexed = weights.check_model(directory) is not None
        foreign = indexed and not os.path.lexists(directory / settings.FILE)
        chosen = None if foreign else settings.load(directory)
        module, tensors = weights.open_component(directory, "transformer")
        # `open_component` has checked that each component is of its class.
        dit = DiT(cast(DiT, module).config, jnp.dtype(dtype))
        if loras:
            shapes = {path: tensor.shape for path, tensor in tensors.items()}
            tensors = lora.merge(tensors, lora.load_loras(loras, dit.config, shapes))
        vae, vae_params = weights.load(directory, "vae")
        dit_params = weights.read_params(tensors, dit.held_params())
        models = Models(dit, dit_params, cast(VAE, vae), vae_params)
        if chosen is None:
            unit = models.vae.config.spatial_stride * max(models.dit.config.patch[1:])
            chosen = wan_settings(directory, unit)
        texts = Texts.load(directory, int8_text)
        image_encoder = None
        if models.dit.config.image_dim:
            tower, tower_params = weights.load(directory, "image_encoder")
            image_encoder = (cast(CLIPVision, tower), tower_params)
        pipe = cls(models, texts, chosen, image_encoder)
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
        return self.settings.limits(config.slots, config.events, self.keyframes)

    @property
    def keyframes(self) -> int:
        """How many frames the model must be given: 0, 1 (the first) or 2 (the last one too)."""
        if self.image_encoder is None:
            return 0
        tokens = self.image_encoder[0].config.n_tokens
        return max(1, self.models.dit.config.image_positions // tokens)

    def check(self, board: Storyboard) -> Storyboard:
        """The same board with fps and size filled in, if this model can render it.

        Args:
            board: any storyboard.

        Returns:
            A storyboard that `generate` renders.

        Raises:
            StoryboardError: naming what this model cannot do.

        Examples:
            >>> board = al.Storyboard.load("examples/two_subjects.yaml")
            >>> al.Pipeline.load("sprites").check(board).size
            (64, 64)

        Source:
            This repository.
        """
        board = board.validate_for(self.limits)
        self.check_lengths(
            {"prompt": board.prompt, "negative_prompt": board.negative_prompt},
            {f"subjects[{i}].word": subject.word for i, subject in enumerate(board.subjects)},
            board.source,
            {f"events[{i}].text": event.text for i, event in enumerate(board.events)},
        )
        return board

    def generate(
        self,
        board: Storyboard,
        seed: int | None = None,
        steps: int | None = None,
        guidance: Guidance | None = None,
        progress: bool = False,
        solver: str | None = None,
    ) -> UInt8[np.ndarray, "f h w 3"]:
        """Renders a storyboard. The same seed gives the same frames.

        Args:
            board: what to render.
            seed: of the noise; the storyboard's, or 0, where it is None.
            steps: of the solver; the model's own number where it is None.
            guidance: weights of the branches; the model's own where it is None.
            progress: whether to show a progress bar on standard error.
            solver: "euler" or "unipc"; the model's own where it is None.

        Returns:
            The frames of the video, uint8 `[f, h, w, 3]`.

        Raises:
            StoryboardError: naming what this model cannot do.
            ConfigError: there is no such solver.
            NonFiniteError: a network gave NaN or infinity.

        Examples:
            >>> board = al.Storyboard.load("examples/two_subjects.yaml")
            >>> video = al.Pipeline.load("sprites").generate(board, seed=0, steps=4)
            >>> video.shape, video.dtype.name
            ((33, 64, 64, 3), 'uint8')

        Source:
            AlcheMinT, arXiv 2512.10943; the solver is that of Wan2.1, arXiv 2503.20314.
        """
        board = self.check(board)
        assert board.fps is not None and board.size is not None  # filled in by `check`
        size, frames = board.size, board.n_frames(board.fps)
        view = self.settings.reference_size or size
        pictures = [images.load_reference(subject.image, view) for subject in board.subjects]
        given = [path for path in (board.first_frame, board.last_frame) if path is not None]
        shown = [images.load_keyframe(path, size) for path in given]
        slots = self.models.dit.config.slots
        blank = np.full((slots - len(pictures), *view, 3), 255, np.uint8)
        references = np.concatenate([np.stack(pictures), blank]) if pictures else blank
        return self.render(
            [board.prompt],
            references[None],
            [[subject.word for subject in board.subjects]],
            [board.frame_intervals(board.fps)],
            seed=next(s for s in (seed, board.seed, 0) if s is not None),
            steps=steps,
            guidance=guidance,
            frames=frames,
            size=size,
            negative_prompt=board.negative_prompt,
            events=[board.frame_events(board.fps)] if board.events else None,
            keyframes=np.stack(shown)[None] if shown else None,
            progress=progress,
            solver=solver,
        )[0]

    def render(
        self,
        prompts: Sequence[str],
        references: UInt8[np.ndarray, "b r h2 w2 3"],
        words: Sequence[Sequence[str]],
        intervals: Sequence[Sequence[PixelIntervals]],
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: Guidance | None = None,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        negative_prompt: str = "",
        events: Sequence[Sequence[FrameEvent]] | None = None,
        keyframes: UInt8[np.ndarray, "b k h w 3"] | None = None,
        noise: Float[np.ndarray, "b t h3 w3 c"] | None = None,
        progress: bool = False,
        solver: str | None = None,
    ) -> UInt8[np.ndarray, "b f h w 3"]:
        """Renders a batch. Video i depends on `(seed, i)` and its own inputs alone.

        Args:
            prompts: one for each video.
            references: pictures of the slots of each video, uint8 `[b, r, h2, w2, 3]`; they are
                brought to the size that the model takes them in.
            words: the word of each slot of each video. Slots beyond the words are empty.
            intervals: of each slot of each video, half-open pairs of pixel frames. A slot without
                any interval is empty.
            seed: of the noise.
            steps: of the solver; the model's own number where it is None.
            guidance: weights of the branches; the model's own where it is None.
            frames: pixel frames of each video; the model's most where it is None.
            size: (height, width) in pixels; the model's own where it is None.
            negative_prompt: what no video should show.
            events: of each video, texts with the half-open pixel frames that they are about.
            keyframes: frames that the model must be given, uint8 `[b, k, h, w, 3]`; see
                `Pipeline.keyframes`.
            noise: what to start from instead of what `seed` draws, `[b, t, h3, w3, c]`.
            progress: whether to show a progress bar on standard error.
            solver: "euler" or "unipc"; the model's own where it is None.

        Returns:
            The videos, uint8 `[b, f, h, w, 3]`.

        Raises:
            StoryboardError: a text is longer than the model reads, or the model has no events.
            ConfigError: there is no such solver.
            NonFiniteError: a network gave NaN or infinity.

        Examples:
            >>> pictures = np.full((1, 3, 64, 64, 3), 255, np.uint8)  # the model has three slots
            >>> videos = al.Pipeline.load("sprites").render(
            ...     ["a red disc in the dark"], pictures, [["red disc"]], [[[(0, 16)]]], steps=4
            ... )
            >>> videos.shape
            (1, 33, 64, 64, 3)

        Source:
            AlcheMinT, arXiv 2512.10943; the solver is that of Wan2.1, arXiv 2503.20314.
        """
        if events is not None and any(events) and not self.limits.events:
            raise StoryboardError("events: are given, but this model has none")
        said = {
            f"events[{i}][{j}]": text
            for i, video in enumerate(events or ())
            for j, (text, _) in enumerate(video)
        }
        self.check_lengths(
            {f"prompts[{i}]": prompt for i, prompt in enumerate(prompts)}
            | {"negative_prompt": negative_prompt},
            {f"words[{i}][{j}]": w for i, video in enumerate(words) for j, w in enumerate(video)},
            events=said,
        )
        frames, size = frames or self.settings.max_frames, size or self.settings.size
        references = images.fit_references(references, self.settings.reference_size or size)
        plan = self.settings.plan(steps, guidance, solver)
        conditions = self.conditions(prompts, references, words, intervals, negative_prompt)
        if self.limits.events:
            conditions = self.with_events(conditions, events or [()] * len(prompts), frames)
        if keyframes is not None:
            conditions = self.with_keyframes(conditions, keyframes, frames)
        require_finite_conditions(conditions)
        stride = self.models.vae.config.spatial_stride
        height, width = (side // stride for side in size)
        shape = (timebase.latent_frames(frames), height, width, self.models.vae.config.z_dim)
        if noise is not None:
            start = jnp.asarray(noise)
        else:
            fold = partial(jax.random.fold_in, jax.random.key(seed))
            keys = jax.vmap(fold)(jnp.arange(len(prompts)))
            start = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
        with Progress(plan.steps, "sampling", quiet=not progress) as bar:
            latents = sample_latents(self.models, conditions, start, plan, bar.update)
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
        long, short = self.settings.text_length, self.settings.tag_length
        (text, _), (null, _), (tag, mask) = self.texts.states(
            (prompts, long),
            ([negative_prompt] * b, long),
            ([word for video in tags for word in video], short),
        )
        tag, mask = (x.reshape(b, slots, *x.shape[1:]) for x in (tag, mask))
        return Conditions(
            text=text,
            null_text=null,
            references=encode_pictures(
                self.models.vae_params, jnp.asarray(references), vae=self.models.vae
            ),
            used=jnp.asarray(used),
            intervals=latent_intervals(jnp.asarray(frames)),
            tags=tag,
            tag_mask=mask & jnp.asarray(used)[..., None],
        )

    def with_events(
        self, conditions: Conditions, events: Sequence[Sequence[FrameEvent]], frames: int
    ) -> Conditions:
        """The conditions with the events of each video, for so many pixel frames.

        A model that has events always takes some: where nothing is said, an empty text is (see
        `alchemint_jax.events`). Rows are 8, 16, 32 or more, so that few numbers are compiled.
        """
        needed = max(len(with_gaps(video, frames)) for video in events)
        rows = max(8, 1 << (needed - 1).bit_length())
        padded = [pad_events(video, frames, rows) for video in events]
        length = self.settings.event_length
        (states, _), (null, _) = self.texts.states(
            ([text for texts, _ in padded for text in texts], length),
            ([""] * len(events), length),
        )
        spans = np.stack([span for _, span in padded])
        return conditions._replace(
            events=Events(
                states=states.reshape(len(events), rows, *states.shape[1:]),
                used=jnp.asarray(spans[..., 1] > spans[..., 0]),
                intervals=latent_intervals(jnp.asarray(spans)),
                null=null,
            )
        )

    def with_keyframes(
        self, conditions: Conditions, keyframes: UInt8[np.ndarray, "b k h w 3"], frames: int
    ) -> Conditions:
        """The conditions of a model that continues pictures, for so many pixel frames.

        Raises:
            StoryboardError: the model takes another number of keyframes.
        """
        if self.image_encoder is None or keyframes.shape[1] != self.keyframes:
            raise StoryboardError(
                f"{keyframes.shape[1]} keyframes are given; this model takes {self.keyframes}"
            )
        tower, params = self.image_encoder
        prepared = np.stack(
            [preprocess(x, tower.config.image_size) for video in keyframes for x in video]
        )
        states = _see(params, jnp.asarray(prepared), tower=tower)
        pictures = jnp.asarray(keyframes, jnp.float32) / 127.5 - 1
        return conditions._replace(
            image=states.reshape(len(keyframes), -1, states.shape[-1]),
            condition=keyframe_condition(
                partial(_encode_video, self.models.vae_params, vae=self.models.vae),
                frames,
                pictures[:, 0],
                pictures[:, 1] if self.keyframes > 1 else None,
            ),
        )

    def check_lengths(
        self,
        texts: Mapping[str, str],
        words: Mapping[str, str],
        source: str = "render",
        events: Mapping[str, str] | None = None,
    ) -> None:
        """Text that the model would cut off is refused, not ignored.

        `texts`, `words` (of subjects) and texts of `events` are by the names that errors give them.

        Raises:
            StoryboardError: naming source, text and how much the model reads.
        """
        limits = (
            (self.settings.text_length, texts),
            (self.settings.tag_length, words),
            (self.settings.event_length, events or {}),
        )
        for length, named in limits:
            for name, text in named.items():
                if problem := self.texts.excess(text, length):
                    raise StoryboardError(f"{source}: {name}: {problem}")

    def _check_parts(self, source: str) -> None:
        """Parts of different models are refused before they meet inside a network."""
        dit, vae = self.models.dit.config, self.models.vae.config
        pairs = {
            # Beside the latents: a mask for each frame that one latent frame holds, and pictures.
            "transformer in_channels": (
                dit.in_channels - (vae.temporal_stride + vae.z_dim if dit.image_dim else 0),
                "vae z_dim",
                vae.z_dim,
            ),
            "transformer out_channels": (dit.out_channels, "vae z_dim", vae.z_dim),
            "transformer text_dim": (
                dit.text_dim,
                "text_encoder dim",
                self.texts.encoder.config.dim,
            ),
        }
        for name, (value, other, wanted) in pairs.items():
            if value != wanted:
                raise WeightsError(
                    f"{source}: {name} is {value}, but {other} is {wanted}; all parts must come "
                    "from the same model"
                )
        units = [vae.spatial_stride * patch for patch in dit.patch[1:]]
        size = self.settings.size
        for name, sides in (
            ("size", size),
            ("reference_size", self.settings.reference_size or size),
        ):
            if any(side % unit for side, unit in zip(sides, units, strict=True)):
                raise WeightsError(
                    f"{source}: {settings.FILE}: {name} {list(sides)} is not a multiple of "
                    f"{units}, what the autoencoder and the transformer join to one token"
                )


@partial(jax.jit, static_argnames=("tower",))
def _see(params: dict, pictures: jax.Array, *, tower: CLIPVision) -> jax.Array:
    return cast(CLIPStates, tower.apply({"params": params}, pictures)).penultimate


@partial(jax.jit, static_argnames=("vae",))
def _encode_video(params: dict, video: jax.Array, *, vae: VAE) -> jax.Array:
    return tiled_encode(vae, params, video)
