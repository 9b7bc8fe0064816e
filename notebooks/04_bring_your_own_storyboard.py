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
# # Bring your own storyboard
#
# A storyboard is a prompt, a picture of each subject, and the seconds during which it is on screen.
# This notebook draws its own pictures, renders them with the bundled model, measures what came out,
# and then changes one thing at a time.
#
# The bundled model knows a tiny world: six shapes, six colours, 64 x 64 pixels, four seconds at eight
# frames a second. Everything else is as it would be with a large one.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

import alchemint_jax as al
from alchemint_jax import media
from alchemint_jax.worlds.sprites.tracker import SpritesTracker

STEPS = 2 if "NOTEBOOK_SMALL" in os.environ else 40
pipe = al.Pipeline.load("sprites")
print(pipe.limits.describe())

# %% [markdown]
# ## Two pictures
#
# Any picture file will do; it is fitted to the model's size on white. These are drawn here, in a pose
# and a size that no video below will have.

# %%
temporary = tempfile.TemporaryDirectory()  # it goes when the notebook ends
folder = Path(temporary.name)


def picture(name, color, corners):
    page = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(page).polygon([tuple(corner) for corner in corners], fill=color)
    page.save(folder / name)
    return page


turn = np.linspace(0, 2 * np.pi, 10, endpoint=False) - np.pi / 2 + 0.3
reach = np.where(np.arange(10) % 2, 0.45, 1.12)[:, None]
star = 128 + 78 * reach * np.stack([np.cos(turn), np.sin(turn)], 1)
corners = np.array([(-1.2, -0.42), (1.2, -0.42), (1.2, 0.42), (-1.2, 0.42)])
bar = 128 + 78 * corners @ np.array([[0.97, 0.26], [-0.26, 0.97]])
pictures = [
    picture("star.png", (52, 168, 62), star),
    picture("bar.png", (48, 78, 220), bar),
]
Image.fromarray(np.concatenate([np.asarray(page) for page in pictures], axis=1)).resize((256, 128))

# %% [markdown]
# ## The storyboard
#
# The star is there from 0.5 s to 2 s, the bar from 1.5 s to the end: for half a second both are.
# In a file this would be YAML; see `examples/`.


# %%
def storyboard(star=((0.5, 2.0),), bar=((1.5, 4.0),)):
    return al.Storyboard.from_dict(
        {
            "prompt": "a green star glides right while a blue bar bounces on a light background",
            "duration": 4.0,
            "subjects": [
                {"word": "green star", "image": "star.png", "appears": star},
                {"word": "blue bar", "image": "bar.png", "appears": bar},
            ],
        },
        base=folder,
    )


def render(board, **options):
    """What a board asks for in frames, the video, and what the tracker saw of each subject."""
    video, scene = pipe.generate(board, steps=STEPS, **options), pipe.scene(board)
    return scene, video, SpritesTracker().track(video, scene)


scene, video, seen = render(storyboard(), seed=1)
for subject, sighting in zip(scene.subjects, seen, strict=True):
    asked, shown = scene.clock.seconds(subject.spans), scene.clock.seconds(sighting.spans)
    score = al.evaluate.t_iou(shown, asked)
    print(f"{subject.word}: asked {asked}, seen {shown}, t-IOU {score:.2f}")
media.contact_sheet(video, scene, [sighting.spans for sighting in seen])

# %% [markdown]
# The sheet shows frames, and under them the intervals asked for and those measured. The tracker that
# measures is given the video and the two pictures, not the storyboard.
#
# ## One change at a time: later, longer, twice
#
# Same seed, same noise, same pictures; only the star's interval changes. The curve is the star's
# area in each frame.

# %%
CHANGES = {
    "0.5 to 2 s": ((0.5, 2.0),),
    "2 to 3.5 s": ((2.0, 3.5),),
    "0.5 to 3.5 s": ((0.5, 3.5),),
    "0 to 1 s and 2.5 to 3.5 s": ((0.0, 1.0), (2.5, 3.5)),
}
figure, axes = plt.subplots(len(CHANGES), 2, figsize=(12, 5.2), width_ratios=(3, 1.3))
for (strip, curve), (name, appears) in zip(axes, CHANGES.items(), strict=True):
    changed = storyboard(star=appears)
    _, video, seen = render(changed, seed=1)
    strip.imshow(np.concatenate(list(video[::3]), axis=1))
    strip.set(xticks=[], yticks=[], title=name)
    for start, end in appears:
        curve.axvspan(start, end, color="#fde68a")
    curve.plot(np.arange(len(video)) / pipe.fps, seen[0].area, color="#15803d")
    curve.set(xlim=(0, 4), yticks=[])
axes[-1, 1].set_xlabel("seconds")
figure.tight_layout()

# %% [markdown]
# ## How strongly to insist
#
# Guidance compares the velocity with the conditions to that without. It has a weight for the text, one for
# the pictures, and one for both together. The interval is never taken away: it is a position, not a
# content.

# %%
WEIGHTS = (0.0, 1.0, 2.0, 4.0)
figure, axes = plt.subplots(len(WEIGHTS), 1, figsize=(9, 3.8))
for axis, weight in zip(axes, WEIGHTS, strict=True):
    scene, video, seen = render(storyboard(), seed=1, guidance=al.Guidance(both=weight))
    scores = [
        al.evaluate.t_iou(sighting.spans, subject.spans)
        for sighting, subject in zip(seen, scene.subjects, strict=True)
    ]
    axis.imshow(np.concatenate(list(video[::3]), axis=1))
    axis.set(xticks=[], yticks=[])
    axis.set_ylabel(f"{weight:g}\n{np.mean(scores):.2f}", rotation=0, labelpad=20, va="center")
figure.suptitle("Guidance weight, and mean t-IOU of this one video")
figure.tight_layout()

# %% [markdown]
# ## What cannot be rendered is said
#
# With the file, the field and what to do, before anything is computed.

# %%
for appears in (((2.0, 1.0),), ((0.5, 9.0),), ((0.0, 2.0), (1.0, 3.0))):
    try:
        pipe.generate(storyboard(star=appears), steps=STEPS)
    except al.StoryboardError as error:
        print(error)

# %% [markdown]
# ## What was found
#
# - An interval moves its subject and nothing else: the background and the other subject stay.
# - The model works in latent frames of four frames each. Where a subject comes or goes within one, it is
#   half faded there, and what is measured may be a frame or two off.
# - Without guidance (0) text and pictures have no say: other subjects appear, at about the times asked for. From 1
#   on the subjects are the right ones.
