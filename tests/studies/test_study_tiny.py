"""The committed figures of the bundled small decoder are of its weights, and the page says them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from alchemint_jax import weights
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.models.vae import TinyDecoder
from alchemint_jax.train.config import load_config
from alchemint_jax.train.fields import build
from alchemint_jax.weights.directories import tiny_decoder

ROOT = Path(__file__).resolve().parents[2]


def test_the_figures_are_those_of_the_bundled_decoder_and_the_page_says_them():
    found = json.loads((ROOT / "docs" / "results" / "tiny_decoder.json").read_text())
    file = tiny_decoder(weights.locate(found["model"]))
    assert file == tiny_decoder(weights.locate("sprites")) and file.stat().st_size < 1.5e6
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["weights"] == fingerprints(found["model"])
    page = " ".join((ROOT / "docs" / "guides" / "few_steps.md").read_text().split())
    for name, of in found["frames"].items():
        dB = [of["psnr"][who] for who in ("small decoder", "linear map")]
        figures = [f"{x:.1f} dB" for x in dB] + [f"{of[x]:.2f}" for x in ("edges", "motion")]
        assert f"| {name} | {' | '.join(figures)} |" in page
    assert f"{found['ratio']['ratio']:.2f} of the time" in page


def test_it_is_what_its_config_makes():
    module, _ = weights.open_component(tiny_decoder(weights.locate("sprites")), "vae")
    made = load_config(ROOT / "configs" / "sprites_tiny_decoder.py").model.to_dict()
    assert module == TinyDecoder(build(type(module.config), made, "model"))
