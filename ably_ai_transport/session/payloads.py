"""Payloads of arriving messages: the original values in place of references."""

from collections.abc import Callable, Sequence
from typing import Final, Generic

import anyio

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import Tree, TreeEvent
from ably_ai_transport.payloads.exchange import PayloadExchange, PayloadLostError
from ably_ai_transport.payloads.references import HEADER
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage
from ably_ai_transport.wire.listeners import Spawn

_AT_ONCE: Final = 8
"""Maximum number of messages whose payloads are read at the same time."""


class ArrivingPayloads(Generic[InT, OutT, ProjT, MsgT]):
    """Brings back the values of one conversation's messages.

    History waits for them. A live message does not: it is applied with its references, and again when its
    values are there. Where the store fails, the references stay until the next load of a view tries again.

    Args:
        exchange: Reads the store.
        tree: The conversation.
        publish: Called with the changes that values bring.
        report: Called with each failure of the store.
        spawn: Runs reads in tasks of the session.
    """

    def __init__(
        self,
        exchange: PayloadExchange,
        tree: Tree[InT, OutT, ProjT, MsgT],
        *,
        publish: Callable[[Sequence[TreeEvent[InT, OutT]]], None],
        report: Callable[[AITransportError], None],
        spawn: Spawn,
    ) -> None:
        self._exchange = exchange
        self._tree = tree
        self._publish = publish
        self._report = report
        self._spawn = spawn
        self._slots = anyio.Semaphore(_AT_ONCE)
        self._unread: dict[str, InboundMessage] = {}
        self._reading: set[str] = set()
        self._lost: set[str] = set()
        self._quiet: anyio.Event | None = None

    def known(self, message: InboundMessage) -> InboundMessage:
        """Return a message with its values, if they are known already; otherwise the message itself."""
        if HEADER not in message.transport_headers:
            return message
        try:
            return self._exchange.bring_back_known(message) or message
        except PayloadLostError as error:
            self._give_up(message, error)
            return message

    def follow_up(self, message: InboundMessage) -> None:
        """Read the values of a message that was applied without them, in a task."""
        serial = message.serial
        if HEADER not in message.transport_headers or serial is None or serial in self._lost:
            return
        self._tree.incomplete.expect(message)
        if serial not in self._unread:
            self._unread[serial] = message
            self._reading.add(serial)
            self._spawn(self._complete(serial, message))

    async def bring_back(self, messages: Sequence[InboundMessage]) -> Sequence[InboundMessage]:
        """Return a page of history with the original values; a message that cannot be read stays as it is."""
        complete = list(messages)

        async def read(index: int) -> None:
            message = complete[index]
            found = await self._read(message)
            if found is not None:
                complete[index] = found
            elif message.serial is not None and message.serial not in self._lost:
                self._unread.setdefault(message.serial, message)

        async with anyio.create_task_group() as tasks:
            for index, message in enumerate(messages):
                if HEADER in message.transport_headers and message.serial not in self._lost:
                    tasks.start_soon(read, index)
        return complete

    async def settled(self) -> None:
        """Wait for the values of all messages. Failed reads are tried once more."""
        failed = [(serial, one) for serial, one in self._unread.items() if serial not in self._reading]
        self._reading.update(serial for serial, _ in failed)
        async with anyio.create_task_group() as tasks:
            for serial, message in failed:
                tasks.start_soon(self._complete, serial, message)
        while self._reading:
            self._quiet = self._quiet or anyio.Event()
            await self._quiet.wait()

    def close(self) -> None:
        """Let go of everything that waits: the reads have been cancelled."""
        self._reading.clear()
        self._wake()

    async def _complete(self, serial: str, message: InboundMessage) -> None:
        """Put the values of an applied message in their places."""
        try:
            found = await self._read(message)
            if found is not None:
                self._unread.pop(serial, None)
                self._publish(self._tree.complete(found))
        finally:
            self._reading.discard(serial)
            self._wake()

    async def _read(self, message: InboundMessage) -> InboundMessage | None:
        try:
            async with self._slots:
                return await self._exchange.bring_back(message)
        except PayloadLostError as error:
            self._give_up(message, error)
        except AITransportError as error:
            self._report_of(message, error)
        return None

    def _give_up(self, message: InboundMessage, error: AITransportError) -> None:
        if message.serial is not None:
            if message.serial in self._lost:
                return
            self._lost.add(message.serial)
            self._unread.pop(message.serial, None)
        self._tree.incomplete.forgo(message)
        self._report_of(message, error)

    def _report_of(self, message: InboundMessage, error: AITransportError) -> None:
        action = f"show message {message.serial} as it was published"
        self._report(AITransportError.wrap(action, error, ErrorCode.INTERNAL_ERROR))

    def _wake(self) -> None:
        if not self._reading and self._quiet is not None:
            self._quiet.set()
            self._quiet = None
