"""A teacher's paths and a student of them: what is kept, what is refused, and that it learns."""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import students_kit as kit

import alchemint_jax as al
from alchemint_jax import cli, sharding, train
from alchemint_jax.data import records, teacher_paths
from alchemint_jax.data.loader import LoaderConfig
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.flow import Grid
from alchemint_jax.plan.steps import Work, planned, train_step
from alchemint_jax.sampling.sample import Watch, sample_latents
from alchemint_jax.train.config import build_train
from alchemint_jax.train.distill_task import relative_error, segment_velocity, strata
from alchemint_jax.train.run import build_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return kit.write_teacher(tmp_path_factory.mktemp("teacher") / "model")


@pytest.fixture(scope="module")
def pipe(teacher):
    return al.Pipeline.load(teacher)


@pytest.fixture(scope="module")
def paths(teacher, pipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("paths") / "paths"
    return written(pipe, teacher, out)


def plan_of(pipe):
    """Guidance in a part of the steps alone, which is what paths are to have inside."""
    return pipe.settings.plan(guidance={"interval": (0, 0.5)}, solver="unipc")


def written(pipe, teacher, out, boards=None, plan=None, steps=4):
    plan = plan or plan_of(pipe)
    boards = boards or kit.boards()
    return teacher_paths.write_paths(pipe, teacher, boards, out, plan, steps, batch=2, shard=2)


def read(paths, split):
    card = teacher_paths.read_card(paths)
    files = sorted((paths / split).glob("*.array_record"))
    source = records.ShardedSource(files)
    assert len(source) == card["splits"][split]
    return [source[i] for i in range(len(source))]


def task_of(model, paths, **changes):
    return build_task(kit.config(model, paths, **changes))


def batch_of(paths, size):
    loader = LoaderConfig(batch_size=size, shuffle=False)
    batch = next(iter(teacher_paths.path_loader(paths, "train", loader)))
    return jax.device_put(dict(batch))


def one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


def test_paths_are_those_of_the_teacher_and_their_ends_its_samples(pipe, paths):
    """Batches of two, in shards of two; sampled here beside others."""
    found = read(paths, "train") + read(paths, "validation")
    assert [len(x["states"]) for x in found] == [5] * 6
    boards = kit.boards()
    keys = [jax.random.fold_in(jax.random.key(boards.seed), i) for i in range(6)]
    noise = jnp.stack([jax.random.normal(key, found[0]["states"].shape[1:]) for key in keys])
    states = np.stack([x["states"] for x in found]).astype(np.float32)
    np.testing.assert_allclose(states[:, 0], noise, atol=2e-3)
    conditions, order, ends = pipe.conditions(boards.scenes), [0, 5, 2, 1, 4, 3], {}
    for pair in np.split(np.array(order), 3):
        given = jax.tree.map(lambda x, pair=pair: np.asarray(x)[pair], conditions)
        watch = Watch(lambda *_: None, 2)  # the same program as that of the paths
        found_ends = sample_latents(pipe.models, given, noise[pair], plan_of(pipe), watch=watch)
        ends |= dict(zip(pair.tolist(), np.asarray(found_ends), strict=True))
    ends = np.stack([ends[i] for i in range(6)])
    assert np.abs(ends - noise).mean() > 0.1
    np.testing.assert_allclose(states[:, -1], ends, atol=1e-2 * np.abs(ends).max())
    np.testing.assert_array_equal([x["used"] for x in found], conditions.used)
    # The first board has a subject that comes back twice: all have room for it.
    np.testing.assert_array_equal([x["intervals"] for x in found], conditions.intervals)
    assert found[5]["intervals"].shape == (2, 3, 2)


def test_a_batch_is_what_the_transformer_is_told(teacher, pipe, paths):
    task, everything = task_of(teacher, paths), pipe.conditions(kit.boards().scenes)
    told = task.conditions({}, batch_of(paths, 5))
    wanted = jax.tree.map(lambda x: np.asarray(x)[:5], everything)
    for name in ("text", "null_text", "references", "tags", "intervals", "used", "tag_mask"):
        here, there = np.asarray(getattr(told, name)), np.asarray(getattr(wanted, name))
        assert here.dtype == there.dtype
        np.testing.assert_allclose(here, there, atol=2e-3, err_msg=name)
    assert told.events is None


def test_a_stopped_command_goes_on_and_ends_alike(pipe, teacher, paths, tmp_path, monkeypatch):
    out, write, made = tmp_path / "paths", records.write_shard, []

    def stop(path, content):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(path.name)
        return write(path, content)

    monkeypatch.setattr(records, "write_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        written(pipe, teacher, out)
    assert not out.exists()
    with pytest.raises(DataError, match="made with another seed and sha256"):
        written(pipe, teacher, out, boards=kit.boards(seed=4))
    monkeypatch.setattr(records, "write_shard", lambda *args: (made.append(0), write(*args))[1])
    assert written(pipe, teacher, out) == out
    assert made.count(0) == 2, "shards that were there are not made again"
    one, other = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in (paths, out)
    )
    assert one == other
    assert written(pipe, teacher, out) == out and made.count(0) == 2


def test_levels_must_be_among_those_of_the_teacher(pipe):
    student = pipe.settings.plan(4).levels()
    assert teacher_paths.levels_kept(pipe.settings.plan(12).levels(), student) == [0, 3, 6, 9, 12]
    with pytest.raises(ConfigError, match="level 0.9000 is not among .* takes 10 steps"):
        teacher_paths.levels_kept(pipe.settings.plan(10).levels(), student)
    wan = dataclasses.replace(pipe.settings.plan(8), grid="wan")
    four = dataclasses.replace(wan, steps=4).levels()
    assert teacher_paths.levels_kept(wan.levels(), four) == [0, 2, 4, 6, 8]
    told = Grid(four.sigmas, four.times + np.float32(0.001))  # the same levels by other names
    with pytest.raises(ConfigError, match="not among"):
        teacher_paths.levels_kept(wan.levels(), told)


def test_teachers_and_boards_that_no_student_could_follow(pipe, teacher, tmp_path):
    pair = dataclasses.replace(pipe, models=pipe.models._replace(low={}))
    with pytest.raises(ConfigError, match="has two experts; such a model can have no student"):
        written(pair, teacher, tmp_path / "out")
    boards = kit.boards()
    given = dataclasses.replace(boards.scenes[1], keyframes=np.zeros((1, 16, 16, 3), np.uint8))
    boards = dataclasses.replace(boards, scenes=[boards.scenes[0], given])
    with pytest.raises(ConfigError, match="board 1: has keyframes, which no student is told"):
        written(pipe, teacher, tmp_path / "out", boards)


def test_the_step_of_a_student_can_be_planned(teacher, paths):
    task, optimizer = task_of(teacher, paths), build_train(kit.config(teacher, paths)).optimizer
    step = train_step(task, optimizer, Work((16, 16), 9, 2, 4), one_device())
    assert step.tokens == 4 * 3 * 2 * 2
    whole = dataclasses.replace(task, objective="path")
    assert planned(whole) == whole and whole.passes == 4


def test_the_loss_by_hand():
    states = np.float32([[[4, 0], [1, 2], [0, 4]]] * 2)
    z, v = jax.jit(segment_velocity)(states, np.float32([1, 0.5, 0]), np.array([0, 1], np.int32))
    assert z.tolist() == [[4.0, 0.0], [1.0, 2.0]]
    assert v.tolist() == [[6.0, -4.0], [2.0, -4.0]]
    assert float(jax.jit(relative_error)(np.float32([1, 1]), np.float32([0, 2]))) == 1.0
    draw = jax.jit(strata, static_argnums=(1, 2))
    for seed in range(3):
        drawn = np.asarray(draw(jax.random.key(seed), 8, 4))
        assert np.bincount(drawn).tolist() == [2, 2, 2, 2]


def test_the_path_objective_is_the_sample(teacher, pipe, paths):
    """Its error is that of the student's own sample from the same noise."""
    task = task_of(teacher, paths, objective="path")
    assert task.passes == 4 and task_of(teacher, paths).passes == 1
    batch = batch_of(paths, 4)
    shapes = sharding.unbox(jax.eval_shape(task.init, jax.random.key(0)))
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes["lora"])
    params = {"lora": params, "transformer": pipe.models.dit_params}
    loss, _ = jax.jit(task.loss)(params, batch, jax.random.key(1))
    latents = sample_latents(
        pipe.models, task.conditions({}, batch), task.start(batch), task.sampling.plan()
    )
    wanted = batch["states"][:, -1]
    assert float(loss) == pytest.approx(
        float(((latents - wanted) ** 2).mean() / wanted.var()), 1e-3
    )


