"""Comparison of schemes: figures against brute force, and the committed results."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alchemint_jax.rotary import FittedRope, NoInterval, axis_frequencies
from alchemint_jax.rotary.compare import (
    FIGURES,
    SCHEMES,
    asked_intervals,
    auc,
    best_iou,
    compare,
    contrast,
    correlation,
    example_intervals,
    figure,
    main,
    measure,
    profiles,
    shown,
    table,
)
from alchemint_jax.timebase import latent_intervals

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"


@st.composite
def cases(draw):
    """Profiles with many ties, and masks with both kinds of frames in every row."""
    n, t = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    profile = draw(arrays(np.float64, (n, t), elements=st.integers(-3, 3).map(lambda i: i / 4)))
    inside = draw(arrays(np.bool_, (n, t)))
    inside[:, 0], inside[:, -1] = True, False
    order = draw(st.permutations(range(t)))
    return profile, inside[:, order]


@given(cases())
@settings(max_examples=60, deadline=None)
def test_figures_are_what_they_say(case):
    profile, inside = case
    gaps, ranks = [], []
    for p, m in zip(profile, inside, strict=True):
        gaps.append(p[m].mean() - p[~m].mean())
        ranks.append(np.mean([(a > b) + (a == b) / 2 for a in p[m] for b in p[~m]]))
    assert contrast(profile, inside) == pytest.approx(np.mean(gaps))
    assert auc(profile, inside) == pytest.approx(np.mean(ranks))
    by_threshold = [
        np.mean(((profile >= c) & inside).sum(1) / ((profile >= c) | inside).sum(1))
        for c in np.unique(profile)
    ]
    assert best_iou(profile, inside) == pytest.approx(max(by_threshold))


@given(arrays(np.float64, (2, 7), elements=st.integers(-5, 5).map(float)))
@settings(max_examples=40, deadline=None)
def test_correlation_is_pearsons_and_0_for_a_constant(pair):
    a, b = pair
    expected = np.corrcoef(a, b)[0, 1] if np.ptp(a) and np.ptp(b) else 0.0
    assert correlation(a, b) == pytest.approx(expected, abs=1e-9)


def test_intervals_are_all_there_are_and_ask_for_whole_frames():
    pixels, inside = asked_intervals(4)
    found = {tuple(row): mask for row, mask in zip(pixels.tolist(), inside, strict=True)}
    for s in range(13):
        for e in range(s + 2, 14):
            frames = [range(0, 1), range(1, 5), range(5, 9), range(9, 13)]
            mask = np.array([np.mean([s <= p < e for p in f]) >= 0.5 for f in frames])
            if mask.any() and not mask.all():
                np.testing.assert_array_equal(found.pop((s, e)), mask)
    assert not found


def test_a_perfect_profile_scores_one_and_a_blind_one_does_not():
    pixels, inside = asked_intervals(6)
    perfect = measure(inside.astype(np.float64), inside)
    assert perfect == pytest.approx(dict.fromkeys(FIGURES, 1.0))
    blind = measure(profiles(NoInterval(), pixels, 6, axis_frequencies(48)), inside)
    assert blind["gap"] < 0.05 and blind["iou"] < 0.6
    assert blind["midpoint"] == blind["length"] == 0.0
    flat = measure(np.zeros(inside.shape), inside)
    assert flat["gap"] == flat["midpoint"] == flat["length"] == 0.0 and flat["auc"] == 0.5


@pytest.mark.parametrize("name", SCHEMES)
def test_profiles_have_equal_key_norm(name):
    # A unit-norm gain reaches at most 1, and the same whatever the scheme multiplies it by.
    pixels, _ = asked_intervals(5)
    freqs = axis_frequencies(48, theta_t=20)
    plain = profiles(SCHEMES[name], pixels, 5, freqs)
    assert np.abs(plain).max() <= 1 + 1e-6

    class Louder:
        def gains(self, *args):
            return 3 * SCHEMES[name].gains(*args)

    np.testing.assert_allclose(profiles(Louder(), pixels, 5, freqs), plain, atol=2e-6)


def test_shown_is_the_upper_half_of_the_own_range():
    np.testing.assert_array_equal(
        shown(np.array([[0.0, 0.4, 0.6, 1.0], [-5.0, -4.9, -4.0, -5.0]])),
        [[False, False, True, True], [False, False, True, False]],
    )


@pytest.mark.parametrize("n_frames", [2, 3, 5, 9, 21])
def test_figure_is_svg_with_every_scheme_and_interval(n_frames):
    pixels = example_intervals(n_frames)
    assert (pixels[:, 0] >= 0).all() and (pixels[:, 1] <= 4 * n_frames - 3).all()
    assert (pixels[:, 1] > pixels[:, 0]).all()
    root = ElementTree.fromstring(figure(n_frames, 24, 20))
    circles = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(SCHEMES) * len(pixels) * n_frames + 2  # and two in the legend


def test_command_writes_what_it_prints(tmp_path, capsys):
    out, svg = tmp_path / "new" / "k.json", tmp_path / "k.svg"
    arguments = ["--frames", "4", "--head-dim", "24", "--theta", "20", "1e4"]
    main([*arguments, "--out", str(out), "--figure", str(svg)])
    written = json.loads(out.read_text())
    assert written == compare(4, 24, [20, 1e4])
    printed = capsys.readouterr().out
    assert table(written, 20) in printed and table(written, 1e4) in printed
    assert table(written, 20) != table(written, 1e4)
    assert svg.read_text() == figure(4, 24, 20)
    assert [p.name for p in sorted(tmp_path.rglob("*")) if p.is_file()] == ["k.svg", "k.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        "--frames 1 --head-dim 24",
        "--frames 4 --head-dim 7",
        "--frames 4 --head-dim 24 --theta 0",
        "--frames 4 --head-dim 24 --figure {0}/k.svg --figure-theta 0",
        "--frames 4 --head-dim 24 --figure {0}/no/such/k.svg",
    ],
)
def test_command_refuses_what_it_cannot_compare(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*arguments.format(tmp_path).split(), "--out", str(tmp_path / "k.json")])
    assert stop.value.code == 2 and "error: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_committed_results_are_those_of_this_code():
    committed = json.loads((RESULTS / "kernels_9x48.json").read_text())
    fresh = compare(9, 48, [20])
    kept = [row for row in committed["results"] if row["theta"] == 20]
    assert [row["scheme"] for row in kept] == list(SCHEMES)
    for old, new in zip(kept, fresh["results"], strict=True):
        # One frame at a threshold may fall either way on another machine.
        assert {k: new[k] for k in FIGURES} == pytest.approx({k: old[k] for k in FIGURES}, abs=5e-3)
        assert old["set"] == new["set"]
    assert {k: v for k, v in committed.items() if k != "results"} == {
        k: v for k, v in fresh.items() if k != "results"
    }


@pytest.mark.parametrize("name, theta", [("kernels_9x48", 20), ("kernels_21x128", 1e4)])
def test_readme_shows_the_committed_results(name, theta):
    committed = json.loads((RESULTS / f"{name}.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert table(committed, theta) in readme
    assert f"docs/results/{name}.json" in readme


def test_single_pixel_frames_are_what_fitted_gains_do_worst():
    """As README says: but for the first, their gains are nearly those of what is never there."""
    freqs = axis_frequencies(48, theta_t=20)
    pixels = np.array([(s, s + 1) for s in range(33)])
    inside = np.arange(9) == np.ceil(pixels[:, :1] / 4)
    others = {name: profiles(scheme, pixels[1:], 9, freqs) for name, scheme in SCHEMES.items()}
    gaps = {name: contrast(curves, inside[1:]) for name, curves in others.items()}
    assert gaps["FittedRope"] < 0.3 * min(gap for name, gap in gaps.items() if name != "FittedRope")
    intervals = np.concatenate([latent_intervals(pixels), [[1, 0]]])[:, None]
    temporal = np.asarray(FittedRope().gains(intervals, 9, freqs))[:, : len(freqs.t)]
    temporal = temporal / np.linalg.norm(temporal, axis=-1, keepdims=True)
    alike = np.real(temporal[:-1] @ temporal[-1].conj())
    assert alike[0] < 0.1 and alike[1:].min() > 0.8


def test_the_bundled_choice_is_backed_by_the_results():
    # configs/sprites.py: FittedRope at theta 20. The longer claims stand in the README.
    committed = json.loads((RESULTS / "kernels_9x48.json").read_text())
    rows = {(row["theta"], row["scheme"]): row for row in committed["results"]}
    at_20 = {scheme: row for (theta, scheme), row in rows.items() if theta == 20}
    for key in ("length", "iou"):
        assert max(at_20, key=lambda scheme: at_20[scheme][key]) == "FittedRope"
    assert rows[20, "FittedRope"]["gap"] > 1.3 * rows[1e4, "FittedRope"]["gap"]
    assert max(at_20, key=lambda scheme: at_20[scheme]["gap"]) == "WeRope"  # what it costs
