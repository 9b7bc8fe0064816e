"""What it costs to tell events: the pages say what the file has."""

from __future__ import annotations

import json
from pathlib import Path

from studies import told_cost as study

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pages_say_what_was_counted():
    found = json.loads((DOCS / "results" / "told_cost.json").read_text())
    assert found.keys() == study.NETWORKS.keys()
    relay, both = (
        " ".join((DOCS / "guides" / name).read_text().split())
        for name in ("relay.md", "ts_attn.md")
    )
    for own in found.values():
        assert own["video"].keys() == study.WAYS.keys() and own["video"]["plain"] == 1
        for way in ("relay", "contrast"):
            assert f"{own['video'][way]:.4f} times" in relay
        for way in ("relay", "TS-Attn"):
            assert f"{own['video'][way]:.4f} times" in both
            assert own["step"][way] > own["step"]["plain"]
