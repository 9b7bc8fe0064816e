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
# # Train a tiny AlcheMinT
#
# From nothing to a model that has begun to learn who is on screen when, in one sitting: draw clips,
# encode them, train a small diffusion transformer, first on pictures and then on clips, sample from it, and
# measure. Only the autoencoder is borrowed from the bundled model. The same functions, with larger numbers,
# are the recipe of that model.

# %%
import os
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from alchemint_jax import weights
from alchemint_jax.data import encode_dataset, write_sheet
from alchemint_jax.evaluate import score
from alchemint_jax.evaluate.benchmark import render
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.train.metrics import read_metrics
from alchemint_jax.train.run import run_config
from alchemint_jax.worlds.sprites import SpritesTracker, sprites_cases, write_sprites

SMALL = "NOTEBOOK_SMALL" in os.environ
PICTURES, PICTURE_STEPS = (8, 2) if SMALL else (5000, 250)
CLIPS, CLIP_STEPS, BOARDS = (5, 2, 2) if SMALL else (800, 500, 32)
AT_ONCE = 2 if SMALL else 8  # clips that are encoded together
temporary = tempfile.TemporaryDirectory()  # it goes when the notebook ends
work = Path(temporary.name)

# %% [markdown]
# ## Clips with known times
#
# The sprites world draws one to three textured shapes that appear, leave, return and touch. The bars
# under each row are the seconds that each subject is on screen, known exactly. A picture is a clip of one frame.

# %%
began = time.perf_counter()
pictures = write_sprites(work / "sprites_pictures", PICTURES, seed=7, frames=1)
clips = write_sprites(work / "sprites", CLIPS, seed=7)
print(f"{PICTURES} pictures and {CLIPS} clips in {time.perf_counter() - began:.0f} s")
write_sheet(clips, work / "sheet.png", rows=4)
Image.open(work / "sheet.png")

# %% [markdown]
# ## Latents
#
# The causal video autoencoder turns 33 frames of 64 x 64 pixels into 9 latent frames of 16 x 16 cells with 8
# numbers each; a reference picture becomes a single latent frame. Encoding once saves doing it at every step.

# %%
vae = weights.locate("sprites")
began = time.perf_counter()
picture_latents = encode_dataset(pictures, vae, work / "picture_latents", batch=AT_ONCE)
clip_latents = encode_dataset(clips, vae, work / "clip_latents", batch=AT_ONCE)
print(f"encoded in {time.perf_counter() - began:.0f} s")

# %% [markdown]
# ## The flow, and a step of training
#
# A sample on the path between data $z_0$ and noise $\epsilon$ is $z_t = (1 - t) z_0 + t \epsilon$. The
# transformer sees $z_t$, the caption, the clean reference latents and the words of the subjects in one
# sequence, and predicts the velocity $\epsilon - z_0$ of the video's part. A reference carries its interval in
# its rotary position and nowhere else.
#
# `configs/sprites.py` is the recipe of the bundled model, stage by stage; these runs override its sizes.
# Pictures, at a quarter of the tokens, teach what the references look like; clips teach when.

# %%
config = Path("../configs/sprites.py")


def train(stage, latents, steps, *more):
    """Trains one stage in the folder of its name, and returns the model's."""
    dim, heads, layers = (24, 1, 1) if SMALL else (96, 2, 4)
    overrides = [
        f"data={latents}",
        f"vae={vae}",
        f"model.dim={dim}",
        f"model.n_heads={heads}",
        f"model.n_layers={layers}",
        "model.ffn_dim=384",
        f"train.total_steps={steps}",
        f"train.optimizer.total_steps={steps}",
        f"train.optimizer.warmup_steps={min(50, steps // 2)}",
        f"train.validate_every={steps // 3 or 1}",
        "train.sample_every=0",
        "train.log_every=10",
        *more,
        *(["loader.batch_size=4", "train.optimizer.method=adamw"] if SMALL else []),
    ]
    began = time.perf_counter()
    run_config(f"{config}:{stage}", work / stage, overrides)
    print(f"{stage}: {steps} steps in {time.perf_counter() - began:.0f} s")
    return work / stage / "export"


start = train("pictures", picture_latents, PICTURE_STEPS)
model = train("clips", clip_latents, CLIP_STEPS, f"init_from={start}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axis, stage in zip(axes, ("pictures", "clips"), strict=True):
    lines = read_metrics(work / stage / "metrics.jsonl")
    for name in ("loss", "loss_early", "validation/loss"):
        points = [(line["step"], line[name]) for line in lines if name in line]
        axis.plot(*zip(*points, strict=True), label=name, marker="o" if "/" in name else None)
    axis.set(xlabel="step", title=stage)
axes[0].set(ylabel="mean square error of the velocity")
axes[1].legend()
figure.tight_layout()

# %% [markdown]
# `loss_early` is that of times near noise, where it is decided what goes where; the rest is spent on what
# things look like.
#
# ## Does it obey?
#
# Boards that training never saw. Each row of the picture is a board: what was rendered, with a bar above each
# strip for every subject's interval.

# %%
pipe = Pipeline.load(model)
cases = sprites_cases(BOARDS, seed=5)
began = time.perf_counter()
videos = render(pipe.render, cases, seed=5, steps=2 if SMALL else 30, batch=min(16, BOARDS))
print(f"{BOARDS} videos in {time.perf_counter() - began:.0f} s")
report = score(cases, videos, SpritesTracker())

colors = ("#0072b2", "#d55e00", "#009e73")
figure, axes = plt.subplots(4, 1, figsize=(11, 6.4))
for axis, case, video in zip(axes, cases, videos, strict=False):
    axis.imshow(np.concatenate(list(video[::3]), axis=1), extent=(-1.5, 34.5, 0, 3))
    for i, subject in enumerate(case.subjects):
        for start, end in subject.spans:
            axis.plot([start - 0.5, end - 0.5], [3.3 + 0.3 * i] * 2, color=colors[i], linewidth=4)
    axis.set(yticks=[], ylim=(0, 4.2), xlim=(-1.5, 34.5), aspect="auto", xlabel=case.caption)
    axis.set_title(", ".join(subject.word for subject in case.subjects), fontsize=9)
figure.tight_layout()

# %%
overall, always = report["overall"], report["baselines"]["always_present"]
for name in ("t_iou", "t_l2", "detected", "identity"):
    figure_of = overall[name]
    print(f"{name}: {figure_of['mean']:.2f} ({figure_of['low']:.2f} to {figure_of['high']:.2f})")
print(f"always present: t-IOU {always['t_iou']:.2f}, t-L2 {always['t_l2']:.2f}")

# %% [markdown]
# Compare t-IOU with that of showing everything all the time. The bundled model has half as many channels again
# and six layers instead of four, and saw more pictures and clips for more steps. To try another scheme, give the
# second stage one, `model.scheme.name=WeRope`, and run the cells again; to compare all of them properly, with
# several seeds and intervals of confidence, `python -m studies.schemes`.
