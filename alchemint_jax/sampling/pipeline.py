"""From a storyboard to frames: tokenizer, text encoder, autoencoder and transformer, joined."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.clip import CLIPVision
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.progress import Progress
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.conditions import common_shape, encode_conditions, latent_shape
from alchemint_jax.sampling.control import Control, Relay, TSAttn
from alchemint_jax.sampling.control.inbetween import check_scenes
from alchemint_jax.sampling.finite import require_finite_conditions
from alchemint_jax.sampling.fitting import cache_table, fitted, told
from alchemint_jax.sampling.guidance import Guidance, Guide
from alchemint_jax.sampling.kinds import kind_of
from alchemint_jax.sampling.loading import load_autoencoder, load_low
from alchemint_jax.sampling.parts import Origin, Parts, check_parts
from alchemint_jax.sampling.sample import Models, Watch, decode, noise_of, sample_latents
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.sampling.wan_settings import wan_settings
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.weights import lora


@dataclasses.dataclass(frozen=True)
class Pipeline(Parts):
    """A loaded model; make one with `Pipeline.load`.

    Attributes:
        models: transformer and autoencoder, with their parameters.
        texts: tokenizer and text encoder.
        settings: how the model is sampled where the caller does not say.
        image_encoder: of models that continue pictures, with its parameters; None elsewhere.
        relay: how events are told to a model without an event branch; None tells it none.
        clean_keyframes: whether keyframes are clean latents with a time of 0.
        canvas: whether pictures of subjects are side by side where a first frame would be.
        origin: where the model was read from; None where nobody says.
        cache: which passes are computed at which steps where the caller does not say; None
            computes all of them.

    Examples:
        >>> pipe = al.Pipeline.load("sprites")
        >>> pipe.fps, pipe.limits.max_frames
        (8.0, 33)

    Source:
        AlcheMinT, arXiv 2512.10943, on Wan2.1, arXiv 2503.20314.
    """

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = "sprites",
        int8_text: bool = False,
        loras: lora.Given | None = None,
        dtype: str | None = None,
        transformer: str | os.PathLike[str] | None = None,
        kind: str | None = None,
        relay: Relay | TSAttn | None = None,
        clean_keyframes: bool = False,
        vae: str | os.PathLike[str] | None = None,
        transformer_2: str | os.PathLike[str] | None = None,
        loras_2: lora.Given | None = None,
        cache: str | os.PathLike[str] | None = None,
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
            transformer: read it from here instead: a file in Wan's or diffusers' names, the index
                of several, or a folder.
            kind: "phantom", "kaleido" or "magref" for published models of subjects that are a rule
                on top of Wan2.1's tensors (see `sampling.kinds`), "plain" for others; None goes by
                what the transformer or the model is called.
            relay: tells the events of scenes to a model without an event branch, in its prompt, and
                times them there: a `Relay` or a `TSAttn`.
            clean_keyframes: gives keyframes as clean latents with a time of 0, to a model without
                channels for them. Only one that was trained so follows them, and no file says
                whether it was.
            vae: read the autoencoder from here instead: a model's folder, or a file in Wan's own
                names (such as LightVAE's); or a small decoder in TAEHV's layout, which decodes in
                its place ("tiny" is the one beside the model's weights).
            transformer_2: as `transformer`, of the second of two experts (Wan2.2's A14B).
            loras_2: as `loras`, for the second of two experts; `loras` are for the first one.
            cache: a file that `alchemint step-cache` wrote, or "auto" for the one beside the
                weights: which passes are computed at which steps; None computes all of them.

        Returns:
            The pipeline, its parameters on the default device.

        Raises:
            WeightsError: saying what is missing or does not fit.
            ConfigError: there is no such dtype, kind or cache, a LoRA is named twice, its strength
                is not a finite number, a relay is for a model that has an event branch, or clean
                keyframes are for one that has channels for keyframes.

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
        origin = Origin.of(directory, transformer)
        tables = None if cache is None else origin.tables(cache)
        indexed = weights.check_model(directory) is not None
        foreign = indexed and not os.path.lexists(directory / settings.FILE)
        chosen = None if foreign else settings.load(directory)
        # One with settings of its own says what it is, whatever its folder is called.
        rule = kind_of(kind, transformer, model if foreign else None)
        source = directory if transformer is None else transformer
        if rule:
            rule.refuse_pickle(source)
        module, tensors = weights.open_component(source, "transformer")
        # `open_component` has checked that each component is of its class.
        config = cast(DiT, module).config
        if relay and config.events:
            raise ConfigError(
                f"{source}: has an event branch, which is told of events; a relay is for models "
                "without"
            )
        if isinstance(relay, Relay) and relay.contrast and chosen and chosen.distilled:
            raise ConfigError(
                f"{source}: this model has its guidance inside, which contrasts nothing; leave "
                "--contrast out, or use the model that it was made from"
            )
        if clean_keyframes and config.in_channels != config.out_channels:
            raise ConfigError(
                f"{source}: has channels for keyframes, and is given them there; clean keyframes "
                "are for models without"
            )
        dit = DiT(rule.config(config, str(source)) if rule else config, jnp.dtype(dtype))
        if loras:
            shapes = {path: tensor.shape for path, tensor in tensors.items()}
            tensors = lora.merge(tensors, lora.load_loras(loras, dit.config, shapes))
        autoencoder, vae_params, preview = load_autoencoder(directory, vae)
        low = load_low(directory, transformer_2, config, dit, loras_2)
        dit_params = weights.read_params(tensors, dit.held_params())
        models = Models(dit, dit_params, autoencoder, vae_params, low, preview)
        if chosen is None:
            unit = autoencoder.config.spatial_stride * max(config.patch[1:])
            continues = config.in_channels != config.out_channels
            chosen = wan_settings(directory, unit, weights.read_pair(directory), continues)
        if rule:
            chosen = rule.settings(chosen, config.dim)
        texts = Texts.load(directory, int8_text)
        image_encoder = None
        if models.dit.config.image_dim:
            tower, tower_params = weights.load(directory, "image_encoder")
            image_encoder = (cast(CLIPVision, tower), tower_params)
        canvas = rule is not None and rule.canvas
        pipe = cls(
            *(models, texts, chosen, image_encoder, relay, clean_keyframes, canvas),
            origin=origin,
            cache=tables,
        )
        check_parts(pipe, str(directory))
        return pipe

    def scene(self, board: Storyboard) -> Scene:
        """What a storyboard asks this model for, if it can render it.

        Args:
            board: any storyboard.

        Returns:
            The scene that `generate` renders.

        Raises:
            StoryboardError: naming what this model cannot do.

        Examples:
            >>> board = al.Storyboard.load("examples/two_subjects.yaml")
            >>> al.Pipeline.load("sprites").scene(board).size
            (64, 64)

        Source:
            This repository.
        """
        scene = board.scene(self.limits)
        self.check_texts(scene)
        self.check_negative(board.source, board.negative_prompt)
        return scene

    def check(self, scene: Scene) -> None:
        """Refuses what this model cannot render, and text that it would cut off.

        Args:
            scene: what `render` would be given.

        Raises:
            StoryboardError: naming the scene and what this model cannot do.

        Examples:
            >>> pipe = al.Pipeline.load("sprites")
            >>> pipe.check(pipe.scene(al.Storyboard.load("examples/two_subjects.yaml")))

        Source:
            This repository.
        """
        scene.check(self.limits)
        self.check_texts(scene)

    def generate(
        self,
        board: Storyboard,
        seed: int | None = None,
        steps: int | None = None,
        guidance: Guidance | tuple[Guidance, Guidance] | Guide | None = None,
        progress: bool = False,
        solver: str | None = None,
        control: Control | None = None,
        cache: str | os.PathLike[str] | None = None,
        watch: Watch | None = None,
    ) -> UInt8[np.ndarray, "f h w 3"]:
        """Renders a storyboard. The same seed gives the same frames.

        Args:
            board: what to render.
            seed: of the noise; the storyboard's, or 0, where it is None.
            steps: of the solver; the model's own number where it is None.
            guidance: weights of the branches, or any function (see `sampling.guidance.Guide`); the
                model's own weights where it is None. Of two experts both have the same weights, or
                those of a pair, (low noise, high noise).
            progress: whether to show a progress bar on standard error.
            solver: "euler" or "unipc"; the model's own where it is None.
            control: acts on every step, such as a `Gating` (see `alchemint_jax.sampling.control`).
            cache: a step cache, as in `load`; the pipeline's own, if any, where it is None.
            watch: looks on, and may stop it.

        Returns:
            The frames of the video, uint8 `[f, h, w, 3]`.

        Raises:
            StoryboardError: naming what this model cannot do.
            ConfigError: there is no such solver, no such gating with this model, or the cache is
                of other weights, steps, guidance or sizes.
            NonFiniteError: a network gave NaN or infinity.

        Examples:
            >>> board = al.Storyboard.load("examples/two_subjects.yaml")
            >>> video = al.Pipeline.load("sprites").generate(board, seed=0, steps=4)
            >>> video.shape, video.dtype.name
            ((33, 64, 64, 3), 'uint8')

        Source:
            AlcheMinT, arXiv 2512.10943; the solver is that of Wan2.1, arXiv 2503.20314.
        """
        return self.render(
            [self.scene(board)],
            seed=next(s for s in (seed, board.seed, 0) if s is not None),
            steps=steps,
            guidance=guidance,
            negative_prompt=board.negative_prompt or None,
            progress=progress,
            solver=solver,
            control=control,
            cache=cache,
            watch=watch,
        )[0]

    def render(
        self,
        scenes: Sequence[Scene],
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: Guidance | tuple[Guidance, Guidance] | Guide | None = None,
        negative_prompt: str | None = None,
        noise: Float[np.ndarray, "b t h2 w2 c"] | None = None,
        progress: bool = False,
        solver: str | None = None,
        control: Control | None = None,
        cache: str | os.PathLike[str] | None = None,
        watch: Watch | None = None,
    ) -> UInt8[np.ndarray, "b f h w 3"]:
        """Renders a batch of scenes, which have one size and one number of frames.

        Video i of a batch depends on `(seed, i)` and its own scene alone.

        Args:
            scenes: what to render. Where a scene has no size it is the model's own; pictures are
                brought to the size that the model takes them in.
            seed: of the noise.
            steps: of the solver; the model's own number where it is None.
            guidance: weights of the branches, or any function (see `sampling.guidance.Guide`); the
                model's own weights where it is None. Of two experts both have the same weights, or
                those of a pair, (low noise, high noise).
            negative_prompt: what no video should show; the model's own text where it is None.
            noise: what to start from instead of what `seed` draws, `[b, t, h2, w2, c]`.
            progress: whether to show a progress bar on standard error.
            solver: "euler" or "unipc"; the model's own where it is None.
            control: acts on every step of the whole batch (see `alchemint_jax.sampling.control`).
            cache: a step cache, as in `load`; the pipeline's own, if any, where it is None.
            watch: looks on, and may stop it.

        Returns:
            The videos, uint8 `[b, f, h, w, 3]`.

        Raises:
            StoryboardError: a scene is not as this model can render it, or differs in size or
                length from the others, or a text is longer than the model reads.
            ConfigError: there is no such solver, no such gating with this model, or the cache is
                of other weights, steps, guidance or sizes.
            NonFiniteError: a network gave NaN or infinity.

        Examples:
            >>> board = al.Storyboard.load("examples/two_subjects.yaml")
            >>> pipe = al.Pipeline.load("sprites")
            >>> videos = pipe.render([pipe.scene(board)], steps=4)
            >>> videos.shape
            (1, 33, 64, 64, 3)

        Source:
            AlcheMinT, arXiv 2512.10943; the solver is that of Wan2.1, arXiv 2503.20314.
        """
        for scene in scenes:
            self.check(scene)
        self.check_negative("render", negative_prompt or "")
        control = fitted(self, control)
        check_scenes(control, scenes)
        size, clock = common_shape(self, scenes)
        shape = latent_shape(self, scenes)
        control = told(self, control, scenes, clock)
        guide = guidance if callable(guidance) else None
        plan = self.settings.plan(steps, None if callable(guidance) else guidance, solver)
        table = cache_table(self, cache, plan, size, int(clock.frames), guide)
        conditions = self.conditions(scenes, negative_prompt)
        require_finite_conditions(conditions)
        if noise is not None:
            start = jnp.asarray(noise)
        else:
            start = noise_of(jax.random.key(seed), np.arange(len(scenes)), shape)
        with Progress(plan.steps, "sampling", quiet=not progress) as bar:
            run = partial(sample_latents, self.models, conditions, start, plan, bar.update)
            latents = run(control, guide, table, watch)
        return decode(self.models, latents)

    def conditions(
        self,
        scenes: Sequence[Scene],
        negative_prompt: str | None = None,
        slots: int | None = None,
    ) -> Conditions:
        """What the transformer is conditioned on, encoded.

        Args:
            scenes: those of `render`.
            negative_prompt: that of `render`.
            slots: for subjects; as many as the scenes need where it is None.
        """
        return encode_conditions(self, scenes, negative_prompt, slots)
