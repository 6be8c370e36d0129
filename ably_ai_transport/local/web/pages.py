"""Pages of REST results: history by serial and time, lists by position, and the links between pages."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, urlencode

from ably_ai_transport.local.protocol.parse import choice, integer_of
from ably_ai_transport.local.protocol.refusals import bad_parameter
from ably_ai_transport.local.web.http import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from ably_ai_transport.local.protocol.frames import WireMessage, WirePresence
    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.storage.contract import PresenceRecord

    Item: TypeAlias = StoredMessage | PresenceRecord

_DEFAULT_LIMIT: Final = 100
_MAX_LIMIT: Final = 1000
_SECRET_PARAMS: Final = ("key", "access_token", "accessToken")

_BY_SERIAL = attrgetter("serial")
_BY_TIMESTAMP = attrgetter("timestamp")


@dataclass(frozen=True, slots=True)
class _Query:
    """The parameters of a history request (Ably specification RSL2, RTL10)."""

    limit: int
    forwards: bool
    start: int | None
    end: int | None
    until: str | None
    cursor: str | None


def history_page(request: Request, items: Sequence[Item], path: str) -> Reply:
    """Return a page of a channel's history: messages in their latest version, or presence events.

    Args:
        request: The request.
        items: All of them, with ascending serials.
        path: The last segment of the path, for the links.

    Raises:
        RefusedError: 40003, a parameter is invalid.
    """
    params = dict(request.query_params)
    found, cursor = _cut(items, _parse(params))
    return Reply(found, links=_links(path, params, cursor))


def list_page(request: Request, items: Sequence[object], path: str) -> Reply:
    """Return a page of a list that has no order in time.

    Raises:
        RefusedError: 40003, a parameter is invalid.
    """
    params = dict(request.query_params)
    limit = _limit(params)
    first = _number(params, "cursor") or 0
    rest = first + limit
    following = str(rest) if rest < len(items) else None
    return Reply(list(items[first:rest]), links=_links(path, params, following))


def _parse(params: Mapping[str, str]) -> _Query:
    direction = choice(
        params.get("direction", "backwards"), "direction", ("backwards", "forwards"), refusal=bad_parameter
    )
    return _Query(
        limit=_limit(params),
        forwards=direction == "forwards",
        start=_number(params, "start"),
        end=_number(params, "end"),
        # The specification spells it fromSerial, ably-js sends from_serial.
        until=params.get("from_serial") or params.get("fromSerial"),
        cursor=params.get("cursor"),
    )


def _cut(items: Sequence[Item], query: _Query) -> tuple[list[WireMessage | WirePresence], str | None]:
    """Return the items of a page and the cursor of the next one, if there is one."""
    low, high = 0, len(items)
    if query.until is not None:
        # `~` sorts after `:` and the index, so all messages of the bounding frame are within.
        high = bisect_right(items, f"{query.until}~", key=_BY_SERIAL)
    if query.start is not None:
        low = bisect_left(items, query.start, key=_BY_TIMESTAMP)
    if query.end is not None:
        high = min(high, bisect_right(items, query.end, key=_BY_TIMESTAMP))
    if query.forwards:
        if query.cursor is not None:
            low = max(low, bisect_right(items, query.cursor, key=_BY_SERIAL))
        chosen = list(items[low : min(low + query.limit, high)])
        more = low + query.limit < high
    else:
        if query.cursor is not None:
            high = min(high, bisect_left(items, query.cursor, key=_BY_SERIAL))
        chosen = list(reversed(items[max(high - query.limit, low) : high]))
        more = high - query.limit > low
    return [item.wire() for item in chosen], chosen[-1].serial if more else None


def _limit(params: Mapping[str, str]) -> int:
    limit = params.get("limit")
    return integer_of(limit, "limit", 1, _MAX_LIMIT, refusal=bad_parameter) if limit else _DEFAULT_LIMIT


def _number(params: Mapping[str, str], name: str) -> int | None:
    value = params.get(name)
    return integer_of(value, name, 0, refusal=bad_parameter) if value else None


def _links(path: str, params: Mapping[str, str], cursor: str | None) -> dict[str, str]:
    shown = {key: value for key, value in params.items() if key not in _SECRET_PARAMS}
    first = {key: value for key, value in shown.items() if key != "cursor"}
    # ably-js follows a link only if it is spelled ./<name>?<query>.
    links = {"first": _link(path, first), "current": _link(path, shown)}
    if cursor is not None:
        links["next"] = _link(path, {**first, "cursor": cursor})
    return links


def _link(path: str, params: Mapping[str, str]) -> str:
    return f"./{path}?{urlencode(params, quote_via=quote)}"
