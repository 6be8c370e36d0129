"""One publish, and the lane in which the publishes of one session wait."""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from ably_ai_transport.channel.ably.sdk import to_error
from ably_ai_transport.channel.contract import PublishStats
from ably_ai_transport.channel.payload import APPEND, CREATE
from ably_ai_transport.wire import AITransportError, error_of, names

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ably_ai_transport.channel.ably.sdk import PublishResult
    from ably_ai_transport.channel.acks import Acks
    from ably_ai_transport.channel.payload import Frame

URGENT: Final = names.RUN_LIFECYCLE | names.STEP_LIFECYCLE | {names.CANCEL, names.AI_INPUT}
"""Names of messages that do not wait for text."""

_IMMUTABLE: Final = 93002
_REMEMBERED: Final = 256
"""Messages of one session whose first append is remembered."""


class Publication:
    """One publish and its acks.

    The SDK takes it for one of its own pending messages, and for that message's future, too: the ack reaches
    the caller without a detour through the event loop.

    Args:
        message: The frame.
        acks: The channel's acks.
        ack: The caller's future.
        read: Reads the caller's value from the serials of the ack.
        size: Bytes of the frame's messages, as the server counts them.
        lane: The lane of the session that makes it.

    Attributes:
        message: The frame.
        ack_required: True: the server acks publishes.
        channel: The channel's name.
        action: The protocol's number: 0 create, 1 update, 5 append.
        target: Serial of the message that an append or an update changes; None for a create.
        count: How many messages it has.
        is_urgent: Whether it goes before text that waits.
        is_first: Whether it is a message, or the first text of one, that readers wait for.
        order: Its place among the publishes of its client.
        lane: Its lane.
        sent_at: When it left last.
    """

    __slots__ = (
        "_answered",
        "_callers",
        "_size",
        "_text",
        "ack_required",
        "action",
        "channel",
        "count",
        "is_first",
        "is_urgent",
        "lane",
        "message",
        "order",
        "sent_at",
        "target",
    )

    def __init__(
        self,
        message: Frame,
        acks: Acks,
        ack: asyncio.Future[Any],
        read: Callable[[list[str | None]], object],
        size: int,
        lane: Lane,
    ) -> None:
        messages: list[Frame] = message["messages"]
        first = messages[0]
        self.message = message
        self.ack_required = True
        self.channel: str = message["channel"]
        self.action: int = first.get("action", CREATE)
        self.target: str | None = first.get("serial")
        self.count = len(messages)
        self.is_first = False
        self.is_urgent = self.action == CREATE and first.get("name") in URGENT
        self.lane = lane
        self.order = 0
        self.sent_at = 0.0
        self._size = size
        self._callers = [(acks, ack, read)]
        self._answered = False
        data = first.get("data")
        # Data with an encoding, such as ciphertext, cannot be joined.
        mergeable = self.action == APPEND and isinstance(data, str) and "encoding" not in first
        self._text = [cast("str", data)] if mergeable else None

    @property
    def future(self) -> Publication:
        """The future that the SDK completes."""
        return self

    def done(self) -> bool:
        """Whether the callers have their answer; a caller that gave up does not count."""
        return self._answered

    def set_result(self, result: PublishResult) -> None:
        """Ack the publish to its callers."""
        if not self._answered:
            self._answered = True
            for acks, ack, read in self._callers:
                acks.resolve(ack, read(result.serials))

    def set_exception(self, error: BaseException) -> None:
        """Refuse the publish to its callers."""
        if not self._answered:
            self._answered = True
            refusal = _refusal(error, self.channel)
            for acks, ack, _ in self._callers:
                acks.refuse(ack, refusal)

    def merge(self, later: Publication, limit: int) -> bool:
        """Take in a later append to the same message, as the server would by rolling both up.

        Args:
            later: The append.
            limit: Bytes that a publish may have.

        Returns:
            Whether it was possible: both are plain text with the same extras, and small enough together.
        """
        mine, theirs = self._text, later._text
        extras = self.message["messages"][0].get("extras")
        others = later.message["messages"][0].get("extras")
        if mine is None or theirs is None or (extras is not others and extras != others):
            return False
        more = "".join(theirs)
        size = self._size + (len(more) if more.isascii() else len(more.encode()))
        if size > limit:
            return False
        self._size = size
        mine.append(more)
        self._callers.extend(later._callers)
        return True

    def seal(self) -> None:
        """Put the merged text into the frame, which leaves now."""
        if self._text is not None and len(self._text) > 1:
            self._text[:] = ["".join(self._text)]
            self.message["messages"][0]["data"] = self._text[0]


