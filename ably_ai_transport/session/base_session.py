"""What sessions of clients and of agents have in common."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic

from ably_ai_transport.channel import ChannelClient, ChannelStateChange, open_channel
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.session.connection import SessionConnection
from ably_ai_transport.session.emitter import Emitter
from ably_ai_transport.session.identity import agents_of, no_objects_error
from ably_ai_transport.session.materialisation import Materialisation, SessionTree
from ably_ai_transport.session.tasks import TaskOwner
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage

logger = logging.getLogger("ably_ai_transport.session")

HISTORY_PAGE_SIZE = 100


class BaseSession(ABC, Generic[InT, OutT, ProjT, MsgT]):
    """A hold on one conversation: its channel, its tree, its errors.

    Args:
        client: An Ably client, or another source of channels.
        session_name: The conversation, which is the name of its channel.
        codec: The vocabulary of the conversation.
        channel_modes: Channel modes to ask for beyond the default ones.
        history_page_size: Messages a page of history.
        reorder_window_ms: How long a finished run's events are kept, in milliseconds of message time.
        lazy: Whether tokens may be taken in together as long as nobody watches closely.
    """

    def __init__(
        self,
        client: ChannelClient,
        session_name: str,
        *,
        codec: Codec[InT, OutT, ProjT, MsgT],
        channel_modes: Sequence[str],
        history_page_size: int,
        reorder_window_ms: int,
        lazy: bool,
    ) -> None:
        self._channel = open_channel(client, session_name, agents=agents_of(codec), modes=channel_modes)
        self._codec = codec
        self._page_size = history_page_size
        self._reorder_window_ms = reorder_window_ms
        self._lazy = lazy
        self._errors = Emitter[AITransportError]()
        self._tasks = TaskOwner(self._on_task_exception)
        self._connection = SessionConnection(
            self._channel, on_message=self._on_message, on_continuity_lost=self._on_continuity_lost
        )
        self._tree = SessionTree(lambda: self._materialisation, self._on_listener_exception)
        self._materialisation = self._materialise()

    @property
    def name(self) -> str:
        """The conversation's name, which is that of its channel."""
        return self._channel.name

    @property
    def tree(self) -> SessionTree[InT, OutT, ProjT, MsgT]:
        """The whole conversation that has been seen, every branch of it."""
        return self._tree

    @property
    def presence(self) -> "object":
        """The channel's presence, as the Ably SDK offers it."""
        return self._channel.presence

    def on_error(self, listener: Callable[[AITransportError], "object"]) -> Callable[[], None]:
        """Call a function with what goes wrong outside of any call; the session stays usable.

        That is: messages may have been missed (104006), the channel could not be subscribed to, or a listener
        raised (104001). A client is told of what agents report, with their codes; an agent, of callbacks of
        its runs that raised (104002) and of pipes that failed (104008).

        Args:
            listener: A plain function.

        Returns:
            A function that takes the listener away again.
        """
        return self._errors.on(listener)

    async def connect(self) -> None:
        """Subscribe and attach. Connecting twice is fine; so is trying again after a failure.

        Raises:
            AITransportError: The session is closed (104004), or the channel refused (104001; ``cause`` says
                why).
        """
        try:
            await self._connection.connect()
        except AITransportError as error:
            if error.code == ErrorCode.SESSION_SUBSCRIPTION_ERROR:
                self._errors.emit(error)
            raise

    @property
    def object(self) -> "object":
        """LiveObjects, which the Ably SDK for Python does not have.

        Raises:
            AITransportError: Always (40003).
        """
        raise no_objects_error()

    @abstractmethod
    def _take_in(self, message: InboundMessage) -> None:
        """Process a message of the channel."""

    @abstractmethod
    def _on_continuity_lost(self, change: ChannelStateChange) -> None:
        """Messages may have been missed."""

    def _materialise(self) -> Materialisation[InT, OutT, ProjT, MsgT]:
        materialisation = Materialisation(
            self._channel,
            self._codec,
            page_size=self._page_size,
            reorder_window_ms=self._reorder_window_ms,
            on_exception=self._on_listener_exception,
            lazy=self._lazy,
        )
        materialisation.watch(self._tree.forward)
        return materialisation

    def _close_listeners(self) -> None:
        self._tree.close()
        self._errors.clear()

    def _on_message(self, message: InboundMessage) -> None:
        if self._connection.closed:
            return
        try:
            self._take_in(message)
        except Exception as error:
            logger.exception("A channel message could not be processed")
            self._errors.emit(
                AITransportError.wrap("process channel message", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR)
            )

    def _on_listener_exception(self, error: Exception) -> None:
        self._errors.emit(AITransportError.wrap("call listener", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR))

    def _on_task_exception(self, error: BaseException) -> None:
        self._errors.emit(AITransportError.wrap("finish a task", error, ErrorCode.INTERNAL_ERROR))
