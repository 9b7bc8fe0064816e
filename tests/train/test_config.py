"""Configs and overrides: what is set is used, and what cannot be is said with its name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import FittedRope, ReferenceLayout, WeRope
from alchemint_jax.sampling.solvers import UniPC
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.fields import build
from alchemint_jax.train.optimizer import FROZEN
from alchemint_jax.train.run import build_task

CONFIGS = Path(__file__).parents[2] / "configs"
SPRITES, SPRITES_VAE = CONFIGS / "sprites.py", CONFIGS / "sprites_vae.py"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_every_config_builds_and_says_how_it_is_run(path):
    config = load_config(path)
    task, train = build_task(config), build_train(config)
    rates = dict(train.optimizer.groups)
    assert train.total_steps > 0
    lora = getattr(task, "lora", None)
    # Beside a LoRA, which does not hold what AlcheMinT adds, that stays as it is.
    assert all(rate > 0 or (lora and name == "added") for name, rate in rates.items())
    label = task.label("transformer/blocks/ffn_up/kernel")
    assert label == FROZEN if lora else label in rates
    docstring = path.read_text().split('"""')[1]
    assert f"alchemint train --config configs/{path.name}" in docstring and "Hardware" in docstring


def test_a_config_may_say_how_its_solver_is_set():
    config = load_config(SPRITES)
    with config.unlocked():
        config.sampling.solver = "unipc"
        config.sampling.grid = "diffusers-unipc-karras"
        config.sampling.unipc = dict(solver_order=3, disable_corrector=[0, 1])
    plan = build_task(config).sampling.plan()
    assert plan.unipc == UniPC(solver_order=3, disable_corrector=(0, 1))
    with config.unlocked():
        config.sampling.unipc.solver_order = 4
    with pytest.raises(ConfigError, match="unipc: solver_order is 4; it must be 1, 2 or 3"):
        build_task(config)


def test_overrides_reach_the_dataclasses():
    overrides = [
        "model.dim=48",
        "model.n_heads=2",
        "loader.batch_size=3",
        "shift=2",
        "dropout.text=0.5",
        "sampling.guidance.both=4.5",
        "data=elsewhere",
        "train.optimizer.groups=(('backbone', 0.1), ('added', 0.2), ('text', 0.3))",
        "train.total_steps=7",
    ]
    config = load_config(SPRITES, overrides)
    task, train = build_task(config), build_train(config)
    assert (task.model.dim, task.model.n_heads, task.loader.batch_size) == (48, 2, 3)
    assert (task.shift, task.dropout.text, task.sampling.guidance.both) == (2.0, 0.5, 4.5)
    assert task.data == "elsewhere" and train.total_steps == 7
    assert train.optimizer.groups == (("backbone", 0.1), ("added", 0.2), ("text", 0.3))
    # The file itself is as it was.
    assert build_task(load_config(SPRITES)).model.dim != 48


def test_schemes_and_layouts_are_named_in_configs():
    config = load_config(SPRITES)
    assert isinstance(build_task(config).model.scheme, FittedRope)
    config.unlock()
    config.model.scheme = {"name": "WeRope", "w_p": 1.5}
    config.model.layout = {"name": "ReferenceLayout", "shift_hw": True, "offset": [8, 8]}
    model = build_task(config).model
    assert model.scheme == WeRope(w_p=1.5)
    assert model.layout == ReferenceLayout(shift_hw=True, offset=(8, 8))
    hash(model)  # jit needs it
    config.model.scheme = {"name": "WeRope", "w_q": 1.5}
    with pytest.raises(ConfigError, match=r"model\.scheme: unknown w_q; known fields: w_p"):
        build_task(config)
    config.model.scheme = {"name": "MyRope"}
    with pytest.raises(ConfigError, match=r"model\.scheme.*'MyRope'.*FittedRope"):
        build_task(config)
    config.model.scheme = {"w_p": 1.5}
    with pytest.raises(ConfigError, match=r"model\.scheme.*name"):
        build_task(config)


@pytest.mark.parametrize(
    "override", ["model.dimm=3", "modell.dim=3", "model.dim.x=3", "train.total_steps", "=3", ""]
)
def test_unknown_overrides_are_named_with_the_file(override):
    with pytest.raises(ConfigError, match=r"sprites\.py: --config\.") as error:
        load_config(SPRITES, [override])
    assert repr(override.split("=")[0]) in str(error.value)


@pytest.mark.parametrize(
    "override",
    ["model.dim=wide", "model.dim=4.5", "loader.batch_size=None", "model=3", "train.seed=[1]"],
)
def test_overrides_of_the_wrong_type_are_named(override):
    with pytest.raises(ConfigError, match=r"sprites_vae\.py|sprites\.py") as error:
        load_config(SPRITES, [override])
    assert f"--config.{override}" in str(error.value)


