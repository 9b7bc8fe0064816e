"""The contract of what streams: put together, the chunks of a clip are the clip.

    check_streams(step, x)

`step(chunk, state)` gives what a chunk of frames makes, and the state for the next chunk; `state`
is None where a clip starts. Whatever has this signature can be checked: functions, layers, models.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

Step = Callable[[Any, Any], tuple[Any, Any]]


def check_streams(
    step: Step, x: Any, *, chunk: int = 1, examples: int = 12, atol: float = 1e-5
) -> None:
    """Raises an AssertionError unless any clip, cut in any way, gives what it gives as one chunk.

    Clips are the beginnings of x [b f ...] of every length, and cuts may leave chunks empty, but
    the first one. So no frame of the output knows what comes after it, or how long the clip is:
    frames that pad a clip do not change what is made of it.

    Also raises one if there is nothing to compare: if frames of the output are alike, or if a state
    has arrays whose contents do not matter.

    Args:
        step: what is checked.
        x: the longest clip.
        chunk: cuts are multiples of it, after frame 0. For what compiles for long.
        examples: how many clips and cuts are tried, besides the longest clip frame by frame.
        atol: what outputs may differ by.
    """
    x = np.asarray(x)  # which is cut without a program for each length
    whole = np.asarray(step(x, None)[0])
    moving = np.abs(np.diff(whole, axis=1)).reshape(len(whole), whole.shape[1] - 1, -1)
    assert moving.max(axis=(0, 2)).min() > 10 * atol, "vacuous: frames of the output are alike"
    frames = range(1, x.shape[1] + 1, chunk)
    # What is compiled for any shape says what it would give without being compiled for all.
    made = functools.partial(jax.eval_shape, step) if hasattr(step, "lower") else step
    length = functools.cache(lambda n: made(x[:, :n], None)[0].shape[1])
    edges = st.lists(st.sampled_from(frames), max_size=4).map(sorted)

    @settings(
        max_examples=examples,
        deadline=None,  # it may compile
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
    )
    @example(n=frames[-1], cuts=list(frames))
    @example(n=frames[0], cuts=[])
    @given(n=st.sampled_from(frames), cuts=edges)
    def streams(n: int, cuts: list[int]) -> None:
        cuts = [cut for cut in cuts if cut <= n]
        y = run(step, x[:, :n], cuts)
        assert y.shape[1] == length(n), f"{n} frames cut at {cuts} give {y.shape[1]}"
        # Against the longest clip: what follows changes nothing.
        np.testing.assert_allclose(y, whole[:, : y.shape[1]], atol=atol, err_msg=f"cut at {cuts}")

    streams()
    middle = frames[len(frames) // 2]
    _, state = step(x[:, :middle], None)
    expected, leaves = whole[:, length(middle) :], jax.tree.leaves(state)
    for i in range(len(leaves)):
        lost = [np.asarray(leaf) * (i != j) for j, leaf in enumerate(leaves)]
        y, _ = step(x[:, middle:], jax.tree.unflatten(jax.tree.structure(state), lost))
        change = np.abs(y - expected).max()
        assert change > 10 * atol, f"vacuous: nothing reads array {i} of the state"


def run(step: Step, x: Any, cuts: list[int]) -> np.ndarray:
    """What `step` makes of the chunks of x between these cuts, put together."""
    state, outputs, bounds = None, [], [0, *cuts, x.shape[1]]
    for start, end in zip(bounds, bounds[1:], strict=False):
        y, state = step(x[:, start:end], state)
        outputs.append(np.asarray(y))
    return np.concatenate(outputs, axis=1)
