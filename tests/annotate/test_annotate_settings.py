"""Settings from files and from the command line, and mistakes in them."""

from __future__ import annotations

import pytest

from alchemint_jax.annotate import load_settings
from alchemint_jax.annotate.tools import Tools
from alchemint_jax.errors import ConfigError


def test_a_file_and_the_command_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("detect: {every: 1, batch: 2}\nselect: {mixture: {crop: 1, segment: 2}}\n")
    found = load_settings(path, ["detect.batch=3", "pack.dataset=false", "chat.model=gpt"])
    assert found.detect.every == 1.0 and found.detect.batch == 3
    assert found.select.mixture == (("crop", 1.0), ("segment", 2.0))
    assert found.pack.dataset is False and found.chat.model == "gpt"
    assert found.track == load_settings().track
    assert load_settings(None, ["select.mixture={'crop': 2}"]).select.mixture == (("crop", 2.0),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("detect: {evry: 1}", "no field 'detect.evry'; did you mean 'every'"),
        ("detct: {}", "no field 'detct'; did you mean 'detect'"),
        ("detect: 3", "detect: expected fields"),
        ("[1]", "the file: expected fields"),
        ("detect: {batch: 1.5}", "detect.batch: must be a whole number, not 1.5"),
        ("detect: {every: -1}", "detect.every: must be at least 0"),
        ("detect: {every: soon}", "detect.every: must be a number"),
        ("captions: {events: 1}", "captions.events: must be true or false"),
        ("select: {mixture: 3}", "select.mixture: expected kinds and weights"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, why):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why) as error:
        load_settings(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("detect.evry=1", "did you mean 'every'"),
        ("detect=1", "detect: expected fields"),
        ("detect.every", "write --config.detect.every=VALUE"),
        ("detect.batch=two", "must be a whole number, not 'two'"),
    ],
)
def test_mistakes_on_the_command_line(text, why):
    with pytest.raises(ConfigError, match=why):
        load_settings(None, [text])


def test_the_embedded_networks_see_what_the_settings_say():
    chosen = Tools(load_settings(None, ["detect.network=64", "pictures.network=96"])).perceivers
    assert (chosen.detector.side, chosen.segmenter.side) == (64, 96)
    with pytest.raises(ConfigError, match="side: 100"):
        assert Tools(load_settings(None, ["pictures.network=100"])).perceivers
