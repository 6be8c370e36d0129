"""A pool of Ably clients."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Final, Self, cast

import anyio

from ably_ai_transport.channel.ably.sdk import is_ably_client, to_error, word
from ably_ai_transport.wire import AITransportError, ErrorCode, InvalidArgumentError, error_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ably import AblyRealtime

    from ably_ai_transport.channel.ably.client import AblyClient
    from ably_ai_transport.channel.ably.sdk import Realtime

logger = logging.getLogger("ably_ai_transport.channel")

MAX_CHANNELS_PER_CLIENT: Final = 200
"""Ably's limit for the channels of one connection."""
_TOO_MANY_CHANNELS: Final = 90010
_DEAD: Final = frozenset({"failed", "closing", "closed"})


class AblyPool:
    """Several Ably clients that sessions are spread over, for processes with many sessions.

    Ably limits the messages a second and the channels of one connection. A pool goes wherever an Ably client
    goes, and each session gets the client that has the fewest open sessions. Sessions on the same channel may
    get different clients.

    A client whose connection has failed, or was closed, gets no further sessions. It is replaced as soon as
    it has none left; until then its sessions report the failure.

    Args:
        make_client: Makes an Ably client. It is called when a session needs another client, so it must run in
            the event loop. All clients must have the same client id, so that all sessions publish, and are
            present, as one.
        size: How many clients there are at most.
        max_channels_per_client: How many channels a client has at most; 200, Ably's limit, by default.

    Raises:
        InvalidArgumentError: An argument is refused (40003).

    Example:
        ```python
        async with (
            AblyPool(lambda: AblyRealtime(key, client_id="agent"), size=8) as pool,
            AgentSession(pool, "conversations:42", codec=codec) as session,
        ):
            ...
        ```
    """

    def __init__(
        self,
        make_client: Callable[[], AblyRealtime],
        *,
        size: int,
        max_channels_per_client: int = MAX_CHANNELS_PER_CLIENT,
    ) -> None:
        if not callable(make_client):
            raise InvalidArgumentError(
                f"unable to make pool; it takes a function that makes an Ably client, not"
                f" {type(make_client).__name__}"
            )
        _check_count("size", size)
        _check_count("max_channels_per_client", max_channels_per_client)
        self._make_client: Callable[[], object] = make_client
        self._size = size
        self._max_channels = max_channels_per_client
        self._clients: list[Realtime] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<AblyPool of {len(self._clients)}/{self._size} clients>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def clients(self) -> tuple[AblyRealtime, ...]:
        """The clients that have been made, in the order in which ties are decided."""
        return cast("tuple[AblyRealtime, ...]", tuple(self._clients))

    def client_for(self, name: str) -> AblyRealtime:
        """Return the client that the next session on a channel gets.

        Args:
            name: The channel's name.

        Returns:
            The client with the fewest open sessions among those that have room for the channel.

        Raises:
            InvalidArgumentError: The factory made no new Ably client, or one with another client id (40003).
            AITransportError: The pool is closed (40000), all clients have failed (the code of the failure) or
                all have as many channels as they may have (90010).
        """
        if self._is_closed:
            raise error_of("unable to open channel; the pool is closed", ErrorCode.BAD_REQUEST, 400)
        self._retire()
        alive = [client for client in self._clients if word(client.connection.state) not in _DEAD]
        usable = [client for client in alive if self._has_room(_shared(client), name)]
        best = min(usable, key=_load, default=None)
        if (best is None or _load(best) > _FRESH) and len(self._clients) < self._size:
            best = self._add()
        if best is None:
            raise self._no_client(alive, name)
        self._check_client_ids(best)
        return cast("AblyRealtime", best)

    async def close(self) -> None:
        """Close all clients. Sessions that are still open lose their connections; end them before."""
        self._is_closed = True
        clients, self._clients = self._clients, []
        for client in clients:
            self._close(client)
        with anyio.CancelScope(shield=True):
            # The SDK closes a client within its realtime_request_timeout, whatever the server does.
            while self._closing:
                await asyncio.wait(self._closing)

    # Clients

    def _has_room(self, client: AblyClient, name: str) -> bool:
        return name in client.channels or len(client.channels) < self._max_channels

    def _add(self) -> Realtime:
        """Make a client."""
        client = self._make_client()
        if inspect.iscoroutine(client):
            client.close()
            raise InvalidArgumentError(
                "unable to open channel; the pool's factory is a coroutine function (pass a plain function)"
            )
        if not is_ably_client(client):
            raise InvalidArgumentError(
                f"unable to open channel; the pool's factory made no Ably client, but {type(client).__name__}"
            )
        realtime = cast("Realtime", client)
        if any(realtime is known for known in self._clients):
            raise InvalidArgumentError(
                "unable to open channel; the pool's factory returned the same client again"
                " (make a new one in each call)"
            )
        self._clients.append(realtime)
        return realtime

    def _retire(self) -> None:
        """Close the dead clients that have no sessions; others take their places."""
        for client in list(self._clients):
            if word(client.connection.state) in _DEAD and not _shared(client).sessions:
                self._clients.remove(client)
                self._close(client)

    def _check_client_ids(self, chosen: Realtime) -> None:
        """Refuse clients that would make sessions publish under different client ids."""
        ids = {id_ for id_ in map(_client_id, self._clients) if id_ is not None}
        if len(ids) > 1:
            if not _shared(chosen).sessions:
                self._clients.remove(chosen)
                self._close(chosen)
            raise InvalidArgumentError(
                "unable to open channel; the clients of a pool must have the same client id, got "
                + " and ".join(repr(id_) for id_ in sorted(ids))
            )

    def _no_client(self, alive: list[Realtime], name: str) -> AITransportError:
        if alive:
            return error_of(
                f"unable to open channel {name!r}; each client of the pool has {self._max_channels} channels"
                " already (end sessions, or make the pool larger)",
                _TOO_MANY_CHANNELS,
                400,
            )
        reason = next((c.connection.error_reason for c in self._clients if c.connection.error_reason), None)
        message = f"unable to open channel {name!r}; each client of the pool has failed"
        if reason is None:
            return error_of(message, ErrorCode.CHANNEL_NOT_READY, 400)
        cause = to_error(reason)
        return error_of(f"{message}: {cause.message}", cause.code, cause.status_code, cause)

    def _close(self, client: Realtime) -> None:
        # The pool owns the task, and awaits it when it is closed.
        task = asyncio.get_running_loop().create_task(_close(client), name="ably pool close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


_FRESH: Final = (False, 0)


def _load(client: Realtime) -> tuple[bool, int]:
    """Rank clients: those that have lost their connection for long come last."""
    return (word(client.connection.state) == "suspended", _shared(client).sessions)


def _shared(client: Realtime) -> AblyClient:
    # Imported late: a program that only imports the library should start fast.
    from ably_ai_transport.channel.ably.client import client_of

    return client_of(client)


def _client_id(client: Realtime) -> str | None:
    """Return the client id that a client has, or asks for; None while it is not known."""
    return client.auth.client_id or client.options.client_id


async def _close(client: Realtime) -> None:
    try:
        await client.close()
    except Exception as error:
        # Broad: one client that cannot be closed must not keep the others open.
        logger.exception("Closing a client of a pool raised %s", type(error).__name__)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgumentError(
            f"unable to make pool; {name} must be an integer of at least 1, got {value!r}"
        )
