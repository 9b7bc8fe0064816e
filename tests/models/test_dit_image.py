"""Image-to-video transformers: the condition's channels, the image stream, per-token times."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from safetensors.numpy import load_file

from alchemint_jax import weights
from alchemint_jax.models.dit import VARIANTS, DiT, DiTConfig
from alchemint_jax.sharding import make_mesh, state_shardings

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "dit_image"
WITH_IMAGE = ["i2v", "flf2v"]


@functools.cache
def _golden(name):
    module, params = weights.load(GOLDENS / name, "transformer")
    arrays = load_file(GOLDENS / name / "io.safetensors")
    wanted = arrays.pop("velocity")
    return module.config, params, {k: jnp.asarray(v) for k, v in arrays.items()}, wanted


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _jitted(params, given, *, config, dtype):
    return DiT(config, dtype).apply({"params": params}, **given)


def _run(config, params, given, dtype=jnp.float32):
    return np.asarray(_jitted(params, given, config=config, dtype=dtype))


def _error(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


# --------------------------------------------------------------------------- against diffusers


@pytest.mark.parametrize("name", [*WITH_IMAGE, "ti2v"])
def test_velocity_is_that_of_diffusers(name):
    config, params, given, wanted = _golden(name)
    assert _error(_run(config, params, given), wanted) < 2e-5


def test_given_frames_are_those_whose_tokens_have_a_time_of_0():
    """A mask of frames takes two rows of modulation, not one for every token: the same velocity."""
    config, params, given, wanted = _golden("ti2v")
    frames = jnp.asarray([[True, False, False]] * 2)
    masked = given | {"time": given["time"].max(axis=1), "given": frames}
    assert _error(_run(config, params, masked), wanted) < 2e-5
    assert _error(_run(config, params, masked | {"given": ~frames}), wanted) > 1e-2


@pytest.mark.parametrize("given_name", ["condition", "image"])
def test_every_part_of_the_given_matters(given_name):
    """Each token of the image stream and each channel of the condition, at some output."""
    config, params, given, wanted = _golden("flf2v")
    config = dataclasses.replace(config, remat="full")
    axis = given[given_name].ndim - 1 if given_name == "condition" else 1
    gradient = jax.jit(
        jax.grad(
            lambda x: jnp.sum(
                DiT(config).apply({"params": params}, **(given | {given_name: x})) * wanted
            )
        )
    )(given[given_name])
    others = tuple(i for i in range(gradient.ndim) if i != axis)
    assert np.all(np.abs(np.asarray(gradient)).max(others) > 1e-4)


def test_bfloat16_comes_close():
    config, params, given, wanted = _golden("i2v")
    assert 1e-4 < _error(_run(config, params, given, jnp.bfloat16), wanted) < 2e-2


# ------------------------------------------------------------------- what must not change what


def test_one_time_for_all_tokens_is_one_time_for_each():
    config, params, given, wanted = _golden("i2v")
    tokens = np.prod(np.asarray(wanted.shape[1:4]) // config.patch)
    each = np.repeat(np.asarray(given["time"])[:, None], tokens, axis=1)
    assert _error(_run(config, params, given | {"time": each}), wanted) < 2e-5


def test_without_a_condition_it_is_the_narrow_network():
    """Zero condition channels, with references too: as if the patch embedding had none."""
    narrow = DiTConfig(
        dim=24, n_heads=2, n_layers=2, ffn_dim=32, in_channels=3, out_channels=3,
        text_dim=10, freq_dim=16, slots=2,
    )  # fmt: skip
    wide = dataclasses.replace(narrow, in_channels=8)
    rng = np.random.default_rng(0)

    def normal(*shape):
        return np.float32(rng.standard_normal(shape))

    shapes = DiT(wide).abstract_params()
    params = jax.tree.map(lambda x: np.float32(0.3) * normal(*x.shape), shapes)
    kernel = params["patch_embedding"]["kernel"].reshape(1, 2, 2, 8, 24)[..., :3, :]
    thin = params | {
        "patch_embedding": params["patch_embedding"] | {"kernel": kernel.reshape(-1, 24)}
    }
    given = {
        "latents": normal(1, 2, 4, 6, 3),
        "time": np.float32([0.4]),
        "text": normal(1, 5, 10),
        "references": normal(1, 2, 4, 6, 3),
        "used": np.ones((1, 2), bool),
        "intervals": np.float32([[[[0, 1.0]], [[1, 1.0]]]]),
        "tags": normal(1, 2, 3, 10),
        "tag_mask": np.ones((1, 2, 3), bool),
    }
    condition = {"condition": np.zeros((1, 2, 4, 6, 5), np.float32)}
    wanted = _run(narrow, thin, given)
    assert _error(_run(wide, params, given | condition), wanted) < 1e-5
    filled = {"references": np.pad(given["references"], ((0, 0),) * 4 + ((0, 5),))}
    np.testing.assert_array_equal(
        _run(wide, params, given | condition), _run(wide, params, given | condition | filled)
    )


def test_a_network_without_image_stream_has_no_parameters_of_one():
    names = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(
        DiT(VARIANTS["wan2.1-14b"]).abstract_params()
    )]  # fmt: skip
    assert not [n for n in names if "img" in n or "image" in n]


# ------------------------------------------------------------------------------- wrong inputs


def zeros(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("i2v", {"condition": None}, "36 channels, but latents have 16 and the condition 0"),
        ("i2v", {"image": None}, "image_dim"),
        ("ti2v", {"image": zeros(2, 5, 20)}, "image_dim"),
        ("ti2v", {"condition": zeros(2, 3, 6, 10, 20)}, "16 channels.*condition 20"),
        ("i2v", {"image": zeros(2, 5, 21)}, "21 wide, not 20"),
        ("flf2v", {"image": zeros(2, 5, 20)}, "5 image states.*10 positions"),
    ],
)
def test_wrong_inputs_are_named(name, changed, message):
    config, params, given, _ = _golden(name)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda given: DiT(config).apply({"params": params}, **given), given | changed
        )


# ----------------------------------------------------------------------------------- the sizes


@pytest.mark.parametrize(
    ("name", "count"),  # as diffusers' networks: tests/parity/parity_dit_image.py
    [
        ("wan2.1-i2v-14b", 16_394_878_784),
        ("wan2.1-flf2v-14b", 16_395_536_704),
        ("wan2.2-i2v-a14b", 14_288_901_184),
        ("wan2.2-ti2v-5b", 4_999_787_712),
    ],
)
def test_sizes_of_the_variants(name, count):
    config = VARIANTS[name]
    leaves = jax.tree.leaves(DiT(config).abstract_params())
    assert sum(x.size for x in leaves) == count
    assert all(x.dtype == jnp.float32 for x in leaves)


def test_the_image_stream_is_split_over_a_mesh_like_the_rest():
    module = DiT(dataclasses.replace(VARIANTS["wan2.1-flf2v-14b"], n_layers=2))
    boxed = jax.eval_shape(lambda: module.init(jax.random.key(0), **module.example_inputs()))
    specs = jax.tree.map(lambda s: s.spec, state_shardings(boxed["params"], make_mesh(1, 2, 1, 4)))
    attention = specs["blocks"]["cross_attn"]
    assert attention["k_img"] == attention["k"]
    assert attention["v_img"]["kernel"] == P(None, ("fsdp", "context"), "tensor")
    assert attention["norm_k_img"] == attention["norm_k"]
    assert specs["image"]["first"]["kernel"] == P(None, "tensor")
    assert specs["image"]["second"]["kernel"] == P("tensor", ("fsdp", "context"))
