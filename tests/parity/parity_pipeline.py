"""Whole pipelines: diffusers saves one, both generate from the same noise, frames are compared."""

from __future__ import annotations

import numpy as np
import pytest
import reference_pipeline
import torch
from PIL import Image

from alchemint_jax.sampling import Guidance, Pipeline

HEIGHT, WIDTH, FRAMES, STEPS = 32, 48, 9, 10
PROMPTS = ["a red disc glides past &amp; a cat", "eine Katze"]
NEGATIVE = "ein Hund"


def noise(count):
    return np.random.default_rng(0).standard_normal((count, 3, 4, 6, 16)).astype(np.float32)


def ours(pipe, z, keyframes=None):
    count = len(z)
    return pipe.render(
        PROMPTS[:count],
        np.zeros((count, 0, HEIGHT, WIDTH, 3), np.uint8),
        [[]] * count,
        [[]] * count,
        frames=FRAMES,
        steps=STEPS,
        guidance=Guidance(text=5.0, image=0.0, both=0.0),
        negative_prompt=NEGATIVE,
        noise=z,
        keyframes=keyframes,
    )


def theirs(pipe, z, *pictures, **options):
    return pipe(
        *pictures,
        PROMPTS[: len(z)],
        negative_prompt=[NEGATIVE] * len(z),
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        latents=torch.from_numpy(z).permute(0, 4, 1, 2, 3),
        output_type="np",
        **options,
    ).frames


def close(found, wanted):
    # Ours are whole numbers: within half a level, and 1e-3 of the range besides.
    assert wanted.std() > 0.1
    difference = np.abs(found / 255.0 - wanted)
    assert difference.max() <= 0.5 / 255 + 1e-3


@pytest.mark.parametrize("count", [1, 2])
def test_text_to_video(tmp_path, count):
    reference = reference_pipeline.text_to_video(tmp_path)
    close(ours(Pipeline.load(tmp_path), noise(count)), theirs(reference, noise(count)))


def test_first_and_last_frame_to_video(tmp_path):
    reference = reference_pipeline.frames_to_video(tmp_path)
    pictures = np.random.default_rng(1).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    first, last = (Image.fromarray(picture) for picture in pictures)
    close(
        ours(Pipeline.load(tmp_path), noise(1), keyframes=pictures[None]),
        theirs(reference, noise(1), first, last_image=last),
    )
