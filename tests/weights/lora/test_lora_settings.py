"""How strongly a LoRA counts where that is said beside its tensors, and folders that hold one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lora_setup import Q0, Q0_WAN, added, close, normal, pair, written

from alchemint_jax.errors import WeightsError

KERNEL = "blocks.0.self_attn.q.kernel"
PEFT = {"peft_type": "LORA", "r": 2, "lora_alpha": 5}


def peft(folder, config, tensors, name="adapter_model"):
    folder.mkdir(exist_ok=True)
    written(folder / f"{name}.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def diffusers(path, fields, tensors):
    text = json.dumps({f"transformer.{k}": v for k, v in fields.items()} | {"text_encoder.r": 64})
    return written(path, tensors, {"lora_adapter_metadata": text})


@pytest.mark.parametrize("where", ["folder", "header"])
@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({}, 2.5),
        ({"use_rslora": True}, 5 / 2**0.5),
        ({"alpha_pattern": {"to_q": 3}}, 1.5),
        ({"alpha_pattern": {"attn2.to_q": 3}}, 2.5),
        ({"alpha_pattern": {"^blocks.0.attn1.to_q": 3, "to_q": 7}}, 1.5),
        ({"alpha_pattern": {r"blocks\.\d+\.attn1\.to_.": 3}, "use_rslora": True}, 3 / 2**0.5),
        ({"r": 64, "rank_pattern": {"to_q": 2}}, 2.5),
        ({"lora_alpha": None}, 4),  # of peft: 8
    ],
)
def test_a_configuration_of_peft_says_alpha(tmp_path, where, fields, scale):
    if where == "folder":
        tensors = pair(f"base_model.model.{Q0}")
        file = peft(tmp_path / "mine", PEFT | fields, tensors)
    else:
        tensors = pair(f"transformer.{Q0}")
        file = diffusers(tmp_path / "x.safetensors", PEFT | fields, tensors)
    a, b = tensors.values()
    close(added(file)[KERNEL], scale * (b @ a).T)


def test_the_configuration_beside_a_file_is_read_where_it_can_only_be_of_that_file(tmp_path):
    tensors = pair(f"diffusion_model.{Q0_WAN}")
    plain = (list(tensors.values())[1] @ list(tensors.values())[0]).T
    folder = peft(tmp_path / "a", PEFT, tensors)
    close(added(folder / "adapter_model.safetensors")[KERNEL], 2.5 * plain)
    folder = peft(tmp_path / "b", PEFT, tensors, "renamed")
    close(added(folder)[KERNEL], 2.5 * plain)
    other = written(folder / "other.safetensors", tensors)  # now it may be of either
    close(added(other)[KERNEL], plain)
    tensors[f"diffusion_model.{Q0_WAN}.alpha"] = np.float32(2)  # a tensor is nearer than a text
    close(added(peft(tmp_path / "a", PEFT, tensors))[KERNEL], plain)


@pytest.mark.parametrize(("name", "scale"), [("lora_unet_blocks_0_self_attn_q", 8), (Q0_WAN, 1)])
def test_the_header_of_kohya_counts_for_names_of_kohya(tmp_path, name, scale):
    """Musubi-tuner's converter multiplies alpha in, and leaves the header as it was."""
    tensors = pair(name, endings=("lora_down", "lora_up"))
    a, b = tensors.values()
    header = {"ss_network_alpha": "16.0", "ss_network_dim": "2"}
    close(added(written(tmp_path / "x.safetensors", tensors, header))[KERNEL], scale * (b @ a).T)


def test_loha_and_lokr_of_peft(tmp_path):
    name = f"base_model.model.{Q0}"
    whole = {f"{name}.lokr_w1": normal(3, 2), f"{name}.lokr_w2": normal(4, 6)}
    fields = {"peft_type": "LOKR", "r": 4, "alpha": 2}
    close(
        added(peft(tmp_path / "a", fields, whole))[KERNEL],
        0.5 * np.kron(normal(3, 2), normal(4, 6)).T,
    )
    factors = {
        f"{name}.hada_w{i}_{x}": normal(*s)
        for i in (1, 2)
        for x, s in (("a", (12, 4)), ("b", (4, 12)))
    }
    close(
        added(peft(tmp_path / "b", fields | {"peft_type": "LOHA"}, factors))[KERNEL],
        0.5 * ((normal(12, 4) @ normal(4, 12)) ** 2).T,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "IA3"}, "describes IA3, which is none of LORA, LOHA, LOKR"),
        ({"use_qalora": True}, "use_qalora=True, which is not supported: merge it with peft"),
        ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4' changed the model"),
        ({"lora_alpha": "much"}, "lora_alpha is 'much'; it must be a finite number"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan; a number must be finite"),
        ({"r": 4}, "attn1.to_q: its rank is 2, but .*adapter_config.json says 4"),
        ({"r": 0}, "r is 0; it must be a whole number"),
        ({"alpha_pattern": ["to_q"]}, "alpha_pattern must be an object"),
        ({"alpha_pattern": {"(": 1}}, r"'\(' is no pattern"),
        ({"use_dora": True}, "there are no magnitudes, but .* says DoRA"),
    ],
)
def test_what_a_configuration_may_not_say(tmp_path, fields, message):
    folder = peft(tmp_path / "a", PEFT | fields, pair(f"base_model.model.{Q0}"))
    with pytest.raises(WeightsError, match=message) as caught:
        added(folder)
    assert str(folder) in str(caught.value)


def test_a_file_of_peft_without_its_configuration_is_refused(tmp_path):
    folder = peft(tmp_path / "a", PEFT, pair(Q0))
    (folder / "adapter_config.json").unlink()
    with pytest.raises(
        WeightsError, match=r"adapter_config.json, which is missing: fetch it as well"
    ):
        added(folder)


@pytest.mark.parametrize(("text", "says"), [("{", "is not valid JSON"), ("[]", "is damaged")])
def test_a_damaged_configuration_or_header_is_named(tmp_path, text, says):
    folder = peft(tmp_path / "a", PEFT, pair(Q0))
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(WeightsError, match=rf"a/adapter_config.json {says}"):
        added(folder)
    file = written(tmp_path / "x.safetensors", pair(Q0), {"lora_adapter_metadata": text})
    with pytest.raises(WeightsError, match=rf"x.safetensors: lora_adapter_metadata .* {says}"):
        added(file)


def test_folders(tmp_path):
    """Of diffusers with one file; with several, with none, with a pickle, and of a whole model."""
    tensors = pair(f"transformer.{Q0}")
    (tmp_path / "a").mkdir()
    with pytest.raises(WeightsError, match=r"a holds no safetensors file of a LoRA$"):
        added(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.bin").touch()
    with pytest.raises(WeightsError, match=r"pickles \(adapter_model.bin\) are never loaded"):
        added(tmp_path / "a")
    written(tmp_path / "a" / "epoch1.safetensors", tensors)
    written(tmp_path / "a" / "epoch2.safetensors", tensors)
    with pytest.raises(WeightsError, match=r"2 files \(epoch1.safetensors, epoch2.safet.*name the"):
        added(tmp_path / "a")
    written(tmp_path / "a" / "pytorch_lora_weights.safetensors", tensors)
    assert added(tmp_path / "a").keys() == {KERNEL}
    (tmp_path / "a" / "transformer").mkdir()
    with pytest.raises(
        WeightsError, match=r"a is a whole model and no LoRA; name one of the files"
    ):
        added(tmp_path / "a")
