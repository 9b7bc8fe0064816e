"""What clients of a server share: answers that are kept, tries, and forms of a question."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from alchemint_jax.endpoints.answers import Answers
from alchemint_jax.endpoints.transport import Endpoint, Fuse, Refused, Server

T = TypeVar("T")


class Client:
    """Asks one server.

    Attributes:
        forms: of a question, the best one first; a form that the server refuses is not used again.

    Args:
        server: where it is, and how patient to be.
        sleep: what waits between tries.
        answers: where answers are kept, and looked for.
        fuse: what gives the server up; None asks it every time.

    Raises:
        ConfigError: see `Endpoint`.
    """

    forms: Sequence[Any] = (None,)

    def __init__(
        self,
        server: Server,
        sleep: Callable[[float], None] = time.sleep,
        answers: Answers | None = None,
        fuse: Fuse | None = None,
    ):
        self._endpoint = Endpoint(server, sleep)
        self._named = server.model
        self._forms = list(self.forms)
        self._answers = answers or Answers(None)
        self._fuse = fuse

    def answer(
        self,
        question: Sequence[Any],
        once: Callable[[int], bytes],
        read: Callable[[bytes], T],
        unusable: Callable[[ValueError], None] = lambda error: None,
    ) -> T:
        """What `read` makes of an answer: of one that is kept, or of a new one, which then is.

        Args:
            question: all that the answer depends on, beside the server: plain values.
            once: asks; it is given the number of the try.
            read: raises ValueError for an answer that cannot be used.
            unusable: is told of such an answer before the next try.

        Raises:
            EndpointError: no answer could be used, in as many tries as there are.
        """
        question = [self._endpoint.url, self._named, *question]
        if (known := self._answers.get(question)) is not None:
            with contextlib.suppress(ValueError):
                return read(known)

        def asked(attempt: int) -> tuple[bytes, T]:
            said = once(attempt)
            return said, read(said)

        def ask() -> tuple[bytes, T]:
            return self._endpoint.persist(asked, unusable)

        said, found = self._fuse(ask) if self._fuse else ask()
        self._answers.put(question, said)
        return found

    def formed(self, ask: Callable[[Any], T]) -> T:
        """What `ask` returns, given the first form of those that the server does not refuse."""
        while True:
            form = self._forms[0]
            try:
                return ask(form)
            except Refused:
                if self._forms[0] == form:  # or somebody else has just found out
                    if len(self._forms) == 1:
                        raise
                    self._forms.pop(0)
