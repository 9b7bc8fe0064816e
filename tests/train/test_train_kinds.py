"""Training that starts from published models of subjects: step 0 is the model itself."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from PIL import Image

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.rotary import ReferenceLayout, WeRope
from alchemint_jax.sampling import Guidance, Pipeline, settings
from alchemint_jax.sampling.kinds import KINDS
from alchemint_jax.scene import Storyboard
from alchemint_jax.train.config import load_config
from alchemint_jax.train.initial_weights import initial_tensors
from alchemint_jax.train.run import build_task

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[2]
CONFIG = TOP / "configs" / "wan_1_3b.py"
BASE = TOP / "tests" / "goldens" / "pipeline" / "t2v"
SMALL = [
    *("model.dim=48", "model.n_heads=2", "model.n_layers=2", "model.ffn_dim=64"),
    *("model.text_dim=24", "model.freq_dim=16", "compute=float32"),
    *("text.dim=24", "text.n_heads=4", "text.head_dim=8", "text.ffn_dim=32", "text.n_layers=2"),
    "text.vocab=51",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole model in diffusers' layout, called after its kind."""
    root = tmp_path_factory.mktemp("published") / "Phantom-tiny"
    shutil.copytree(BASE, root)
    return root


def task_of(folder, *overrides):
    return build_task(load_config(CONFIG, [f"init_from={folder}", *SMALL, *overrides]))


def parameters(task):
    """All of the transformer's at step 0: what is in the files, and zeros; nothing is drawn."""
    found = task.pretrained()
    flat = {tuple(path.split(".")[1:]): np.array(x.read()) for path, x in found.items()}
    params = unflatten_dict(flat)
    expected = jax.tree.map(lambda x: x.shape, DiT(task.model).abstract_params())
    assert jax.tree.map(np.shape, params) == expected
    return params


def asked(pipe, folder):
    """What two subjects ask of a pipeline: one in the first half, one in the second."""
    Image.new("RGB", (30, 20), (200, 40, 40)).save(folder.parent / "picture.png")
    pictures = str(folder.parent / "picture.png")
    subjects = [
        {"word": word, "image": pictures, "appears": [span]}
        for word, span in (("red", [0, 0.25]), ("blue", [0.25, 0.5]))
    ]
    board = {"prompt": "red and blue", "duration": 0.5, "size": [32, 48], "subjects": subjects}
    return pipe.conditions([pipe.scene(Storyboard.from_dict(board))])


def test_step_0_is_the_published_model_and_timing_is_learned_from_there(folder, tmp_path):
    task, pipe = task_of(folder), Pipeline.load(folder)
    conditions, params = asked(pipe, folder), parameters(task)
    z = np.random.default_rng(0).normal(size=(1, 3, 4, 6, 16)).astype(np.float32)
    time = jnp.array([0.7])
    published = jax.jit(DiT(pipe.models.dit.config).apply)
    trained = jax.jit(lambda params, *rest: task.velocity({"transformer": params}, *rest))
    for pictures in (False, True):
        text, extra = model_inputs(conditions, jnp.array([True]), jnp.array([pictures]))
        wanted = published({"params": pipe.models.dit_params}, z, time, text, **extra)
        found = trained(params, z, time, text, extra)
        np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=0)

    # At first no interval is seen; what a weight away from 0 does depends on the interval.
    other = extra | {"intervals": extra["intervals"][:, ::-1]}
    np.testing.assert_array_equal(found, trained(params, z, time, text, other))
    params["subjects"]["timing"] += 0.5
    moved, again = (trained(params, z, time, text, told) for told in (extra, other))
    assert np.abs(moved - found).max() > 1e-4 and np.abs(moved - again).max() > 1e-4

    # And what was trained is exported, and sampled as the published model is.
    for form in ("alchemint", "wan-diffusers"):
        weights.save(tmp_path / form, "transformer", task.model, params, format=form)
        module, tensors = weights.open_component(tmp_path / form, "transformer")
        assert module.config == task.model
        np.testing.assert_array_equal(tensors["subjects.timing"].read(), 0.5)
    sampled = dataclasses.asdict(task.sampling)
    assert sampled.items() >= {"solver": "unipc", "grid": "wan", "shift": 5.0, "steps": 50}.items()
    assert task.sampling.guidance == pipe.settings.guidance == Guidance(image=-2.5, both=7.5)
    assert task.sampling.negative_prompt == pipe.settings.negative_prompt


