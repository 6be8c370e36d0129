"""Outlet: the interface of a connection that carries frames to a client."""

from typing import Literal, Protocol, TypeAlias

from ably_ai_transport_haip.protocol import Frame

Ending: TypeAlias = Literal["over", "refused", "leaving"]
"""The end of a connection: normal, after a violation of the client, or because the server goes away."""


class Outlet(Protocol):
    """A connection that carries frames to a client.

    Attributes:
        reopens: Whether the reference client connects again, twice, when such a connection is closed.
    """

    reopens: bool

    async def write(self, frame: Frame) -> None:
        """Send a frame. Does nothing after the connection is lost."""
        ...

    async def close(self, reason: str, ending: Ending = "over") -> None:
        """Close the connection. May be repeated."""
        ...