class Lane:
    """The waiting publishes of one session.

    Lifecycle messages and inputs leave first. Everything else leaves in the order of the calls; text that
    waits is merged with later text of the same message.

    Args:
        merges: Whether text that waits is merged.
    """

    __slots__ = ("_begun", "_mergeable", "data", "merges", "stats", "urgent")

    def __init__(self, *, merges: bool) -> None:
        self.merges = merges
        self.stats = PublishStats()
        self.urgent: deque[Publication] = deque()
        self.data: deque[Publication] = deque()
        self._mergeable: dict[str | None, Publication] = {}
        self._begun: dict[str | None, None] = {}

    def __bool__(self) -> bool:
        return bool(self.urgent or self.data)

    def put(self, publication: Publication, limit: int) -> None:
        """Add a publish.

        Args:
            publication: The publish.
            limit: Bytes that a merged one may have.
        """
        if publication.is_urgent:
            self.urgent.append(publication)
            return
        if publication.action == APPEND and self.merges:
            earlier = self._mergeable.get(publication.target)
            if earlier is not None and earlier.merge(publication, limit):
                self.stats.merged += 1
                return
            self._mergeable[publication.target] = publication
        elif self._mergeable:
            # Text that was written after it must not arrive before it.
            self._mergeable.clear()
        publication.is_first = publication.action != APPEND or self._begins(publication.target)
        self.data.append(publication)

    def _begins(self, target: str | None) -> bool:
        """Tell whether an append is the first one to its message."""
        if target in self._begun:
            return False
        self._begun[target] = None
        if len(self._begun) > _REMEMBERED:
            del self._begun[next(iter(self._begun))]
        return True

    def take(self, queue: deque[Publication]) -> Publication:
        """Remove the first publish of one of the two queues and return it."""
        publication = queue.popleft()
        if self._mergeable.get(publication.target) is publication:
            del self._mergeable[publication.target]
        return publication

    def put_back(self, publication: Publication) -> None:
        """Add a publish that has left before, at its old place."""
        insort(self.urgent if publication.is_urgent else self.data, publication, key=_order)

    def remove_appends(self, target: str) -> list[Publication]:
        """Remove the waiting text of one message and return it."""
        waiting, self.data, removed = self.data, deque[Publication](), list[Publication]()
        for one in waiting:
            (removed if one.action == APPEND and one.target == target else self.data).append(one)
        self._mergeable.pop(target, None)
        return removed

    def clear(self) -> None:
        """Remove everything."""
        self.urgent.clear()
        self.data.clear()
        self._mergeable.clear()


def _refusal(error: BaseException, channel: str) -> AITransportError:
    """Turn a NACK into an error; one that a channel rule would have avoided names the rule."""
    refusal = to_error(error)
    if refusal.code != _IMMUTABLE:
        return refusal
    namespace, colon, _ = channel.partition(":")
    where = f"namespace '{namespace}'" if colon else "channels without a namespace"
    return error_of(
        f"unable to publish; channel '{channel}' takes no appends, updates or deletes "
        f'(switch on the rule "Message annotations, updates, deletes and appends", mutableMessages, '
        f"for {where} in the Ably dashboard)",
        refusal.code,
        refusal.status_code,
        error,
    )


def _order(publication: Publication) -> int:
    return publication.order
