"""The ``serve`` command."""

import errno
import gc
import ipaddress
import json
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import anyio
from rich.console import Console
from rich.text import Text

from ably_ai_transport.cli.limits import LimitsChoice
from ably_ai_transport.cli.live_line import live_line
from ably_ai_transport.cli.problems import MISUSED, CliError
from ably_ai_transport.inspector import Inspector
from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions, StorageUnusableError

GC_THRESHOLDS: Final = (100_000, 20, 10)
"""A full collection takes a second with millions of live objects, so it runs rarely."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of the command.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        keys: API keys; empty generates one.
        rollup_ms: Time within which appends are merged.
        allow_remote: Whether other machines may reach the server.
        data: File that keeps everything over restarts; None keeps it in memory.
        accept_loss: Whether to go on with what is left of a damaged file.
        sandbox: Whether test suites may provision apps.
        inspect: Whether to serve the inspector page.
        limits: The limits of the server.
    """

    host: str = "127.0.0.1"
    port: int = 0
    keys: tuple[str, ...] = ()
    rollup_ms: int = 40
    allow_remote: bool = False
    data: Path | None = None
    accept_loss: bool = False
    sandbox: bool = False
    inspect: bool = False
    limits: LimitsChoice = LimitsChoice.NONE


async def serve_until_stopped(options: ServeOptions, console: Console | None = None) -> int:
    """Run a local server until the process is told to stop.

    Args:
        options: The options of the command.
        console: The console to write to; standard output by default.

    Returns:
        The exit code.

    Raises:
        CliError: The address or a key cannot be used.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    gc.set_threshold(*GC_THRESHOLDS)
    server = _create_server(options)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        try:
            await server.__aenter__()
        except OSError as error:
            raise _cannot_listen(options, error) from error
        try:
            async with AsyncExitStack() as stack:
                page = await stack.enter_async_context(Inspector(server)) if options.inspect else None
                _introduce(server, options, console, None if page is None else page.url)
                await stack.enter_async_context(live_line(server.stats, console))
                async for _ in signals:
                    break
        finally:
            with anyio.CancelScope(shield=True):
                await server.__aexit__(None, None, None)
    console.print("Stopped.")
    return 0


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only.

    Args:
        host: A name or an address.

    Returns:
        True for ``localhost`` and loopback addresses; False for any other name, even if it resolves to one.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def python_line(options: Mapping[str, object]) -> str:
    """Write the call that connects the Python SDK.

    Args:
        options: The SDK's options.

    Returns:
        One line of Python.
    """
    arguments = ", ".join(f"{name}={_python(value)}" for name, value in options.items())
    return f"AblyRealtime({arguments})"


def javascript_line(options: Mapping[str, object]) -> str:
    """Write the call that connects the JavaScript SDK.

    Args:
        options: The SDK's options.

    Returns:
        One line of JavaScript.
    """
    entries = ", ".join(f"{name}: {json.dumps(value)}" for name, value in options.items())
    return f"new Ably.Realtime({{ {entries} }})"


def _create_server(options: ServeOptions) -> LocalServer:
    if not (options.allow_remote or is_loopback(options.host)):
        raise CliError(
            f"{options.host} can be reached from other machines, and this server is for development:"
            " it encrypts nothing. Add --allow-remote if that is what you want.",
            MISUSED,
        )
    try:
        return LocalServer(
            LocalServerOptions(
                host=options.host,
                port=options.port,
                keys=options.keys,
                append_rollup_window_ms=options.rollup_ms,
                data=options.data,
                accept_loss=options.accept_loss,
                sandbox=options.sandbox,
                limits=Limits.ably() if options.limits is LimitsChoice.ABLY else Limits(),
            )
        )
    except ValueError as error:
        raise CliError(str(error), MISUSED) from error


def _cannot_listen(options: ServeOptions, error: OSError) -> CliError:
    if isinstance(error, StorageUnusableError):
        return CliError(str(error))
    where = f"{options.host}:{options.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return CliError(
                f"{where} is in use. Choose another port with --port, or any free one with --port 0."
            )
        case errno.EACCES:
            return CliError(f"{where} needs more rights than this process has. Choose a port above 1023.")
        case _:
            return CliError(f"unable to listen on {where}: {error.strerror or error}")


def _introduce(server: LocalServer, options: ServeOptions, console: Console, page: str | None) -> None:
    def reachable(options: Mapping[str, object]) -> dict[str, object]:
        return {**options, "endpoint": str(options["endpoint"]).replace("0.0.0.0", "127.0.0.1")}  # noqa: S104

    python = python_line(reachable(server.python_options(client_id="me")))
    javascript = javascript_line(reachable(server.javascript_options(client_id="me")))
    console.print(Text.assemble("Ably's protocol, on this machine: ", (server.url, "bold green")))
    for language, line in (("Python", python), ("JavaScript", javascript)):
        console.print(Text(f"\n{language}", "bold cyan"))
        console.print(Text(line))
    if page is not None:
        console.print(Text("\nInspector", "bold cyan"))
        console.print(Text(page))
    if options.sandbox:
        console.print(Text("\nTest suites of Ably's SDKs", "bold cyan"))
        console.print(Text(f"ABLY_LOCAL_SANDBOX_URL={server.url}"))
    where = f"is kept in {options.data}" if options.data else "is in memory and gone when it stops"
    note = f"For development and tests: everything {where}, and nothing is encrypted."
    console.print(Text(f"\n{note}", "yellow"))
    if not is_loopback(server.host):
        note = "Other machines can reach it: put this machine's address into the lines above."
        console.print(Text(note, "yellow"))
    console.print(Text("Ctrl-C stops it.", "dim"))


def _python(value: object) -> str:
    if isinstance(value, dict):
        entries = cast("dict[object, object]", value).items()
        return "{" + ", ".join(f"{_python(name)}: {_python(entry)}" for name, entry in entries) + "}"
    return json.dumps(value) if isinstance(value, str) else repr(value)
