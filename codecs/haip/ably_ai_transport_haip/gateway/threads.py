"""Threads: the Ably client of a HAIP client, and the channel of each thread."""

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

from ably_ai_transport import ChannelClient
from ably_ai_transport_haip.protocol import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.server import Principal

Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[ChannelClient]]
"""Returns a context with the Ably client of a client id. The client is closed when the context ends."""
ChannelOf: TypeAlias = Callable[[Principal, str], str | Awaitable[str]]
"""A plain or coroutine function that returns the channel of a thread. It raises a :class:`HaipError` if the
principal may not enter the thread."""

_NAME: Final = re.compile(r"[\w.~+@=-]{1,128}")


def tenant_channel(principal: Principal, thread_id: str) -> str:
    """Return the channel of a thread: ``haip:<tenant>:<thread>``, so that tenants are separate.

    Args:
        principal: The client. The claim ``tenant`` of its token is the tenant; without it, the channel is
            ``haip:<thread>``.
        thread_id: The thread.

    Returns:
        The name of the channel.

    Raises:
        HaipProtocolError: The thread or the tenant cannot be part of a channel name (PROTOCOL_VIOLATION).

    Example:
        >>> tenant_channel(Principal("alice", {"tenant": "acme"}), "42")
        'haip:acme:42'
    """
    tenant = principal.claims.get("tenant")
    for name in (thread_id, *(() if tenant is None else (tenant,))):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise HaipProtocolError(
                f"unable to enter thread; '{name}' has characters other than letters, digits and -_.~+@=,"
                " or more than 128",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
    return f"haip:{thread_id}" if tenant is None else f"haip:{tenant}:{thread_id}"
