# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the model attends to
#
# A scheme gives every reference an attention profile over time, by position alone
# (`01_rotary_kernels`). A trained model is free to use it, to ignore it, or to learn something else on
# top. This notebook looks inside the bundled sprites model: how much does each latent frame really
# attend to each reference, in every layer and head, and does that follow the kernel?

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import alchemint_jax as al
from alchemint_jax import flow, rotary
from alchemint_jax.models.dit import DiT, Probe
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, named
from alchemint_jax.worlds.sprites.world import sample_clip

CLIPS = 4 if "NOTEBOOK_SMALL" in os.environ else 48
pipe = al.Pipeline.load("sprites")
config = pipe.models.dit.config
print(f"{config.n_layers} layers of {config.n_heads} heads; scheme: {config.scheme}")

# %% [markdown]
# ## Clips, noise, and the model's inputs
#
# Clips that training never saw, each with two subjects; their latents; and the point on the path between
# data and noise at time 0.8, where the model has to decide what goes where.

# %%
clips = [sample_clip(i, seed=FIRST_SEED + 99, subjects=2) for i in range(CLIPS)]
clips = [clip for clip in clips if all(subject.spans for subject in clip.scene.subjects)]
videos = np.stack([clip.video for clip in clips])
scenes = [named(clip.scene.id, clip.scene) for clip in clips]  # captions as long as it reads
conditions = pipe.conditions(scenes)
vae, vae_params = pipe.models.vae, pipe.models.vae_params
encode = jax.jit(lambda p, x: vae.apply({"params": p}, x, method="encode"))
latents = np.concatenate([encode(vae_params, x[None] / np.float32(127.5) - 1) for x in videos])
noise = jax.random.normal(jax.random.key(0), latents.shape)


@jax.jit
def attention_at(time):
    times = jnp.full(len(latents), time)
    points = flow.interpolate(jnp.asarray(latents), noise, times)
    given = jnp.ones(len(latents), bool)  # all of them have their captions and their pictures
    text, inputs = model_inputs(conditions, given, given)
    probe = Probe(heads=True, places=False)
    variables = {"params": pipe.models.dit_params}
    _, seen = DiT(config).apply(variables, points, times, text, **inputs, probe=probe)
    return seen.references[..., 0, 0, :]  # one number for all places of a frame


probabilities = np.asarray(attention_at(0.8))[..., :2]  # [layer, clip, head, frame, subject]
print(f"attention probabilities: {probabilities.shape}")

# %% [markdown]
# ## Attention and kernel, side by side
#
# For six subjects: what the position alone would give (blue), and what the model's video tokens give to
# the reference's tokens, summed over layers and heads (red), both scaled to one range.

# %%
freqs = rotary.axis_frequencies(config.head_dim, config.theta_t, config.theta_hw)
frames = latents.shape[1]
gains = config.scheme.gains(conditions.intervals, frames, freqs)
kernels = np.asarray(rotary.kernel(gains, frames, freqs))[:, :2].transpose(0, 2, 1)
covered = np.asarray(rotary.coverage(conditions.intervals, scenes[0].clock))[:, :2].transpose(
    0, 2, 1
)
total = probabilities.sum((0, 2))


def unit(curve):
    return (curve - curve.min()) / max(np.ptp(curve), 1e-9)


figure, axes = plt.subplots(2, 3, figsize=(11, 4.2), sharex=True)
for axis, (clip, subject) in zip(
    axes.flat, [(i, j) for i in range(3) for j in range(2)], strict=True
):
    axis.fill_between(
        range(frames), covered[clip, :, subject], step="mid", color="#fde68a", label="on screen"
    )
    axis.plot(unit(kernels[clip, :, subject]), "o-", color="#1d4ed8", label="kernel")
    axis.plot(unit(total[clip, :, subject]), "s-", color="#dc2626", label="attention")
    axis.set_title(scenes[clip].subjects[subject].word, fontsize=10)
    axis.set_yticks([])
axes[0, 0].legend(fontsize=8)
figure.supxlabel("latent frame")
figure.tight_layout()

# %% [markdown]
# ## Which layers and heads listen
#
# Over all subjects: how much more a head attends to a reference in frames where the subject is to be on
# screen than elsewhere, as a ratio. One is indifference.

# %%
inside = covered > 0.5
on = np.broadcast_to(inside[None, :, None], probabilities.shape)
ratio = np.array(
    [
        [
            probabilities[layer, :, head][on[layer, :, head]].mean()
            / probabilities[layer, :, head][~on[layer, :, head]].mean()
            for head in range(config.n_heads)
        ]
        for layer in range(config.n_layers)
    ]
)
figure, axis = plt.subplots(figsize=(4.6, 4))
image = axis.imshow(np.log2(ratio), cmap="RdBu_r", vmin=-4, vmax=4, aspect="auto")
for layer in range(config.n_layers):
    for head in range(config.n_heads):
        axis.text(head, layer, f"{ratio[layer, head]:.1f}", ha="center", va="center", fontsize=9)
axis.set(xlabel="head", ylabel="layer", xticks=range(config.n_heads))
figure.colorbar(image, label="log2 of attention inside / outside")
figure.tight_layout()

# %% [markdown]
# ## From noise to picture
#
# The same ratio, over all layers and heads, along the path: near noise there is nothing but position to go
# by; near the data the frames themselves show who is there.

# %%
TIMES = (0.99, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2, 0.05)
along = []
for time in TIMES:
    weights = np.asarray(attention_at(time))[..., :2].sum((0, 2))
    along.append(weights[inside].mean() / weights[~inside].mean())
figure, axis = plt.subplots(figsize=(5, 3.2))
axis.plot(TIMES, along, "o-")
axis.axhline(1, color="#9ca3af", linewidth=0.8)
axis.set(xlabel="time of the path (1: noise, 0: data)", ylabel="attention inside / outside")
axis.invert_xaxis()
figure.tight_layout()

# %%
follows = [
    np.corrcoef(kernels[i, :, j], total[i, :, j])[0, 1] for i in range(len(clips)) for j in range(2)
]
print(f"correlation of kernel and attention over frames: median {np.median(follows):.2f}, ")
print(f"a quarter of the subjects below {np.quantile(follows, 0.25):.2f}")
print(f"attention inside / outside at time 0.8: {along[TIMES.index(0.8)]:.2f}")

# %% [markdown]
# ## What was found
#
# - Attention over time follows the kernel closely: training has kept what the position says.
# - Some heads do the timing, those of one middle layer most; most others look at the references at all times
#   alike, free to carry what a subject looks like.
# - The nearer to noise, the more the frames listen to the interval; near the data the video itself tells
#   who is there, and still the reference is looked at more where its subject is on screen.
