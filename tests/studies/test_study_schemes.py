"""The study of schemes: paired differences, groups, and that finished arms are read, not redone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import pytest
from alike import NUMBER, assert_alike, assert_texts_alike
from flax.traverse_util import flatten_dict
from marks import assert_charts_alike, texts

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.paired import difference
from alchemint_jax.evaluate.scores import correlations, summarise
from alchemint_jax.results import plain
from alchemint_jax.rotary import axis_frequencies
from alchemint_jax.scene import Clock
from alchemint_jax.train.config import load_config, run_file
from alchemint_jax.train.run import build_task
from alchemint_jax.worlds.sprites.cases import sprites_cases
from studies import comparison, schemes
from studies.rows import MEASURES, read_rows, write_rows

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs" / "sprites_schemes.py"


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Keep the tests' own compilations out of the user's cache."""
    monkeypatch.setattr(schemes, "prepare_jax", lambda: None)


def _rows(gain=0.0, boards=40, seeds=(0, 1), noise=0):
    """Two subjects a board; the arms differ by `gain`, boards by far more than that."""
    rows = []
    for seed in seeds:
        rng, own = np.random.default_rng(seed), np.random.default_rng([seed, noise])
        for board in range(boards):
            for subject in range(2):
                start = int(rng.integers(0, 20))
                end = start + int(rng.integers(4, 12))
                value = rng.uniform(0.2, 0.7) + gain + own.normal(0, 0.01)
                rows.append(
                    dict.fromkeys(MEASURES, value)
                    | {
                        "case": f"board-{board}",
                        "seed": seed,
                        "subject": subject,
                        "subjects": 2,
                        "similar": board % 3 == 0,
                        "n_frames": 33,
                        "asked": [[start, end]] if board % 5 else [[0, 4], [8, 12]],
                        "shown": [[start, end]],
                        "t_l2": 1 - value,
                        "absence": None if board == 0 else value,  # as a report has it
                        "detected": 1.0,
                        "identity": float(subject),
                    }
                )
    return rows


def test_differences_are_paired():
    """The gain is a tenth of the spread between boards, and found all the same."""
    found = difference(_rows(0.02, noise=1), _rows(noise=2), "t_iou")
    assert found["low"] > 0 and found["mean"] == pytest.approx(0.02, abs=0.005)
    back = difference(_rows(noise=2), _rows(0.02, noise=1), "t_iou")
    assert back["mean"] == pytest.approx(-found["mean"])
    none = difference(_rows(noise=1), _rows(noise=2), "t_iou")
    assert none["low"] < 0 < none["high"]
    # Taken as two separate samples, their intervals overlap widely.
    one, other = (summarise(r, MEASURES)["t_iou"] for r in (_rows(0.02, noise=1), _rows(noise=2)))
    assert one["low"] < other["high"]


def test_arms_on_other_boards_are_not_compared():
    with pytest.raises(ConfigError, match="different boards"):
        difference(_rows(boards=8), _rows(boards=9), "t_iou")
    later = [row | {"asked": [[s + 1, e + 1] for s, e in row["asked"]]} for row in _rows()]
    with pytest.raises(ConfigError, match="different boards"):
        difference(later, _rows(), "t_iou")


def test_groups_divide_the_subjects():
    rows = _rows()
    parts = dict(comparison.groups(rows))
    single = [row for row in rows if len(row["asked"]) == 1]
    for names in (("short", "medium", "long"), ("early", "middle", "late")):
        sizes = [len(parts[f"{name} intervals"]) for name in names]
        assert sum(sizes) == len(single) and sum(size > 0 for size in sizes) > 1
    assert len(parts["several intervals"]) == len(rows) - len(single) > 0
    assert len(parts["all"]) == len(parts["2 subjects"]) == len(rows)
    assert 0 < len(parts["similar subjects"]) < len(rows)


def test_shown_moments_that_are_those_asked_for_correlate_fully():
    found = correlations(_rows())
    assert found == pytest.approx({"midpoint": 1, "length": 1, "subjects": 128})


SETTINGS = schemes.settings_of(CONFIG, "WeRope", [], 40)


