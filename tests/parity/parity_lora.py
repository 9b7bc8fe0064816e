"""LoRA files, ours and those of diffusers and peft: they make the same network there and here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from peft import (
    LoHaConfig,
    LoKrConfig,
    get_peft_model,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft import LoraConfig as PeftConfig
from peft.utils import get_peft_model_state_dict
from reference_pipeline import text_to_video
from safetensors.torch import load_file, save_file

from alchemint_jax import weights
from alchemint_jax.models.lora import LoraConfig, init_lora, merge_lora, scaled_lora
from alchemint_jax.weights import lora as lora_files
from alchemint_jax.weights.lora import save_lora

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


def loaded(directory, loras):
    """What our network makes of the inputs, with LoRA files in it."""
    module, tensors = weights.open_component(directory, "transformer")
    shapes = {path: tensor.shape for path, tensor in tensors.items()}
    chosen = lora_files.load_loras(loras, module.config, shapes)
    params = weights.read_params(lora_files.merge(tensors, chosen), module.abstract_params())
    return apply(module, {"params": params})


def shaken(network, seed):
    """All that an adapter has learnt, at random; magnitudes stay near what they were."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
            elif any(part in name for part in ("lora_", "lokr_", "hada_")):
                parameter.copy_(0.2 * torch.randn_like(parameter))


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
def test_we_make_the_same_of_a_file_of_diffusers(tmp_path, directory, metadata):
    """With metadata the file says that alpha is 10; without, diffusers itself forgets it."""
    pipe = WanPipeline.from_pretrained(directory)
    alpha = 10 if metadata else 4
    config = PeftConfig(r=4, lora_alpha=alpha, target_modules=["to_q", "to_out.0", "net.0.proj"])
    pipe.transformer.add_adapter(config)
    shaken(pipe.transformer, 0)
    about = {"r": 4, "lora_alpha": alpha, "target_modules": ["to_q", "to_out.0", "net.0.proj"]}
    WanPipeline.save_lora_weights(
        tmp_path,
        get_peft_model_state_dict(pipe.transformer),
        weight_name="x.safetensors",
        transformer_lora_adapter_metadata=about if metadata else None,
    )
    merged = loaded(directory, {tmp_path / "x.safetensors": 1.0})
    wanted = theirs(pipe.transformer)
    print(metadata, np.abs(merged - wanted).max())
    np.testing.assert_allclose(merged, wanted, atol=TOLERANCE, rtol=0)


AIMED = ["to_q", "to_out.0", "net.0.proj", "time_proj"]
PEFT = {
    "rslora": PeftConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=AIMED),
    "patterns": PeftConfig(
        r=4,
        lora_alpha=3,
        target_modules=AIMED,
        rank_pattern={r"blocks\.0\.attn1\.to_q": 2, "time_proj": 8},
        alpha_pattern={"attn2.to_q": 9, "^blocks.1.ffn.net.0.proj": 1},
    ),
    "bias": PeftConfig(r=4, lora_alpha=6, lora_bias=True, target_modules=AIMED),
    "dora": PeftConfig(r=4, lora_alpha=6, use_dora=True, target_modules=AIMED),
    "loha": LoHaConfig(r=4, alpha=6, target_modules=AIMED),
    "lokr": LoKrConfig(r=2, alpha=6, target_modules=AIMED),
    "lokr, both": LoKrConfig(r=1, alpha=6, target_modules=AIMED, decompose_both=True),
    "lokr, whole": LoKrConfig(r=1000, alpha=600, target_modules=AIMED),
}


@pytest.mark.parametrize("kind", PEFT)
def test_we_make_the_same_of_a_folder_of_peft(tmp_path, directory, kind):
    network = get_peft_model(WanPipeline.from_pretrained(directory).transformer, PEFT[kind])
    shaken(network, 1)
    network.save_pretrained(tmp_path / "mine")
    wanted = theirs(network)
    plain = theirs(WanPipeline.from_pretrained(directory).transformer)
    found = loaded(directory, {tmp_path / "mine": 1.0})
    print(kind, np.abs(found - wanted).max(), np.abs(wanted - plain).max())
    assert np.abs(wanted - plain).max() > 0.01, "test is vacuous: the adapter does nothing"
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("order", [("dora", "rslora"), ("rslora", "dora")])
def test_several_at_once_are_as_in_peft_in_any_order(tmp_path, directory, order):
    network = get_peft_model(
        WanPipeline.from_pretrained(directory).transformer, PEFT["dora"], adapter_name="dora"
    )
    network.add_adapter("rslora", PEFT["rslora"])
    shaken(network, 2)
    network.save_pretrained(tmp_path)
    network.base_model.set_adapter(["dora", "rslora"])
    wanted = theirs(network)
    found = loaded(directory, [(tmp_path / name, 1.0) for name in order])
    print(order, np.abs(found - wanted).max())
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


def test_differences_of_biases_are_as_in_diffusers(tmp_path, directory):
    names = ["blocks.0.self_attn.q", "blocks.0.ffn.0", "blocks.1.cross_attn.o"]
    module, _ = weights.open_component(directory, "transformer")
    dim, wide = module.config.dim, module.config.ffn_dim
    torch.manual_seed(3)
    tensors = {}
    for name in names:
        out = wide if "ffn" in name else dim
        tensors[f"diffusion_model.{name}.lora_down.weight"] = 0.2 * torch.randn(4, dim)
        tensors[f"diffusion_model.{name}.lora_up.weight"] = 0.2 * torch.randn(out, 4)
        tensors[f"diffusion_model.{name}.diff_b"] = 0.2 * torch.randn(out)
    save_file(tensors, tmp_path / "x.safetensors")
    pipe = WanPipeline.from_pretrained(directory)
    pipe.load_lora_weights(str(tmp_path), weight_name="x.safetensors")
    wanted = theirs(pipe.transformer)
    found = loaded(directory, {tmp_path / "x.safetensors": 1.0})
    print(np.abs(found - wanted).max())
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


def test_peft_makes_the_same_of_our_file(tmp_path, directory, ours, lora):
    module, params = ours
    file = save_lora(tmp_path / "style.safetensors", module.config, lora, CONFIG.scale)
    state = {name.removeprefix("transformer."): x for name, x in load_file(file).items()}
    network = WanPipeline.from_pretrained(directory).transformer
    targets = sorted({name.partition(".lora_")[0] for name in state})
    config = PeftConfig(r=4, lora_alpha=4, target_modules=targets)
    inject_adapter_in_model(config, network)
    assert not set_peft_model_state_dict(network, state).unexpected_keys
    merged = apply(module, {"params": merge_lora(params, lora, CONFIG.scale)})
    np.testing.assert_allclose(merged, theirs(network), atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(loaded(directory, {file: 1.0}), merged, atol=TOLERANCE, rtol=0)
