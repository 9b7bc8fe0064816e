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
# # When, said by rotation alone
#
# AlcheMinT tells a video model *when* a subject is on screen by the rotary position of the subject's
# reference tokens, and by nothing else. This notebook looks at that signal before anything is
# trained: how attention over time would look if content agreed everywhere.
#
# A rotary embedding multiplies pair $f$ of a query at time $t$ by $e^{i f t}$ and pair $f$ of a key
# by a *gain* $g_f$. Where query and key agree in content, the score of frame $t$ is, up to a factor,
#
# $$ s(t) = \frac{1}{F} \sum_f \, \operatorname{Re}\left( g_f \, e^{-i f t} \right) , $$
#
# the **attention profile** of the gain. A plain reference at time $p$ has $g_f = e^{i f p}$, and its
# profile is a bump at $p$. A *scheme* turns an interval $[t_0, t_1]$ into gains, whose profile should
# be high inside the interval and low outside.

# %%
import matplotlib.pyplot as plt
import numpy as np

from alchemint_jax import rotary
from alchemint_jax.rotary import profiles as measures
from alchemint_jax.scene import Clock

FRAMES, HEAD_DIM = 21, 128  # an 81-frame clip of Wan2.1: 21 latent frames, heads of 128
freqs = rotary.axis_frequencies(HEAD_DIM)
print(f"{len(freqs.t)} temporal pairs, from {freqs.t[0]:.3g} to {freqs.t[-1]:.3g} radians a frame")

SCHEMES = {
    "MidRope": rotary.MidRope(),
    "WeRope": rotary.WeRope(),
    "SincRope": rotary.SincRope(),
    "FittedRope": rotary.FittedRope(),
}


def profiles(scheme, subjects, frames=FRAMES, freqs=freqs, equal_norm=True):
    """Attention profiles of subjects [n, m, 2], each on screen throughout latent frames a to b.

    Four pixel frames are one latent frame, but for the first: an interval reaches from the first
    pixel frame of a to the last of b. Unit key norm.
    """
    clock = Clock.for_latents(frames, stride=4)
    gains = scheme.gains(clock.latent(clock.held(subjects)), frames, freqs)
    temporal = np.asarray(gains)[:, : len(freqs.t)]
    if equal_norm:
        temporal = temporal / np.sqrt(np.mean(np.abs(temporal) ** 2, axis=-1, keepdims=True))
    # Rounded, so that frames that tie by symmetry tie in floating point too.
    return np.round(np.asarray(rotary.kernel(temporal, frames, freqs), np.float64), 6)


def profile(scheme, *intervals):
    """The profile of one subject."""
    return profiles(scheme, [intervals])[0]


def show(axis, curve, *intervals, **style):
    """One profile, with its intervals as bands."""
    for start, end in intervals:
        axis.axvspan(start - 0.5, end + 0.5, color="#fde68a", zorder=0)
    axis.axhline(0, color="#d1d5db", linewidth=0.8)
    axis.plot(curve, marker="o", markersize=3, linewidth=1.2, **style)


# %% [markdown]
# ## Every scheme, a few intervals
#
# All gains are scaled to the key norm of plain RoPE, so that no scheme wins by being louder. The
# fourth column asks for two intervals of one subject: gains add up, so their mean is a legal gain.

# %%
ASKED = [[(8, 10)], [(2, 16)], [(14, 20)], [(1, 4), (13, 17)]]
figure, axes = plt.subplots(len(SCHEMES), len(ASKED), figsize=(12, 8), sharex=True, sharey=True)
for row, (name, scheme) in zip(axes, SCHEMES.items(), strict=True):
    row[0].set_ylabel(name)
    for axis, intervals in zip(row, ASKED, strict=True):
        show(axis, profile(scheme, *intervals), *intervals, color="#1d4ed8")
for axis, intervals in zip(axes[0], ASKED, strict=True):
    axis.set_title(" and ".join(f"[{a}, {b}]" for a, b in intervals), fontsize=10)
figure.supxlabel("latent frame")
figure.suptitle("Attention profiles at equal key norm; yellow: asked for")
figure.tight_layout()

# %% [markdown]
# The bump of `MidRope` is equally wide whatever was asked. `WeRope` falls lower outside, but is about
# as wide. `SincRope` widens with the interval and flattens as it does. `FittedRope` makes a plateau of
# the length asked for, two of them where two are asked for, and is negative elsewhere.
#
# ## The paper's objection to the midpoint
#
# $[8, 10]$ and $[2, 16]$ have one midpoint, so for `MidRope` they are the same subject. How different
# are they for the others? The distance below is that of the two profiles, relative to their size.

