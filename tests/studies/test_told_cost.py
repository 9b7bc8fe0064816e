"""What it costs to tell events: the pages say what the file has."""

from __future__ import annotations

from pages import guide, measured

from studies import told_cost as study


def test_the_pages_say_what_was_counted():
    found = measured("told_cost")
    assert found.keys() == study.NETWORKS.keys()
    relay, both = guide("relay"), guide("ts_attn")
    for own in found.values():
        assert own["video"].keys() == study.WAYS.keys() and own["video"]["plain"] == 1
        for way in ("relay", "contrast"):
            assert f"{own['video'][way]:.4f} times" in relay
        for way in ("relay", "TS-Attn"):
            assert f"{own['video'][way]:.4f} times" in both
            assert own["step"][way] > own["step"]["plain"]
