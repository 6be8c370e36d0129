"""Transports: the interface, and the base of the three implementations."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal, Protocol, overload, runtime_checkable
from urllib.parse import urlencode, urlsplit, urlunsplit

from ably_ai_transport_haip.client.config import Token
from ably_ai_transport_haip.client.events import Emitter, logger
from ably_ai_transport_haip.protocol import HaipAuthenticationError, HaipConnectionError, HaipError

CLEAN: Final = "clean"
HIDDEN: Final = "***"
_EVENTS: Final = ("connect", "disconnect", "message", "binary", "error")


@runtime_checkable
class HaipTransport(Protocol):
    """Carries the frames of a client. Implement it to connect over something else."""

    async def connect(self) -> None:
        """Open the connection.

        Raises:
            HaipConnectionError: The connection cannot be opened.
            HaipAuthenticationError: The token was refused.
        """
        ...

    async def disconnect(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        ...

    async def send(self, data: str | bytes) -> None:
        """Send a frame.

        Args:
            data: A text frame (``str``) or a binary frame (``bytes``).

        Raises:
            HaipConnectionError: The connection is closed.
        """
        ...

    def is_connected(self) -> bool:
        """Tell whether the connection is open."""
        ...

    @overload
    def on(self, event: Literal["connect"], listener: Callable[[], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["disconnect"], listener: Callable[[str], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["message"], listener: Callable[[str], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["binary"], listener: Callable[[bytes], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[Exception], object]) -> Callable[[], None]: ...
    def on(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Add a listener.

        Args:
            event: ``connect``; ``disconnect`` with the reason, ``clean`` if the server closed the connection
                normally; ``message`` with a text frame; ``binary`` with a binary frame; ``error`` with an
                exception.
            listener: A plain function or a coroutine function.

        Returns:
            A function that removes the listener.
        """
        ...


class BaseTransport:
    """Base of the transports: reads frames in a task that :meth:`disconnect` stops.

    Args:
        url: The address of the server.
        token: A JWT, or a function that returns one for each connection.

    Raises:
        HaipConnectionError: The address does not fit this transport.
    """

    schemes: tuple[str, ...] = ("http", "https")

    def __init__(self, url: str, token: Token) -> None:
        try:
            parts = urlsplit(url)
            fits = parts.scheme in self.schemes and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            fits = False
        if not fits:
            raise HaipConnectionError(
                f"unable to connect; '{without_query(url)}' is no address for this transport"
                f" (it begins with {' or '.join(f'{scheme}://' for scheme in self.schemes)})"
            )
        self._url = url
        self._token = token
        self._emitter = Emitter(_EVENTS)
        self._reader: asyncio.Task[None] | None = None
        self._connected = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({without_query(self._url)!r})"

    def is_connected(self) -> bool:
        """Tell whether the connection is open."""
        return self._connected

    def on(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Add a listener; see :class:`HaipTransport`."""
        return self._emitter.on(event, listener)

    def once(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Add a listener that is removed before its first call; see :meth:`on`."""
        return self._emitter.once(event, listener)

    def off(self, event: str, listener: Callable[..., object]) -> None:
        """Remove a listener. An unknown one is ignored.

        Args:
            event: The event.
            listener: The listener, as it was passed to :meth:`on` or :meth:`once`.
        """
        self._emitter.off(event, listener)

    async def connect(self) -> None:
        """Open the connection; see :class:`HaipTransport`."""
        if self._reader is not None:
            await self.disconnect()
        logger.debug("Connecting to %s", without_query(self._url))
        await self._open(await self._current_token())
        self._connected = True
        self._emitter.emit("connect")
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def disconnect(self) -> None:
        """Close the connection; see :class:`HaipTransport`."""
        self._connected = False
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([reader])
        await self._shut()

    async def _current_token(self) -> str:
        if isinstance(self._token, str):
            return self._token
        token = self._token()
        if inspect.isawaitable(token):
            token = await token
        if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise HaipAuthenticationError(
                f"unable to connect; the token function returned {type(token).__name__}, not text"
            )
        return token

    async def _read(self) -> None:
        reason = CLEAN
        try:
            async for frame in self._frames():
                self._emitter.emit("message" if isinstance(frame, str) else "binary", frame)
        except HaipError as error:
            reason = str(error)
            self._emitter.emit("error", error)
        except Exception as error:  # noqa: BLE001 - the reason of the disconnect, whatever it is
            logger.exception("Unable to read from %s", without_query(self._url))
            reason = f"unable to read; {type(error).__name__}"
            self._emitter.emit("error", HaipConnectionError(reason))
        if self._connected:
            self._connected = False
            self._emitter.emit("disconnect", reason)

    async def _open(self, token: str) -> None:
        raise NotImplementedError

    def _frames(self) -> AsyncIterator[str | bytes]:
        raise NotImplementedError

    async def _shut(self) -> None:
        raise NotImplementedError


def refusal(status: int, text: str, token: str = "") -> HaipError:
    """Return the error for an HTTP status.

    Args:
        status: The status.
        text: The body of the response.
        token: The token of the request; replaced wherever the body repeats it.

    Returns:
        The error: an authentication error for 401 and 403, else a connection error.
    """
    shown = text.replace(token, HIDDEN) if token else text
    kind = HaipAuthenticationError if status in (401, 403) else HaipConnectionError
    return kind(f"unable to connect; the server answered {status}: {shown[:200]}", details={"status": status})


def with_query(url: str, **params: str) -> str:
    """Add query parameters to an address.

    Args:
        url: The address.
        **params: The parameters.

    Returns:
        The address with the parameters.

    Example:
        >>> with_query("ws://localhost/?a=1", token="x y")
        'ws://localhost/?a=1&token=x+y'
    """
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(params)) if part)
    return urlunsplit(parts._replace(query=query, path=parts.path or "/"))


def without_query(url: str) -> str:
    """Return an address for messages: without its query and its credentials, which may be secrets.

    Args:
        url: The address.

    Returns:
        Scheme, host, port and path.

    Example:
        >>> without_query("ws://me:secret@localhost:80/haip?token=x")
        'ws://localhost:80/haip'
    """
    address, _, _ = url.partition("?")
    address, _, _ = address.partition("#")
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address.rpartition("@")[2]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
