"""The query of a websocket, as SDKs write it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from ably_ai_transport.local.protocol.parse import choice, integer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.local.protocol.formats import Format

_MAX_ROLLUP_MS: Final = 500
_MIN_HEARTBEAT_MS: Final = 5_000
_MAX_HEARTBEAT_MS: Final = 1_800_000


@dataclass(frozen=True, slots=True)
class ConnectQuery:
    """The parameters of a connection, checked.

    Attributes:
        resume: The connectionKey to resume; None for a new connection.
        param: The `conn` parameter: a name for faults and logs.
        echo: Whether the client wants its own messages.
        rollup_ms: The roll-up window of its appends, 0 to 500; None for the server's.
        remain_ms: How long its presence members outlive a drop; None for the server's time.
        heartbeat_ms: The longest silence of the server, 5,000 to 1,800,000; None for the server's.
    """

    resume: str | None = field(default=None, repr=False)
    param: str | None = None
    echo: bool = True
    rollup_ms: int | None = None
    remain_ms: int | None = None
    heartbeat_ms: int | None = None

    def heartbeat(self, default: int) -> int:
        """Return the longest silence of the server; a server whose own is shorter than 5,000 keeps it."""
        if self.heartbeat_ms is None:
            return default
        return max(min(self.heartbeat_ms, _MAX_HEARTBEAT_MS), min(_MIN_HEARTBEAT_MS, default))


def params_of(query_string: bytes) -> dict[str, str]:
    """Return the parameters of a query string."""
    return dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))


def format_of(params: Mapping[str, str]) -> Format:
    """Return the format of the frames; an unknown one is JSON, for the error that `parse_query` raises."""
    return "msgpack" if params.get("format") == "msgpack" else "json"


def parse_query(params: Mapping[str, str]) -> ConnectQuery:
    """Parse the query of a websocket, without its credentials.

    Raises:
        RefusedError: 40000, a parameter is invalid.
    """
    choice(params.get("format", "json"), "format", ("json", "msgpack"))
    rollup_ms = _milliseconds(params, "appendRollupWindow")
    return ConnectQuery(
        resume=params.get("resume") or params.get("recover") or None,
        param=params.get("conn"),
        echo=choice(params.get("echo", "true"), "echo", ("true", "false")) == "true",
        rollup_ms=None if rollup_ms is None else min(rollup_ms, _MAX_ROLLUP_MS),
        remain_ms=_milliseconds(params, "remainPresentFor"),
        heartbeat_ms=_milliseconds(params, "heartbeatInterval"),
    )


def _milliseconds(params: Mapping[str, str], name: str) -> int | None:
    value = params.get(name)
    return None if value is None else integer_of(value, name, 0)
