"""Scores while training: what is measured, which checkpoint stays, and that a run may be killed."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from toy_task import ToyTask, config
from toy_world import Pipe

from alchemint_jax import sharding, train
from alchemint_jax.errors import ConfigError
from alchemint_jax.train.evaluation import EvaluateConfig, Evaluator
from alchemint_jax.train.scoring import Best

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]

SCORED = EvaluateConfig(every=2, benchmark="toy_world:BOARDS", limit=4, batch=2, seed=3)


def one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


def run(workdir, steps=12, task=None, scored=SCORED, **changes):
    options = {"checkpoint_every": 5, "keep": 1, "evaluate": scored} | changes
    return train.fit(task or ToyTask(), config(steps, **options), workdir, mesh=one_device())


def scores(workdir, figure="t_iou"):
    lines = train.read_metrics(workdir / "metrics.jsonl")
    name = f"evaluation/{figure}"
    return {line["step"]: line[name] for line in lines if name in line}


def best_of(workdir):
    return json.loads((workdir / "best.json").read_text())


def kept(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def weights(folder):
    return dict(np.load(folder / "weights.npz"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("straight") / "run"
    run(workdir)
    return workdir


def test_averaged_weights_are_scored_and_the_best_checkpoint_stays(straight):
    found = scores(straight)
    assert list(found) == [2, 4, 6, 8, 10, 12] and len(set(found.values())) > 3
    best = best_of(straight)
    top = max(found, key=found.get)
    assert (best["step"], best["value"]) == (top, pytest.approx(found[top]))
    assert top < 12, "otherwise this shows nothing"
    assert kept(straight) == sorted({top, 12})
    plan = train.plan_state(ToyTask(), config().optimizer, one_device())
    with train.Checkpoints(straight / "checkpoints") as checkpoints:
        ema = jax.device_get(checkpoints.restore(top, plan.abstract)["ema"])
    exported = weights(straight / "export_best")
    np.testing.assert_array_equal(exported["['mid']['kernel']"], ema["mid"]["kernel"])
    last = weights(straight / "export")
    assert not np.array_equal(last["['mid']['kernel']"], ema["mid"]["kernel"])
    evaluator = Evaluator(ToyTask(), SCORED)
    again = evaluator.figures([evaluator.share(ema, 0, 1)])
    assert again["t_iou"] == pytest.approx(found[top])
    page = (straight / "evaluation.html").read_text()
    assert f"The checkpoint of step {top}, the best by t-IOU" in page and "t-L2" in page
    known = [name for name in evaluator.titles if np.isfinite(again[name])]
    assert page.count('class="best"') == page.count("<figure") == len(known) > 5


def test_the_figures_are_those_that_the_frames_give():
    """Of weights of one: 33 frames, of which the first n are shown and the first 10 + i asked."""
    evaluator = Evaluator(ToyTask(), dataclasses.replace(SCORED, limit=3))
    share = evaluator.share({"w": np.ones(1)}, 0, 1)
    shown = [1 + (977 + 7 * seed + 3 * i) % 33 for seed, i in ((3, 0), (3, 1), (4, 0))]
    ious = [min(n, 10 + i) / max(n, 10 + i) for i, n in enumerate(shown)]
    assert [row["t_iou"] for row in share["rows"]] == pytest.approx(ious)
    figures = evaluator.figures([share])
    assert figures["t_iou"] == pytest.approx(np.mean(ious))
    assert figures["t_iou_low"] <= figures["t_iou"] <= figures["t_iou_high"]
    assert figures["seconds"] >= 0


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_shares_the_boards_and_gives_the_same(processes):
    evaluator = Evaluator(ToyTask(), dataclasses.replace(SCORED, limit=5))
    params = {"w": np.ones(1)}
    alone = evaluator.share(params, 0, 1)
    shares = [evaluator.share(params, i, processes) for i in range(processes)]
    assert [len(share["rows"]) for share in shares] == {2: [3, 2], 3: [2, 2, 1]}[processes]
    together = evaluator.figures(shares[::-1])
    for name, value in evaluator.figures([alone]).items():
        assert name == "seconds" or together[name] == pytest.approx(value, nan_ok=True), name


class Dying(ToyTask):
    """A process that ends in the middle of an evaluation."""

    def pipeline(self, params):
        made = vars(self).setdefault("made", [])
        made.append(params)
        if len(made) == 4:  # the first one checks the boards
            raise RuntimeError("killed")
        return Pipe(params)


def test_a_run_that_ends_in_an_evaluation_goes_on_with_it(straight, tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "run", task=Dying())
    assert list(scores(tmp_path / "run")) == [2, 4] and 6 in kept(tmp_path / "run")
    run(tmp_path / "run")
    assert scores(tmp_path / "run") == scores(straight)
    assert best_of(tmp_path / "run") == best_of(straight)
    assert kept(tmp_path / "run") == kept(straight)
    a, b = (weights(folder / "export_best") for folder in (tmp_path / "run", straight))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_run_goes_on_from_the_best(straight, tmp_path):
    """As the guide has it: its checkpoint in another folder is a run of that many steps."""
    top = best_of(straight)["step"]
    source = straight / "checkpoints" / str(top)
    shutil.copytree(source, tmp_path / "checkpoints" / str(top))
    result = run(tmp_path, steps=top)
    assert result.step == top and not result.interrupted
    a, b = weights(tmp_path / "export"), weights(straight / "export_best")
    assert all(np.array_equal(a[name], b[name]) for name in a)
    run(tmp_path, steps=12)
    assert scores(tmp_path) == {k: v for k, v in scores(straight).items() if k >= top}


def test_scores_of_other_boards_are_no_competitors(straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    other = dataclasses.replace(SCORED, limit=2, best="t_l2")
    run(tmp_path / "run", steps=14, scored=other)
    after = best_of(tmp_path / "run")
    assert after["step"] == 14 and after["asked"]["best"] == "t_l2"


@pytest.mark.parametrize(("figure", "gains"), [("t_iou", True), ("t_l2", False)])
def test_more_is_better_but_of_an_error_less(figure, gains):
    evaluator = Evaluator(ToyTask(), dataclasses.replace(SCORED, best=figure))
    evaluator.share({"w": np.ones(1)}, 0, 1)
    assert evaluator.better(0.5, None) and not evaluator.better(0.5, 0.5)
    assert evaluator.better(0.6, 0.5) == gains != evaluator.better(0.4, 0.5)
    assert not evaluator.better(float("nan"), 0.5) and not evaluator.better(float("nan"), None)


def test_weights_that_give_no_numbers_have_no_score_and_go_on(tmp_path):
    class Bad(ToyTask):
        def pipeline(self, params):
            return Pipe(params, bad=True)

    with pytest.warns(UserWarning, match="no scores of step 2: the transformer gave latents"):
        run(tmp_path, steps=2, task=Bad())
    assert scores(tmp_path) == {2: None} and not (tmp_path / "best.json").exists()
    assert (tmp_path / "export").exists() and not (tmp_path / "export_best").exists()


def test_what_cannot_be_scored_is_refused_before_anything_is_written(tmp_path):
    class Deaf(ToyTask):
        pipeline = property()

    for task, scored, says in (
        (Deaf(), SCORED, "a Deaf renders no storyboards"),
        (None, dataclasses.replace(SCORED, best="beauty"), "best: 'beauty' is not measured"),
        (None, EvaluateConfig(benchmark="none"), "train.evaluate.benchmark none: neither"),
        (None, dataclasses.replace(SCORED, tracker="sprites"), "tracker sprites: is for files"),
    ):
        with pytest.raises(ValueError, match=says):
            run(tmp_path / "run", task=task, scored=scored)
        assert not (tmp_path / "run").exists()
    run(tmp_path / "run", 2, scored=dataclasses.replace(SCORED, every=0))  # is turned off
    assert scores(tmp_path / "run") == {}


@pytest.mark.parametrize(
    "wrong", [{"every": -1}, {"limit": 0}, {"batch": 0}, {"steps": 0}, {"seed": -1}]
)
def test_bad_fields_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"train.evaluate: .*{next(iter(wrong))}"):
        EvaluateConfig(**wrong)


def test_a_damaged_file_of_the_best_is_none():
    best = Best(4, 0.5, SCORED.asked)
    assert Best.read(best.text()) == best
    assert [Best.read(text) for text in (None, "", "{", "{}", '{"step": 1}')] == [None] * 5