def fit(teacher, paths, workdir, steps=None, **changes):
    config = kit.config(teacher, paths, **changes)
    settings = build_train(config)
    settings = dataclasses.replace(settings, total_steps=steps or settings.total_steps)
    return train.fit(build_task(config), settings, workdir, mesh=one_device())


@pytest.fixture(scope="module")
def trained(teacher, paths, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("student") / "run"
    fit(teacher, paths, workdir)
    return workdir


def losses(workdir):
    return [line["loss"] for line in train.read_metrics(workdir / "metrics.jsonl")]


@pytest.fixture(scope="module")
def student(trained):
    return al.Pipeline.load(trained / "export")


def test_it_learns_and_only_its_lora_moves(trained, student, pipe):
    found = losses(trained)
    assert np.mean(found[-8:]) < 0.8 * np.mean(found[:8])
    assert (trained / "export" / "lora_diffusers.safetensors").is_file()
    plan = student.settings.plan()
    assert (plan.steps, plan.solver, len(plan.guidance.branches())) == (4, "euler", 1)
    before, after = jax.device_get((pipe.models.dit_params, student.models.dit_params))
    moved = jax.tree_util.tree_leaves_with_path(
        jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, after)
    )
    for path, most in moved:
        name = jax.tree_util.keystr(path)
        inside = "kernel" in name and any(part in name for part in ("attn", "ffn"))
        assert (most > 2e-3) == inside, name  # what else changes is the rounding to halves


