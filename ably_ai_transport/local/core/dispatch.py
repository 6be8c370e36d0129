"""Dispatch: the handler of each frame that a client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.auth.credentials import Credentials
from ably_ai_transport.local.protocol.frames import Action, Frame
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.auth.credentials import Authority
    from ably_ai_transport.local.core.attachments import Attachments
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.connections import Connections
    from ably_ai_transport.local.core.publishing import Publishing

_PUBLISHES: Final = frozenset({Action.MESSAGE, Action.PRESENCE})


class Dispatcher:
    """Hands the frames of a connection to their handlers."""

    def __init__(
        self,
        publishing: Publishing,
        attachments: Attachments,
        connections: Connections,
        authority: Authority,
        commits: Commits,
    ) -> None:
        self._publishing = publishing
        self._attachments = attachments
        self._connections = connections
        self._authority = authority
        self._commits = commits
        self._handlers: dict[int, Callable[[Connection, Frame], None]] = {
            Action.MESSAGE: publishing.message,
            Action.PRESENCE: publishing.presence,
            Action.OBJECT: publishing.unsupported,
            Action.ANNOTATION: publishing.unsupported,
            Action.ATTACH: attachments.attach,
            Action.DETACH: attachments.detach,
            Action.SYNC: attachments.sync,
            Action.HEARTBEAT: _heartbeat,
            Action.AUTH: self._auth,
            Action.CLOSE: self._close,
            Action.DISCONNECT: _disconnect,
        }

    def handle(self, connection: Connection, frame: Frame, size: int) -> None:
        """Answer one frame of `size` bytes. A malformed frame fails the connection, as on Ably."""
        action = frame.get("action", -1)
        handler = self._handlers.get(action)
        if handler is None:
            return
        connection.frame_size = size
        if action not in _PUBLISHES:
            if action != Action.HEARTBEAT:
                self._publishing.flush(connection)
            self._commits.flush()
        try:
            handler(connection, frame)
        except RefusedError as refusal:
            self._connections.fail(connection, refusal)

    def _auth(self, connection: Connection, frame: Frame) -> None:
        token = (frame.get("auth") or {}).get("accessToken")
        if not isinstance(token, str):
            raise bad_request("an AUTH frame must carry an accessToken", 40101)
        connection.renew(self._authority.identify(Credentials(token=token)))
        self._attachments.renew(connection)

    def _close(self, connection: Connection, _frame: Frame) -> None:
        self._connections.close(connection)


def _heartbeat(connection: Connection, frame: Frame) -> None:
    echo: Frame = {"action": int(Action.HEARTBEAT)}
    id_ = frame.get("id")
    if id_ is not None:
        echo["id"] = id_
    connection.send(echo)


def _disconnect(connection: Connection, _frame: Frame) -> None:
    connection.finish()
