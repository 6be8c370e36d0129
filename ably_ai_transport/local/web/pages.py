"""Pages of a channel's past: newest first, one item a message in its latest version, or a presence event."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

from ably_ai_transport.local.protocol.refusals import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ably_ai_transport.local.protocol.frames import WireMessage, WirePresence

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

_BY_SERIAL = attrgetter("serial")
_BY_TIMESTAMP = attrgetter("timestamp")


class Item(Protocol):
    """Something that happened on a channel."""

    @property
    def serial(self) -> str:
        """Its place in the order of the channel."""
        ...

    @property
    def timestamp(self) -> int:
        """When it happened (milliseconds)."""
        ...

    def wire(self) -> WireMessage | WirePresence:
        """Return it as it stands in a REST body."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What `GET …/messages` was asked for (Ably specification RSL2, RTL10)."""

    limit: int = DEFAULT_LIMIT
    forwards: bool = False
    start: int | None = None
    end: int | None = None
    until: str | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some items, and the cursor of the next page if there is one."""

    items: list[WireMessage | WirePresence]
    cursor: str | None


def parse_query(params: Mapping[str, str]) -> HistoryQuery:
    """Read the query parameters.

    Raises:
        RefusedError: 40003, a parameter has an impossible value.
    """
    direction = params.get("direction", "backwards")
    if direction not in {"backwards", "forwards"}:
        raise bad_request(f"direction must be forwards or backwards, not {direction!r}", 40003)
    limit = _number(params, "limit")
    if limit is None:
        limit = DEFAULT_LIMIT
    if not 0 < limit <= MAX_LIMIT:
        raise bad_request(f"limit must be between 1 and {MAX_LIMIT}", 40003)
    return HistoryQuery(
        limit=limit,
        forwards=direction == "forwards",
        start=_number(params, "start"),
        end=_number(params, "end"),
        # The specification spells it fromSerial, ably-js sends from_serial.
        until=params.get("from_serial") or params.get("fromSerial"),
        cursor=params.get("cursor"),
    )


def page(messages: Sequence[Item], query: HistoryQuery) -> HistoryPage:
    """Cut a page out of what happened on a channel (ascending by serial)."""
    low, high = 0, len(messages)
    if query.until is not None:
        # `~` sorts after `:` and the index, so all messages of the bounding frame are within.
        high = bisect_right(messages, f"{query.until}~", key=_BY_SERIAL)
    if query.start is not None:
        low = bisect_left(messages, query.start, key=_BY_TIMESTAMP)
    if query.end is not None:
        high = min(high, bisect_right(messages, query.end, key=_BY_TIMESTAMP))
    if query.forwards:
        if query.cursor is not None:
            low = max(low, bisect_right(messages, query.cursor, key=_BY_SERIAL))
        chosen = list(messages[low : min(low + query.limit, high)])
        more = low + query.limit < high
    else:
        if query.cursor is not None:
            high = min(high, bisect_left(messages, query.cursor, key=_BY_SERIAL))
        chosen = list(reversed(messages[max(high - query.limit, low) : high]))
        more = high - query.limit > low
    return HistoryPage([message.wire() for message in chosen], chosen[-1].serial if more else None)


def _number(params: Mapping[str, str], name: str) -> int | None:
    value = params.get(name)
    if not value:
        return None
    try:
        return int(value)
    except ValueError:
        raise bad_request(f"{name} must be a number, not {value!r}", 40003) from None
