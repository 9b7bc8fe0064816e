"""TS-Attn: the biased cross-attention of a block, and a tiny network of two."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from authors_code import randomised, weights

GRID = (4, 3, 4)
TEXT = 9
SUBJECT, EVENTS = [0, 1], ([2, 3], [5, 6, 7])  # tokens
SETTINGS = {"Env_args": {"time_step": [700], "use_erode": True}}


def goldens(checkout: Path) -> dict[str, np.ndarray]:
    sys.path.insert(0, str(checkout / "models_2_2_t2v"))
    from transformer_TsAttn import WanTsAttnTransformer3DModel

    model = WanTsAttnTransformer3DModel(
        num_attention_heads=2, attention_head_dim=6, in_channels=3, out_channels=3, text_dim=5,
        freq_dim=8, ffn_dim=16, num_layers=2,
    )  # fmt: skip
    model = randomised(model, seed=0, std=0.4)
    kept = weights(model)
    rng = np.random.default_rng(2)
    given = {
        "latents": rng.standard_normal((1, 3, GRID[0], 2 * GRID[1], 2 * GRID[2]), np.float32),
        "text": 2 * rng.standard_normal((1, TEXT, 5), np.float32),
    }
    model, (latents, text) = model.double(), (torch.from_numpy(x).double() for x in given.values())

    def masks(*events: list[int]) -> dict[str, dict[str, torch.Tensor]]:
        """Of the subject and of events that share the clip out among them, one after another."""
        found = torch.zeros(1 + len(events), 1, TEXT, dtype=torch.bool)
        for mask, tokens in zip(found, (SUBJECT, *events), strict=True):
            mask[0, tokens] = True
        names = {f"event {i}": mask for i, mask in enumerate(found[1:])}
        return {"subject_mask": {"subject": found[0]}, "event_mask": names}

    taken, attention = {}, model.blocks[1].attn2
    attention.to_out[0].register_forward_pre_hook(
        lambda module, inputs: taken.__setitem__("attended", inputs[0])
    )
    for name in ("to_q", "to_k", "to_v", "norm_q", "norm_k"):
        getattr(attention, name).register_forward_hook(
            lambda module, inputs, output, name=name: taken.__setitem__(name, output)
        )
    run = {"timestep": torch.tensor([700]), "return_dict": False, "model_configs": SETTINGS}
    whole, blocks = given | kept, {}
    with torch.no_grad():
        for name, events in (("plain", None), ("one", EVENTS[:1]), ("two", EVENTS)):
            more = {} if events is None else masks(*events)
            velocity = model(latents, encoder_hidden_states=text, **run, **more)[0]
            whole[f"velocity.{name}"] = velocity.numpy()
            blocks[f"attended.{name}"] = taken.pop("attended").numpy()
    blocks |= {key: x.numpy() for key, x in taken.items()}
    return {f"block.{key}": x for key, x in blocks.items()} | {
        f"network.{key}": x for key, x in whole.items()
    }
