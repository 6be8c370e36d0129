"""`LocalServer`: the server for programs, in-process and for as long as its block."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ably_ai_transport.local.auth.capability import EVERYTHING, Capability
from ably_ai_transport.local.auth.credentials import DEFAULT_TTL_MS
from ably_ai_transport.local.core.apps import Apps
from ably_ai_transport.local.core.engine import Engine
from ably_ai_transport.local.options import LocalServerOptions
from ably_ai_transport.local.storage.sqlite import SqliteContent
from ably_ai_transport.local.web.app import create_app
from ably_ai_transport.local.web.listener import WebListener
from ably_ai_transport.local.web.websocket import SocketProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from starlette.applications import Starlette

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.core.faults import Faults
    from ably_ai_transport.local.core.transport import FrameObserver
    from ably_ai_transport.local.stats import Stats
    from ably_ai_transport.local.storage.contract import Storage

logger = logging.getLogger("ably_ai_transport.local")

_TOKEN_OPTIONS = frozenset({"token", "token_details", "auth_callback", "auth_url", "key"})
_JS_TOKEN_OPTIONS = frozenset({"token", "tokenDetails", "authUrl", "key"})
_READ_AHEAD = 4


class LocalServer:
    """An Ably server for development and tests, in this process and on this event loop.

    ```python
    async with LocalServer() as server:
        client = AblyRealtime(**server.python_options(client_id="alice"))
    ```

    Attributes:
        options: Its options.
        app: The ASGI application, to mount into another one instead of entering the server.
        faults: The fault switch.
        stats: Counters.
    """

    def __init__(
        self,
        options: LocalServerOptions | None = None,
        *,
        clock: Clock | None = None,
        storage: Storage | None = None,
    ) -> None:
        self.options = options or LocalServerOptions()
        self._clock = clock
        self._given_storage = storage
        self._observers: list[FrameObserver] = []
        self._engine: Engine
        self._apps: Apps
        self.app: Starlette
        self._create_engine()
        self.host = self.options.host
        self._web: WebListener | None = None

    def __repr__(self) -> str:
        return "<LocalServer (not running)>" if self._web is None else f"<LocalServer {self.url}>"

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._web is None:
            raise RuntimeError("the local server is not running")
        return self._web.port

    @property
    def url(self) -> str:
        """The address of its REST API."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def key(self) -> str:
        """Its (first) API key, with the secret."""
        return self._engine.authority.key

    @property
    def faults(self) -> Faults:
        """The fault switch."""
        return self._engine.faults

    @property
    def stats(self) -> Stats:
        """Counters: connections, frames, messages."""
        return self._engine.stats

    def token(
        self,
        client_id: str | None = None,
        *,
        capability: Mapping[str, Sequence[str]] | None = None,
        ttl: float = DEFAULT_TTL_MS / 1000,
    ) -> str:
        """Return a signed JWT.

        Args:
            client_id: The clientId of the holder; `*` lets the holder choose, None makes an anonymous client.
            capability: Operations by channel pattern; all operations when left out.
            ttl: Seconds until the token expires; a negative number makes an expired token.
        """
        granted = Capability(capability) if capability is not None else EVERYTHING
        return self._engine.authority.issue(client_id=client_id, capability=granted, ttl_ms=round(ttl * 1000))

    def python_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return keyword arguments for `AblyRealtime` and `AblyRest` of the Python SDK.

        They are right for its successor, too: `create_realtime_client` of `ably-pubsub-server` 4. Version 3
        ignores `port` for websockets and refuses API keys over plain HTTP, hence the port in the endpoint
        (the slash keeps REST addresses right) and token authentication.

        Args:
            client_id: The client's name.
            overrides: Further options; `key`, `token`, `token_details`, `auth_callback` or `auth_url` among
                them replace the default credentials.
        """
        options: dict[str, Any] = {"endpoint": f"{self.host}:{self.port}/", "tls": False}
        if client_id is not None:
            options["client_id"] = client_id
        if not _TOKEN_OPTIONS & overrides.keys():
            options["key"] = self.key
            options["use_token_auth"] = True
            if client_id is not None:
                options["default_token_params"] = {"client_id": client_id}
        return {**options, **overrides}

    def javascript_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return `ClientOptions` for `new Ably.Realtime(…)` of the JavaScript SDK, fit for JSON.

        Args:
            client_id: The client's name.
            overrides: Further options by their JavaScript names; credentials among them replace the default.
        """
        options: dict[str, Any] = {"endpoint": self.host, "port": self.port, "tls": False}
        if client_id is not None:
            options["clientId"] = client_id
        if not _JS_TOKEN_OPTIONS & overrides.keys():
            options["key"] = self.key
        return {**options, **overrides}

    def on_frame(self, callback: FrameObserver) -> None:
        """Call `callback` for each frame.

        Args:
            callback: Called with the direction (`c2s` when read, `s2c` when written), the label of the
                connection, and the frame. Frames hold tokens and connectionKeys.
        """
        self._observers.append(callback)

    async def restart(self) -> None:
        """Stop and start again on the same port with the same key, as after a crash.

        A server without a data file loses all its channels. Faults are switched off.

        Raises:
            RuntimeError: The server is not running.
        """
        port, key = self.port, self.key
        await self.__aexit__(None, None, None)
        self.options = replace(self.options, port=port, keys=self.options.keys or (key,))
        self._create_engine()
        await self.__aenter__()

    def _create_engine(self) -> None:
        storage = self._given_storage or _storage(self.options)
        self._engine = Engine(self.options, clock=self._clock, storage=storage, observers=self._observers)
        self._apps = Apps(self._engine)
        self.app = create_app(self._apps)

    async def __aenter__(self) -> Self:
        request_seconds = self.options.request_timeout_ms / 1000
        ping_seconds = self.options.ping_timeout_ms / 1000
        web = WebListener(
            self.app,
            self.options.host,
            self.options.port,
            head_seconds=request_seconds,
            request_seconds=request_seconds,
            ws=SocketProtocol,
            ws_ping_interval=ping_seconds,
            ws_ping_timeout=ping_seconds,
            ws_per_message_deflate=False,
            # Frames up to this size are answered with an error; uvicorn closes the connection on larger ones.
            ws_max_size=_READ_AHEAD * self.options.limits.max_frame_size,
        )
        try:
            self._apps.start()
        except BaseException:  # an interrupt must not leave the port taken
            web.close()
            self._apps.close()
            raise
        self._web = web
        try:
            await web.start()
        except BaseException:  # a cancelled start closes the server, too
            await self.__aexit__(None, None, None)
            raise
        logger.info("local server listens on %s", self.url)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        web, self._web = self._web, None
        self._apps.close()
        if web is not None:
            await web.stop()
            logger.info("local server stopped")


async def serve(options: LocalServerOptions | None = None) -> None:
    """Run a local server until cancelled."""
    async with LocalServer(options):
        await asyncio.get_running_loop().create_future()


def _storage(options: LocalServerOptions) -> Storage | None:
    if options.data is None:
        return None
    kept_ms = options.retention_ms + options.connection_state_ttl_ms
    return SqliteContent(options.data, kept_ms=kept_ms, accept_loss=options.accept_loss).app()