def test_unknown_fields_list_the_known_ones():
    @dataclasses.dataclass(frozen=True)
    class Thing:
        height: int = 1
        width: tuple = ()

    assert build(Thing, {"width": [[1, 2], 3]}, "thing") == Thing(width=((1, 2), 3))
    with pytest.raises(ConfigError, match=r"thing: unknown depth, hight; known.*height, width"):
        build(Thing, {"hight": 1, "depth": 2, "width": ()}, "thing")


def test_unknown_fields_of_a_config_are_found_before_training():
    config = load_config(SPRITES_VAE)
    config.unlock()
    config.model.base = 3
    with pytest.raises(ConfigError, match=r"model: unknown base; known fields: base_dim"):
        build_task(config)
    config = load_config(SPRITES_VAE)
    config.unlock()
    config.train.optimizer.speed = 3
    with pytest.raises(ConfigError, match=r"train\.optimizer: unknown speed"):
        build_train(config)


def test_unknown_task():
    with pytest.raises(ConfigError, match="task is 'paint'; use one of vae, tiny_decoder, dit"):
        build_task(load_config(SPRITES, ["task=paint"]))


def test_files_that_are_no_configs(write, tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.py: no such config file"):
        load_config(tmp_path / "absent.py")
    (tmp_path / "text.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"text\.yaml: a config is a Python file"):
        load_config(tmp_path / "text.yaml")
    for text, problem in [("def (", "SyntaxError"), ("x = 1", "get_config"), ("1 / 0", "Zero")]:
        with pytest.raises(ConfigError, match=rf"mine\.py: cannot be loaded.*{problem}"):
            load_config(write(text))


def none_fields(config, where=""):
    for name in config:
        if isinstance(config.get(name), ConfigDict):
            yield from none_fields(config[name], f"{where}{name}.")
        elif config.get(name) is None:
            yield f"{where}{name}"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_fields_that_are_none_can_be_set(path):
    """Those that the file sets to None, and those that it leaves to their default."""
    config = load_config(path)
    fields = {*none_fields(config)}
    fields |= {"init_from"}
    if config.task == "dit":
        fields |= {"sampling.reference_size", "sampling.size_multiple", "sampling.max_pixels"}
    values = {"init_from": "2024", "sampling.reference_size": "[16, 32]"}
    for field in fields:
        node = load_config(path, [f"{field}={values.get(field, '16')}"])
        for part in field.split("."):
            node = node[part]
        assert node == {"init_from": "2024", "sampling.reference_size": (16, 32)}.get(field, 16)
        if field != "init_from":  # any text is a name
            with pytest.raises(ConfigError, match=f"{field} must be .* or None, not"):
                load_config(path, [f"{field}={{}}"])


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "sampling.reference_size=7",
            "a tuple (a whole number, a whole number) or None, not 7",
        ),
        ("sampling.reference_size=(1, 2, 3)", "must be a tuple"),
        ("lora=3", "must be set field by field or None, not 3"),
        ("train_text=yes", "must be True or False, not yes"),
        ("mesh.fsdp=two", "must be a whole number, not two"),
        ("model.reference_time=now", "must be 'clean' or 'video', not now"),
        ("train.optimizer.groups=((1, 2),)", "of a tuple (text, a number), not"),
        ("train.seed=True", "must be a whole number, not True"),
        ("sampling.refrence_size=7", "did you mean 'reference_size'"),
    ],
)
def test_wrong_types_are_said_in_a_sentence(override, says):
    with pytest.raises(ConfigError) as error:
        load_config(SPRITES, [override])
    assert says in str(error.value)


def test_parts_that_a_file_leaves_out_can_be_set():
    overrides = ["lora.rank=2", "init_from=sprites", "samples=1", "mesh.fsdp=2"]
    overrides += ["model.layout.shift_hw=True", "model.scheme.name=WeRope", "model.scheme.w_p=2"]
    config = load_config(SPRITES, overrides)
    task = build_task(config)
    assert (task.lora.rank, task.samples, config.mesh.fsdp) == (2, 1, 2)
    assert task.model.layout.shift_hw and task.model.scheme == WeRope(w_p=2.0)
    assert build_task(load_config(SPRITES_VAE, ["storage=float32"])).storage == "float32"
    assert load_config(CONFIGS / "wan_1_3b.py:lora", ["lora=None"]).lora is None


def test_another_autoencoder_is_not_another_start():
    config = load_config(CONFIGS / "wan_1_3b.py", ["vae=elsewhere"])
    assert (config.vae, config.init_from) == ("elsewhere", "models/Wan2.1-T2V-1.3B-Diffusers")
    config = load_config(CONFIGS / "wan_1_3b.py", ["init_from=elsewhere"])
    assert config.vae == config.init_from == "elsewhere"


def test_unknown_fields_at_the_top_are_refused():
    config = load_config(SPRITES).unlock()
    config.dropuot = 1
    with pytest.raises(ConfigError, match=r"unknown dropuot; known fields: .*dropout"):
        build_task(config)