@pytest.fixture
def finished(tmp_path):
    """A study whose arms are all done."""
    for arm, gain in (("WeRope", 0.0), ("FittedRope", 0.1)):
        for seed in (0, 1):
            path = tmp_path / f"{arm}-{seed}" / "report" / "report.json"
            path.parent.mkdir(parents=True)
            rows = _rows(gain, seeds=(seed,), noise=int(gain > 0))
            path.write_text(json.dumps({"rows": rows}))
            (path.parents[1] / "study.json").write_text(json.dumps(SETTINGS))
    return tmp_path


def _main(workdir, out, *more):
    arms = ["--arms", "WeRope", "FittedRope", "--seeds", "0", "1"]
    paths = ["--config", str(CONFIG), "--workdir", str(workdir), "--out", str(out)]
    return schemes.main([*paths, *arms, *more])


def test_a_finished_study_is_only_compared(finished, capsys):
    out = finished / "schemes.json"
    figure = finished / "schemes.svg"
    assert _main(finished, out, "--limit", "40", "--figure", str(figure)) == 0
    panels = texts(figure.read_bytes())
    assert {"t-IOU", "identity", "medium intervals", "2 subjects"} <= set(panels)
    assert "3 subjects" not in panels  # there are none
    found = json.loads(out.read_text())
    gains = found["differences"]["FittedRope"]
    assert gains.keys() == found["arms"]["FittedRope"].keys() >= {"all", "2 subjects"}
    gain = gains["all"]["t_iou"]
    assert gain["low"] > 0 and gain["mean"] == pytest.approx(0.1, abs=0.01)
    one, other = (found["arms"][arm]["2 subjects"]["t_iou"]["mean"] for arm in found["arms"])
    assert gains["2 subjects"]["t_iou"]["mean"] == pytest.approx(other - one, abs=2e-6)
    assert set(found["per_seed"]["WeRope"]) == {"0", "1"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| WeRope |") and "+0.10" in lines[3]


def test_rows_outlive_the_runs_they_came_from(finished, capsys):
    rows, out = finished / "rows.jsonl", finished / "schemes.json"
    assert _main(finished, out, "--limit", "40", "--rows", str(rows)) == 0
    whole, kept = out.read_text(), rows.read_text()
    assert [json.loads(line)["arm"] for line in kept.splitlines()] == ["WeRope", "FittedRope"] * 2
    elsewhere = finished / "elsewhere"  # where nothing was ever trained
    assert _main(elsewhere, out, "--limit", "40", "--rows", str(rows)) == 0
    assert (out.read_text(), rows.read_text()) == (whole, kept) and not elsewhere.exists()
    for text, message in (
        (kept.replace('"boards":40', '"boards":8', 1), "rows.jsonl:1: was made with {'config'"),
        (kept.replace('"set":[]', '"set":["a=1"]', 1), "rows.jsonl:1: was made with {'config'"),
        (
            kept.replace('"arm":"WeRope"', '"arm":[]', 1),
            "rows.jsonl:1: is not a line of this",
        ),
        (kept.splitlines()[0].split('"rows"')[0] + '"rows":[]}\n', "rows.jsonl:1: is not a line"),
        (f"{kept}[]\n", "rows.jsonl:5: is not a line of this"),
        (f"{kept}\xff\n", "rows.jsonl:5: is not a line of this"),
        (
            kept.replace('"shown"', '"seen"'),
            "rows.jsonl:1: is not a line of this command ('shown')",
        ),
        (kept.replace('"identity":0.0', '"identity":"x"', 1), "identity is 'x', not a number"),
        ("[" * 100_000, "rows.jsonl:1: is not a line of this command"),
    ):
        rows.write_text(text, "latin-1")
        with pytest.raises(SystemExit) as error:
            _main(elsewhere, out, "--limit", "40", "--rows", str(rows))
        assert error.value.code == 2 and message in capsys.readouterr().err


def test_lines_that_others_added_stay(tmp_path):
    rows, one = tmp_path / "rows.jsonl", _rows(seeds=(0,))
    write_rows(rows, {("WeRope", 0): one}, SETTINGS)
    write_rows(rows, {("MidRope", 0): one}, SETTINGS)
    assert list(read_rows(rows, SETTINGS)) == [("WeRope", 0), ("MidRope", 0)]
    kept, other = rows.read_text(), _rows(boards=39, seeds=(0,))
    with pytest.raises(ConfigError, match="SincRope, seed 0: has other boards"):
        write_rows(rows, {("SincRope", 0): other}, SETTINGS)
    assert rows.read_text() == kept


@pytest.fixture
def trained(monkeypatch):
    """What was trained, with which overrides, without training; `stop` is the run that a signal
    ends."""
    found = SimpleNamespace(runs=[], checked=[], stop=None)

    def run_config(config, workdir, overrides):
        found.runs.append((config.rpartition(":")[2], overrides))
        stopped = len(found.runs) == found.stop
        return SimpleNamespace(interrupted=False, signal=15 if stopped else None)

    def run_benchmark(model, benchmark, out, limit, batch):
        out.mkdir(parents=True)
        rows = _rows(boards=limit, seeds=(int(str(out.parent)[-1]),))
        (out / "report.json").write_text(json.dumps({"rows": rows}))

    monkeypatch.setattr(schemes, "run_config", run_config)
    monkeypatch.setattr(schemes.benchmark, "run_benchmark", run_benchmark)
    monkeypatch.setattr(
        schemes, "check_arm", lambda config, overrides: found.checked.append(config)
    )
    return found


def test_a_study_that_was_stopped_goes_on(trained, tmp_path):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "schemes.json"
    more = ["--limit", "8", "--rows", str(rows), "--set", "train.total_steps=3"]
    trained.stop = 2
    assert _main(tmp_path / "runs", out, *more) == 130
    seeds = ["train.seed=0", "loader.seed=0"]
    assert trained.runs == [
        (arm, ["train.total_steps=3", *seeds]) for arm in ("WeRope", "FittedRope")
    ]
    assert len(rows.read_text().splitlines()) == 1 and not out.exists()
    assert len(trained.checked) == 2
    assert _main(tmp_path / "runs", out, *more) == 0
    assert [arm for arm, _ in trained.runs[2:]] == ["FittedRope", "WeRope", "FittedRope"]
    assert [run[1][-1] for run in trained.runs[2:]] == ["loader.seed=0"] + ["loader.seed=1"] * 2
    assert len(rows.read_text().splitlines()) == 4 and out.exists()
    assert _main(tmp_path / "runs", out, *more) == 0
    assert len(trained.runs) == 5 and len(trained.checked) == 4


def test_an_arm_that_cannot_start_is_found_before_others_train(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(schemes, "run_config", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(schemes, "check_arm", _refuse_the_last(schemes.check_arm))
    with pytest.raises(SystemExit) as error:
        _main(tmp_path / "runs", tmp_path / "out.json", "--arms", "WeRope", "FittedRop")
    assert error.value.code == 2 and "no arm 'FittedRop'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def _refuse_the_last(check):
    """The data of arms that there are is not on this machine."""
    return lambda config, overrides: config.endswith(":WeRope") or check(config, overrides)


def test_what_cannot_be_compared_is_refused_by_name(finished, capsys):
    for more, message in (
        (["--limit", "12"], "study.json: was made with "),
        (["--limit", "40", "--set", "train.total_steps=2"], "study.json: was made with "),
        (["--limit", "40", "--baseline", "MidRope"], "--baseline MidRope"),
        (["--limit", "0"], "whole number of at least 1"),
        (["--seeds", "-1"], "whole number from 0 to"),
    ):
        with pytest.raises(SystemExit) as error:
            _main(finished, finished / "schemes.json", *more)
        assert error.value.code == 2 and message in capsys.readouterr().err
    assert not (finished / "schemes.json").exists()


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("study.json", "{", "study.json: cannot be read"),
        ("study.json", None, "study.json: cannot be read"),
        ("report/report.json", "[" * 100_000, "report.json: cannot be read"),
        ("report/report.json", "{}", "report.json: is not a report of this command"),
        ("report/report.json", '{"rows": []}', "there are no rows"),
    ],
)
def test_a_run_that_was_damaged_is_refused_by_name(finished, capsys, name, text, message):
    path = finished / "FittedRope-1" / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as error:
        _main(finished, finished / "schemes.json", "--limit", "40")
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_a_config_that_cannot_be_run_is_refused_by_name(tmp_path, capsys):
    broken = tmp_path / "broken.py"
    broken.write_text("ARMS = {")
    bare = tmp_path / "bare.py"
    bare.write_text(
        "from ml_collections import ConfigDict\n"
        "ARMS = {'WeRope': {}}\n"
        "def get_config(arm): return ConfigDict({'vae': 'sprites'})\n"
    )
    for config, message in (
        (broken, "broken.py: cannot be loaded: SyntaxError"),
        (bare, "bare.py:WeRope: needs sampling.steps and vae"),
        (tmp_path / "none.py", "none.py: no such config file"),
    ):
        paths = ["--workdir", str(tmp_path / "runs"), "--out", str(tmp_path / "out.json")]
        with pytest.raises(SystemExit) as error:
            schemes.main(["--config", str(config), *paths])
        assert error.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, of, boards",
    [
        ("schemes", "schemes", 64),
        ("schemes_seeds", "schemes", 64),
        ("schemes_parts", "schemes_parts", 256),
    ],
)
def test_the_committed_tables_are_those_of_the_committed_rows(name, of, boards):
    results = CONFIG.parents[1] / "docs" / "results"
    found = json.loads((results / f"{name}.json").read_text())
    baseline = found["baseline"]
    settings = schemes.settings_of(CONFIG, baseline, [], boards)
    rows = read_rows(results / f"{of}.jsonl", settings)
    times = [subject.spans for case in sprites_cases(boards) for subject in case.subjects]
    today = [list(map(list, spans)) for spans in times]
    assert [row["asked"] for row in rows[baseline, 0]] == today
    seeds = sorted(int(seed) for seed in found["per_seed"][baseline])
    arms = {arm: [row for s in seeds for row in rows[arm, s]] for arm in found["arms"]}
    again = comparison.compare(arms, baseline)
    assert_alike(plain(again), found)
    assert_charts_alike(comparison.figure(again), (results / f"{name}.svg").read_bytes())
    page = results.parent / "measurements" / "schemes.md"
    tables = re.findall(r"(?:^\|.*\n)+", page.read_text(), re.M)
    wanted = NUMBER.sub("#", comparison.table(again))
    (shown,) = (table for table in tables if NUMBER.sub("#", table) == wanted)
    assert_texts_alike(comparison.table(again), shown, decimals=2)