# %%
figure, axes = plt.subplots(1, len(SCHEMES), figsize=(12, 2.6), sharey=True)
for axis, (name, scheme) in zip(axes, SCHEMES.items(), strict=True):
    one, other = profile(scheme, (8, 10)), profile(scheme, (2, 16))
    show(axis, one, label="[8, 10]", color="#1d4ed8")
    show(axis, other, label="[2, 16]", color="#dc2626")
    apart = np.linalg.norm(one - other) / np.linalg.norm((one + other) / 2)
    axis.set_title(f"{name}: {apart:.2f} apart", fontsize=10)
axes[0].legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# ## Is the printed anchor a misprint?
#
# `WeRope` mixes three rotations, $w_p\,e(t_m) + w_n\,e(t_l) + w_n\,e(t_r)$ with $w_p = 1.67$ and
# $w_n = -0.33$: towards the middle $t_m$ of the interval, away from $t_l = t_0 / 2$, the middle of what
# lies before it. The paper prints $t_r = (T - t_1) / 2$. That is half the *length* of what lies after the
# interval; the middle of it, the mirror image of $t_l$, would be $(T + t_1) / 2$. Where do the two lie
# for every interval of the clip?

# %%
pairs = np.array([(a, b) for a in range(FRAMES) for b in range(a, FRAMES)])
start, end = pairs.T
printed, mirrored = (FRAMES - end) / 2, (FRAMES - 1 + end) / 2
for name, anchor in (("printed", printed), ("mirrored", mirrored)):
    after, inside = np.mean(anchor > end), np.mean((anchor >= start) & (anchor <= end))
    left = np.mean(anchor < start / 2)
    print(f"{name}: after the interval {after:.0%}, inside it {inside:.0%}, before t_l {left:.0%}")

inside = np.array([[a <= t <= b for t in range(FRAMES)] for a, b in pairs])
partial = ~inside.all(1)
every = pairs[partial][:, None]  # all intervals but the whole clip: [n, 1, 2]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
for axis, right in zip(axes, ("printed", "mirror"), strict=True):
    scheme = rotary.WeRope(right=right)
    curves = profiles(scheme, every)
    mean = measures.auc(curves, inside[partial])
    grid = np.full((FRAMES, FRAMES), np.nan)
    for (a, b), curve in zip(pairs[partial], curves, strict=True):
        within = curve[a : b + 1].mean()
        without = np.delete(curve, np.arange(a, b + 1)).mean()
        grid[a, b] = within - without
    image = axis.imshow(grid.T, origin="lower", cmap="RdYlGn", vmin=-0.5, vmax=0.5)
    axis.set(title=f"{right}: AUC {mean:.3f}", xlabel="first frame", ylabel="last frame")
figure.colorbar(image, ax=axes, label="profile inside minus outside")

# %% [markdown]
# The printed anchor seldom lies after the interval, and often in it, where it pushes away from frames
# that were asked for; early and long intervals suffer most. The mirrored one lies inside only where
# nothing comes after the interval, and is then left out. So the library's `WeRope()` uses the mirror
# image, and `WeRope(right="printed")` remains for comparison.
#
# ## Contrast, and what it costs
#
# A stronger push away from the outside makes the profile steeper, but it also makes the key longer, and
# a long key is heard everywhere. Left: the contrast of `WeRope` against its negative weight, as it is and
# at equal key norm. Right: the temporal ladder. On short clips most of Wan's pairs ($\theta = 10^4$)
# hardly turn, and a smaller $\theta$ gives more contrast, to the simple schemes most of all.

# %%
weights = np.linspace(0, -0.8, 9)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6))


def contrast(scheme, **options):
    return measures.contrast(profiles(scheme, every, **options), inside[partial])


for equal, label in ((False, "as it is"), (True, "at equal key norm")):
    values = [contrast(rotary.WeRope(1 - 2 * w, w), equal_norm=equal) for w in weights]
    left.plot(weights, values, marker="o", label=label)
left.axvline(-0.33, color="#9ca3af", linestyle=":")
left.set(xlabel="$w_n$ (the paper's is dotted)", ylabel="contrast")
left.legend()

thetas = [10, 30, 100, 300, 1000, 10000]
for name, scheme in SCHEMES.items():
    ladders = [rotary.axis_frequencies(HEAD_DIM, theta_t=theta) for theta in thetas]
    right.plot(thetas, [contrast(scheme, freqs=ladder) for ladder in ladders], "o-", label=name)
