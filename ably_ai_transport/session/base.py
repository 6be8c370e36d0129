"""The parts of one session: channel, conversation, connection, tasks and error listeners."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypedDict, cast

import anyio

from ably_ai_transport.channel import (
    Channel,
    ChannelClient,
    ChannelStateChange,
    open_channel,
)
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT, check_codec
from ably_ai_transport.conversation import REORDER_WINDOW_MS, TrustedAgents, TrustFilter
from ably_ai_transport.payloads import PayloadStore
from ably_ai_transport.payloads.exchange import PayloadExchange
from ably_ai_transport.payloads.timed import TimedPayloads
from ably_ai_transport.session.connection import SessionConnection
from ably_ai_transport.session.conversation import LiveConversation
from ably_ai_transport.session.logs import LOGGER, AnyLogger, SessionLog
from ably_ai_transport.session.signals import Latch
from ably_ai_transport.session.tasks import TaskOwner
from ably_ai_transport.session.telemetry import observe_session
from ably_ai_transport.version import __version__
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    NotAllowedError,
)
from ably_ai_transport.wire.listeners import Listeners

SDK_NAME = "ai-transport-python"
HISTORY_PAGE_SIZE = 100
MAX_HISTORY_PAGE_SIZE = 1000
CLOSE_TIMEOUT_SECONDS = 10.0
_MAX_STRANGERS = 100


class SessionOptions(TypedDict, total=False):
    """The options of sessions of either kind.

    Attributes:
        channel_modes: Channel modes to ask for beyond the default ones.
        history_page_size: Messages a page of history, 1 to 1000; 100 by default.
        reorder_window_ms: How long a finished run's events are kept, in milliseconds of message time; 120,000
            by default.
        close_timeout: How long an exit that was cancelled, or that an exception caused, waits for acks, in
            seconds; 10 by default.
        payloads: Keeps values that are too large for a message: a
            :class:`~ably_ai_transport.payloads.DirectoryPayloads`, an
            :class:`~ably_ai_transport.payloads.ObjectStorePayloads`, or your own
            :class:`~ably_ai_transport.payloads.PayloadStore`. Every session of the conversation needs
            the same store to show the original values. Without it, large messages are refused (40009).
        logger: Gets the session's log records, with ``session``, ``run``, ``step`` and ``serial`` as extra;
            ``ably_ai_transport.session`` by default.
        trusted_agents: The client ids of the agents, or a plain function of a verified client id and a
            message. What others publish as an agent is left out of the conversation. It is reported once for
            each of them (40300). Without this option everybody who may publish is trusted, as in the npm
            package. An agent's session trusts its own client id as well.
    """

    channel_modes: Sequence[str]
    history_page_size: int
    reorder_window_ms: int
    close_timeout: float
    payloads: PayloadStore
    logger: AnyLogger
    trusted_agents: TrustedAgents


class SessionCore(Generic[InT, OutT, ProjT, MsgT]):
    """The parts of one session: its channel, conversation, connection, tasks and error listeners.

    Args:
        client: An Ably client, or another source of channels.
        session_name: The conversation, which is the name of its channel.
        codec: The vocabulary of the conversation.
        options: As the caller gave them.
        merge_appends: Whether appends that wait for the connection's pace are merged.
        on_continuity_lost: Called when messages may have been missed.
        is_agent: Whether the session is an agent's, which trusts itself.

    Raises:
        InvalidArgumentError: An option is out of bounds, or the codec is a class (40003).
    """

    def __init__(
        self,
        client: ChannelClient,
        session_name: str,
        codec: Codec[InT, OutT, ProjT, MsgT],
        options: SessionOptions,
        *,
        merge_appends: bool,
        on_continuity_lost: Callable[[ChannelStateChange], None],
        is_agent: bool,
    ) -> None:
        _check(codec, options)
        self.codec = codec
        self.log = SessionLog(options.get("logger", LOGGER), {"session": session_name})
        self.close_timeout = options.get("close_timeout", CLOSE_TIMEOUT_SECONDS)
        self.channel: Channel = open_channel(
            client,
            session_name,
            agents=_agents_of(codec),
            modes=options.get("channel_modes", ()),
            merge_appends=merge_appends,
        )
        self.telemetry = observe_session(self.channel)
        store = options.get("payloads")
        self.payloads = None if store is None else PayloadExchange(TimedPayloads(store), session_name)
        self.tasks = TaskOwner(self._on_task_exception)
        self.held_runs: set[str] = set()
        """The runs that this session itself works on."""
        self._closed: Latch[None] | None = None
        # An exception in a listener of errors is only logged: reporting it to the same listeners would loop.
        self.errors = Listeners[AITransportError](spawn=self.tasks.start, logger=LOGGER)
        self.conversation = LiveConversation(
            self.channel,
            codec,
            page_size=options.get("history_page_size", HISTORY_PAGE_SIZE),
            reorder_window_ms=options.get("reorder_window_ms", REORDER_WINDOW_MS),
            report=self.report,
            log=self.log,
            payloads=self.payloads,
            spawn=self.tasks.start,
        )
        self._strangers: set[str | None] = set()
        trusted = options.get("trusted_agents")
        self.has_trusted_agents = trusted is not None
        if trusted is not None:
            own = (lambda: self.client_id) if is_agent else None
            self.conversation.gates.append(TrustFilter(trusted, own=own, on_refused=self._on_stranger))
        self.connection = SessionConnection(
            self.channel,
            self.log,
            self.telemetry,
            on_message=self._on_message,
            on_continuity_lost=on_continuity_lost,
        )

    @property
    def client_id(self) -> str | None:
        """The client id that this session publishes under; None when anonymous or a wildcard."""
        return self.channel.client_id if self.channel.client_id not in ("", "*") else None

    async def connect(self) -> None:
        """Subscribe and attach; report a refusal."""
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            raise InvalidArgumentError(
                "unable to connect; the Ably SDK runs on asyncio only (run this with asyncio.run(), or with"
                " anyio's asyncio backend)"
            ) from error
        try:
            await self.connection.connect()
        except AITransportError as error:
            if error.code == ErrorCode.SESSION_SUBSCRIPTION_ERROR:
                self.report(error)
            raise

    async def require(self, action: str) -> None:
        """Refuse an operation where the session is not connected or is closed."""
        self.connection.check_open(action)
        await self.connection.require(action)

    def report(self, error: AITransportError) -> None:
        """Tell the listeners of an error; with no listener, log it with its traceback."""
        if self.errors:
            self.log.debug("error reported: %s", error)
            self.errors.emit(error)
        else:
            self.log.error("%s", error, exc_info=error)

    def report_listener(self, error: Exception) -> None:
        """Report an exception in a listener."""
        self.report(AITransportError.wrap("call listener", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR))

    async def close_once(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Close the session in a task of its own; later calls wait for the first one.

        Args:
            close: Closes it. It continues if the caller is cancelled.
        """
        if self._closed is None:
            self._closed = Latch[None]()
            await self.tasks.finish(self._close(close, self._closed))
        else:
            await self._closed

    async def leave(self, close: Callable[[], Awaitable[None]], error: BaseException | None) -> None:
        """Close the session at the end of a ``with`` block.

        Without an error it waits as long as its caller does. After an error, or when it is cancelled, it
        waits for acks up to the close timeout, and then cancels what is left.

        Args:
            close: Closes the session.
            error: The exception that ended the block.
        """
        if error is None:
            try:
                await close()
            except anyio.get_cancelled_exc_class():
                await self._leave_in_time(close)
                raise
        else:
            await self._leave_in_time(close)

    async def _leave_in_time(self, close: Callable[[], Awaitable[None]]) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(self.close_timeout) as scope:
                await close()
            if scope.cancelled_caught:
                self.report(
                    AITransportError(
                        f"unable to close session; no ack within {self.close_timeout:g} s",
                        ErrorCode.SESSION_CLOSED,
                        408,
                    )
                )
                await self.tasks.close()
                await self.connection.close()

    @staticmethod
    async def _close(close: Callable[[], Coroutine[Any, Any, None]], closed: Latch[None]) -> None:
        try:
            await close()
        finally:
            closed.resolve(None)

    def _on_stranger(self, error: NotAllowedError) -> None:
        """Report the first message of each client that is left out, and log the others."""
        if error.client_id in self._strangers or len(self._strangers) >= _MAX_STRANGERS:
            self.log.debug("%s", error)
            return
        self._strangers.add(error.client_id)
        self.report(error)

    def _on_message(self, message: InboundMessage) -> None:
        self.conversation.receive(message, live=True)

    def _on_task_exception(self, error: BaseException) -> None:
        if isinstance(error, AITransportError):
            self.report(error)
        else:
            self.report(AITransportError.wrap("finish a task", error, ErrorCode.INTERNAL_ERROR))


