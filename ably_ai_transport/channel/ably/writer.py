"""Publishes of one client: they leave in the order of the calls, and each ack finds its publish."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ably_ai_transport.channel.ably.sdk import to_error, word
from ably_ai_transport.wire import AITransportError, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ably_ai_transport.channel.ably.sdk import ConnectionManager, Pending, PublishResult
    from ably_ai_transport.channel.acks import Acks
    from ably_ai_transport.channel.payload import Frame

T = TypeVar("T")

logger = logging.getLogger("ably_ai_transport.channel")

MAX_FRAME_SIZE: Final = 524288
"""Bytes that a publish may have where the server's limit is not known: the size that breaks connections."""

_NOT_CONNECTED: Final = 90000
_IMMUTABLE: Final = 93002
_BURST: Final = 64
"""Messages after which other tasks get a turn; a socket that takes everything never makes the writer wait."""
_ACTIONS: Final = {0: "create", 1: "update", 5: "append"}


class Publication(Generic[T]):
    """One publish and its ack.

    The SDK takes it for one of its own pending messages, and for that message's future, too: the ack reaches
    the caller without a detour through the event loop.

    Args:
        message: The frame.
        acks: The channel's acks.
        ack: The caller's future.
        read: Reads the caller's value from the serials of the ack.

    Attributes:
        message: The frame.
        ack_required: True: the server acks publishes.
    """

    __slots__ = ("_ack", "_acks", "_answered", "_read", "ack_required", "message")

    def __init__(
        self,
        message: Frame,
        acks: Acks,
        ack: asyncio.Future[T],
        read: Callable[[list[str | None]], T],
    ) -> None:
        self.message = message
        self.ack_required = True
        self._acks = acks
        self._ack = ack
        self._read = read
        self._answered = False

    @property
    def future(self) -> Publication[T]:
        """The future that the SDK completes."""
        return self

    def done(self) -> bool:
        """Whether the server answered; a caller that gave up does not count."""
        return self._answered

    def set_result(self, result: PublishResult) -> None:
        """Ack the publish."""
        if not self._answered:
            self._answered = True
            self._acks.resolve(self._ack, self._read(result.serials))

    def set_exception(self, error: BaseException) -> None:
        """Refuse the publish."""
        if not self._answered:
            self._answered = True
            self._acks.refuse(self._ack, _refusal(error, self.message))


class _NoResult:
    """An ack without serials."""

    @property
    def serials(self) -> list[str | None]:
        return []


_NO_RESULT = _NoResult()


class InFlight:
    """Unanswered publishes by their msgSerial; stands in for the SDK's queue of them.

    The queue of ably 3.1.4 counts acks off its head. A message that is missing, out of order or left over
    from another connection shifts the acks of all later ones, and each message costs a search of the queue.
    Here an ack belongs to the number that it carries.

    Args:
        pending: The publishes that are unanswered already.
    """

    def __init__(self, pending: Iterable[Pending] = ()) -> None:
        self._by_serial: dict[int, Pending] = {}
        for one in pending:
            self.push(one)

    @property
    def messages(self) -> InFlight:
        """The messages, which the SDK iterates over and searches."""
        return self

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._by_serial.values()))

    def __len__(self) -> int:
        return len(self._by_serial)

    def __contains__(self, pending: object) -> bool:
        serial = serial_of(pending)
        return serial is not None and self._by_serial.get(serial) is pending

    def push(self, pending: Pending) -> None:
        """Add a message that has its number."""
        self._by_serial[pending.message["msgSerial"]] = pending

    def discard(self, pending: Pending) -> None:
        """Remove a message that was not sent."""
        if pending in self:
            del self._by_serial[pending.message["msgSerial"]]

    def count(self) -> int:
        """Return the number of unanswered publishes."""
        return len(self._by_serial)

    def complete_messages(
        self,
        serial: int,
        count: int,
        res: Sequence[PublishResult] | None,
        err: BaseException | None = None,
    ) -> None:
        """Ack or refuse the publishes that an ACK or a NACK names."""
        told = logger.isEnabledFor(logging.DEBUG)
        for index in range(count):
            pending = self._by_serial.pop(serial + index, None)
            future = None if pending is None else pending.future
            if pending is None or future is None or future.done():
                continue
            if told:
                _tell("Acked" if err is None else f"Refused with code {to_error(err).code}", pending.message)
            if err is not None:
                future.set_exception(err)
            else:
                future.set_result(res[index] if res and index < len(res) else _NO_RESULT)

    def complete_all_messages(self, err: BaseException) -> None:
        """Refuse all."""
        refused, self._by_serial = self._by_serial, {}
        for pending in refused.values():
            if pending.future is not None and not pending.future.done():
                pending.future.set_exception(err)

    def clear(self) -> None:
        """Forget all."""
        self._by_serial.clear()


