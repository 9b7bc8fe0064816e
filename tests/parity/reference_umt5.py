"""Tiny UMT5 encoders of transformers with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

# heads * head width is not the model's width, and texts are longer than the last bucket's start.
GOLDEN = dict(
    vocab_size=96,
    d_model=24,
    d_kv=10,
    d_ff=40,
    num_layers=3,
    num_heads=4,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
)


def model(seed: int = 0, **sizes) -> UMT5EncoderModel:
    """An encoder in which every tensor is random, norms and tables too, and attention is busy."""
    torch.manual_seed(seed)
    network = UMT5EncoderModel(UMT5Config(**sizes)).eval().requires_grad_(False)
    for name, p in network.named_parameters():
        if "layer_norm" in name:
            p.uniform_(0.5, 1.5)
        elif "relative_attention_bias" in name or name == "shared.weight":
            p.normal_()
        else:
            p.normal_(std=p.shape[1] ** -0.5)
        if name.endswith("SelfAttention.q.weight"):
            p.mul_(sizes["d_kv"] ** -0.5)  # unscaled attention: logits of order one
    return network


def inputs(vocab: int, length: int, kept: tuple[int, ...], seed: int = 0):
    """Ids [b l] and mask [b l]: text i keeps its first `kept[i]` tokens, the others are pads."""
    ids = torch.randint(2, vocab, (len(kept), length), generator=torch.manual_seed(seed))
    mask = torch.arange(length)[None] < torch.tensor(kept)[:, None]
    return torch.where(mask, ids, 0), mask


def states(network: UMT5EncoderModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The reference's states in the network's dtype, as float32 values."""
    with torch.no_grad():
        return network(ids, mask.long()).last_hidden_state.float()


def write(directory: Path) -> None:
    """Weights as transformers saves them, inputs, and states in float32 and in bfloat16."""
    network = model(**GOLDEN)
    ids, mask = inputs(GOLDEN["vocab_size"], 45, (45, 17))
    io = {"ids": ids.int(), "mask": mask, "states": states(network, ids, mask)}
    network.save_pretrained(directory)
    io["states_bfloat16"] = states(network.bfloat16(), ids, mask)
    save_file(io, directory / "io.safetensors")