right.set(xscale="log", xlabel=r"temporal $\theta$")
right.legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# ## Does the length arrive?
#
# For every interval: the number of frames above the middle of the profile's own range, against the
# number asked for. A scheme that says *how long* puts its points on the diagonal.

# %%
figure, axes = plt.subplots(1, len(SCHEMES), figsize=(12, 3.2), sharex=True, sharey=True)
for axis, (name, scheme) in zip(axes, SCHEMES.items(), strict=True):
    curves = profiles(scheme, every)
    asked, seen = inside[partial].sum(1), measures.shown(curves).sum(1)
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, (2, len(asked)))
    axis.plot([0, FRAMES], [0, FRAMES], color="#9ca3af", linewidth=0.8)
    axis.scatter(asked + jitter[0], seen + jitter[1], s=4)
    followed = measures.correlation(asked.astype(float), seen.astype(float))
    axis.set(title=f"{name}: r = {followed:.2f}", xlabel="frames asked for")
axes[0].set_ylabel("frames shown")
figure.tight_layout()

# %% [markdown]
# ## A better gain in closed form
#
# The profile is *linear* in the gain. So the gain whose profile comes closest to a wanted one is a ridge
# regression: with $A_{t,f} = e^{-i f t} / F$ and the target $y_t = \pm 1$ inside and outside,
#
# $$ g = \arg\min_g \; \Vert \operatorname{Re}(A g) - y \Vert^2 + \lambda \, \frac{1}{F} \Vert g \Vert^2 , $$
#
# which is one constant matrix for a clip length, applied to the target. That is `FittedRope`. The ridge
# $\lambda$ trades sharp edges against contrast at equal key norm:

# %%
ridges = np.geomspace(1e-3, 3, 12)
figure, axis = plt.subplots(figsize=(5.5, 3.6))
gaps, overlaps = [], []
for ridge in ridges:
    curves = profiles(rotary.FittedRope(ridge), every)
    gaps.append(measures.contrast(curves, inside[partial]))
    overlaps.append(measures.best_iou(curves, inside[partial]))
axis.plot(ridges, gaps, "o-", label="contrast")
axis.plot(ridges, overlaps, "s-", label="IoU at one threshold")
axis.axvline(rotary.FittedRope().ridge, color="#9ca3af", linestyle=":")
axis.set(xscale="log", xlabel=r"ridge $\lambda$ (the default is dotted)")
axis.legend()
figure.tight_layout()

# %% [markdown]
# ## A scheme of your own
#
# A scheme is a frozen dataclass with one method. This one anchors a subject at the moment it appears.
# `docs/guides/add_scheme.md` says how to make it part of the library.

# %%
from dataclasses import dataclass

import jax.numpy as jnp

from alchemint_jax.rotary.schemes import split_intervals, whole_gains


@dataclass(frozen=True)
class StartRope:
    """The rotation of the first frame of the first interval."""

    def gains(self, intervals, n_frames, freqs):
        start, _, valid = split_intervals(intervals)
        first = jnp.min(jnp.where(valid, start, n_frames), axis=-1, initial=n_frames)
        seen = jnp.any(valid, axis=-1)[..., None]  # never on screen: no frame is preferred
        return whole_gains(jnp.where(seen, rotary.rotation(first, freqs.t), 0), 1.0, freqs)


figure, axis = plt.subplots(figsize=(5.5, 2.6))
show(axis, profile(StartRope(), (6, 15)), (6, 15), label="StartRope")
axis.plot(profile(rotary.FittedRope(), (6, 15)), color="#9ca3af", label="FittedRope")
axis.legend(fontsize=8)
figure.tight_layout()

# %% [markdown]
# ## What was found
#
# - The midpoint says when, not how long; the paper's objection is right.
# - The printed right anchor of WeRoPE cannot be meant as a position; its mirror image is better.
# - On Wan's ladder `WeRope` has more contrast than the midpoint, but its width hardly follows the
#   length asked for; `SincRope` follows the length, with no more contrast than the midpoint.
# - The fit has the most contrast there *and* follows the length, at the same key norm and at no cost
#   when the model runs. With a ladder made for short clips its lead in contrast is gone, and the
#   length is what it is good for.
#
# These are kernels of an untrained model. Whether a trained one makes use of them is another question,
# which `python -m studies.schemes` answers.
