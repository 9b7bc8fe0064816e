"""Which examples a process reads of a stream that all processes of a job read together."""

from __future__ import annotations

import dataclasses

from alchemint_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Share:
    """What one process reads of an endless stream of numbered examples; by default all of it.

    Every step takes the next examples of the stream as the batch of all processes. It is cut into
    equal parts, and a process reads those that its devices hold. So which examples are in a batch,
    and in which order, does not depend on who reads them; and the number of the first example that
    nobody has read yet is all that is needed to go on, on any number of processes.

    Attributes:
        start: number of the first example that is read, by whichever process.
        parts: of every batch, those that this process reads, in ascending order.
        of: number of parts of a batch.
    """

    start: int = 0
    parts: tuple[int, ...] = (0,)
    of: int = 1

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ConfigError(f"a stream starts at example 0, not at {self.start}")
        if not self.parts or not set(self.parts) <= set(range(self.of)):
            raise ConfigError(f"parts {self.parts} are not among the {self.of} of a batch")
        if sorted(set(self.parts)) != list(self.parts):
            raise ConfigError(f"parts {self.parts} must be in ascending order")

    def batch(self, size: int) -> int:
        """Examples in the batch of all processes, of which this one reads ``size``.

        Raises:
            ConfigError: they do not divide into the parts of this process.
        """
        each, rest = divmod(size, len(self.parts))
        if rest or not each:
            raise ConfigError(
                f"a batch of {size} cannot be cut into the {len(self.parts)} parts that the "
                "devices of this process hold; change the batch size or the mesh"
            )
        return each * self.of

    def example(self, position: int, size: int) -> int:
        """The number of the example that this process reads at a position, in batches of ``size``.

        Raises:
            ConfigError: see ``batch``.
        """
        step, row = divmod(position, size)
        whole = self.batch(size)
        each = whole // self.of
        part, row = divmod(row, each)
        return self.start + step * whole + self.parts[part] * each + row


WHOLE = Share()
"""All of a stream: the share of a process that is alone."""
