"""Kaleido: R-RoPE applied to queries and keys of references and video."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import torch
from authors_code import definitions
from einops import rearrange, repeat

HEAD, VIDEO, REFERENCES = 16, (4, 3, 5), (2, 2, 4)  # references, rows and columns of each
# As its configuration has it, and three others that its code has.
LAYOUTS = {
    "released": {"overloop": True},
    "after": {"overloop": True, "end_concat": True},
    "continued": {"overloop": True, "rope_continue": True},
    "apart": {"overloop": False},
}


def goldens(checkout: Path) -> dict[str, np.ndarray]:
    names = {
        "BaseMixin": torch.nn.Module,
        "non_conflict": lambda method: method,
        "attention_fn_default": None,
        "rearrange": rearrange,
        "repeat": repeat,
    }
    wanted = ["broadcat", "rotate_half", "rotate_half_false", "Rotary3DPositionEmbeddingMixin"]
    code = definitions(checkout / "dit_video_crossattn.py", wanted, **names)
    (t, h, w), (r, rows, columns) = VIDEO, REFERENCES
    size = r * rows * columns
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, size + t * h * w, HEAD))
    found = {"given": x}
    for name, options in LAYOUTS.items():
        options = dict(options)
        last = options.pop("end_concat", False)
        with mock.patch.object(torch.Tensor, "cuda", lambda self: self):
            mixin = code.Rotary3DPositionEmbeddingMixin(
                170, 170, t + r, HEAD, HEAD, interleaved_rope=True, shiftT=True, shiftH=True,
                shiftW=True, **options,
            )  # fmt: skip
        queries, _ = mixin.attention_fn(
            torch.from_numpy(x)[:, None],
            torch.from_numpy(x)[:, None],
            None,
            None,
            old_impl=lambda q, k, *_, **__: (q, k),
            end_concat=last, sub_len=size, rope_T=t, rope_H=h, rope_W=w, rope_H_shift=0,
            rope_W_shift=0, max_subject_nums=3, subject_nums=r, dynamic_subjects=False,
            subjects_height=rows, subjects_width=columns,
        )  # fmt: skip
        found[name] = queries[:, 0].numpy()
    return found
