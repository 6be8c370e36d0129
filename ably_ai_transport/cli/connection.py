"""The commands' Ably clients."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from ably_ai_transport.channel import make_client
from ably_ai_transport.cli.problems import CliError

if TYPE_CHECKING:
    from ably import AblyRealtime

PATIENCE_SECONDS: Final = 15.0
"""Timeout of the first connection, in seconds."""


@asynccontextmanager
async def connected(options: Mapping[str, Any]) -> AsyncGenerator["AblyRealtime"]:
    """Open an Ably client, and close it at the end.

    Args:
        options: The SDK's options.

    Yields:
        The client, connecting.
    """
    client = make_client(options)
    try:
        yield client
    finally:
        # A client that failed has nothing to close, and the SDK raises in a task of its own when it tries.
        if client.connection.state != "failed":
            with anyio.CancelScope(shield=True):
                await client.close()


def client_options(key: str, endpoint: str | None, client_id: str) -> dict[str, Any]:
    """Return the SDK's options for a client.

    Args:
        key: The Ably key.
        endpoint: The host and port of a running local server; None for Ably itself.
        client_id: The client's id.
    """
    basic: dict[str, Any] = {"key": key, "client_id": client_id}
    if endpoint is None:
        return basic
    return {
        **basic,
        "endpoint": endpoint.rstrip("/") + "/",
        "tls": False,
        "use_token_auth": True,
        "default_token_params": {"client_id": client_id},
    }


async def reach(options: Mapping[str, Any]) -> None:
    """Connect once, to learn now rather than later whether it can be done.

    Args:
        options: The SDK's options.

    Raises:
        CliError: The key was refused, or the server cannot be reached; names the key without its secret, and
            the address.
    """
    where = str(options.get("endpoint") or "Ably").rstrip("/")
    settled = anyio.Event()
    async with connected(options) as client:
        connection = cast("Any", client).connection

        def on_change(change: Any) -> None:  # noqa: ANN401 - the SDK has no types here
            if change.current != "connecting":
                settled.set()

        connection.on(on_change)
        with anyio.move_on_after(PATIENCE_SECONDS):
            await settled.wait()
        if connection.state != "connected":
            raise _unreached(where, options.get("key"), connection.error_reason)


def _unreached(where: str, key: object, reason: object) -> CliError:
    if getattr(reason, "status_code", None) in (401, 403, 404):
        name = str(key).partition(":")[0]
        return CliError(
            f"unable to connect to {where}; the key {name} was refused (code {getattr(reason, 'code', 401)})"
        )
    why = str(reason or f"no answer within {PATIENCE_SECONDS:.0f} s")
    return CliError(f"unable to connect to {where}; {why}")
