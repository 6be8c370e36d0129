"""The ``haip-gateway`` command."""

import secrets
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import anyio
import httpx
import jwt
from ably_ai_transport_haip.gateway import HaipGateway, PostToAgent, UIMessages
from ably_ai_transport_haip.server import JwtAuthenticator
from rich.console import Console
from rich.text import Text

from ably_ai_transport import ChannelClient
from ably_ai_transport.channel import client_options, opened
from ably_ai_transport.cli.connection import reach
from ably_ai_transport.cli.demo.agent import Agent, serving
from ably_ai_transport.cli.demo.built_in import built_in_replies
from ably_ai_transport.cli.demo.figures import Figures
from ably_ai_transport.cli.demo.replies import Playback
from ably_ai_transport.cli.problems import MISUSED, CliError
from ably_ai_transport.cli.serve import is_loopback, javascript_line, python_line
from ably_ai_transport.local import LocalServer, Stats
from ably_ai_transport.local.web.listener import WebListener

TOKEN_SECONDS: Final = 24 * 60 * 60
SHORTEST_SECRET: Final = 32

OptionsOf: TypeAlias = Callable[[str], dict[str, Any]]
"""Returns the options of the Ably client with a client id."""


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Options of the command.

    Attributes:
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        agent: The address to which invocations are posted; None for the built-in agent.
        key: The Ably key; None starts a local server. Left out of the ``repr``.
        endpoint: The host and port of a running local server.
        secret: The secret that signs tokens; None for a random one. Left out of the ``repr``.
        allow_remote: Whether other machines may connect.
    """

    host: str = "127.0.0.1"
    port: int = 0
    agent: str | None = None
    key: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    secret: str | None = field(default=None, repr=False)
    allow_remote: bool = False


async def run_gateway(options: GatewayOptions, console: Console | None = None) -> int:
    """Run a gateway until SIGINT or SIGTERM.

    Args:
        options: The options of the command.
        console: The console to write to; standard output by default.

    Returns:
        The exit code.

    Raises:
        CliError: The options are invalid, or the address is not available.
    """
    _check(options)
    console = console or Console(highlight=False, soft_wrap=True)
    secret = options.secret or secrets.token_urlsafe(48)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with AsyncExitStack() as stack:
            server = None
            if options.key is None:
                server = await stack.enter_async_context(LocalServer())
            options_of = _options_of(options, server)
            if server is None:
                await reach(options_of("gateway"))
            agent = options.agent or await stack.enter_async_context(_built_in_agent(options_of("agent")))
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
            gateway = HaipGateway(
                _connect(options_of), UIMessages(), JwtAuthenticator(secret), PostToAgent(agent, http)
            )
            await stack.enter_async_context(gateway)
            listener = _listen(gateway, options)
            await listener.start()
            # The gateway closes its sessions before the listener closes their connections.
            stack.push_async_callback(listener.stop)
            stack.push_async_exit(gateway)
            _introduce(console, f"{options.host}:{listener.port}", options, secret, server)
            async for _ in signals:
                break
    console.print("Stopped.")
    return 0


def _check(options: GatewayOptions) -> None:
    if not (options.allow_remote or is_loopback(options.host)):
        raise CliError(
            f"{options.host} can be reached from other machines, and the gateway encrypts nothing:"
            " put it behind a proxy with TLS, and add --allow-remote.",
            MISUSED,
        )
    if options.secret is not None and len(options.secret.encode()) < SHORTEST_SECRET:
        raise CliError(
            f"The secret is shorter than {SHORTEST_SECRET} bytes; tokens signed with it could be forged.",
            MISUSED,
        )
    if options.endpoint is not None and options.key is None:
        raise CliError("An endpoint needs a key: add --key APP.KEY:SECRET.", MISUSED)


def _options_of(options: GatewayOptions, server: LocalServer | None) -> OptionsOf:
    def of(client_id: str) -> dict[str, Any]:
        if server is not None:
            return server.python_options(client_id)
        return client_options(options.endpoint, key=options.key or "", client_id=client_id)

    return of


def _connect(options_of: OptionsOf) -> Callable[[str], AbstractAsyncContextManager[ChannelClient]]:
    @asynccontextmanager
    async def connect(client_id: str) -> AsyncGenerator[ChannelClient]:
        async with opened(options_of(client_id)) as client:
            yield client

    return connect


@asynccontextmanager
async def _built_in_agent(options: dict[str, Any]) -> AsyncGenerator[str]:
    source = Playback("built-in replies", built_in_replies())
    agent = Agent(options, source, Figures(Stats(), follower=""))
    async with serving(agent.app()) as address:
        yield f"{address}/api/chat"


def _listen(gateway: object, options: GatewayOptions) -> WebListener:
    try:
        # Compression of small frames costs more than it saves; most clients offer it unless told otherwise.
        return WebListener(cast("Any", gateway), options.host, options.port, ws_per_message_deflate=False)
    except OSError as error:
        raise CliError(
            f"unable to listen on {options.host}:{options.port}: {error.strerror or error}"
            " (choose another port with --port, or any free one with --port 0)"
        ) from error


def _introduce(
    console: Console, address: str, options: GatewayOptions, secret: str, server: LocalServer | None
) -> None:
    shown = address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    claims = {"sub": "me", "exp": int(time.time()) + TOKEN_SECONDS}
    token = cast("Any", jwt).encode(claims, secret, algorithm="HS256")
    console.print(Text.assemble("HAIP 1.1.2, in front of sessions: ", (f"ws://{shown}/", "bold green")))
    console.print(f"Also over http://{shown}/haip/sse and http://{shown}/haip/stream.")
    console.print(Text("\nA HAIP client, with a token that is valid for a day", "bold cyan"))
    console.print(Text(f'create_haip_client(url="ws://{shown}/", token="{token}")'))
    if options.secret is None:
        console.print(Text("\nThe secret that signs tokens, generated for this run", "bold cyan"))
        console.print(Text(secret))
    if server is not None:
        console.print(
            Text("\nOther clients on the same local server; thread NAME is session haip:NAME", "bold cyan")
        )
        console.print(Text(python_line(server.python_options(client_id="you"))))
        console.print(Text(javascript_line(server.javascript_options(client_id="you"))))
    console.print(
        Text(f"\nAgent: {options.agent or 'the built-in one, with prepared replies (see --agent)'}", "yellow")
    )
    console.print(Text("Ctrl-C stops it.", "dim"))
