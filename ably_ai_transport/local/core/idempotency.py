"""Idempotent publishes: a publish that a client repeats with the ids of its messages."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol.refusals import bad_id
from ably_ai_transport.local.protocol.serials import time_of
from ably_ai_transport.local.protocol.values import weight_of_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.protocol.messages import StoredMessage, Submission

WINDOW_MS: Final = 120_000
"""How long a publish is known; its ids are new afterwards (Ably docs: advanced pub/sub, idempotency)."""


HELD_BY_ID: Final = 400
"""Bytes of memory of a known id without its text, measured with CPython 3.11."""


class KnownPublishes:
    """The latest publishes of a channel, by the ids that clients gave to their messages.

    A client repeats a publish when it has lost the ack with its connection, so neither the connection nor
    the protocol matters: the channel knows the publish.

    Attributes:
        held: Bytes of memory that they take.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # The serials of a whole publish by each of its ids, oldest first.
        self._serials: OrderedDict[str, list[str | None]] | None = None
        self.held = 0

    def find(self, ids: Sequence[str]) -> list[str | None] | None:
        """Return the serials of the publish with these ids; None when it is new.

        Raises:
            RefusedError: 40031, some of the ids belong to another publish.
        """
        self.forget()
        known = self._serials
        if known is None:
            return None
        found = [known.get(id_) for id_ in ids]
        serials = next((publish for publish in found if publish is not None), None)
        if serials is None:
            return None
        if len(serials) != len(ids) or any(publish is not serials for publish in found):
            raise bad_id("some are those of another publish; repeat that one as it was, or use a new base id")
        return serials

    def add(self, messages: Sequence[StoredMessage]) -> None:
        """Remember the messages of a publish."""
        serials: list[str | None] = [message.serial for message in messages]
        if self._serials is None:
            self._serials = OrderedDict()
        for message in messages:
            if message.id not in self._serials:
                self.held += _held_by(message.id)
            self._serials[message.id] = serials

    def recall(self, messages: Sequence[StoredMessage]) -> None:
        """Load the publishes of an earlier process.

        Args:
            messages: All messages of the channel, oldest first.
        """
        publishes: dict[str, list[StoredMessage]] = {}
        for message in reversed(messages):
            if not self._is_recent(message.serial):
                break
            publishes.setdefault(message.channel_serial, []).append(message)
        for publish in reversed(publishes.values()):
            self.add(publish[::-1])

    def forget(self) -> None:
        """Forget the publishes that are no longer known."""
        while self._serials:
            oldest = next(iter(self._serials))
            if self._is_recent(self._serials[oldest][0] or ""):
                return
            del self._serials[oldest]
            self.held -= _held_by(oldest)
        self._serials = None

    def _is_recent(self, serial: str) -> bool:
        return self._clock.now() - time_of(serial) <= WINDOW_MS


def _held_by(id_: str) -> int:
    return HELD_BY_ID + weight_of_text(id_)


def given_ids(submissions: Sequence[Submission]) -> list[str]:
    """Return the ids that a client gave to the messages of a publish; none when it left them to the server.

    Raises:
        RefusedError: 40031, an id is empty, or those of a batch are not `<base>:0`, `<base>:1` and so on
            (Ably docs: error 40031).
    """
    ids = [submission.id for submission in submissions if submission.id is not None]
    if "" in ids:
        raise bad_id("it cannot be empty")
    if ids and len(submissions) > 1:
        base = ids[0].rpartition(":")[0]
        if not base or ids != [f"{base}:{index}" for index in range(len(submissions))]:
            raise bad_id("those of a batch must be <base>:0, <base>:1 and so on, with one base")
    return ids
