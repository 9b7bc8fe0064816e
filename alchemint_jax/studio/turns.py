"""Whose turn it is: everybody who waits is served in turn, whoever asks for how much."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Hashable


class Turns:
    """A queue of queues. Who has just been served goes to the end; one's own wait in order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[str]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, whose: Hashable, item: str) -> None:
        """Puts an item behind the others of whom it is."""
        self._waiting.setdefault(whose, deque()).append(item)

    def next(self) -> str | None:
        """Takes the item whose turn it is; None if nothing waits."""
        if not self._waiting:
            return None
        whose, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[whose] = items
        return item

    def remove(self, item: str) -> bool:
        """Takes an item out; whether it was there."""
        for whose, items in self._waiting.items():
            if item in items:
                items.remove(item)
                if not items:
                    del self._waiting[whose]
                return True
        return False

    def order(self) -> list[str]:
        """All items, as they would be taken."""
        rounds = itertools.zip_longest(*self._waiting.values())
        return [item for row in rounds for item in row if item is not None]