class Writer:
    """Numbers and sends the publishes of one client.

    The SDK makes a task of each publish, and their order is the one in which they happen to run. What waits
    for a connection goes through two queues and leaves them twice, or in the wrong order (ably 3.1.4). Here
    there is one queue, and one task for as long as a connection lasts.

    Args:
        manager: The SDK's connection.

    Attributes:
        in_flight: The publishes without an ack.
        max_message_size: Bytes that a publish may have.
    """

    def __init__(self, manager: ConnectionManager, max_message_size: int = MAX_FRAME_SIZE) -> None:
        self.in_flight = InFlight(manager.pending_message_queue.messages)
        self.max_message_size = max_message_size
        manager.pending_message_queue = self.in_flight
        self._manager = manager
        self._again: deque[Pending] = deque()
        self._outbox: deque[Pending] = deque()
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    def put(self, publication: Pending) -> None:
        """Send a message now, or when there is a connection."""
        manager = self._manager
        state = manager.state
        if state == "connected" or manager.options.queue_messages:
            self._outbox.append(publication)
            idle = self._idle
            if idle is not None:
                if not idle.done():
                    idle.set_result(None)
            elif self._task is None and state == "connected":
                self._start()
        elif publication.future is not None:
            publication.future.set_exception(
                AITransportError(f"unable to publish; connection is {word(state)}", _NOT_CONNECTED)
            )

    def resume(self, again: Iterable[Pending]) -> None:
        """Go on with a new connection.

        Args:
            again: The publishes that were sent before and have no ack, in order; they go first.
        """
        self._again = deque(again)
        if self._again:
            logger.debug("Publishing %d unacked frames again", len(self._again))
        if self._task is None:
            self._start()
        else:
            self.wake()

    def wake(self) -> None:
        """Make the task look at the queue, and at the connection: it ends with it."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Refuse everything that waits for a connection."""
        self._again.clear()
        waiting, self._outbox = self._outbox, deque()
        for publication in waiting:
            if publication.future is not None:
                publication.future.set_exception(error)

    def _start(self) -> None:
        # This writer owns the task. It ends with the connection; closing the client ends that.
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ably publishes")

    async def _run(self) -> None:
        """Send the queued messages, in order, until the connection is lost."""
        manager, written = self._manager, 0
        try:
            while manager.state == "connected":
                transport = manager.transport
                if transport is None or transport.is_disposed:
                    return
                if self._again:
                    pending = self._again.popleft()
                elif self._outbox:
                    pending = self._outbox.popleft()
                    pending.message["msgSerial"] = manager.msg_serial
                    manager.msg_serial += 1
                    self.in_flight.push(pending)
                else:
                    written = 0
                    self._idle = asyncio.get_running_loop().create_future()
                    await self._idle
                    self._idle = None
                    continue
                if logger.isEnabledFor(logging.DEBUG):
                    _tell("Published", pending.message)
                try:
                    await transport.send(pending.message)
                except (TypeError, ValueError, OverflowError) as error:
                    self._take_back(pending, error)
                except Exception as error:  # noqa: BLE001
                    # Broad: a dying websocket may raise anything. The message may have arrived, so it is sent
                    # again under the same number, by which the server knows a duplicate. The SDK fails
                    # the caller, but also sends the message again.
                    logger.debug("A publish waits for the next connection: %s", type(error).__name__)
                written += 1
                if not written % _BURST:
                    await asyncio.sleep(0)
        finally:
            self._task = self._idle = None

    def _take_back(self, pending: Pending, error: Exception) -> None:
        """Undo the numbering of a message that cannot be encoded: a gap would confuse the server."""
        self.in_flight.discard(pending)
        if pending.message.get("msgSerial") == self._manager.msg_serial - 1:
            self._manager.msg_serial -= 1
        if pending.future is not None and not pending.future.done():
            pending.future.set_exception(error)


def serial_of(pending: object) -> int | None:
    """Return the msgSerial of a message, None where it has none."""
    message: Frame = getattr(pending, "message", {})
    serial: object = message.get("msgSerial")
    return serial if isinstance(serial, int) else None


def _refusal(error: BaseException, frame: Frame) -> AITransportError:
    """Turn a NACK into an error; one that a channel rule would have avoided names the rule."""
    refusal = to_error(error)
    if refusal.code != _IMMUTABLE:
        return refusal
    name = str(frame.get("channel"))
    namespace, colon, _ = name.partition(":")
    where = f"namespace '{namespace}'" if colon else "channels without a namespace"
    return error_of(
        f"unable to publish; channel '{name}' takes no appends, updates or deletes "
        f'(switch on the rule "Message annotations, updates, deletes and appends", mutableMessages, '
        f"for {where} in the Ably dashboard)",
        refusal.code,
        refusal.status_code,
        error,
    )


def _tell(event: str, frame: Frame) -> None:
    """Log a publish and its outcome, never its data."""
    messages: list[Frame] = frame.get("messages") or [{}]
    first = messages[0]
    action = _ACTIONS.get(first.get("action", 0), "other")
    serial: object = first.get("serial")
    logger.debug(
        "%s %s on %s",
        event,
        action,
        frame.get("channel"),
        extra={"session": frame.get("channel"), "serial": serial, "action": action},
    )
