"""Our LoRA files in diffusers: the loaded (and the fused) network equals our merged one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from peft import LoraConfig as PeftConfig
from peft.utils import get_peft_model_state_dict
from reference_pipeline import text_to_video

from alchemint_jax import weights
from alchemint_jax.models.lora import LoraConfig, init_lora, merge_lora, scaled_lora
from alchemint_jax.weights.lora import load_lora, save_lora

CONFIG = LoraConfig(rank=4, alpha=10.0)
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wan")
    text_to_video(directory)
    return directory


@pytest.fixture(scope="module")
def ours(directory):
    return weights.load(directory, "transformer")


@pytest.fixture(scope="module")
def lora(ours):
    fresh = init_lora(jax.random.key(0), ours[1], CONFIG)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: 0.2 * rng.normal(size=x.shape).astype(np.float32), fresh)


def inputs():
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(1, 3, 8, 8, 16)).astype(np.float32),
        np.asarray([0.6], np.float32),
        rng.normal(size=(1, 7, 24)).astype(np.float32),
    )


def theirs(transformer):
    latents, time, text = inputs()
    with torch.no_grad():
        v = transformer(
            torch.from_numpy(latents.transpose(0, 4, 1, 2, 3)),
            torch.from_numpy(1000 * time),
            torch.from_numpy(text),
        ).sample
    return v.numpy().transpose(0, 2, 3, 4, 1)


def apply(module, variables):
    return np.asarray(jax.jit(module.apply)(variables, *map(jnp.asarray, inputs())))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_diffusers_makes_the_same_of_our_files(tmp_path, directory, ours, lora, form, fused):
    module, params = ours
    file = save_lora(tmp_path / "style.safetensors", module.config, lora, CONFIG.scale, form)
    pipe = WanPipeline.from_pretrained(directory)
    plain = theirs(pipe.transformer)
    pipe.load_lora_weights(str(tmp_path), weight_name=file.name)
    if fused:
        pipe.fuse_lora()
    wanted = theirs(pipe.transformer)
    merged = apply(module, {"params": merge_lora(params, lora, CONFIG.scale)})
    beside = apply(module, {"params": params, "lora": scaled_lora(lora, CONFIG.scale)})
    print(form, fused, np.abs(merged - wanted).max(), np.abs(beside - wanted).max())
    assert np.abs(wanted - plain).max() > 0.1, "test is vacuous: the LoRA does nothing"
    np.testing.assert_allclose(merged, wanted, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(beside, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("metadata", [False, True])
def test_we_make_the_same_of_a_file_of_diffusers(tmp_path, directory, ours, metadata):
    """With metadata the file says that alpha is 10; without, diffusers itself forgets it."""
    module, params = ours
    pipe = WanPipeline.from_pretrained(directory)
    alpha = 10 if metadata else 4
    config = PeftConfig(r=4, lora_alpha=alpha, target_modules=["to_q", "to_out.0", "net.0.proj"])
    pipe.transformer.add_adapter(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in pipe.transformer.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))
    about = {"r": 4, "lora_alpha": alpha, "target_modules": ["to_q", "to_out.0", "net.0.proj"]}
    WanPipeline.save_lora_weights(
        tmp_path,
        get_peft_model_state_dict(pipe.transformer),
        weight_name="x.safetensors",
        transformer_lora_adapter_metadata=about if metadata else None,
    )
    lora = load_lora(tmp_path / "x.safetensors", module.config)
    merged = apply(module, {"params": merge_lora(params, lora)})
    wanted = theirs(pipe.transformer)
    print(metadata, np.abs(merged - wanted).max())
    np.testing.assert_allclose(merged, wanted, atol=TOLERANCE, rtol=0)
