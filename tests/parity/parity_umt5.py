"""The UMT5 encoder and its layout against transformers, live."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_umt5
import torch
from transformers import UMT5Config as TheirConfig
from transformers import UMT5EncoderModel

from alchemint_jax.models.umt5 import UMT5Encoder
from alchemint_jax.weights.layouts import umt5
from alchemint_jax.weights.layouts.moves import to_foreign

SMALL = reference_umt5.GOLDEN
WIDER = dict(SMALL, d_model=40, d_kv=8, num_heads=3, d_ff=52, num_layers=2)
DEEPER = dict(
    SMALL, num_layers=5, relative_attention_num_buckets=32, relative_attention_max_distance=128
)


def params_from(network, config):
    """Our parameters, from the reference's state dict by the layout."""
    tensors = {k: v.numpy() for k, v in network.state_dict().items() if k not in umt5.ALIASES}
    flat: dict[str, list] = {}
    for entry in umt5.entries(config):
        flat.setdefault(entry.path, []).append(entry.move.read(tensors.pop(entry.name)))
    assert not tensors
    target = UMT5Encoder(config).abstract_params()
    paths, structure = jax.tree_util.tree_flatten_with_path(target)
    leaves = []
    for path, leaf in paths:
        rows = flat.pop(".".join(p.key for p in path))
        leaves.append(np.stack(rows) if path[0].key == "blocks" else rows[0])
        assert leaves[-1].shape == leaf.shape
    assert not flat
    return jax.tree.unflatten(structure, leaves)


def relative(x, reference, mask):
    """Error relative to the reference's, both as root mean squares over tokens that are kept."""
    x, reference = np.asarray(x, np.float64)[mask], np.asarray(reference, np.float64)[mask]
    return np.sqrt(((x - reference) ** 2).mean() / (reference**2).mean())


@pytest.mark.parametrize("sizes", [SMALL, WIDER, DEEPER])
@pytest.mark.parametrize(("length", "kept"), [(7, (7, 2)), (64, (64, 31)), (200, (160, 1))])
def test_states_equal_the_references(sizes, length, kept):
    network = reference_umt5.model(seed=length, **sizes)
    config = umt5.config_from_diffusers(network.config.to_dict())
    ids, mask = reference_umt5.inputs(sizes["vocab_size"], length, kept)
    theirs = reference_umt5.states(network, ids, mask)
    params = params_from(network, config)
    ours = np.asarray(
        UMT5Encoder(config).apply({"params": params}, ids.int().numpy(), mask.numpy())
    )
    assert relative(ours, theirs, mask.numpy()) <= 1e-5
    worst = np.abs(ours - theirs.numpy())[mask.numpy()].max()
    assert worst <= 1e-5 * theirs[mask].abs().max()


@pytest.mark.parametrize("sizes", [SMALL, WIDER, DEEPER])
def test_bfloat16_is_as_good_as_the_references(sizes):
    network = reference_umt5.model(**sizes)
    config = umt5.config_from_diffusers(network.config.to_dict())
    ids, mask = reference_umt5.inputs(sizes["vocab_size"], 100, (100, 40))
    exact, params = reference_umt5.states(network, ids, mask), params_from(network, config)
    theirs = relative(reference_umt5.states(network.bfloat16(), ids, mask), exact, mask)
    encoder = UMT5Encoder(config, dtype=jnp.bfloat16)
    ours = encoder.apply({"params": params}, ids.int().numpy(), mask.numpy())
    assert relative(np.asarray(ours, np.float32), exact, mask) <= 1.5 * theirs


def test_transformers_loads_what_the_layout_writes(tmp_path):
    from safetensors.numpy import save_file

    network = reference_umt5.model(**SMALL)
    config = umt5.config_from_diffusers(network.config.to_dict())
    params = params_from(network, config)
    flat = {
        ".".join(p.key for p in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    tensors = {
        e.name: np.ascontiguousarray(to_foreign(e, flat[e.path])) for e in umt5.entries(config)
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    TheirConfig(**umt5.config_to_diffusers(config)).save_pretrained(tmp_path)
    loaded, report = UMT5EncoderModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids, mask = reference_umt5.inputs(SMALL["vocab_size"], 30, (30, 9))
    assert torch.equal(
        reference_umt5.states(loaded, ids, mask), reference_umt5.states(network, ids, mask)
    )
