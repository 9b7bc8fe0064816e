from __future__ import annotations

import io

import pytest

from alchemint_jax.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_few_whole_lines():
    out = io.StringIO()
    with Progress(100, "training", stream=out) as progress:
        for step in range(1, 101):
            progress.update(step, loss=1 / step)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2  # the first and the last; 30 s have not passed between them
    assert "\r" not in out.getvalue()
    assert lines[-1].startswith("training: 100/100") and "loss 0.01" in lines[-1]


def test_a_terminal_gets_one_line_redrawn():
    out = Terminal()
    with Progress(4, "sampling", stream=out) as progress:
        for step in range(1, 5):
            progress.update(step)
    assert out.getvalue().count("\n") == 1
    assert "[########################] 4/4" in out.getvalue().split("\r")[-1]


def test_steps_done_before_do_not_count_as_fast(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress(100, "training", start=90, stream=io.StringIO())
    now[0] = 10.0
    progress.update(95)
    assert "0.5 steps/s" in progress.line() and "10s left" in progress.line()


def test_quiet_and_interrupted_loops():
    out = io.StringIO()
    with Progress(3, "x", stream=out, quiet=True) as progress:
        progress.update(3)
    assert out.getvalue() == ""
    with pytest.raises(RuntimeError), Progress(3, "x", stream=out) as progress:
        progress.update(1)
        progress.update(2)
        raise RuntimeError
    assert out.getvalue().splitlines()[-1].startswith("x: 2/3")


@pytest.mark.parametrize("seconds, text", [(3.4, "3s"), (185, "3m05s"), (7620, "2h07m")])
def test_duration(seconds, text):
    assert duration(seconds) == text
