"""What a command takes is its own, however large the process is that measures it."""

from __future__ import annotations

import pytest

from alchemint_jax.errors import AlchemintError
from studies import processes


def test_memory_is_that_of_the_command():
    held = bytearray(2**29)
    held[:: 2**12] = bytes([1]) * len(held[:: 2**12])
    small = processes.run("-c", "pass")
    large = processes.run("-c", f"x = bytes([1]) * {2**28}")
    assert 1 < small.largest_process_mib < 100
    assert 256 < large.largest_process_mib < 356
    assert large.seconds > 0 and large.processor_seconds > 0 and len(held) == 2**29


def test_a_command_that_fails_says_so():
    with pytest.raises(AlchemintError, match="python -c .* ended with status 3"):
        processes.run("-c", "import sys; sys.exit(3)")
