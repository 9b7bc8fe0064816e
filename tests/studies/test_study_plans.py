"""The plans in docs/plans: their commands, their table and their picture."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from PIL import Image

from alchemint_jax import cli
from alchemint_jax.plan.targets import parse_target
from studies import plans

PLANS = Path(__file__).parents[2] / "docs" / "plans"


def test_plans_have_commands_that_can_be_read():
    found = plans.cases()
    assert len({case.name for case in found}) == len(found) > 10
    for case in found:
        args = cli._parse(["plan", *case.arguments])
        assert Path(args.config.split(":")[0]).name in ("wan_1_3b.py", "wan_14b.py")
        assert parse_target(args.target).chips >= 1


def test_the_committed_page_is_that_of_the_committed_plans(tmp_path, monkeypatch):
    drawn = []
    blank = Image.new("RGB", (8, 8))
    monkeypatch.setattr(plans, "draw", lambda found: drawn.extend(found) or blank)
    for path in PLANS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    plans.write_table(tmp_path)
    assert (tmp_path / "README.md").read_text() == (PLANS / "README.md").read_text()
    assert len(drawn) == len(plans.cases()) and (tmp_path / "plans.png").is_file()


def test_every_plan_says_which_policy_it_was_made_with():
    arguments = {case.name: case.arguments for case in plans.cases()}
    found = {path.stem: json.loads(path.read_text()) for path in PLANS.glob("*.json")}
    assert set(found) == set(arguments)
    for name, plan in found.items():
        assert plan["command"] == shlex.join(["alchemint", "plan", *arguments[name]])
        args = cli._parse(["plan", *arguments[name]])
        if args.step == "sample":
            assert plan["remat"] == "none"  # there is no backward pass
        elif args.remat:  # what collectives send is compared, whatever layers keep
            assert name.startswith("data_axis")
            assert plan["remat"] == args.remat and "tried" not in plan
        else:  # the last that was tried, and the only one that fits
            assert f"remat {plan['remat']}," in plan["tried"][-1]["candidate"]
            assert [t["fits"] for t in plan["tried"]] == [False] * (len(plan["tried"]) - 1) + [True]
    assert {plan["remat"] for plan in found.values()} > {"full", "dots"}


def test_the_guide_quotes_the_plans():
    guide = (PLANS.parent / "guides" / "plan.md").read_text()
    for name in ("wan_1_3b_480p_2refs_v5p-8", "wan_1_3b_480p_2refs_h100-8"):
        plan = json.loads((PLANS / f"{name}.json").read_text())
        assert f"{plan['peak_gib']:.1f} of the {plan['available_gib']:.1f} GiB" in guide
        assert f"(`{plan['remat']}`, MFU at most {100 * plan['mfu_bound']:.0f} %)" in guide


def test_recipes_are_not_held_back_by_what_they_compute_again():
    """The bounds of a step without recomputation would be 100 %."""
    least = {
        "wan_1_3b_480p_2refs_v5p-8": 0.72,
        "wan_1_3b_480p_2refs_h100-8": 0.75,
        "wan_14b_720p_2refs_v5p-4x4x4": 0.70,
        "wan_14b_720p_2refs_tpu7x-4x4x4": 0.70,
        "wan_14b_720p_2refs_h100-8x8": 0.70,
    }
    for name, bound in least.items():
        plan = json.loads((PLANS / f"{name}.json").read_text())
        assert bound <= plan["mfu_bound"] < 1 and plan["fits"], name


def test_a_student_saves_most_of_a_video():
    many, few = (
        json.loads((PLANS / f"wan_1_3b_sample_480p_2refs_h100-4{name}.json").read_text())["video"]
        for name in ("", "_fast")
    )
    fifty = 100 / many["passes"] * many["flops"]
    assert few["flops"] <= fifty / 15


def test_plans_that_do_not_fit_say_what_is_missing():
    plan = json.loads((PLANS / "data_axis_8.json").read_text())
    lost = plan | {"fits": False, "spare_gib": -3.0, "collectives": {}}
    page = plans.table({"one": plan, "other": lost})
    assert "yes" in page and "no, 3.0 missing" in page
