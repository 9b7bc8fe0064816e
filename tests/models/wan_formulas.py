"""Wan2.1's transformer, written out in NumPy: what ours is compared with."""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np


@dataclasses.dataclass
class Between:
    """TGI, arXiv 2603.17651, between the first and the last of so many latent frames."""

    frames: int
    near: float = 0.0
    far: float = 0.0
    layers: tuple[int, ...] = ()
    isolated: bool = False
    ends: float = 1.0
    middle: float = 1.0

    @property
    def scales(self):
        """Of clips of up to nine frames: the ends alone are near one; a mean of five."""
        raw = np.full(self.frames + 4, self.middle)
        raw[:3] = raw[-3:] = self.ends
        return np.array([raw[i : i + 5].mean() for i in range(self.frames)])

    def drawn(self, logits, of_frame, softmax):
        """Logits of every head, biased alike for all heads and tokens of a frame."""
        last = self.frames - 1
        seen = [
            np.mean(
                [softmax(one[: len(of_frame)][of_frame == i]).mean(0) for one in logits], axis=0
            )
            for i in range(self.frames)
        ]
        found = [one.copy() for one in logits]
        for i in range(1, last):
            target = (1 - i / last) * seen[0] + i / last * seen[last]
            bias = np.log(np.maximum(target, 5e-4)) - np.log(np.maximum(seen[i], 5e-4))
            turn = math.pi * min(i, last - i) / (last // 2)
            beta = self.far + (self.near - self.far) * 0.5 * (1 + math.cos(turn))
            for one in found:
                one[: len(of_frame)][of_frame == i] += beta * bias
        return found


@dataclasses.dataclass
class Separated:
    """TS-Attn, arXiv 2604.19473: of one sample, cell by cell and key by key."""

    grid: tuple[int, int, int]
    subjects: np.ndarray  # which keys are of each subject's word [s m]
    lifted: np.ndarray  # which keys gain where it is, in each frame [s t m]
    lowered: np.ndarray  # which lose [s t m]
    layers: tuple[int, ...] = ()

    def regions(self, raw, softmax):
        """Where each subject is [s n]; raw logits are of each head."""
        seen = np.mean([softmax(one) for one in raw], axis=0)[: math.prod(self.grid)]
        found = np.zeros((len(self.subjects), *self.grid), bool)
        for region, word in zip(found, self.subjects, strict=True):
            if not word.any():
                continue
            given = seen[:, word == 1].mean(1)
            above = given > np.mean(sorted(given, reverse=True)[: len(given) // 2])
            above = above.reshape(self.grid)
            for t, y, x in np.ndindex(self.grid):
                block = above[t, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                region[t, y, x] = above[t, y, x] and block.sum() > 1
        return found.reshape(len(found), -1)

    def biased(self, logits, raw, softmax):
        """Logits of every head, biased by raw ones of the same head."""
        found, regions = [one.copy() for one in logits], self.regions(raw, softmax)
        for n in np.flatnonzero(regions.any(0)):
            frame, here = n // (self.grid[1] * self.grid[2]), regions[:, n]
            up, down = (keys[here, frame].max(0) for keys in (self.lifted, self.lowered))
            for one, s in zip(found, (one[n] for one in raw), strict=True):
                p = softmax(s)
                alpha = 1 + 0.5 * (1 - (p - p.min()) / (p.max() - p.min() + 1e-12))
                one[n] += alpha * (up * (s.max() - s.mean()) - down * (s.mean() - s.min()))
        return found


def wan_velocity(
    params, latents, time, text, heads, references=(), image=None, between=None, separated=None
):
    """One sample through the formulas of Wan2.1 in float64, one head and one layer at a time.

    References are pairs of a clean latent frame and the place of its corner (frame, row, column).
    They go through the network with the video, and what comes out of them is dropped. `image` are
    CLIP states of the given pictures. `between` draws frames towards others as TGI does, and
    `separated` favours events as TS-Attn does, see there.
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

    frames, rows, columns, _ = latents.shape
    between = between or Between(frames)
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
    pictures = []
    if image is not None:
        own, states = p["image"], np.asarray(image, np.float64)
        states = states + own["positions"] if "positions" in own else states

        def norm(layer, x):
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
            return x * layer["scale"] + layer["bias"]

        def exact_gelu(x):
            return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

        states = exact_gelu(linear(own["first"], norm(own["norm_in"], states)))
        states = norm(own["norm_out"], linear(own["second"], states))
        pictures = np.split(states, 2) if between.isolated and "positions" in own else [states]

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

    of_frame = np.array([f for f, _, _ in places])
    gains = np.exp(1j * turns)
    gains[:n_video, : (d - 2 * spatial) // 2] *= between.scales[of_frame[:n_video], None]

    def turned(x):
        pairs = (x[:, 0::2] + 1j * x[:, 1::2]) * gains
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    def by_heads(x):
        return [x[:, i * d : (i + 1) * d] for i in range(heads)]

    def attention(a, x, streams, rotary, drawn=False, favoured=False):
        q = rms_norm(linear(a["q"], x), a["norm_q"])  # before the heads are split
        total = 0
        for of, y in streams:
            k = rms_norm(linear(a[f"k{of}"], y), a[f"norm_k{of}"])
            v, logits = linear(a[f"v{of}"], y), []
            for qi, ki in zip(by_heads(q), by_heads(k), strict=True):
                if rotary:
                    qi, ki = turned(qi), turned(ki)
                logits.append(qi @ ki.T / math.sqrt(d))
            if favoured and not of:
                pairs = zip(by_heads(linear(a["q"], x)), by_heads(linear(a["k"], y)), strict=True)
                raw = [qi @ ki.T / math.sqrt(d) for qi, ki in pairs]
                logits = separated.biased(logits, raw, softmax)
            if drawn:
                logits = between.drawn(logits, of_frame[:n_video], softmax)
            out = [softmax(one) @ vi for one, vi in zip(logits, by_heads(v), strict=True)]
            total = total + np.concatenate(out, -1)
        return linear(a["o"], total)

    layers = p["blocks"]["modulation"].shape[0]
    for i in range(layers):
        b = jax.tree.map(lambda a, i=i: a[i], p["blocks"])
        shift, scale, gate, shift_ff, scale_ff, gate_ff = b["modulation"][0] + e0
        h = layer_norm(x) * (1 + scale) + shift
        x = x + gate * attention(b["self_attn"], h, [("", h)], True)
        h = layer_norm(x) * b["norm_cross_scale"] + b["norm_cross_bias"]
        streams = [("", context), *(("_img", states) for states in pictures)]
        favoured = separated is not None and i in separated.layers
        x = x + attention(b["cross_attn"], h, streams, False, i in between.layers, favoured)
        h = layer_norm(x) * (1 + scale_ff) + shift_ff
        x = x + gate_ff * linear(b["ffn_down"], gelu(linear(b["ffn_up"], h)))
    shift, scale = p["head_modulation"][0] + e  # e, not e0
    x = linear(p["head"], layer_norm(x) * (1 + scale) + shift)
    output = np.zeros((frames, rows, columns, x.shape[-1] // 4))
    for (f, i, j), token in zip(places[:n_video], x[:n_video], strict=True):
        output[f, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = token.reshape(2, 2, -1)
    return output
