"""Guards against faults of the Ably SDK for Python 3.1.4, for the life of a connection.

Each guard names its fault. They rely on undocumented attributes of the SDK (see ``sdk.py``); each goes away
when the SDK is mended.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from ably_ai_transport.channel.ably.publication import Publication
from ably_ai_transport.channel.ably.sdk import code_of, failed, sdk, word
from ably_ai_transport.channel.ably.writer import serial_of, unknown_outcome
from ably_ai_transport.channel.payload import APPEND

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ably_ai_transport.channel.ably.frames import FrameGuard
    from ably_ai_transport.channel.ably.reconnects import Reconnects
    from ably_ai_transport.channel.ably.sdk import Pending, Realtime, StateChange, Transport
    from ably_ai_transport.channel.ably.writer import Writer

logger = logging.getLogger("ably_ai_transport.channel")

_KEY_REFUSED: Final = frozenset({40005, 40100, 40101, 40131, 40132, 40133, 40400})
_BAD_CREDENTIALS: Final = 40101
_UNAUTHORIZED: Final = 401
_NOT_AUTHORIZED: Final = frozenset({401, 403, 404})
_LOST: Final = frozenset({"suspended", "failed", "closing", "closed"})
"""States in which no publish will be acked."""


class ConnectionGuard:
    """Keeps the publishes of one client whole, in order, and acked, across connections.

    The SDK's emitter keeps it: it lives as long as the client.

    Args:
        client: The SDK's client.
        writer: Sends publishes.
        frames: Sees the frames of each websocket before the SDK does.
        reconnects: Paces the reconnects.
    """

    def __init__(self, client: Realtime, writer: Writer, frames: FrameGuard, reconnects: Reconnects) -> None:
        manager = client.connection.connection_manager
        self._manager = manager
        self._writer = writer
        self._frames = frames
        self._reconnects = reconnects
        options = client.options
        self._has_key = options.key_name is not None and not (options.auth_callback or options.auth_url)
        self._connection_id: str | None = manager.connection_id
        # The SDK asks a web page whether there is a network, and stops the event loop for it. Trying the
        # next host answers the question as well.
        manager.check_connection = _there_is_a_network
        self._notify_state = manager.notify_state
        self._on_error_from_authorize = manager.on_error_from_authorize
        manager.notify_state = self._notify
        manager.on_error_from_authorize = self._on_unauthorized
        manager.on("connectionstate", self._on_state)
        manager.on("transport.pending", self._on_transport)
        if manager.transport is not None:
            self._on_transport(manager.transport)

    def _notify(
        self, state: object, reason: Exception | None = None, retry_immediately: bool | None = None
    ) -> None:
        """Fail the connection where the key is refused, and pause before a reconnect that follows others.

        The SDK would retry for ever: with the key as it is, and without a pause.
        """
        manager = self._manager
        if self._has_key and _refuses_key(reason):
            state, reason = failed(manager), _key_refused(reason)
        pause = 0.0
        if state == "disconnected" and manager.state == "connected":
            pause = self._reconnects.pause(reason)
        if not pause:
            self._notify_state(state, reason, retry_immediately)
            return
        self._notify_state(state, reason, retry_immediately=False)
        manager.cancel_retry_timer()
        manager.start_retry_timer(round(pause * 1000))

    def _on_unauthorized(self, error: Exception) -> None:
        """Fail the connection where the key gets no token: the SDK would retry, and forget the reason."""
        if self._has_key and getattr(error, "status_code", None) in _NOT_AUTHORIZED:
            self._notify(failed(self._manager), error)
        else:
            self._on_error_from_authorize(error)

    def _on_state(self, change: StateChange) -> None:
        """Resume or stop the writer; runs before the SDK sends its queue."""
        logger.debug(
            "Connection is %s%s",
            word(change.current),
            "" if change.reason is None else f": {_told(change.reason)}",
            extra={"action": word(change.current)},
        )
        if change.current == "connected":
            self._writer.resume(self._unanswered())
            return
        self._writer.wake()
        if change.current in _LOST:
            self._writer.fail(change.reason or self._manager.get_state_error())

    def _unanswered(self) -> list[Pending]:
        """Take over every publish without an ack from the SDK; in order, each once.

        After DISCONNECTED the SDK forgets to send them again. After a failed attempt to reconnect it sends
        those twice that were made without a connection. On a new connection, where the server counts from
        0, it goes on with the old numbers.
        """
        manager = self._manager
        queued = [pending for pending in manager.queued_messages if pending.ack_required]
        manager.queued_messages = deque(one for one in manager.queued_messages if not one.ack_required)
        by_identity = {id(pending): pending for pending in (*self._writer.in_flight, *queued)}
        unanswered = sorted(by_identity.values(), key=lambda pending: serial_of(pending) or 0)
        if self._connection_id is not None and manager.connection_id != self._connection_id:
            unanswered = self._without_appends(unanswered)
            for serial, pending in enumerate(unanswered):
                pending.message["msgSerial"] = serial
            manager.msg_serial = len(unanswered)
        self._connection_id = manager.connection_id
        self._writer.in_flight.clear()
        for pending in unanswered:
            self._writer.in_flight.push(pending)
        return unanswered

    def _without_appends(self, unanswered: Sequence[Pending]) -> list[Pending]:
        """Give up the appends: the server does not know any more whether it took them."""
        others: list[Pending] = []
        targets: set[str] = set()
        for one in unanswered:
            if isinstance(one, Publication) and one.action == APPEND and one.target is not None:
                one.set_exception(unknown_outcome())
                targets.add(one.target)
            else:
                others.append(one)
        self._writer.give_up_appends(targets)
        return others

    def _on_transport(self, transport: Transport) -> None:
        self._frames.watch(transport)
        transport.close = partial(_send_close, transport.close)
        # The task is made by the call that follows the event.
        asyncio.get_running_loop().call_soon(self._watch_opening, transport)

    def _watch_opening(self, transport: Transport) -> None:
        task = transport.ws_connect_task
        if task is not None:
            task.add_done_callback(partial(self._on_socket_gone, transport))

    def _on_socket_gone(self, transport: Transport, task: asyncio.Task[None]) -> None:
        manager = self._manager
        if manager.transport is not transport or manager.state != "connecting" or task.cancelled():
            return
        error = task.exception()
        if isinstance(error, OSError):
            # The SDK notices a refused connection only when a timer of 10 s has run out.
            transport._emit("failed", _connection_refused(error))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _send_close(close: Callable[[], Awaitable[None]]) -> None:
    """Send CLOSE. On a socket that is dead, or not open yet, the SDK raises in a task that nobody awaits."""
    try:
        await close()
    except Exception as error:  # noqa: BLE001 - a dying websocket may raise anything
        logger.debug("CLOSE was not sent: %s", type(error).__name__)


def _told(reason: Exception) -> str:
    code = code_of(reason)
    return type(reason).__name__ if code is None else f"code {code}"


def _there_is_a_network() -> bool:
    return True


def _connection_refused(error: OSError) -> Exception:
    return sdk().error(f"Error opening websocket connection: {error}", 400, 80003)


def _refuses_key(reason: Exception | None) -> bool:
    """Tell whether the server refused a key: by its code, or by the status of the websocket's upgrade."""
    if reason is None:
        return False
    upgrade: object = getattr(getattr(reason.__cause__, "response", None), "status_code", None)
    return upgrade == _UNAUTHORIZED or code_of(reason) in _KEY_REFUSED


def _key_refused(reason: Exception | None) -> Exception:
    code = None if reason is None else code_of(reason)
    return sdk().error(
        "unable to connect; key refused (check the API key that the client was made with)",
        _UNAUTHORIZED,
        code if code in _KEY_REFUSED else _BAD_CREDENTIALS,
        reason,
    )
