"""What model_index.json announces is there and can be run, whoever asks for the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from alchemint_jax import weights
from alchemint_jax.data.encode import encode_dataset
from alchemint_jax.errors import WeightsError
from alchemint_jax.sampling import Pipeline
from alchemint_jax.train.initial_weights import initial_tensors
from alchemint_jax.weights import index

GOLDENS = Path(__file__).parents[1] / "goldens" / "pipeline"
NAMES = ["scheduler", "text_encoder", "tokenizer", "transformer", "vae"]


@pytest.fixture
def model(tmp_path):
    shutil.copytree(GOLDENS / "t2v", tmp_path / "model")
    return tmp_path / "model"


def _rewrite(model, **fields):
    file = model / index.FILE
    values = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({k: v for k, v in values.items() if v != "absent"}))


def _everyone(model):
    """All who need a whole model, by name."""
    configs = [weights.open_component(GOLDENS / "t2v", p)[0].config for p in NAMES[3::-2]]
    return {
        "generation and evaluation": lambda: Pipeline.load(model),
        "conversion": lambda: weights.convert(model, model.parent / "new"),
        "to the original names": lambda: weights.convert(model, model.parent / "new", "wan"),
        "training": lambda: initial_tensors(model, *configs),
    }


def _refused(model, message):
    for who, ask in _everyone(model).items():
        with pytest.raises(WeightsError, match=f"(?s){message}"):
            ask()
            raise AssertionError(who)
    assert {p.name for p in model.parent.iterdir()} == {"model"}


def test_what_diffusers_wrote_is_taken(model):
    assert index.check_model(model) == NAMES
    image = index.check_model(GOLDENS / "flf2v")
    assert set(image) == {*NAMES, "image_encoder", "image_processor"}
    assert index.check_model(weights.locate("sprites")) is None


@pytest.mark.parametrize("part", NAMES)
def test_a_part_that_is_missing(model, part):
    shutil.rmtree(model / part)
    with pytest.raises(
        WeightsError, match=f"index.json.*\n  {part} is announced, but .*{part} is m"
    ):
        index.check_model(model)


def test_a_scheduler_of_another_class_than_announced(model):
    _rewrite(model, scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    with pytest.raises(WeightsError, match="FlowMatchEulerDiscreteScheduler, but .* is of UniPC"):
        index.check_model(model)


def test_whoever_needs_a_whole_model_hears_of_all_that_is_missing(model):
    shutil.rmtree(model / "tokenizer")
    (model / "scheduler" / "scheduler_config.json").unlink()
    _refused(model, r"scheduler is announced.*_config\.json is missing.*tokenizer is announced")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"_class_name": "WanDMDPipeline"}, "'WanDMDPipeline'; only WanPipeline and WanImageTo"),
        ({"_class_name": "WanVACEPipeline"}, "'WanVACEPipeline'; only WanPipeline"),
        ({"expand_timesteps": "yes"}, "expand_timesteps is 'yes'; it must be true or false"),
        ({"boundary_ratio": 0.875}, "boundary_ratio is 0.875, but .*Wan2.2's pair of experts"),
        (
            {"transformer_2": ["diffusers", "WanTransformer3DModel"]},
            "transformer_2 is announced, but no boundary_ratio",
        ),
        ({"transformer": [None, None]}, "transformer is not announced"),
        ({"vae": None}, "vae is not announced, which a WanPipeline of Wan2.1 has"),
        ({"tokenizer": "absent", "scheduler": "absent"}, "tokenizer is not.*scheduler is not"),
        ({"_class_name": "WanImageToVideoPipeline"}, "image_encoder is not announced"),
        ({"vae": ["diffusers", "AutoencoderKLLTXVideo"]}, "vae is .*'AutoencoderKLWan'. is supp"),
        ({"vae": ["mine", "AutoencoderKLWan"]}, "vae is .'mine'"),
        ({"text_encoder": ["transformers", "T5EncoderModel"]}, "text_encoder is .*UMT5EncoderMo"),
        ({"tokenizer": ["mine", "Words"]}, "tokenizer is .*only a class of transformers"),
        ({"scheduler": 3}, "scheduler is 3; only a class of diffusers"),
        ({"upsampler": ["diffusers", "X"]}, "upsampler is .*nothing is known"),
        ({"_class_name": 3}, "is damaged: .*_class_name"),
    ],
)
def test_what_cannot_be_run(model, fields, message):
    _rewrite(model, **fields)
    with pytest.raises(WeightsError, match=rf"(?s)model_index\.json.*{message}"):
        index.check_model(model)


def test_what_says_nothing_is_ignored(model):
    _rewrite(model, _name_or_path="x", upsampler=[None, None], is_distilled=False, safety=None)
    assert index.check_model(model) == NAMES


def test_one_of_two_experts_without_an_index(model):
    (model / index.FILE).unlink()
    shutil.copytree(model / "transformer", model / "transformer_2")
    _refused(model, r"transformer_2: it is of Wan2\.2's pair of experts")


def test_an_index_that_is_no_file(model):
    for text, message in (("[]", "is damaged"), ("{", "not valid JSON"), ("<html>", "HTML page")):
        (model / index.FILE).write_text(text)
        with pytest.raises(WeightsError, match=f"model_index.json.*{message}"):
            index.check_model(model)
    (model / index.FILE).unlink()
    (model / index.FILE).symlink_to("nowhere")
    _refused(model, "is a link to nowhere")


def test_files_that_are_only_carried_along_are_fetched(model):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n"
    (model / "tokenizer" / "tokenizer.json").write_text(pointer)
    (model / "scheduler" / "scheduler_config.json").write_text(pointer)
    with pytest.raises(
        WeightsError, match=r"(?s)config\.json is a Git LFS.*tokenizer\.json is a G"
    ):
        weights.convert(model, model.parent / "new")


def test_a_model_of_ours_may_do_without_scheduler_but_not_without_its_vocabulary(model):
    (model / "pipeline.json").write_text("{}")
    _rewrite(model, scheduler="absent")
    shutil.rmtree(model / "scheduler")
    assert "scheduler" not in index.check_model(model)
    shutil.rmtree(model / "tokenizer")
    with pytest.raises(WeightsError, match="tokenizer is announced, but"):
        Pipeline.load(model)
    (model / index.FILE).unlink()
    vocab = weights.open_component(model, "text_encoder")[0].config.vocab
    with pytest.raises(WeightsError, match=f"tokenizer is missing: .*vocabulary of {vocab} pieces"):
        weights.tokenizer_folder(model, vocab)
    with pytest.raises(WeightsError, match="vocabulary of 256384 pieces"):
        weights.tokenizer_folder(model, 256384)
    assert weights.tokenizer_folder(weights.locate("sprites"), 259) is None


def test_parts_are_read_alone(model, tmp_path):
    """Whatever the rest is; but not where the index says that they are something else."""
    _rewrite(model, _class_name="WanDMDPipeline", transformer=None)
    for part in ("vae", "text_encoder", "transformer"):
        weights.open_component(model, part)
    weights.check_part(model, "vae")
    for fields, message in (
        ({"vae": None}, "vae is not announced"),
        ({"vae": ["diffusers", "AutoencoderTiny"]}, "vae is .*AutoencoderTiny"),
    ):
        _rewrite(model, **fields)
        with pytest.raises(WeightsError, match=message):
            encode_dataset(tmp_path / "data", model, tmp_path / "out")


def test_what_convert_writes_announces_all_that_is_there(model, tmp_path):
    (model / index.FILE).unlink()
    weights.convert(model, tmp_path / "new")
    assert set(index.check_model(tmp_path / "new")) == set(NAMES)
    for name in ("vae", "text_encoder"):
        shutil.rmtree(model / name)
    weights.convert(model, tmp_path / "part")
    assert not (tmp_path / "part" / index.FILE).exists()  # it is no whole model


def test_a_cache_of_the_hub_is_shown_where_its_models_are(model, tmp_path):
    root = tmp_path / "hub" / "models--Wan-AI--x"
    (root / "blobs").mkdir(parents=True)
    (root / "snapshots").mkdir()
    with pytest.raises(WeightsError, match="cache of the hub without any snapshot"):
        weights.locate(root)
    shutil.copytree(model, root / "snapshots" / "0a1b")
    for folder in (root, root.parent, root / "snapshots"):
        with pytest.raises(WeightsError, match=r"a snapshot: pass .*x/snapshots/0a1b$"):
            weights.locate(folder)
    assert weights.locate(root / "snapshots" / "0a1b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", {"height": 28, "width": 28}),
        ("size", {"shortest_edge": 32}),
        ("crop_size", 14),
        ("resample", 2),
        ("do_center_crop", False),
        ("do_resize", False),
        ("do_rescale", False),
        ("do_normalize", False),
        ("image_mean", [0.5, 0.5, 0.5]),
        ("image_std", [0.5]),
        ("image_std", "x"),
        ("rescale_factor", 1 / 127.5),
    ],
)
def test_pictures_that_are_to_be_prepared_otherwise(tmp_path, field, value):
    shutil.copytree(GOLDENS / "flf2v", tmp_path / "model")
    file = tmp_path / "model" / "image_processor" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(WeightsError, match=rf"preprocessor_config\.json: {field} is .*; only"):
        index.check_model(tmp_path / "model")
    file.unlink()
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json is missing"):
        index.check_model(tmp_path / "model")