def test_a_resumed_run_ends_as_an_undisturbed_one(trained, teacher, paths, tmp_path):
    fit(teacher, paths, tmp_path / "parts", steps=7)
    shutil.rmtree(tmp_path / "parts" / "export")
    fit(teacher, paths, tmp_path / "parts")
    one, other = (
        (folder / "export" / "transformer" / "model.safetensors").read_bytes()
        for folder in (trained, tmp_path / "parts")
    )
    assert one == other and losses(trained) == losses(tmp_path / "parts")


def test_what_a_student_refuses(student):
    scenes = kit.boards(1).scenes
    for name, value in {"steps": 8, "solver": "unipc", "guidance": al.Guidance(both=3)}.items():
        with pytest.raises(
            ConfigError, match=f"{name} is .* was distilled for .* leave {name} out"
        ):
            student.render(scenes, **{name: value})
    with pytest.raises(al.StoryboardError, match="negative_prompt: .* has its guidance inside"):
        student.render(scenes, negative_prompt="blur")
    own = student.settings
    again = student.settings.plan(own.steps, own.guidance, own.solver)
    assert again == student.settings.plan()


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"boards": "sprites"}, "boards is 'sprites', but the paths in .* are of 'toys'"),
        ({"objective": "steps"}, "objective is 'steps'"),
        ({"shift": 5.0}, "unknown shift"),
        ({"sampling": {"steps": 2}}, "levels are .* make the paths again with --student-steps 2"),
        ({"sampling": {"tag_length": 5}}, "sampling.tag_length is 5, but .* it is 6"),
        ({"sampling": {"distilled": False}}, "distilled to True"),
        ({"sampling": {"guidance": {"both": 2.0}}}, "both=1"),
        ({"init_from": None}, "init_from"),
    ],
)
def test_what_a_config_may_not_ask_for(teacher, paths, changes, match):
    config = kit.config(teacher, paths)
    config.update(changes)
    with pytest.raises(ConfigError, match=match):
        build_task(config).train_data()


def test_paths_of_other_weights_are_refused(teacher, paths, tmp_path):
    other = kit.write_teacher(tmp_path / "other", seed=5)
    with pytest.raises(DataError, match="of another transformer .* name the model that made them"):
        task_of(other, paths).train_data()
    # A student may begin elsewhere, as long as it reads as its teacher does.
    task_of(other, paths, teacher=str(teacher)).train_data()
    with pytest.raises(DataError, match="not a finished set of a teacher's paths"):
        task_of(teacher, tmp_path).train_data()


def test_the_command_reads_boards_of_a_file(teacher, tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (12, 16), (200, 30, 30)).save(tmp_path / "red.png")
    board = {"prompt": "disc number 7", "duration": 1.0}  # in shapes that are compiled already
    times = [[0.0, 0.25], [0.5, 0.625], [0.875, 1.0]]
    board["subjects"] = [{"word": "disc", "image": "red.png", "appears": times}]
    lines = [json.dumps(board | {"id": name}) for name in ("one", "two")]
    file, out = tmp_path / "boards.jsonl", tmp_path / "out"
    file.write_text("\n".join(lines))
    words = ["data", "paths", "--model", str(teacher), "--boards", str(file), "--batch", "2"]
    words += ["--guidance-both", "1.5", "--guidance-interval", "0:0.5", "--solver", "unipc"]
    words += ["--out"]
    assert cli.main([*words, str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    card = teacher_paths.read_card(out)
    assert card["boards"]["name"] == "boards.jsonl" and card["teacher"]["guidance"] == {
        "text": 0.0, "image": 0.0, "both": 1.5, "interval": [0.0, 0.5],
    }  # fmt: skip
    assert card["splits"] == {"train": 1, "validation": 1}
    assert cli.main([*words, str(tmp_path / "other"), "--student-steps", "3"]) == 2
    assert "is not among those of the teacher" in capsys.readouterr().err
