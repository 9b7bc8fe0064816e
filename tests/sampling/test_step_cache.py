"""Tables of a step cache: the rule by hand, files that come back, and what is refused and why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.guidance import BRANCHES
from alchemint_jax.sampling.parts import Origin, Parts
from alchemint_jax.sampling.passes import Kind, scheduled
from alchemint_jax.sampling.ratios import measure_table
from alchemint_jax.sampling.sample import Models
from alchemint_jax.sampling.settings import Plan, Settings
from alchemint_jax.sampling.solvers import UniPC
from alchemint_jax.sampling.step_cache import Rule, StepCache, Tables, grid_of
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.tokenizers import ByteTokenizer

PLAN = Plan(6, 3.0, Guidance(both=3))
FOUR = ("null", "image", "text", "both")


def _cache(computed, branches=("null", "both"), plan=PLAN, **changes):
    """A table with this row of digits for each branch."""
    rows = tuple(tuple(digit == "1" for digit in row) for row in computed)
    ratios = tuple((1.0, *[0.98] * (len(row) - 1)) for row in computed)
    fields = dict(model="m", grid=grid_of(plan), branches=branches, size=(16, 32), frames=9)
    fields |= dict(computed=rows, ratios=ratios, rule=Rule()) | changes
    return StepCache(**fields)


def _digits(computed):
    return ["".join(str(int(x)) for x in row) for row in computed.T]


def test_the_rule_by_hand():
    """R = .9, .81, .729, so e = .1, .29, .561: two steps fit below .3, and `most` may say less."""
    ratios = np.full((10, 2), 0.9)
    assert _digits(Rule(0.3, 4, 0.1).table(ratios, ("null", "both"))) == ["1001001001"] * 2
    assert _digits(Rule(0.3, 1, 0.1).table(ratios, ("null", "both"))) == ["1010101010"] * 2
    assert _digits(Rule(0.3, 4, 0.5).table(ratios, ("null", "both"))) == ["1111100100"] * 2
    assert _digits(Rule(0, 4, 0).table(ratios, ("null", "both"))) == ["1111111111"] * 2


def test_the_branch_that_changes_most_decides_for_all():
    ratios = np.stack([np.full(10, 0.999), np.full(10, 0.9)], axis=1)
    assert _digits(Rule(0.3, 4, 0.1).table(ratios, ("null", "both"))) == ["1001001001"] * 2
    assert _digits(Rule(0.3, 4, 0.1).table(ratios[:, :1], ("both",))) == ["1000010000"]


def test_side_branches_are_computed_at_every_nth_of_the_computed_steps():
    ratios = np.full((10, 4), 0.9)
    found = dict(zip(FOUR, _digits(Rule(0, 4, 0.2, sides=3).table(ratios, FOUR)), strict=True))
    assert found["null"] == found["both"] == "1111111111"
    assert found["image"] == found["text"] == "1100100100"
    # Where there is nothing beside them they are no side of anything.
    assert _digits(Rule(0, 4, 0.2, sides=3).table(ratios[:, :2], ("image", "both")))[0] == "1" * 10


@pytest.mark.parametrize("guidance", [Guidance(both=3), Guidance(1, 1, 1), Guidance(both=1)])
def test_without_a_table_and_an_interval_there_is_nothing_to_schedule(guidance):
    assert scheduled(guidance, 40) is None
    names = [name for name, branch in BRANCHES.items() if branch in guidance.branches()]
    assert scheduled(guidance, 6, _cache(["111111"] * len(names), tuple(names))) is None
    assert scheduled(guidance, 6, _cache(["111110"] * len(names), tuple(names))) is not None


def test_a_schedule_by_hand():
    passes = scheduled(PLAN.guidance, 6, _cache(["110010", "101010"]))
    assert passes.kinds == (Kind((0, 1)), Kind((0,), (1,)), Kind((1,), (0,)), Kind((), (0, 1)))
    assert passes.kind.tolist() == [0, 1, 2, 3, 0, 3]
    np.testing.assert_array_equal(passes.weights, [[-2, 3]] * 6)
    assert passes.part(2, 4).kind.tolist() == [2, 3]


def test_guidance_in_an_interval_leaves_branches_out_and_computes_them_first_of_all():
    guidance = Guidance(text=0, image=-5, both=6, interval=(0.25, 0.8))
    assert guidance.guided(6).tolist() == [False, True, True, True, True, False]
    passes = scheduled(guidance, 6)
    assert passes.kinds == (Kind((1,)), Kind((0, 1)))
    assert passes.kind.tolist() == [0, 1, 1, 1, 1, 0]
    np.testing.assert_array_equal(passes.weights[:2], [[0, 1], [-5, 6]])
    # The table has the picture's branch reused where it was left out before: it is computed.
    cached = scheduled(guidance, 6, _cache(["100100", "111101"], ("image", "both")))
    assert [cached.kinds[i] for i in cached.kind] == [
        *(Kind((1,)), Kind((0, 1)), Kind((1,), (0,)), Kind((0, 1)), Kind((), (0, 1)), Kind((1,)))
    ]


@pytest.mark.parametrize("interval", [(0.5, 0.5), (-0.1, 1), (0, 1.5), (0.8, 0.2)])
def test_intervals_that_are_none_are_refused(interval):
    with pytest.raises(ConfigError, match="guidance: interval is .*0 <= start < end <= 1"):
        Guidance(interval=interval)


@pytest.mark.parametrize(
    "rule",
    [{"threshold": -1}, {"threshold": float("nan")}, {"most": 0}, {"dense": 2}, {"sides": 0}],
)
def test_rules_that_are_none_are_refused(rule):
    with pytest.raises(ConfigError, match=f"rule: {next(iter(rule))} is "):
        Rule(**rule)


def test_a_file_comes_back_and_keeps_the_tables_of_other_grids(tmp_path):
    path, other = tmp_path / "c.json", dataclasses.replace(PLAN, steps=4, solver="unipc")
    tables = (
        Tables((), str(path))
        .joined(_cache(["110100"] * 2))
        .joined(_cache(["1101"] * 2, plan=other))
    )
    tables.save(path)
    assert Tables.load(path) == tables and len(tables.tables) == 2
    renewed = Tables.load(path).joined(_cache(["111100"] * 2))
    assert [len(table.computed[0]) for table in renewed.tables] == [4, 6]
    assert renewed.tables[1].passes == 4
    # Tables of weights that are no more there go.
    assert len(tables.joined(_cache(["111111"] * 2, model="n")).tables) == 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "other"}, "of the weights m, not of the weights other"),
        (
            {"plan": dataclasses.replace(PLAN, steps=7)},
            "grid of steps 6, .*not of the grid of steps 7",
        ),
        ({"plan": dataclasses.replace(PLAN, shift=5.0)}, "shift 3.0, .*not .* shift 5.0"),
        (
            {"plan": dataclasses.replace(PLAN, solver="unipc")},
            "solver euler, .*not .* solver unipc",
        ),
        (
            {"plan": dataclasses.replace(PLAN, guidance=Guidance(1, 1, 1))},
            "of the passes both, null, not of the passes both, image, null, text",
        ),
        ({"plan": dataclasses.replace(PLAN, guidance=Guidance(both=1))}, "not of the passes both;"),
        ({"size": (32, 32)}, "videos of 16x32 pixels and 9 frames, not of videos of 32x32 pixels"),
        ({"frames": 5}, "not of videos of 16x32 pixels and 5 frames"),
    ],
)
def test_a_table_of_something_else_is_refused_with_a_sentence(asked, says):
    given = {"model": "m", "plan": PLAN, "size": (16, 32), "frames": 9}
    cache = _cache(["110100"] * 2)
    tables = Tables((cache,), "c.json")
    assert tables.table(**given) is cache
    longer = dataclasses.replace(PLAN, guidance=Guidance(both=7, interval=(0, 0.5)))
    assert tables.table(**given | {"plan": longer}) is cache  # weights and interval are free
    with pytest.raises(ConfigError, match=rf"c\.json: the step cache is .*{says}.*step-cache"):
        tables.table(**given | asked)


def test_options_of_unipc_are_a_part_of_the_grid():
    plan = dataclasses.replace(PLAN, solver="unipc")
    tables = Tables((_cache(["110100"] * 2, plan=plan),), "c.json")
    with pytest.raises(ConfigError, match="solver_order': 3"):
        tables.table("m", dataclasses.replace(plan, unipc=UniPC(3)), (16, 32), 9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: [], "no step cache"),
        (lambda v: v | {"step_cache": 2}, "version is 2"),
        (lambda v: v | {"tables": [{}]}, "grid"),
        (lambda v: _changed(v, "both", computed="11"), "6 digits"),
        (lambda v: _changed(v, "both", computed="11x100"), "6 digits, 0 or 1"),
        (lambda v: _changed(v, "both", ratios=[1.0]), "6 ratios of both"),
        (lambda v: _changed(v, "neither", computed="110100"), "no branch 'neither'"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, says):
    path = tmp_path / "c.json"
    Tables((_cache(["110100"] * 2),), "").save(path)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ConfigError, match=rf"c\.json: is no step cache.*{says}|c\.json: .*{says}"):
        Tables.load(path)


def _changed(values, branch, **fields):
    table = values["tables"][0]
    row = table["branches"].get(branch, table["branches"]["both"]) | fields
    return values | {"tables": [table | {"branches": {branch: row}}]}


def test_a_pair_of_experts_is_refused_before_anything_is_measured():
    models = Models(DiT(DiTConfig()), {}, VAE(VAEConfig()), {}, low={})
    texts = Texts(ByteTokenizer(1), UMT5Encoder(UMT5Config(vocab=259)), dict)
    pair = Parts(models, texts, Settings(boundary=0.9), origin=Origin(Path("m"), "m"))
    with pytest.raises(ConfigError, match="one transformer, and this one has two experts"):
        measure_table(pair, [], PLAN, Rule())


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.json: there is no step cache; measure it with"):
        Tables.load(tmp_path / "no.json")
