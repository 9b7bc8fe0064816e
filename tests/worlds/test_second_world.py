"""A world that the package does not know goes all the way, by the commands that sprites go."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from squares import SHAPE, SQUARES, draw

from alchemint_jax import cli, evaluate, sharding, weights
from alchemint_jax.data import LoaderConfig, clip_loader, open_encoded, write_clips
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.umt5 import UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.train import fit
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.run import build_task

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
VAE_CONFIG = VAEConfig(
    base_dim=2,
    dim_mult=(1, 1, 1),
    num_res_blocks=1,
    temporal_downsample=(True, True),
    z_dim=8,
    latents_mean=(0.0,) * 8,
    latents_std=(1.0,) * 8,
)
SMALL = {
    "train.total_steps": 2,
    "train.log_every": 1,
    "train.validate_every": 0,
    "train.sample_every": 0,
    "train.checkpoint_every": 0,
    "train.optimizer.method": "adamw",
    "loader.batch_size": 8,
    "model.dim": 24,
    "model.n_heads": 2,
    "model.n_layers": 1,
    "model.unroll": 1,
    "model.ffn_dim": 32,
    "model.text_dim": 12,
    "model.slots": 2,
    "text.dim": 12,
    "text.n_heads": 2,
    "text.head_dim": 6,
    "text.ffn_dim": 16,
    "text.n_layers": 1,
    "sampling.size": "(16,16)",
    "sampling.min_frames": SHAPE.frames,
    "sampling.max_frames": SHAPE.frames,
    "sampling.reference_size": "(8,8)",
    "sampling.steps": 1,
}


def run(*words):
    assert cli.main([*map(str, words)]) == 0


def test_a_second_world_is_encoded_trained_on_generated_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)  # where squares.py is
    data, latents, report = (tmp_path / name for name in ("data", "latents", "report"))
    vae, run_dir = tmp_path / "autoencoder", tmp_path / "run"
    splits = {"train": map(draw, range(8)), "validation": map(draw, range(8, 10))}
    write_clips(data, "timed_squares", SHAPE, splits)

    run("data", "sheet", "--data", data, "--out", tmp_path / "sheet.png")
    (batch,) = itertools.islice(clip_loader(data, "train", LoaderConfig(2), frames=1, side=8), 1)
    assert batch["video"].shape == (2, 1, 8, 8, 3)
    shapes = jax.eval_shape(VAE(VAE_CONFIG).init, jax.random.key(0), np.zeros((1, 5, 4, 4, 3)))
    params = jax.tree.map(lambda x: np.full(x.shape, 0.1, x.dtype), shapes["params"])
    weights.save(vae, "vae", VAE_CONFIG, sharding.unbox(params))
    run("data", "encode", "--data", data, "--vae", vae, "--out", latents)
    assert json.loads((latents / "dataset.json").read_text())["dataset"] == "timed_squares_latents"
    record = open_encoded(latents, "validation")[0]
    (scene, _), (single, _) = draw(8), draw(0)
    (blue,) = single.subjects
    assert blue.word == "blue"
    assert record["words"][: record["n_subjects"]] == [one.word for one in scene.subjects]
    # On one device, and from weights that are there: so there is the least to compile.
    own = [f"{name}={value}" for name, value in (SMALL | {"data": latents, "vae": vae}).items()]
    config = load_config(CONFIGS / "sprites.py", own)
    task, rng = build_task(config), np.random.default_rng(0)
    for part, module in (
        ("transformer", DiT(task.model)),
        ("text_encoder", UMT5Encoder(task.text)),
    ):
        shapes = module.abstract_params()
        params = jax.tree.map(lambda x: np.float32(rng.normal(0, 0.1, x.shape)), shapes)
        weights.save(vae, part, module.config, params)
    task = dataclasses.replace(task, init_from=str(vae), train_text=False)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    assert fit(task, build_train(config), run_dir, mesh=mesh).step == 2

    Image.fromarray(blue.pictures[0]).save(tmp_path / "blue.png")
    seconds = (SHAPE.frames - 1) / 8
    subject = {"word": "blue", "image": "blue.png", "appears": [[0, seconds / 2]]}
    board = {"prompt": "a blue square", "duration": seconds, "subjects": [subject]}
    for name in ("board.yaml", "boards.jsonl"):  # JSON is YAML, too
        (tmp_path / name).write_text(json.dumps(board))
    model = ("--model", run_dir / "export")
    run("generate", tmp_path / "board.yaml", *model, "--out", tmp_path / "video.mp4")

    run("evaluate", *model, "--benchmark", "squares:SQUARES", "--batch", 1, "--out", report)
    found = json.loads((report / "report.json").read_text())
    assert found["clips"] == 4 and found["settings"]["benchmark"] == "squares"
    assert found["measures"]["area"] == "share of its area" and "likeness" not in found["overall"]
    assert "By their colours." in (report / "report.html").read_text()
    tracker = ("--tracker", "squares:SQUARES.tracker")
    file = ("--benchmark", tmp_path / "boards.jsonl")
    run("evaluate", *model, *file, *tracker, "--batch", 1, "--out", report)


def test_the_truth_of_a_second_world_scores_as_a_perfect_model():
    cases = SQUARES.cases(None, 20, 3)
    videos = [draw(99, 3, i)[1] for i in range(20)]
    overall = evaluate.score(cases, videos, SQUARES.tracker, resamples=50)["overall"]
    assert [overall[name]["mean"] for name in ("t_iou", "identity", "area")] == [1, 1, 1]
    nothing = evaluate.score(cases, np.full_like(videos, 128), SQUARES.tracker, resamples=50)
    assert nothing["overall"]["t_iou"]["mean"] == 0 and not nothing["rows"][0]["identity"]
