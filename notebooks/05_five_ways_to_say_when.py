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
# # Five ways to say when
#
# A model that was trained with intervals is told when by position. A model that was not can still be told,
# while it samples, and nothing is trained. This notebook asks one model for one board in five ways, and
# measures each with the tracker.

# %%
import dataclasses
import os

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import alchemint_jax as al
from alchemint_jax.models.dit import DiT
from alchemint_jax.sampling.control import Gating, Relay, TempoControl
from alchemint_jax.worlds.sprites.tracker import SpritesTracker

STEPS = 2 if "NOTEBOOK_SMALL" in os.environ else 10
pipe = al.Pipeline.load("sprites")
board = al.Storyboard.load("../examples/two_subjects.yaml")
for subject in board.subjects:
    print(subject.word, subject.appears)

# %% [markdown]
# ## The same model, without time
#
# The bundled model knows intervals. To see what the other ways do by themselves, they get its twin: the
# same weights, but every reference is placed as if it were on screen all the time. The twin still reads
# the storyboard, but by position it is told nothing.


# %%
@dataclasses.dataclass(frozen=True)
class Throughout:
    """Places every reference as a scheme does one that is there in all frames."""

    scheme: al.rotary.Scheme
    stride: int = 4

    def gains(self, intervals, n_frames, freqs):
        whole = jnp.array([[0.0, n_frames - 1.0]])
        whole = jnp.broadcast_to(whole, (*intervals.shape[:-2], 1, 2))
        return self.scheme.gains(whole, n_frames, freqs)


dit = pipe.models.dit
blind = DiT(dataclasses.replace(dit.config, scheme=Throughout(dit.config.scheme)), dit.dtype)
twin = dataclasses.replace(pipe, models=pipe.models._replace(dit=blind))

# %% [markdown]
# ## The ways
#
# - **Position**: the model as it was trained.
# - **Gating**: a bias hides the picture and the word of a subject from the frames in which it is not there.
# - **Relay**: what each subject does is an event. Its text, which has the prompt in it, is hidden from the other
#   frames; those without any event have the prompt alone. Pictures are seen all the time.
# - **TempoControl**: the latents of the first steps are moved until attention to a subject's word comes and
#   goes with the subject.
# - **Position and gating**: both at once, on the model as it was trained.
#
# The plain twin is there for comparison. Of TempoControl, whose numbers are meant for large models and many
# steps, it takes fewer and larger steps.

# %%
tempo = TempoControl(steps=(0, 0.2), iterations=4, rate=0.05, magnitude=1.0, entropy=0.1)
gating = Gating(edge=10.0)
told = dataclasses.replace(twin, relay=Relay())
GROUND = "a light background"
SAYS = (f"a purple moon circles on {GROUND}", f"a blue star stays on {GROUND}")
events = al.Storyboard.from_dict(
    {
        "prompt": GROUND,
        "duration": 4.0,
        "subjects": [
            {"word": one.word, "image": str(one.image), "appears": one.appears}
            for one in board.subjects
        ],
        "events": [
            {"text": text, "during": one.appears[0]}
            for text, one in zip(SAYS, board.subjects, strict=True)
        ],
    }
)
WAYS = {
    "nothing": (twin, board, None),
    "position": (pipe, board, None),
    "gating": (twin, board, gating),
    "relay": (told, events, None),
    "TempoControl": (twin, board, tempo),
    "position and gating": (pipe, board, Gating()),
}

# %% [markdown]
# ## What comes out
#
# Same seed, same noise. Under the frames of each video: when each subject was asked for (light), and when the
# tracker saw it (dark). A frame is right for a subject if it is there as asked, or away as asked.


# %%
def measure(model, asked, control):
    """The video, what was asked for and seen in frames, and the share of frames that are right."""
    video, scene = model.generate(asked, seed=3, steps=STEPS, control=control), model.scene(asked)
    seen = SpritesTracker().track(video, scene)
    pairs = [
        (subject.spans, sighting.spans)
        for subject, sighting in zip(scene.subjects, seen, strict=True)
    ]
    right = [np.mean(on(a, len(video)) == on(s, len(video))) for a, s in pairs]
    scores = [al.evaluate.t_iou(s, a) for a, s in pairs]
    return video, pairs, right, scores


def on(spans, frames):
    there = np.zeros(frames, bool)
    for start, end in spans:
        there[start:end] = True
    return there


COLORS = (("#e9d5ff", "#7e22ce"), ("#bfdbfe", "#1d4ed8"))
figure, axes = plt.subplots(
    2 * len(WAYS), 1, figsize=(9, 11), height_ratios=[1, 0.35] * len(WAYS), constrained_layout=True
)
found = {}
for (strip, bars), (name, way) in zip(axes.reshape(-1, 2), WAYS.items(), strict=True):
    video, pairs, *found[name] = measure(*way)
    strip.imshow(np.concatenate(list(video[2::4]), axis=1), aspect="auto")
    strip.set(xticks=[], yticks=[])
    strip.set_title(name, loc="left", fontsize=10)
    for row, (spans, colors) in enumerate(zip(pairs, COLORS, strict=True)):
        for height, shown, color in zip((0.9, 0.4), spans, colors, strict=True):
            bars.broken_barh(
                [(a, b - a) for a, b in shown], (-row - height / 2, height), color=color
            )
    bars.set(xlim=(0, len(video)), ylim=(-1.5, 0.5), xticks=[], yticks=[])

# %%
print(f"{'':24}{'frames right':>24}{'t-IOU':>16}")
for name, (right, scores) in found.items():
    shares, overlaps = ("".join(f"{x:8.2f}" for x in row) for row in (right, scores))
    print(f"{name:24}{shares:>24}{overlaps:>16}")

# %% [markdown]
# ## What was found
#
# - **Position** puts both subjects where they were asked for: the model was trained for it. Here gating on top
#   takes a frame off each.
# - **Gating** comes close without any training. The moon comes a frame late, and the star is lost a frame early:
#   the twin places its picture over the whole clip, and at the end of that it fades, without gating too.
# - **The relay** changes nothing that can be measured. This model takes subjects from their pictures, which a relay
#   leaves alone, and it has never read what happens when.
# - **TempoControl** does not work here. It tints the video and thins subjects out at the end, whenever they were
#   asked for: it moves attention to words, and in this model pictures say who is seen. It is for models that have
#   only words to go by.
#
# This is one board with one seed. `python -m studies.timing_methods` measures many, and `studies.timing_words` does it
# for a model that has words alone to go by.
