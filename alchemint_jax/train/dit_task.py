"""Training the diffusion transformer, with its text encoder, on clips with timed references."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alchemint_jax import weights
from alchemint_jax.data.encoded import read_header
from alchemint_jax.data.loader import Augment, LoaderConfig, latent_loader
from alchemint_jax.data.share import WHOLE, Share
from alchemint_jax.errors import ConfigError
from alchemint_jax.flow import interpolate, sample_times, velocity
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.dit.conditioning import (
    Conditions,
    Events,
    Given,
    Tokens,
    encode_text,
    model_inputs,
)
from alchemint_jax.models.layers import init_params
from alchemint_jax.models.lora import LoraConfig, init_lora, merge_lora, scaled_lora
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.parts import check_parts
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.sample import Models, decode, sample_latents
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.tokenizers import ByteTokenizer, Tokenizer, UMT5Tokenizer
from alchemint_jax.train import dit_remat
from alchemint_jax.train.dit_data import cached_conditions, check_data
from alchemint_jax.train.dit_export import export_dit
from alchemint_jax.train.dropout import Dropout, keep
from alchemint_jax.train.experts import check_expert, other, span_of, waiting
from alchemint_jax.train.initial_weights import initial_tensors
from alchemint_jax.train.optimizer import FROZEN
from alchemint_jax.train.remat import Ways
from alchemint_jax.weights.tensors import Tensor


@dataclasses.dataclass(frozen=True)
class DiTTask:
    """Training the transformer, from scratch or from `init_from`, with or without text encoder.

    Attributes:
        model: sizes of the transformer.
        text: sizes of the text encoder.
        data: a directory written by `alchemint data encode`.
        vae: the model directory of the autoencoder that wrote it.
        loader: how `data` is read.
        augment: what is random about an example.
        sampling: what the exported model says about its use.
        shift: of the flow times towards noise.
        dropout: how often conditions are taken away.
        samples: clips rendered when it is time for samples.
        storage: dtype of the exported weights.
        init_from: directory or name of the model that a new run starts from; see `initial_tensors`.
        transformer: where its transformer is, if elsewhere: a file, the index of several, a folder.
        model_kind: of the published models of subjects, the kind that it is of; see `train.kinds`.
        train_text: whether the text encoder moves; if not it is kept as it is.
        lora: trains a LoRA and what AlcheMinT adds, the backbone stays as it is; None trains all.
        compute: dtype of the transformer's activations.
        cached_text: states of texts come with `data`, and no text encoder is in the step.
        first_frame: how often the first latent frame is given, clean and with a time of 0, as those
            of Wan2.2's TI2V-5B are; where it is, it has no part in the loss.
        last_frame: how often a clip that gives its first latent frame gives its last one, too.
        expert: which of a pair is trained, "high" or "low"; see `train.experts`.
    """

    model: DiTConfig
    text: UMT5Config
    data: str
    vae: str
    loader: LoaderConfig
    sampling: settings.Settings
    shift: float = 3.0
    dropout: Dropout = Dropout()
    samples: int = 4
    storage: str = "float16"
    init_from: str | None = None
    transformer: str | None = None
    model_kind: str | None = None
    train_text: bool = True
    lora: LoraConfig | None = None
    compute: str = "float32"
    augment: Augment = Augment()
    cached_text: bool = False
    first_frame: float = 0.0
    last_frame: float = 0.0
    expert: str | None = None

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise ConfigError(f"shift is {self.shift}; it must be positive (1 shifts nothing)")
        if self.compute not in ("float32", "bfloat16"):
            raise ConfigError(f"compute is {self.compute!r}; use 'float32' or 'bfloat16'")
        if not 0 <= self.first_frame < 1:
            raise ConfigError(f"first_frame is {self.first_frame}; it must be from 0 to below 1")
        if not 0 <= self.last_frame <= 1 or self.last_frame and not self.first_frame:
            raise ConfigError(
                f"last_frame is {self.last_frame}; it must be from 0 to 1, or 0 without first_frame"
            )
        check_expert(self.expert, self.sampling.boundary)
        if self.first_frame and not self.sampling.given_frames:
            raise ConfigError(
                "first_frame is set, but not sampling.given_frames: a model that learns to go on "
                "from a frame is to be given one"
            )
        if self.init_from is None and (self.lora or not self.train_text):
            what = "lora is set" if self.lora else "train_text is False"
            raise ConfigError(f"{what}, but not init_from: there is nothing to leave as it is")
        if self.init_from is None and (self.transformer or self.model_kind or self.expert):
            what = "expert" if self.expert else "transformer or model_kind"
            raise ConfigError(
                f"{what} is set, but not init_from: name the directory of the whole model, whose "
                "text encoder is used"
            )

    def check_trainable(self) -> None:
        """Refuses what can be planned and rendered, but not trained.

        Raises:
            ConfigError: naming the field.
        """
        if self.model.image_dim:
            raise ConfigError(
                "model.image_dim is set: image-to-video networks cannot be trained here, since the "
                "data has no states of given pictures"
            )
        if self.sampling.boundary is not None and self.expert is None:
            raise ConfigError(
                "sampling.boundary is set, and says that there are two experts, of which one is "
                "trained at a time: set expert to 'high' or to 'low'"
            )

    def init(self, key: jax.Array) -> dict:
        """Fresh parameters of both networks, and of the LoRA."""
        dit_key, text_key = jax.random.split(key)
        cfg = self.model
        transformer = init_params(DiT(cfg), dit_key, **DiT(cfg).example_inputs())
        params = {"transformer": transformer}
        if not self.cached_text:
            ids = jnp.zeros((1, 2), jnp.int32)
            text = init_params(UMT5Encoder(self.text), text_key, ids, jnp.ones((1, 2), bool))
            params["text_encoder"] = text
        if self.lora:
            params["lora"] = init_lora(jax.random.fold_in(key, 2), transformer, self.lora)
        return params

    def pretrained(self) -> dict[str, Tensor]:
        """The weights of `init_from`, which a new run starts from; nothing where it is None."""
        if self.init_from is None:
            return {}
        found = self._initial(self.transformer, self.expert)
        if self.cached_text:
            return {path: x for path, x in found.items() if not path.startswith("text_encoder.")}
        return found

    def _initial(self, transformer: str | None, expert: str | None) -> dict[str, Tensor]:
        assert self.init_from is not None
        chosen = transformer, self.model_kind, expert
        return initial_tensors(self.init_from, self.model, self.text, *chosen)

    def loss(
        self, params: dict, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict]:
        """Mean square error of the velocity; also that of times near noise by itself."""
        time_key, noise_key, drop_key = jax.random.split(key, 3)
        data = batch["latents"]
        b = data.shape[0]
        t = sample_times(time_key, b, self.shift, span_of(self.expert, self.sampling.boundary))
        noise = jax.random.normal(noise_key, data.shape)
        with_text, with_images = keep(drop_key, b, self.dropout)
        text, extra = model_inputs(
            self.conditions(params.get("text_encoder", {}), batch), with_text, with_images
        )
        z, given = interpolate(data, noise, t), None
        if self.first_frame:
            given = self._given(jax.random.fold_in(drop_key, 1), data)
            z, extra["given"] = given.over(z), given.frames
        v = self.velocity(params, z, t, text, extra)
        squares = (v - velocity(data, noise)) ** 2
        if given is not None:  # what is given is not predicted: the mean is over the other frames
            squares = (
                given.still(squares) / jnp.mean(~given.frames, axis=1)[:, None, None, None, None]
            )
        error = jnp.mean(squares, axis=(1, 2, 3, 4))
        early = t > 0.8
        return error.mean(), {"loss_early": jnp.sum(error * early) / jnp.maximum(early.sum(), 1)}

    def velocity(
        self, params: dict, z: jax.Array, t: jax.Array, text: jax.Array, extra: dict[str, Any]
    ) -> jax.Array:
        """What the transformer, with its LoRA beside it, predicts; see `model_inputs`."""
        variables = {"params": params["transformer"]}
        if self.lora:
            variables["lora"] = scaled_lora(params["lora"], self.lora.scale)
        dit = DiT(self.model, dtype=jnp.dtype(self.compute))
        return cast(jax.Array, dit.apply(variables, z, t, text, **extra))

    def _given(self, key: jax.Array, data: jax.Array) -> Given:
        """The first latent frames of some of the clips, and the last ones of some of these.

        Pictures have no other frame, and give none.
        """
        b, t = data.shape[:2]
        first = jax.random.bernoulli(key, self.first_frame, (b, 1)) & (t > 1)
        last = first & jax.random.bernoulli(jax.random.fold_in(key, 1), self.last_frame, (b, 1))
        at = jnp.arange(t)[None]
        return Given(data, first & (at == 0) | last & (at == t - 1))

    def conditions(self, params: dict, batch: dict[str, jax.Array]) -> Conditions:
        """The conditions of a loader's batch, by the parameters of the text encoder."""
        if self.cached_text:
            return cached_conditions(batch)
        encoder = UMT5Encoder(self.text)
        b = batch["text_ids"].shape[0]
        ids, mask = self.tokenizer().encode([""])
        null = encode_text(encoder, params, Tokens(jnp.asarray(ids), jnp.asarray(mask)))
        return Conditions(
            text=encode_text(encoder, params, Tokens(batch["text_ids"], batch["text_mask"])),
            null_text=jnp.repeat(null, b, axis=0),
            references=batch["references"],
            used=batch["used"],
            intervals=batch["intervals"],
            tags=encode_text(encoder, params, Tokens(batch["tag_ids"], batch["tag_mask"])),
            tag_mask=batch["tag_mask"],
            events=self._events(params, batch) if self.model.events else None,
        )

    def _events(self, params: dict, batch: dict[str, jax.Array]) -> Events:
        encoder = UMT5Encoder(self.text)
        b, _, length = batch["event_ids"].shape
        ids, mask = dataclasses.replace(self.tokenizer(), length=length).encode([""])
        null = encode_text(encoder, params, Tokens(jnp.asarray(ids), jnp.asarray(mask)))
        return Events(
            states=encode_text(encoder, params, Tokens(batch["event_ids"], batch["event_mask"])),
            used=batch["event_used"],
            intervals=batch["event_intervals"],
            null=jnp.repeat(null, b, axis=0),
            cuts=batch.get("cuts"),
            cut_used=batch.get("cut_used"),
        )

    def ways(self, batch: dit_remat.Shapes, mesh: Mesh, accumulate: int) -> Ways | None:
        """What `model.remat` can be, for batches of `data`; see `train.remat`."""
        return dit_remat.ways(
            self, dit_remat.largest(batch, read_header(self.data)), mesh, accumulate
        )

    def train_data(self, share: Share = WHOLE) -> Iterable[dict[str, Any]]:
        """Batches of encoded clips, shuffled, without end.

        Raises:
            ConfigError: the clips are not those that the config is for.
            DataError: there are none.
        """
        check_data(self, read_header(self.data))
        return self._batches("train", self.loader, share)

    def validation_data(self, share: Share = WHOLE) -> Iterator[dict[str, Any]]:
        """The first eight batches of the validation split."""
        loader = dataclasses.replace(self.loader, shuffle=False)
        yield from itertools.islice(self._batches("validation", loader, share), 8)

    def _batches(self, split: str, loader: LoaderConfig, share: Share) -> Iterable[dict[str, Any]]:
        return latent_loader(
            self.data,
            split,
            loader,
            self.augment,
            tokenizer=self.tokenizer(),
            tag_length=self.sampling.tag_length,
            event_length=self.sampling.event_length if self.model.events else None,
            share=share,
            cached_text=self.cached_text,
            with_cuts=self.model.cuts,
            with_references=self.model.slots > 0,
        )

    def tokenizer(self) -> Tokenizer:
        """That of `init_from`, where it has a `tokenizer/`, else bytes; captions' length."""
        length, vocab = self.sampling.text_length, self.text.vocab
        if self.init_from is None:
            weights.check_bytes(vocab, "init_from is not set, and so there is no tokenizer")
            return ByteTokenizer(length)
        folder = weights.tokenizer_folder(weights.locate(self.init_from), vocab)
        return UMT5Tokenizer.load(folder, length) if folder else ByteTokenizer(length)

    def sample(self, params: dict) -> dict[str, np.ndarray]:
        """Validation prompts and references rendered with the averaged weights."""
        batch = {
            name: jnp.asarray(x[: self.samples])
            for name, x in next(iter(self.validation_data())).items()
        }
        vae, vae_params = weights.load(self.vae, "vae")
        dit = DiT(self.model, jnp.dtype(self.compute))
        high, low = self.experts(params)
        models = Models(dit, high, cast(VAE, vae), vae_params, low)
        conditions = _conditions(self, params.get("text_encoder", {}), batch)

        latents = sample_latents(models, conditions, self.start(batch), self.sampling.plan())
        return {f"clip{i}": video for i, video in enumerate(decode(models, latents))}

    def start(self, batch: dict[str, jax.Array]) -> jax.Array:
        """The noise that samples of a batch start from."""
        return jax.random.normal(jax.random.key(0), batch["latents"].shape)

    def clips(self, latents: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """What a batch has of each clip, whose latents are of this shape [t h w c]."""
        return {"latents": latents}

    @property
    def passes(self) -> int:
        """How often a step asks the transformer about each clip."""
        return 1

    def pipeline(self, params: dict | None) -> Pipeline:
        """What renders storyboards with these parameters, and is exported with them.

        Where they are None it renders none, and only says which it could.

        Raises:
            WeightsError: the parts do not belong together.
        """
        vae, vae_params = weights.load(self.vae, "vae")
        high: dict = {}
        low: dict | None = None if self.expert is None else {}
        if params is not None:
            high, low = self.experts(params)
        dit = DiT(self.model, jnp.dtype(self.compute))
        models = Models(dit, high, cast(VAE, vae), vae_params, low)
        if self.cached_text:
            assert self.init_from is not None
            texts = Texts.load(weights.locate(self.init_from))
        else:
            read = (params or {}).get("text_encoder")
            texts = Texts(self.tokenizer(), UMT5Encoder(self.text), lambda: read)
        pipe = Pipeline(models, texts, self.sampling)
        check_parts(pipe, self.vae)
        return pipe

    def export(self, params: dict, directory: Path) -> None:
        """Writes a whole model directory; see `dit_export`."""
        export_dit(self, params, directory)

    def merged(self, params: dict) -> dict:
        """The transformer's parameters, the LoRA in them."""
        if self.lora is None:
            return params["transformer"]
        return merge_lora(params["transformer"], params["lora"], self.lora.scale)

    def experts(self, params: dict) -> tuple[dict, dict | None]:
        """Those of the first steps, and of the last ones; of one transformer, that and None."""
        trained = self.merged(params)
        if self.expert is None:
            return trained, None
        rest = waiting(self._initial(None, other(self.expert)), params["transformer"])
        return (trained, rest) if self.expert == "high" else (rest, trained)

    def label(self, path: str) -> str:
        """The group of a parameter.

        There are those of the paper's two learning rates, one for a text encoder that is trained
        from scratch, one for a LoRA, and what stays as it is.
        """
        if path.startswith("text_encoder/"):
            return "text" if self.train_text else FROZEN
        if path.startswith("lora/"):
            return "lora"
        if "/subjects/" in path or "/event_" in path:
            return "added"
        return "backbone" if self.lora is None else FROZEN


@partial(jax.jit, static_argnums=0)
def _conditions(task: DiTTask, params: dict, batch: dict[str, jax.Array]) -> Conditions:
    return task.conditions(params, batch)
