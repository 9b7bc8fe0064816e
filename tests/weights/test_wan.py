"""Models in Wan's formats: the transformer's names, its configurations, and files of others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alchemint_jax import weights
from alchemint_jax.errors import WeightsError
from alchemint_jax.models.dit import VARIANTS, DiT, DiTConfig
from alchemint_jax.rotary import MidRope
from alchemint_jax.weights.layouts import dit

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "goldens" / "dit" / "small"
CONFIG = DiTConfig(
    dim=256, n_heads=2, n_layers=2, ffn_dim=12, in_channels=16, out_channels=16,
    text_dim=10, freq_dim=8,
)  # fmt: skip
SUBJECTS = dataclasses.replace(CONFIG, slots=2, events=True, scheme=MidRope(), theta_t=20.0)
FILE = "diffusion_pytorch_model.safetensors"


def _params(config=CONFIG, seed=0):
    rng = np.random.default_rng(seed)
    target = DiT(config).abstract_params()
    return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32), target)


def _assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def _save(directory, config=CONFIG, **options):
    weights.save(directory, "transformer", config, _params(config), **options)
    return directory / "transformer"


def _rewrite(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


# ------------------------------------------------------------------------------------ formats


@pytest.mark.parametrize("format", weights.FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_format_survives(tmp_path, format, dtype):
    folder = _save(tmp_path / "a", format=format, dtype=dtype)
    module, params = weights.load(tmp_path / "a", "transformer")
    assert module.config == CONFIG
    again = tmp_path / "b"
    weights.save(again, "transformer", CONFIG, params, format=format, dtype=dtype)
    names = {p.name for p in folder.iterdir()}
    assert names == {"config.json", FILE if format != "alchemint" else "model.safetensors"}
    for name in names:
        assert (folder / name).read_bytes() == (again / "transformer" / name).read_bytes()
    if dtype == "float32":
        _assert_same(params, _params())


def test_what_others_wrote_comes_back_bit_for_bit(tmp_path):
    module, params = weights.load(GOLDEN, "transformer")
    weights.save(tmp_path, "transformer", module.config, params, format="wan-diffusers")
    ours = load_file(tmp_path / "transformer" / FILE)
    theirs: dict = {}
    for file in (GOLDEN / "transformer").glob("*.safetensors"):
        theirs |= load_file(file)
    assert {n: x.tobytes() for n, x in ours.items()} == {n: x.tobytes() for n, x in theirs.items()}
    assert {n: x.shape for n, x in ours.items()} == {n: x.shape for n, x in theirs.items()}
    config = json.loads((GOLDEN / "transformer" / "config.json").read_text())
    written = json.loads((tmp_path / "transformer" / "config.json").read_text())
    assert written == {k: v for k, v in config.items() if k != "_diffusers_version"}


def test_original_names(tmp_path):
    """A few, and where the two formats name things crosswise."""
    tensors = load_file(_save(tmp_path, format="wan") / FILE)
    params = _params()
    blocks = params["blocks"]
    wanted = {
        "blocks.1.norm3.weight": blocks["norm_cross_scale"][1],
        "blocks.1.norm3.bias": blocks["norm_cross_bias"][1],
        "blocks.0.self_attn.q.weight": blocks["self_attn"]["q"]["kernel"][0].T,
        "blocks.0.cross_attn.o.bias": blocks["cross_attn"]["o"]["bias"][0],
        "blocks.1.cross_attn.norm_k.weight": blocks["cross_attn"]["norm_k"][1],
        "blocks.0.ffn.0.weight": blocks["ffn_up"]["kernel"][0].T,
        "blocks.0.ffn.2.weight": blocks["ffn_down"]["kernel"][0].T,
        "blocks.1.modulation": blocks["modulation"][1],
        "head.modulation": params["head_modulation"],
        "head.head.weight": params["head"]["kernel"].T,
        "text_embedding.2.bias": params["text_out"]["bias"],
        "time_embedding.0.weight": params["time"]["first"]["kernel"].T,
        "time_projection.1.weight": params["time"]["projection"]["kernel"].T,
    }
    for name, value in wanted.items():
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)
    kernel = params["patch_embedding"]["kernel"].reshape(1, 2, 2, 16, 256)
    np.testing.assert_array_equal(
        tensors["patch_embedding.weight"], np.einsum("tyxco->octyx", kernel)
    )
    assert len(tensors) == 27 * 2 + 15


@pytest.mark.parametrize(
    ("format", "prefix"), [("wan", ""), ("wan", "model.diffusion_model."), ("wan-diffusers", "")]
)
def test_single_files_without_a_configuration(tmp_path, format, prefix):
    tensors = load_file(_save(tmp_path, format=format) / FILE)
    file = tmp_path / "wan2.1_t2v.safetensors"
    save_file({prefix + name: x for name, x in tensors.items()}, file)
    module, params = weights.load(file, "transformer")
    assert module.config == CONFIG
    _assert_same(params, _params())


def test_originals_repository_has_the_transformer_at_its_top(tmp_path):
    folder = _save(tmp_path, format="wan")
    # As published, with fewer fields than we write.
    config = {
        "_class_name": "WanModel", "_diffusers_version": "0.30.0", "dim": 256, "eps": 1e-06,
        "ffn_dim": 12, "freq_dim": 8, "in_dim": 16, "model_type": "t2v", "num_heads": 2,
        "num_layers": 2, "out_dim": 16, "text_len": 512, "text_dim": 10,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "Wan2.1_VAE.pth").write_bytes(b"\x80\x04.")
    module, params = weights.load(folder, "transformer")
    assert module.config == CONFIG
    _assert_same(params, _params())
    with pytest.raises(WeightsError, match=r"Wan2\.1_VAE\.pth.*never loaded.*-Diffusers"):
        weights.load(folder, "vae")


# ---------------------------------------------------------------------------------- additions


def test_additions_lie_beside_the_transformer(tmp_path):
    folder = _save(tmp_path, SUBJECTS, format="wan-diffusers")
    module, params = weights.load(tmp_path, "transformer")
    assert module.config == SUBJECTS
    _assert_same(params, _params(SUBJECTS))
    added = load_file(folder / "alchemint.safetensors")
    assert "subjects.index" in added and "blocks.event_attn.q.kernel" in added
    plain = DiT(CONFIG).abstract_params()
    assert len(added) == len(jax.tree.leaves(params)) - len(jax.tree.leaves(plain))
    with pytest.raises(WeightsError, match="write wan-diffusers"):
        weights.save(tmp_path, "transformer", SUBJECTS, params, format="wan")


def test_a_plain_network_over_one_with_additions(tmp_path):
    _save(tmp_path, SUBJECTS, format="wan-diffusers")
    _save(tmp_path, CONFIG, format="wan-diffusers")
    assert weights.load(tmp_path, "transformer")[0].config == CONFIG


@pytest.mark.parametrize(
    ("first", "second"), [("alchemint", "wan"), ("wan-diffusers", "alchemint")]
)
def test_one_format_over_another(tmp_path, first, second):
    weights.save(tmp_path, "transformer", CONFIG, _params(seed=1), format=first)
    _save(tmp_path, format=second)
    _assert_same(weights.load(tmp_path, "transformer")[1], _params())
    assert len(list((tmp_path / "transformer").iterdir())) == 2


def test_additions_that_are_damaged(tmp_path):
    folder = _save(tmp_path, SUBJECTS, format="wan-diffusers")
    _rewrite(folder / "alchemint.safetensors", lambda tensors: tensors.pop("subjects.index"))
    with pytest.raises(WeightsError, match=r"alchemint\.safetensors.*\n.*1 missing:\n.*index"):
        weights.load(tmp_path, "transformer")
    (folder / "alchemint.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"alchemint\.safetensors is missing"):
        weights.load(tmp_path, "transformer")
    for text, message in (
        ("[]", "must be an object"),
        ('{"dim": 3}', "unknown dim"),
        ('{"slots": "3"}', r"alchemint\.json: slots is '3'"),
        ("{", r"alchemint\.json is not valid JSON"),
    ):
        (folder / "alchemint.json").write_text(text)
        with pytest.raises(WeightsError, match=message):
            weights.load(tmp_path, "transformer")


# ---------------------------------------------------------------------------- configurations


@pytest.mark.parametrize("name", VARIANTS)
def test_configurations_survive(name):
    config = VARIANTS[name]
    assert dit.config_from_diffusers(dit.config_to_diffusers(config), "x") == config
    original = dit.config_from_diffusers(dit.config_to_original(config), "x")
    # What continues pictures calls itself so in Wan2.2 as in Wan2.1; its tensors tell them apart.
    assert original.image_dim == (config.image_dim or 1280 * (config.in_channels == 36))
    assert dataclasses.replace(original, image_dim=config.image_dim) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"_class_name": "WanVACETransformer3DModel"}, "VACE, animate.*not supported"),
        ({"_class_name": None}, "_class_name is None"),
        ({"num_layers": 0}, "num_layers is 0; it must be a whole number above 0"),
        ({"ffn_dim": "8960"}, "ffn_dim is '8960'"),
        ({"patch_size": [1, 2]}, "patch_size is .*three whole numbers"),
        ({"eps": 1e-5, "qk_norm": None}, "qk_norm is None.*\n.*eps is 1e-05; only 1e-06"),
        ({"cross_attn_norm": False}, "cross_attn_norm is False"),
        ({"_class_name": "WanModel", "model_type": "vace", "qk_norm": True}, "'vace'; only t2v"),
    ],
)
def test_configurations_of_other_networks(tmp_path, fields, message):
    file = _save(tmp_path, format="wan-diffusers") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    with pytest.raises(WeightsError, match=message) as e:
        weights.load(tmp_path, "transformer")
    assert str(file) in str(e.value)


# ------------------------------------------------------------------------- files of others


def _zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("tensors", "hint"),
    [
        ({"vace_blocks.0.before_proj.weight": _zeros(2, 2)}, "a VACE network"),
        ({"blocks.0.to_gate_compress.weight": _zeros(2, 2)}, "a network of sparse attention"),
        ({"blocks.0.cross_attn.k_img.weight": _zeros(2, 2)}, "an image-to-video network"),
        ({"img_emb.proj.0.weight": _zeros(2)}, "an image-to-video network"),
        ({"motion_encoder.dec.weight": _zeros(2)}, "an animate network"),
        ({"patch_embedding.weight": _zeros(256, 48, 1, 2, 2)}, r"Wan2\.2's TI2V-5B"),
        ({"patch_embedding.weight": _zeros(256, 36, 1, 2, 2)}, "an image-to-video network"),
    ],
)
def test_files_of_other_networks_are_recognised(tmp_path, tensors, hint):
    _rewrite(_save(tmp_path, format="wan") / FILE, lambda found: found.update(tensors))
    with pytest.raises(WeightsError, match=f"The file is that of {hint}") as e:
        weights.load(tmp_path, "transformer")
    assert next(iter(tensors)) in str(e.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"blocks.0.attn1.to_q.lokr_w1": _zeros(2, 2)}, "file is that of a LoKr"),
        ({"blocks.0.attn1.to_q.diff_b": _zeros(2)}, "file is that of differences of"),
        ({"blocks.0.attn1.to_q.lora_A.weight": _zeros(2, 2)}, "transformer of Wan .*a LoRA"),
        ({"decoder.conv1.weight": _zeros(2, 2)}, "does not hold a transformer of Wan "),
        ({"patch_embedding.weight": _zeros(100, 16, 1, 2, 2)}, "100, which is no multiple of 128"),
        ({"blocks.9999999.norm3.bias": _zeros(256)}, "norm3.bias"),
    ],
)
def test_single_files_of_something_else(tmp_path, tensors, message):
    own = len(tensors) == 1 and ("lora" in next(iter(tensors)) or "decoder" in next(iter(tensors)))
    base = {} if own else load_file(_save(tmp_path, format="wan") / FILE)
    save_file(base | tensors, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=message):
        weights.load(tmp_path / "x.safetensors", "transformer")
    message = "is a file; a text_encoder is read from a model's directory"
    with pytest.raises(WeightsError, match=message):
        weights.load(tmp_path / "x.safetensors", "text_encoder")


@pytest.mark.parametrize(
    ("format", "name", "kind"),
    [
        ("wan-diffusers", "x.weight.quant_state.bitsandbytes__nf4", "bitsandbytes, 4 bits"),
        ("alchemint", "x.weight.absmax", "bitsandbytes"),
        ("wan", "x.qweight", "GPTQ, AWQ"),
        ("wan", "x.scale_weight", "8-bit floats with scales"),
        ("wan", "scaled_fp8", "8-bit floats with scales"),
    ],
)
def test_quantised_weights_are_recognised(tmp_path, format, name, kind):
    folder = _save(tmp_path, format=format)
    _rewrite(next(folder.glob("*.safetensors")), lambda found: found.update({name: _zeros(2)}))
    with pytest.raises(WeightsError, match=f"quantised .{kind}.*fetch the edition in bf16") as e:
        weights.load(tmp_path, "transformer")
    assert "same model" not in str(e.value)


def test_a_configuration_says_that_weights_are_quantised(tmp_path):
    file = _save(tmp_path, format="wan-diffusers") / "config.json"
    fields = json.loads(file.read_text())
    for said, kind in (
        ({"quant_method": "bitsandbytes", "bnb_4bit_quant_type": "nf4"}, "bitsandbytes, nf4"),
        ({"quant_method": "gptq"}, "gptq"),
        ({"bits": 4}, "quantization_config"),
    ):
        file.write_text(json.dumps(fields | {"quantization_config": said}))
        with pytest.raises(WeightsError, match=rf"config\.json: .*quantised \({kind}\)"):
            weights.load(tmp_path, "transformer")
    file.write_text(json.dumps(fields | {"quantization_config": None}))
    weights.open_component(tmp_path, "transformer")


def test_a_single_pickle_is_never_loaded(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsError, match="never loaded"):
        weights.load(tmp_path / "x.pth", "transformer")


def test_missing_layers_are_listed(tmp_path):
    def drop(tensors):
        for name in [n for n in tensors if n.startswith("blocks.1.attn2")]:
            del tensors[name]

    _rewrite(_save(tmp_path, format="wan-diffusers") / FILE, drop)
    with pytest.raises(WeightsError, match=r"10 missing:\n\s+blocks\.1\.attn2\.norm_k"):
        weights.load(tmp_path, "transformer")
