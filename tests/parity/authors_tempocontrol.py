"""TempoControl: its losses and their gradients, the map of a tiny network, the curve of a sound."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import scipy.ndimage
import torch
from authors_code import definitions, randomised, weights

GRID = (21, 30, 52)  # the only one that its code takes
HEADS, TOKENS, TERMS = 2, 3, 2
WORD = [0, 2]
CURVES = {
    "onset": [0.0] * 13 + [1.0] * 8,
    "curve": [round(0.05 * i, 2) if i != 14 else 0.71 for i in range(21)],
    "edge": [0.0] * 5 + [0.7] * 4 + [1.0] * 12,  # frames at the threshold
    "always": [1.0] * 21,
}


def goldens(checkout: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    code = methods(checkout, rng)
    return losses(code, rng) | pearson(code, rng) | sound(code) | network(checkout)


def methods(checkout: Path, rng: np.random.Generator) -> SimpleNamespace:
    """Its pipeline without a model; the sound that it reads is 210 random strengths of onsets."""
    strength = rng.gamma(1.0, 1.0, 210).astype(np.float32)
    librosa = SimpleNamespace(
        load=lambda path, sr: (None, sr),
        onset=SimpleNamespace(onset_strength=lambda y, sr, hop_length: strength),
    )
    names = {"librosa": librosa, "TF": torch.nn.functional, "scipy": scipy}
    code = definitions(checkout / "wan/text2video.py", ["WanT2V"], **names).WanT2V
    pipeline = code.__new__(code)
    pipeline.device = "cpu"
    return SimpleNamespace(pipeline=pipeline, strength=strength)


def losses(code: SimpleNamespace, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Of a map in float64 that is a sum of products of frames, rows and columns."""
    pipeline, (t, h, w) = code.pipeline, GRID
    shape = (TERMS, HEADS, TOKENS)
    parts = [torch.tensor(rng.uniform(0.02, 0.3, (*shape, n))) for n in (t, h, w)]
    found = {
        f"losses.{name}": part.numpy()
        for name, part in zip(("frames", "rows", "columns"), parts, strict=True)
    }
    for name, curve in CURVES.items():
        control = torch.tensor(curve)
        leaves = [part.clone().requires_grad_() for part in parts]
        attention = torch.einsum("rklt,rkly,rklx->ktyxl", *leaves)
        attention = attention.reshape(1, HEADS, -1, TOKENS)
        terms = {
            "pearson": pipeline.pearson_loss(
                pipeline.compute_attention_strength_signal(attention, WORD), control
            ),
            "magnitude": pipeline.energy_loss_term(attention, WORD, control)
            + pipeline.neg_energy_loss_term(attention, WORD, control),
            "entropy": pipeline.get_entropy(attention, WORD, control),
        }
        found[f"losses.{name}.curve"] = np.array(curve)
        for term, loss in terms.items():
            slopes = torch.autograd.grad(loss, leaves, retain_graph=True)
            found[f"losses.{name}.{term}"] = loss.detach().numpy()
            found[f"losses.{name}.{term}.slope"] = slopes[0].numpy()
            found[f"losses.{name}.{term}.slope_rows"] = slopes[1].numpy()
    return found


def pearson(code: SimpleNamespace, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Of signals that are in float64, which its own is not."""
    given = rng.uniform(0, 1, (3, 21))
    scaled = given - given.min(1, keepdims=True)
    scaled /= np.ptp(given, axis=1, keepdims=True) + 1e-6
    curves = rng.uniform(0, 1, (3, 21))
    pairs = zip(torch.tensor(scaled), torch.tensor(curves), strict=True)
    loss = [float(code.pipeline.pearson_loss(*pair)) for pair in pairs]
    return {"pearson.given": given, "pearson.curves": curves, "pearson.loss": np.array(loss)}


def sound(code: SimpleNamespace) -> dict[str, np.ndarray]:
    curve, *_ = code.pipeline.extract_audio_features("a sound")
    return {"sound.strength": code.strength, "sound.curve": curve.numpy()}


def network(checkout: Path) -> dict[str, np.ndarray]:
    """The mean map of all layers but one, as its code has it, and the velocity.

    Its own attention is a kernel of CUDA's, beside a map in half precision. In its place is the
    definition of both.
    """

    def attend(q, k, v, return_attn=False, **_):
        logits = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
        given = torch.softmax(logits, dim=-1)
        y = torch.einsum("bhqk,bkhd->bqhd", given, v)
        return (y, given) if return_attn else y

    class Plain(torch.nn.Module):
        """Stands for diffusers' base class of models."""

    names = {
        "math": math,
        "nn": torch.nn,
        "amp": torch.cuda.amp,
        "ModelMixin": Plain,
        "ConfigMixin": object,
        "register_to_config": lambda init: init,
        "flash_attention": attend,
    }
    average = definitions(checkout / "wan/text2video.py", ["compute_average_attention"])
    sizes = {"dim": 12, "ffn_dim": 16, "num_heads": 2, "num_layers": 3, "freq_dim": 8}
    sizes |= {"in_dim": 3, "out_dim": 3, "text_dim": 5, "text_len": 6}
    rng = np.random.default_rng(1)
    given = {
        "latents": rng.standard_normal((3, 3, 4, 6), np.float32),
        "text": 2 * rng.standard_normal((6, 5), np.float32),
        "time": np.array([700.0], np.float32),
    }
    latents, text, time = map(torch.from_numpy, given.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # autocast of CUDA's, without one
        wan = definitions(checkout / "wan/modules/model.py", **names)
        model = randomised(wan.WanModel(**sizes), seed=2)
        run = {"t": time, "context": [text], "seq_len": 18}
        velocity, maps, count = model(
            [latents], **run, save_attention=True, cross_attention={}, counter_att_maps=[0]
        )
    found = {"map": average.compute_average_attention(maps, count), "velocity": velocity[0]}
    arrays = given | {key: x.numpy() for key, x in found.items()} | weights(model)
    return {f"network.{key}": x for key, x in arrays.items()}