def _agents_of(codec: Codec[InT, OutT, ProjT, MsgT]) -> Sequence[tuple[str, str]]:
    """List name and version of the libraries that a session identifies itself with."""
    agents = [(SDK_NAME, __version__)]
    if codec.adapter_tag is not None:
        agents.append((codec.adapter_tag, __version__))
    return agents


def _check(codec: object, options: SessionOptions) -> None:
    check_codec(codec)
    unknown = sorted(options.keys() - SessionOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"unable to open session; unknown option {unknown[0]!r}")
    page_size = options.get("history_page_size", HISTORY_PAGE_SIZE)
    check_int("open session", "history_page_size", page_size, 1, MAX_HISTORY_PAGE_SIZE)
    check_int("open session", "reorder_window_ms", options.get("reorder_window_ms", 0), 0)
    _check_store(options.get("payloads"))
    logger: object = options.get("logger", LOGGER)
    if not isinstance(logger, logging.Logger | logging.LoggerAdapter):
        raise InvalidArgumentError(f"unable to open session; {type(logger).__name__} is not a logger")


def _check_store(store: object) -> None:
    if isinstance(store, type):
        name = cast("type[object]", store).__name__
        raise InvalidArgumentError(f"unable to open session; payloads={name} is a class (pass an instance)")
    if store is not None and not isinstance(store, PayloadStore):
        raise InvalidArgumentError(
            f"unable to open session; {type(store).__name__} is no payload store (it needs put and get)"
        )


def check_seconds(action: str, name: str, value: object) -> None:
    """Refuse a value that is neither None nor a time span.

    Raises:
        InvalidArgumentError: It is not (40003).
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if value is not None and not fits:
        raise InvalidArgumentError(
            f"unable to {action}; {name} must be a number of seconds, 0 or more, got {value!r}"
        )


def check_int(action: str, name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse a value that is not a whole number within bounds.

    Raises:
        InvalidArgumentError: It is not (40003).
    """
    fits = isinstance(value, int) and not isinstance(value, bool)
    if not fits or value < least or (most is not None and value > most):  # pyright: ignore[reportOperatorIssue]
        bounds = f"{least} to {most}" if most is not None else f"{least} or more"
        raise InvalidArgumentError(
            f"unable to {action}; {name} must be a whole number, {bounds}, got {value!r}"
        )