def test_arms_differ_in_one_thing():
    tasks = {
        arm: build_task(load_config(f"{CONFIG}:{arm}"))
        for arm in ("WeRope", "WeRope-keys", "FittedRope", "FittedRope-no-tags")
    }
    assert tasks["WeRope"].loader == tasks["FittedRope"].loader
    assert tasks["WeRope"].model.scheme != tasks["FittedRope"].model.scheme
    assert not tasks["WeRope-keys"].model.mix_queries
    assert not tasks["FittedRope-no-tags"].model.tags and tasks["FittedRope"].model.tags
    assert tasks["WeRope"].init_from == tasks["FittedRope"].init_from
    pictures = build_task(load_config(f"{CONFIG}:pictures_no_tags"))
    assert pictures.model == tasks["FittedRope-no-tags"].model
    assert "pictures_no_tags" in tasks["FittedRope-no-tags"].init_from
    assert pictures.init_from == tasks["FittedRope"].init_from
    with pytest.raises(ConfigError, match="no arm 'MyRope'; there are NoInterval, MidRope"):
        load_config(f"{CONFIG}:MyRope")


def test_arms_start_from_what_the_package_has():
    """Every parameter of an arm is there; that of a part an arm does without is not asked for."""
    for name in ("WeRope-shifted", "pictures_no_tags", "pictures_no_index"):
        task = build_task(load_config(f"{CONFIG}:{name}"))
        wanted = nn.unbox(jax.eval_shape(task.init, jax.random.key(0)))
        found = {path: tensor.shape for path, tensor in task.pretrained().items()}
        assert found == {path: x.shape for path, x in flatten_dict(wanted, sep=".").items()}


def test_in_pictures_no_scheme_says_anything():
    """What arms start from was trained with one of the schemes, and must not favour it."""
    models = [build_task(load_config(f"{CONFIG}:{arm}")).model for arm in run_file(CONFIG)["ARMS"]]
    model = models[0]
    freqs = axis_frequencies(model.dim // model.n_heads, model.theta_t, model.theta_hw)
    picture, clip = Clock(8, 33, 4).latent([[[0, 1]], [[9, 21]]])
    away = [
        np.abs(np.array([m.scheme.gains(span, frames, freqs) for m in models]) - 1).max()
        for span, frames in ((picture, 1), (clip, 9))
    ]
    assert away[0] < 0.05 and away[1] > 1
