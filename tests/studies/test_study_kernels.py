"""The comparison of kernels: what the command writes, and the committed results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from marks import assert_charts_alike, marks

from alchemint_jax.rotary import FittedRope, axis_frequencies
from alchemint_jax.rotary.profiles import FIGURES, asked_intervals, contrast, profiles
from alchemint_jax.scene import Clock
from studies.kernels import SCHEMES, compare, example_intervals, figure, main, table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/results"


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


@pytest.mark.parametrize("n_frames", [2, 9])
def test_figure_is_svg_with_every_scheme_and_interval(n_frames):
    pixels = example_intervals(n_frames)
    assert (pixels[:, 0] >= 0).all() and (pixels[:, 1] <= 4 * n_frames - 3).all()
    assert (pixels[:, 1] > pixels[:, 0]).all()
    found = marks(figure(n_frames, 24, 20))
    assert sum(map(len, found.values())) == len(SCHEMES) * len(pixels) * n_frames
    assert {name.rpartition("/")[0] for name in found} == {
        f"{name}/{i}".replace(" ", "_") for name in SCHEMES for i in range(len(pixels))
    }


def test_command_writes_what_it_prints(tmp_path, capsys):
    out, svg = tmp_path / "new" / "k.json", tmp_path / "k.svg"
    arguments = ["--frames", "4", "--head-dim", "24", "--theta", "20", "1e4"]
    main([*arguments, "--out", str(out), "--figure", str(svg)])
    written = json.loads(out.read_text())
    assert written == compare(4, 24, [20, 1e4])
    printed = capsys.readouterr().out
    assert table(written, 20) in printed and table(written, 1e4) in printed
    assert table(written, 20) != table(written, 1e4)
    assert svg.read_bytes() == figure(4, 24, 20)
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
    assert_charts_alike(figure(9, 48, 20), (RESULTS / "kernels_9x48.svg").read_bytes())


@pytest.mark.parametrize("name, theta", [("kernels_9x48", 20), ("kernels_21x128", 1e4)])
def test_documents_show_the_committed_results(name, theta):
    committed = json.loads((RESULTS / f"{name}.json").read_text())
    page = (ROOT / "docs" / "measurements" / "kernels.md").read_text()
    assert table(committed, theta) in page
    assert f"results/{name}.json" in page


def test_single_pixel_frames_are_what_fitted_gains_do_worst():
    """As docs/measurements/kernels.md says: but for the first, they get nearly the gain of what is
    never there.
    """
    freqs = axis_frequencies(48, theta_t=20)
    pixels = np.array([(s, s + 1) for s in range(33)])
    inside = np.arange(9) == np.ceil(pixels[:, :1] / 4)
    others = {name: profiles(scheme, pixels[1:], 9, freqs) for name, scheme in SCHEMES.items()}
    gaps = {name: contrast(curves, inside[1:]) for name, curves in others.items()}
    assert gaps["FittedRope"] < 0.3 * min(gap for name, gap in gaps.items() if name != "FittedRope")
    intervals = np.concatenate([Clock.for_latents(9, 4).latent(pixels), [[1, 0]]])[:, None]
    temporal = np.asarray(FittedRope().gains(intervals, 9, freqs))[:, : len(freqs.t)]
    temporal = temporal / np.linalg.norm(temporal, axis=-1, keepdims=True)
    alike = np.real(temporal[:-1] @ temporal[-1].conj())
    assert alike[0] < 0.1 and alike[1:].min() > 0.8


def test_the_bundled_choice_is_backed_by_the_results():
    # configs/sprites.py: FittedRope at theta 20. Longer claims: docs/measurements/kernels.md.
    committed = json.loads((RESULTS / "kernels_9x48.json").read_text())
    rows = {(row["theta"], row["scheme"]): row for row in committed["results"]}
    at_20 = {scheme: row for (theta, scheme), row in rows.items() if theta == 20}
    for key in ("length", "iou"):
        assert max(at_20, key=lambda scheme: at_20[scheme][key]) == "FittedRope"
    assert rows[20, "FittedRope"]["gap"] > 1.3 * rows[1e4, "FittedRope"]["gap"]
    assert max(at_20, key=lambda scheme: at_20[scheme]["gap"]) == "WeRope"  # what it costs
