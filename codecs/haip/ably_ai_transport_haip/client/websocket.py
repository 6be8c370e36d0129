"""The WebSocket transport."""

import logging
import re
from collections.abc import AsyncIterator
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from ably_ai_transport_haip.client.config import Token, WebSocketTransportOptions
from ably_ai_transport_haip.client.transport import HIDDEN, BaseTransport, refusal, with_query, without_query
from ably_ai_transport_haip.protocol import HaipAuthenticationError, HaipConnectionError, HaipProtocolError

_NORMAL: Final = (1000, 1001)
_POLICY: Final = 1008


class _HideTokens(logging.Filter):
    """Replaces tokens in the log records of the websockets library, which logs the request line."""

    _token: Final = re.compile(r"(?<=[?&]token=)[^&\s]+")

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                self._token.sub(HIDDEN, value) if isinstance(value, str) else value for value in record.args
            )
        return True


_wire_logger = logging.getLogger("ably_ai_transport_haip.client.websocket")
_wire_logger.addFilter(_HideTokens())


class WebSocketTransport(BaseTransport):
    """Frames over one WebSocket, in both directions.

    Args:
        url: The address of the server: ``ws://…`` or ``wss://…``.
        token: A JWT, or a function that returns one for each connection.
        options: The options.
    """

    schemes = ("ws", "wss")

    def __init__(self, url: str, token: Token, options: WebSocketTransportOptions | None = None) -> None:
        super().__init__(url, token)
        self._options = options or WebSocketTransportOptions()
        self._socket: ClientConnection | None = None

    async def send(self, data: str | bytes) -> None:
        """Send a frame; see :class:`~ably_ai_transport_haip.HaipTransport`."""
        if self._socket is None:
            raise HaipConnectionError("unable to send; there is no connection")
        try:
            await self._socket.send(data)
        except ConnectionClosed as error:
            raise HaipConnectionError(f"unable to send; the connection is closed ({error})") from error

    async def _open(self, token: str) -> None:
        try:
            self._socket = await connect(
                with_query(self._url, token=token),
                max_size=self._options.max_frame_size,
                open_timeout=None,
                close_timeout=self._options.close_timeout,
                compression="deflate" if self._options.compression else None,
                logger=_wire_logger,
            )
        except InvalidStatus as error:
            body = error.response.body.decode(errors="replace")
            raise refusal(error.response.status_code, body, token) from error
        except (OSError, InvalidHandshake, EOFError) as error:
            raise HaipConnectionError(f"unable to connect to {without_query(self._url)}; {error}") from error
        except InvalidURI:
            # Its text holds the address with the token.
            raise HaipConnectionError(
                f"unable to connect; '{without_query(self._url)}' is no valid address"
            ) from None

    async def _frames(self) -> AsyncIterator[str | bytes]:
        if self._socket is None:
            return
        is_new = True
        try:
            while True:
                yield await self._socket.recv()
                is_new = False
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else None
            if code in _NORMAL:
                return
            reason = closed.rcvd.reason if closed.rcvd is not None else "no closing handshake"
            if code == _POLICY:
                refused = f"the server refused the connection: {reason}"
                raise (HaipAuthenticationError if is_new else HaipProtocolError)(refused) from closed
            raise HaipConnectionError(f"the connection was lost: {code or ''} {reason}") from closed

    async def _shut(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
