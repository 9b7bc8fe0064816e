"""Wan2.1's transformer, written out in NumPy: what ours is compared with."""

from __future__ import annotations

import math

import jax
import numpy as np


def wan_velocity(params, latents, time, text, heads, references=()):
    """One sample through the formulas of Wan2.1 in float64, one head and one layer at a time.

    References are pairs of a clean latent frame and the place of its corner (frame, row, column).
    They go through the network with the video, and what comes out of them is dropped.
    """
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    latents, text = np.asarray(latents, np.float64), np.asarray(text, np.float64)

    def linear(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    def layer_norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)

    def rms_norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    def silu(x):
        return x / (1 + np.exp(-x))

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    frames, rows, columns, channels = latents.shape
    places = [
        (f, i, j) for f in range(frames) for i in range(rows // 2) for j in range(columns // 2)
    ]
    patches = [latents[f, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1) for f, i, j in places]
    n_video = len(places)
    for reference, (f, top, left) in references:
        for i, j in np.ndindex(reference.shape[0] // 2, reference.shape[1] // 2):
            places.append((f, top + i, left + j))
            patches.append(reference[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(-1))
    x = linear(p["patch_embedding"], np.stack(patches))
    width = x.shape[-1]
    d = width // heads

    # Cosines first; time is 0 .. 1000.
    half = p["time"]["first"]["kernel"].shape[0] // 2
    angle = 1000 * float(time) * 10000.0 ** (-np.arange(half) / half)
    e = linear(p["time"]["first"], np.concatenate([np.cos(angle), np.sin(angle)]))
    e = linear(p["time"]["second"], silu(e))
    e0 = linear(p["time"]["projection"], silu(e)).reshape(6, width)
    context = linear(p["text_out"], gelu(linear(p["text_in"], text)))

    # Interleaved pairs: frame, then row, then column, each axis with a ladder of its own.
    spatial = 2 * (d // 6)
    turns = np.stack(
        [
            np.concatenate(
                [
                    place[axis] * 10000.0 ** (-np.arange(0, size, 2) / size)
                    for axis, size in enumerate((d - 2 * spatial, spatial, spatial))
                ]
            )
            for place in places
        ]
    )

    def turned(x):
        pairs = (x[:, 0::2] + 1j * x[:, 1::2]) * np.exp(1j * turns)
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    def attention(a, x, y, rotary):
        q, k, v = (linear(a[name], z) for name, z in (("q", x), ("k", y), ("v", y)))
        q, k = rms_norm(q, a["norm_q"]), rms_norm(k, a["norm_k"])  # before the heads are split
        out = []
        for i in range(heads):
            qi, ki, vi = (z[:, i * d : (i + 1) * d] for z in (q, k, v))
            if rotary:
                qi, ki = turned(qi), turned(ki)
            out.append(softmax(qi @ ki.T / math.sqrt(d)) @ vi)
        return linear(a["o"], np.concatenate(out, -1))

    layers = p["blocks"]["modulation"].shape[0]
    for i in range(layers):
        b = jax.tree.map(lambda a, i=i: a[i], p["blocks"])
        shift, scale, gate, shift_ff, scale_ff, gate_ff = b["modulation"][0] + e0
        h = layer_norm(x) * (1 + scale) + shift
        x = x + gate * attention(b["self_attn"], h, h, True)
        h = layer_norm(x) * b["norm_cross_scale"] + b["norm_cross_bias"]
        x = x + attention(b["cross_attn"], h, context, False)
        h = layer_norm(x) * (1 + scale_ff) + shift_ff
        x = x + gate_ff * linear(b["ffn_down"], gelu(linear(b["ffn_up"], h)))
    shift, scale = p["head_modulation"][0] + e  # e, not e0
    x = linear(p["head"], layer_norm(x) * (1 + scale) + shift)
    output = np.zeros((frames, rows, columns, x.shape[-1] // 4))
    for (f, i, j), token in zip(places[:n_video], x[:n_video], strict=True):
        output[f, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = token.reshape(2, 2, -1)
    return output
