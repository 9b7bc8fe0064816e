"""The diffusion transformer: Wan2.1 over `[video | references | word tags]` (AlcheMinT, section 3).

Axes: b batch, t latent frames, h w latent grid, c channels, r reference slots, m intervals of a
subject, j tokens of a word tag, l text tokens, p image tokens, e events, n tokens, d width. Without
references and events this is Wan2.1's network exactly, text-to-video or image-to-video.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from alchemint_jax.models import layers
from alchemint_jax.models.dit import remat
from alchemint_jax.models.dit.bias import Bias
from alchemint_jax.models.dit.blocks import (
    Block,
    EventInputs,
    Inputs,
    LookedAt,
    Segment,
    Strengths,
    modulated_norm,
)
from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.models.dit.embeddings import Subjects, TimeEmbedding
from alchemint_jax.models.dit.image import ImageEmbedding, widened, zero_filled
from alchemint_jax.models.dit.probe import Attended, Probe
from alchemint_jax.models.dit.sequence import SequenceLayout
from alchemint_jax.models.layers import Linear, logical, parameter
from alchemint_jax.rotary import (
    axis_frequencies,
    rerope_cut_gains,
    rerope_key_gains,
    rerope_query_gains,
    sequence_gains,
    video_gains,
)
from alchemint_jax.sharding import constrain


class DiT(nn.Module):
    """Velocity of the video's latents. Compute runs in `dtype`; parameters stay float32."""

    config: DiTConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "b t h w c"],
        time: Float[Array, " b"] | Float[Array, "b n"],
        text: Float[Array, "b l text_dim"],
        *,
        condition: Float[Array, "b t h w c4"] | None = None,
        image: Float[Array, "b p image_dim"] | None = None,
        references: Float[Array, "b r h2 w2 c2"] | None = None,
        used: Bool[Array, "b r"] | None = None,
        intervals: Float[Array, "b r m 2"] | None = None,
        tags: Float[Array, "b r j text_dim"] | None = None,
        tag_mask: Bool[Array, "b r j"] | None = None,
        events: Float[Array, "b e l2 text_dim"] | None = None,
        event_mask: Bool[Array, "b e l2"] | None = None,
        event_intervals: Float[Array, "b e 2"] | None = None,
        cuts: Float[Array, "b cut"] | None = None,
        cut_used: Bool[Array, "b cut"] | None = None,
        given: Bool[Array, "b t"] | None = None,
        bias: Bias | None = None,
        probe: Probe | None = None,
        residual: Float[Array, "b v d"] | None = None,
        keep_residual: bool = False,
    ) -> (
        Float[Array, "b t h w c3"]
        | tuple[Float[Array, "b t h w c3"], Attended]
        | tuple[Float[Array, "b t h w c3"], Float[Array, "b v d"]]
    ):
        """The velocity `eps - z`; with a probe, also what was attended to.

        The residual is what all layers together add to the video's tokens. A call that is given one
        of another time computes no layer: its velocity is what the head makes of its own latents
        and time, and of that residual (see `sampling.step_cache`).

        Args:
            latents: noisy video latents, normalised; h and w multiples of the patch.
            time: flow time in [0, 1], 0 is data; one for each sample, or one for each video token.
            text: states of the caption, zero where padded (Wan attends to the padding too).
            condition: frames of the video that are given to it (see `keyframes`), for a model
                whose `in_channels` are more than those of the latents.
            image: CLIP states of the given pictures, one after another, for a model with an image
                stream (which cannot do without).
            references: clean latents of each subject's picture, one latent frame of any size.
                Channels of a condition are zero in them: a reference is no frame of the video,
                none is given.
            used: which slots hold a subject; the others have no effect at all.
            intervals: latent intervals of each subject; rows with start > end are empty.
            tags: text-encoder states of each subject's word.
            tag_mask: which tokens of `tags` are not padding.
            events: text-encoder states of the dense captions.
            event_mask: which tokens of `events` are not padding.
            event_intervals: latent interval of each dense caption.
            cuts: latent times at which another shot begins, for a model with cuts, beside events.
            cut_used: which of them there are; a clip without any is one shot.
            given: which latent frames are given, as clean data: the time of their tokens is 0,
                whatever `time` is (Wan2.2's TI2V-5B).
            bias: what is added to the logits of attention.
            probe: what of attention to return.
            residual: what the layers added to the video's tokens, instead of the layers. Texts,
                pictures, a bias and a probe have no part in it then.
            keep_residual: whether to return the residual, too, behind the velocity.

        Raises:
            ValueError: inputs do not go together, or not with the model.
        """
        cfg = self.config
        pt, ph, pw = cfg.patch
        b = latents.shape[0]
        grid = (latents.shape[1] // pt, latents.shape[2] // ph, latents.shape[3] // pw)
        n_video = int(np.prod(grid))
        freqs = axis_frequencies(cfg.head_dim, cfg.theta_t, cfg.theta_hw)

        embed = Linear(cfg.dim, ("patch", "embed"), name="patch_embedding")
        embed_time = TimeEmbedding(cfg, name="time")
        latents = widened(latents, condition, cfg.in_channels)
        x = embed(_patchify(latents.astype(self.dtype), cfg.patch))
        e, modulation = embed_time(time.reshape(b, -1))
        video, head = Segment(n_video, modulation), Segment(n_video, e[:, :, None])
        if given is not None:
            tokens = _tokens_of(given, grid, pt)
            e_clean, clean = embed_time(jnp.zeros((b, 1)))
            video = Segment(n_video, modulation, tokens, clean)
            head = Segment(n_video, e[:, :, None], tokens, e_clean[:, :, None])

        def to_velocity(x: jax.Array) -> jax.Array:
            table = parameter(
                self,
                "head_modulation",
                logical(nn.initializers.normal(cfg.dim**-0.5), (None, None, "embed")),
                (1, 2, cfg.dim),
            )
            # The head is modulated by the embedding itself, the layers by its projection.
            x = modulated_norm(x, [head.shifted(table[:, None])], shift=0, scale=1)
            width = int(np.prod(cfg.patch)) * cfg.out_channels
            zeros = nn.initializers.zeros
            x = Linear(width, ("embed", "patch"), kernel_init=zeros, name="head")(x)
            x = constrain(x, "batch", "tokens", None)
            return _unpatchify(x.astype(jnp.float32), grid, cfg.patch)

        if residual is not None:
            return to_velocity(constrain(x + residual, "batch", "tokens", None))
        embedded = x
        segments = [video]
        q_gains = k_gains = video_gains(freqs, grid)
        key_mask, sequence = None, SequenceLayout(grid)

        def embed_text(states: jax.Array, of: str = "text") -> jax.Array:
            first = Linear(cfg.dim, ("text", "embed"), name=f"{of}_in")
            second = Linear(cfg.dim, ("embed", None), name=f"{of}_out")
            # Both constraints are of gradients, too.
            states = constrain(first(states.astype(self.dtype)), "batch", "text_tokens", None)
            states = second(nn.gelu(states, approximate=True))
            return constrain(states, "batch", "text_tokens", None)

        image_tokens = None
        if (image is None) == bool(cfg.image_dim):
            raise ValueError("image is for models with image_dim > 0, and these need it")
        if image is not None:
            image_tokens = ImageEmbedding(cfg, self.dtype, name="image")(image)

        if references is not None:
            if used is None or intervals is None or tags is None or tag_mask is None:
                raise ValueError("references need used, intervals, tags and tag_mask")
            if not cfg.tags:
                tags, tag_mask = tags[:, :, :0], tag_mask[:, :, :0]
            references = zero_filled(references, cfg.in_channels)
            slots, words = tags.shape[1:3]
            patches = rearrange(
                _patchify(
                    rearrange(references.astype(self.dtype), "b r h w c -> (b r) 1 h w c"),
                    (1, ph, pw),
                ),
                "(b r) p c -> b r p c",
                r=slots,
            )
            subjects = Subjects(cfg, name="subjects")
            reference_tokens, tag_tokens, timing = subjects(embed(patches), tags)
            cells = reference_tokens.shape[2]
            sequence = SequenceLayout(grid, slots, cells, words)
            added = (rearrange(y, "b r p d -> b (r p) d") for y in (reference_tokens, tag_tokens))
            x = jnp.concatenate([x, *added], axis=1)
            seen = jnp.concatenate(
                [
                    jnp.repeat(used, cells, axis=1),
                    (tag_mask & used[..., None]).reshape(b, slots * words),
                ],
                axis=1,
            )
            key_mask = jnp.concatenate([jnp.ones((b, n_video), bool), seen], axis=1)
            clean = (
                jnp.zeros((b, 1)) if cfg.reference_time == "clean" else time.reshape(b, -1)[:, :1]
            )
            segments.append(Segment(seen.shape[1], embed_time(clean)[1]))
            ref_grid = (references.shape[2] // ph, references.shape[3] // pw)
            q_gains, k_gains = sequence_gains(
                freqs,
                grid,
                intervals,
                cfg.scheme,
                ref_grid,
                tags.shape[2],
                cfg.layout,
                cfg.mix_queries,
                timing,
            )

        event_inputs = None
        if events is not None:
            if not cfg.events or event_mask is None or event_intervals is None:
                raise ValueError(
                    "events need a model with events=True, event_mask and event_intervals"
                )
            frame = rerope_query_gains(event_intervals, grid[0], freqs)
            length = events.shape[2]
            event_inputs = EventInputs(
                # By an embedding of their own: a model may have learned to make little of captions.
                states=embed_text(rearrange(events, "b e l d -> b (e l) d"), "event"),
                mask=rearrange(event_mask, "b e l -> b (e l)"),
                q_gains=jnp.repeat(frame, grid[1] * grid[2], axis=1),
                k_gains=jnp.repeat(rerope_key_gains(event_intervals, freqs), length, axis=1),
            )
            if cfg.cuts:
                vector = parameter(
                    self, "event_cut", logical(nn.initializers.normal(0.02), ("embed",)), (cfg.dim,)
                )
                if cuts is not None and cut_used is not None:
                    gains = rerope_cut_gains(cuts, event_intervals, freqs)
                    event_inputs = event_inputs.with_cuts(vector, cut_used, gains, length)
        if cuts is not None and not (cfg.cuts and events is not None and cut_used is not None):
            raise ValueError("cuts need a model with cuts=True, events and cut_used")

        between, separated = (None, None) if bias is None else (bias.between, bias.separated)
        frames = None
        if between is not None:
            q_gains, k_gains = (between.scaled(g, n_video, freqs) for g in (q_gains, k_gains))
            if between.weights is not None:
                frames = constrain(jnp.asarray(sequence.frames())[None], None, "tokens", None)

        if separated is not None:
            separated = dataclasses.replace(separated, grid=grid)

        inputs = Inputs(
            tuple(segments),
            constrain(q_gains, "batch", "tokens", None),
            constrain(k_gains, "batch", "tokens", None),
            key_mask,
            embed_text(text),
            event_inputs,
            image_tokens,
            None if bias is None else bias.of_sequence(sequence),
            None if bias is None else bias.of_caption(sequence, text.shape[1]),
            None if probe is None else _looked_at(probe, sequence),
            between,
            frames,
            separated,
        )
        blocks = nn.scan(
            remat.recomputed(Block, cfg.remat),
            # Intermediates, where a caller captures them, are stacked like the parameters.
            variable_axes={"params": 0, "lora": 0, "intermediates": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0),
            length=cfg.n_layers,
            unroll=cfg.unroll,
            metadata_params={nn.PARTITION_NAME: "layers"},
            check_constancy_invariants=False,  # nothing is broadcast: a trace of a layer less
        )
        strengths = Strengths(
            None if bias is None else bias.layers,
            None if between is None else between.layers,
            None if separated is None else separated.layers,
        )
        x, seen = blocks(cfg, name="blocks")(
            constrain(x, "batch", "tokens", None), inputs, strengths
        )
        x = x[:, :n_video]
        velocity = to_velocity(x)
        if keep_residual:
            if probe is not None:
                raise ValueError("a probe and keep_residual: ask for one of them")
            return velocity, constrain(x - embedded, "batch", "tokens", None)
        return velocity if probe is None else (velocity, probe.chosen(seen))

    @nn.nowrap
    def example_inputs(self) -> dict[str, Any]:
        """Smallest inputs that touch every parameter: arrays, by the name of the argument."""
        cfg = self.config
        (pt, ph, pw), r, e = cfg.patch, cfg.slots, cfg.events
        subjects = dict(
            references=jnp.zeros((1, r, ph, pw, cfg.in_channels)),
            used=jnp.ones((1, r), bool),
            intervals=jnp.zeros((1, r, 1, 2)),
            tags=jnp.zeros((1, r, 1, cfg.text_dim)),
            tag_mask=jnp.ones((1, r, 1), bool),
        )
        captions = dict(
            events=jnp.zeros((1, 1, 1, cfg.text_dim)),
            event_mask=jnp.ones((1, 1, 1), bool),
            event_intervals=jnp.zeros((1, 1, 2)),
        )
        if cfg.cuts:
            captions |= dict(cuts=jnp.zeros((1, 1)), cut_used=jnp.ones((1, 1), bool))
        plain = dict(
            latents=jnp.zeros((1, pt, ph, pw, cfg.in_channels)),
            time=jnp.zeros((1,)),
            text=jnp.zeros((1, 1, cfg.text_dim)),
        )
        image = dict(image=jnp.zeros((1, cfg.image_positions or 1, cfg.image_dim)))
        parts = [(cfg.image_dim, image), (r, subjects), (e, captions)]
        return plain | {k: v for wanted, part in parts if wanted for k, v in part.items()}

    @nn.nowrap
    def abstract_params(self) -> dict:
        """Shapes and types of the parameters, without computing any."""
        return layers.abstract_params(self, **jax.eval_shape(self.example_inputs))

    @nn.nowrap
    def held_params(self) -> dict:
        """As `abstract_params`, for use without training: matrices in `dtype`.

        Those of the time embedding stay float32, as all vectors and modulations do.
        """

        def leaf(path: Any, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            names = [str(entry.key) for entry in path]
            rounded = names[-1] == "kernel" and names[0] != "time"
            return jax.ShapeDtypeStruct(x.shape, self.dtype if rounded else x.dtype)

        return jax.tree_util.tree_map_with_path(leaf, self.abstract_params())


def _looked_at(probe: Probe, sequence: SequenceLayout) -> LookedAt:
    if not (probe.subjects and sequence.slots):
        return LookedAt(probe, None, sequence)
    groups = np.concatenate([sequence.references(), sequence.tags()], axis=1)
    return LookedAt(probe, jnp.asarray(groups)[None], sequence)


def _tokens_of(
    frames: Bool[Array, "b t"], grid: tuple[int, int, int], patch: int
) -> Bool[Array, "b n"]:
    """The video tokens of these latent frames."""
    if patch != 1:
        raise ValueError(f"frames are given one by one, but {patch} of them are one token")
    return jnp.repeat(frames, grid[1] * grid[2], axis=1)


def _patchify(x: Float[Array, "b t h w c"], patch: tuple[int, int, int]) -> Float[Array, "b n p"]:
    pt, ph, pw = patch
    return rearrange(x, "b (t p) (h q) (w r) c -> b (t h w) (p q r c)", p=pt, q=ph, r=pw)


def _unpatchify(
    x: Float[Array, "b n p"], grid: tuple[int, int, int], patch: tuple[int, int, int]
) -> Float[Array, "b t h w c"]:
    (t, h, w), (pt, ph, pw) = grid, patch
    return rearrange(
        x, "b (t h w) (p q r c) -> b (t p) (h q) (w r) c", t=t, h=h, w=w, p=pt, q=ph, r=pw
    )
