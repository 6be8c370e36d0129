"""Helpers for the tests of applications: channels in memory, without network or server.

A session is opened on a client of the hub as it would be on an Ably client; everything that was published
has arrived when ``settle`` returns.

Example:
    >>> hub = MemoryHub()
    >>> session = ClientSession(hub.client("alice"), "chat:1", codec=codec)  # doctest: +SKIP
    >>> await hub.settle()  # doctest: +SKIP

For tests against the real SDK there is :class:`ably_ai_transport.local.LocalServer`.
"""

from ably_ai_transport.testing.memory import FaultAction, MemoryClient, MemoryFaults, MemoryHub

__all__ = ["FaultAction", "MemoryClient", "MemoryFaults", "MemoryHub"]
