"""Frames over a WebSocket."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ably_ai_transport_haip.client.config import Token, WebSocketTransportOptions
from ably_ai_transport_haip.client.transport import BaseTransport, refusal
from ably_ai_transport_haip.protocol import HaipAuthenticationError, HaipConnectionError, HaipProtocolError

_NORMAL = (1000, 1001)
_POLICY = 1008


class WebSocketTransport(BaseTransport):
    """A WebSocket: one connection both ways.

    Args:
        url: ``ws://…`` or ``wss://…``.
        token: A JWT, or what fetches one.
        options: Options.
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
            raise HaipConnectionError(f"unable to send; the connection is gone ({error})") from error

    async def _open(self, token: str) -> None:
        address = with_query(self.url, token=token)
        try:
            self._socket = await connect(
                address,
                max_size=self._options.max_frame_size,
                open_timeout=None,
                close_timeout=self._options.close_timeout,
            )
        except InvalidStatus as error:
            raise refusal(error.response.status_code, error.response.body.decode(errors="replace")) from error
        except (OSError, InvalidHandshake, EOFError) as error:
            raise HaipConnectionError(f"unable to connect to {self.url}; {error}") from error

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
            reason = closed.rcvd.reason if closed.rcvd is not None else "without a word"
            if code == _POLICY:
                refused = f"the server refused the connection: {reason}"
                raise (HaipAuthenticationError if is_new else HaipProtocolError)(refused) from closed
            raise HaipConnectionError(f"the connection was lost: {code or ''} {reason}") from closed

    async def _shut(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()


def with_query(url: str, **params: str) -> str:
    """Add parameters to an address.

    Args:
        url: The address.
        **params: The parameters.

    Returns:
        The address with them.

    Example:
        >>> with_query("ws://localhost/?a=1", token="x y")
        'ws://localhost/?a=1&token=x+y'
    """
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(params)) if part)
    return urlunsplit(parts._replace(query=query, path=parts.path or "/"))
