"""Prompt Relay: attention of a video to the text of events, under its penalty."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import torch

FRAMES, CELLS = 9, 2
INTERVALS = [[2, 6], [4, 5], [0, 9]]  # half-open; they overlap and nest
TAILS = {"usual": {}, "hard": {"tail_width": 0.75, "epsilon": 0.01}}


def tokenizer(text, **_):
    """Each word is a token."""
    found, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        found.append((start, start + len(word)))
        start += len(word)
    return {"input_ids": list(range(len(found))), "offset_mapping": found}


def goldens(checkout: Path) -> dict[str, np.ndarray]:
    sys.path.insert(0, str(checkout / "src/MiniMax-H3"))
    code = importlib.import_module("h3_prompt_relay.attention")
    prompts = {"global_prompt": "a b", "local_prompts": ["c d", "e", "f g h"]}
    video, words = FRAMES * CELLS, 8
    positions = torch.zeros(video + words, 3)
    positions[:video, 0] = torch.arange(FRAMES).repeat_interleave(CELLS)
    rng = np.random.default_rng(0)
    shape = (1, video + words, 2, 6)  # in float32: its code overflows in float64
    given = {name: rng.standard_normal(shape, np.float32) for name in ("q", "k", "v")}
    found = dict(given)
    for name, tail in TAILS.items():
        state = code.prepare_attention_state(
            position_ids=positions,
            video_indices=torch.arange(video),
            text_indices=torch.arange(video, video + words),
            num_condition_video_rows=0,
            num_latent_frames=FRAMES,
            duration=1.0,
            tokenizer=tokenizer,
            config=prompts | {"segment_intervals": INTERVALS} | tail,
        )
        parts = (torch.from_numpy(x) for x in given.values())
        found[name] = code.relay_attention(*parts, state).numpy()
        found["segments"] = state.key_segment_ids[video:].numpy()
    return found
