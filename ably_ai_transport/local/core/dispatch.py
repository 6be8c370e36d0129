"""Which frame of a client is answered where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.auth.credentials import Credentials
from ably_ai_transport.local.protocol.frames import Action, Frame
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.engine import Engine


_PUBLISHES: Final = frozenset({Action.MESSAGE, Action.PRESENCE})


class Dispatcher:
    """Hands the frames of a connection to whoever answers them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        publishing = engine.publishing
        attaching = engine.attaching
        self._handlers: dict[int, Callable[[Connection, Frame], None]] = {
            Action.MESSAGE: publishing.message,
            Action.PRESENCE: publishing.presence,
            Action.OBJECT: publishing.unsupported,
            Action.ANNOTATION: publishing.unsupported,
            Action.ATTACH: attaching.attach,
            Action.DETACH: attaching.detach,
            Action.SYNC: attaching.sync,
            Action.HEARTBEAT: _heartbeat,
            Action.AUTH: self._auth,
            Action.CLOSE: _close,
            Action.DISCONNECT: _disconnect,
        }

    def handle(self, connection: Connection, frame: Frame, size: int) -> None:
        """Answer one frame of so many bytes. One that makes no sense fails the connection, as Ably does."""
        action = frame.get("action", -1)
        handler = self._handlers.get(action)
        if handler is None:
            return
        connection.frame_size = size
        if action not in _PUBLISHES:
            self._engine.commits.flush()
        try:
            handler(connection, frame)
        except RefusedError as refusal:
            connection.fail(refusal)

    def _auth(self, connection: Connection, frame: Frame) -> None:
        connection.flush()
        token = (frame.get("auth") or {}).get("accessToken")
        if not isinstance(token, str):
            raise bad_request("an AUTH frame must carry an accessToken", 40101)
        connection.renew(self._engine.authority.identify(Credentials(token=token)))


def _heartbeat(connection: Connection, frame: Frame) -> None:
    echo: Frame = {"action": int(Action.HEARTBEAT)}
    id_ = frame.get("id")
    if id_ is not None:
        echo["id"] = id_
    connection.send(echo)


def _close(connection: Connection, _frame: Frame) -> None:
    connection.close()


def _disconnect(connection: Connection, _frame: Frame) -> None:
    connection.hang_up()
