"""Deadlines of HTTP requests: a client that sends half of one, or nothing, does not hold its socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

Phase: TypeAlias = Literal["head", "body", "answer"]

_LINGER_SECONDS: Final = 5.0
_TIMEOUT: Final = h11.Response(
    status_code=408, headers=[("connection", "close"), ("content-length", "0")], reason=b"Request Timeout"
)


class DeadlineProtocol(H11Protocol):
    """uvicorn's HTTP protocol with deadlines. uvicorn's own is only for the time between two requests.

    A deadline counts from the start of its phase: bytes that trickle in do not move it.

    Args:
        head_seconds: How long a client may take to send the head of a request.
        request_seconds: How long it may take to send the body, and then to read the answer; None where these
            are streams.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - uvicorn's
        head_seconds: float,
        request_seconds: float | None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._seconds: dict[Phase, float | None] = {
            "head": head_seconds,
            "body": request_seconds,
            "answer": request_seconds,
        }
        self._phase: Phase | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_upgraded = False
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new socket."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._is_refused:
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Prepare for the next request."""
        super().on_response_complete()
        self._phase = None  # the next request may be in the same phase already
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the socket to the websocket protocol."""
        self._is_upgraded = True
        self._watch()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is no HTTP, or whose head is too long."""
        content = msg.encode()
        head = [("connection", "close"), ("content-length", str(len(content)))]
        response = h11.Response(status_code=400, headers=head, reason=b"Bad Request")
        self.transport.write((self.conn.send(response) or b"") + content)
        # A socket that is closed with bytes left to read is reset, and the peer loses the answer.
        self._is_refused = True
        self.transport.write_eof()
        self._close_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the socket."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _current(self) -> Phase | None:
        if self._is_upgraded or self._is_refused or self.transport.is_closing():
            return None
        state = self.conn.their_state
        if state is h11.IDLE:
            # Between two requests, uvicorn's timer runs; it ends with the first byte of the next one.
            is_between = self.timeout_keep_alive_task is not None and not self.conn.trailing_data[0]
            return None if is_between else "head"
        return "body" if state is h11.SEND_BODY else "answer"

    def _watch(self) -> None:
        phase = self._current()
        if phase == self._phase or self._is_refused:
            return
        self._phase = phase
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        seconds = None if phase is None else self._seconds[phase]
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._phase == "answer":
            self.transport.abort()
            return
        if self._phase == "body" or self.conn.trailing_data[0]:
            self._send_timeout()
        if self._phase == "body":  # the application stops reading it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._close_later()

    def _close_later(self) -> None:
        # A peer that neither reads nor closes would keep the socket open.
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _send_timeout(self) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(self.conn.send(_TIMEOUT) or b"")
