"""What every transport can do, and what they have in common."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal, Protocol, overload, runtime_checkable
from urllib.parse import urlsplit

from ably_ai_transport_haip.client.config import Token
from ably_ai_transport_haip.client.emitter import Emitter, logger
from ably_ai_transport_haip.protocol import HaipAuthenticationError, HaipConnectionError, HaipError

CLEAN = "clean"


@runtime_checkable
class HaipTransport(Protocol):
    """Carries frames. Bring your own to a client that talks over something else."""

    async def connect(self) -> None:
        """Open the connection.

        Raises:
            HaipConnectionError: It cannot be opened.
            HaipAuthenticationError: The token was refused.
        """
        ...

    async def disconnect(self) -> None:
        """Close the connection; nothing happens where it is closed."""
        ...

    async def send(self, data: str | bytes) -> None:
        """Send a frame.

        Args:
            data: A text frame, or a binary one.

        Raises:
            HaipConnectionError: The connection is gone.
        """
        ...

    def is_connected(self) -> bool:
        """Tell whether frames can be sent."""
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
        """Listen to what happens.

        Args:
            event: ``connect``; ``disconnect``, with the reason, which is ``clean`` where nobody lost
                anything; ``message`` with a text frame; ``binary`` with a binary frame; ``error``.
            listener: Called with it.

        Returns:
            A function that takes the listener away again.
        """
        ...


class BaseTransport:
    """Reads frames in a task of its own, which :meth:`disconnect` awaits."""

    def __init__(self, url: str, token: Token) -> None:
        if urlsplit(url).scheme not in self.schemes:
            raise HaipConnectionError(
                f"unable to connect; '{url}' is no address for this transport"
                f" (it begins with {' or '.join(f'{scheme}://' for scheme in self.schemes)})"
            )
        self.url = url
        self._token = token
        self._emitter = Emitter()
        self._reader: asyncio.Task[None] | None = None
        self._connected = False

    schemes: tuple[str, ...] = ("http", "https")

    def is_connected(self) -> bool:
        """Tell whether frames can be sent."""
        return self._connected

    def on(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Listen to what happens; see :class:`HaipTransport`."""
        return self._emitter.on(event, listener)

    async def connect(self) -> None:
        """Open the connection; see :class:`HaipTransport`."""
        if self._reader is not None:
            await self.disconnect()
        await self._open(self._token if isinstance(self._token, str) else await self._token())
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

    async def _read(self) -> None:
        reason = CLEAN
        try:
            async for frame in self._frames():
                self._emitter.emit("message" if isinstance(frame, str) else "binary", frame)
        except HaipError as error:
            reason = str(error)
            self._emitter.emit("error", error)
        except Exception as error:  # noqa: BLE001 - whatever ends the reading, the client learns of it
            logger.exception("A transport failed")
            reason = f"{type(error).__name__}: {error}"
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


def refusal(status: int, text: str) -> HaipError:
    """Return the error that an HTTP status stands for.

    Args:
        status: The status.
        text: What the server said.

    Returns:
        The error.
    """
    said = f"unable to connect; the server answered {status}: {text[:200]}"
    details: Mapping[str, Any] = {"status": status}
    return (HaipAuthenticationError if status in (401, 403) else HaipConnectionError)(said, details=details)
