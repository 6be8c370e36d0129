"""The first connection of a command."""

from collections.abc import Mapping
from typing import Any, Final, cast

import anyio

from ably_ai_transport.channel import opened
from ably_ai_transport.cli.problems import CliError

PATIENCE_SECONDS: Final = 15.0
"""Timeout of the first connection, in seconds."""


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
    async with opened(options) as client:
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