def test_a_file_beside_a_model_of_wan(folder, tmp_path):
    """It is named, or called after its kind, whose rule is read before the file is."""
    config = [f"init_from={BASE}", *SMALL]
    file = folder / "transformer"
    named = build_task(load_config(CONFIG, [*config, f"transformer={file}", "model_kind=phantom"]))
    assert named.model == task_of(folder).model
    assert named.model.layout == KINDS["phantom"].layout and named.model.scheme == WeRope()
    plain = build_task(load_config(CONFIG, config))
    assert not plain.model.learned_timing and plain.model_kind is None
    (tmp_path / "Phantom.pth").write_bytes(b"\x80\x04")
    pickled = build_task(load_config(CONFIG, [*config, f"transformer={tmp_path}/Phantom.pth"]))
    with pytest.raises(WeightsError, match="fetch the weights as safetensors"):
        pickled.pretrained()


def test_what_is_said_on_the_command_line_comes_before_the_rule(folder):
    task = task_of(folder, "sampling.shift=3", "model.slots=2", "sampling.guidance.both=4")
    assert (task.sampling.shift, task.model.slots, task.sampling.steps) == (3.0, 2, 50)
    assert task.sampling.guidance == Guidance(image=-2.5, both=4.0)
    assert parameters(task)["subjects"].keys() == {"index", "timing"}
    still = task_of(folder, "model.learned_timing=False", "model.index=False")
    assert "subjects" not in parameters(still)
    assert not task_of(folder, "model_kind=plain").model.learned_timing


def test_other_kinds(folder):
    kaleido = task_of(folder, "model_kind=kaleido")
    assert kaleido.model.layout == ReferenceLayout.r_rope(3, offset=(80, 80))
    assert kaleido.sampling.size == (512, 896) and kaleido.sampling.max_pixels == 512 * 896
    with pytest.raises(ConfigError, match="magref is an image-to-video network, which cannot be"):
        task_of(folder, "model_kind=magref")
    with pytest.raises(ConfigError, match="no kind of model 'vace'"):
        task_of(folder, "model_kind=vace")
    with pytest.raises(ConfigError, match="model_kind is set, but not init_from"):
        dataclasses.replace(kaleido, init_from=None, train_text=True, cached_text=False)
    with pytest.raises(ConfigError, match=r"learned_timing goes from layout\.slot_times"):
        task_of(BASE, "model.learned_timing=True")


def test_a_student_of_such_a_model_is_sampled_in_its_own_steps(folder):
    config = load_config(f"{CONFIG}:fast", ["init_from=runs/x/export", "model_kind=phantom"])
    task = build_task(config)
    assert task.model.learned_timing and (task.sampling.steps, task.sampling.shift) == (4, 5.66)
    with pytest.raises(ConfigError, match="transformer"):
        build_task(load_config(f"{CONFIG}:fast", ["transformer=x.safetensors"]))


def test_a_model_of_ours_is_what_its_settings_say(folder, tmp_path):
    """Whatever it is called; and one that was trained from a published one is trained on."""
    ours = tmp_path / "phantom"
    shutil.copytree(folder, ours)
    task = task_of(folder)
    settings.save(ours, task.sampling)
    assert json.loads((ours / settings.FILE).read_text())["steps"] == 50
    assert not task_of(ours).model.learned_timing
    params = parameters(task)
    params["subjects"]["timing"] += 0.25
    shutil.rmtree(ours / "transformer")
    weights.save(ours, "transformer", task.model, params)
    again = parameters(task_of(ours, "model_kind=phantom"))
    np.testing.assert_array_equal(again["subjects"]["timing"], 0.25)


def test_a_network_with_additions_is_no_published_one(folder, tmp_path):
    task = task_of(folder)
    plain = dataclasses.replace(task.model, in_channels=36, slots=0, learned_timing=False)
    params = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), DiT(plain).abstract_params())
    weights.save(tmp_path, "transformer", plain, params)
    with pytest.raises(WeightsError, match="models of this kind are text-to-video"):
        initial_tensors(folder, task.model, task.text, tmp_path, "phantom")
