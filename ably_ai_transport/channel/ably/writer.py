"""Publishes of one client: they leave in the order of the calls, and each ack finds its publish."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from ably_ai_transport.channel.ably.outbox import Outbox
from ably_ai_transport.channel.ably.pacer import (
    CHANNEL_RATE_LIMITED,
    DEFAULT_LIMIT,
    RATE_LIMITED,
    STEADY_SHARE,
    Pacer,
)
from ably_ai_transport.channel.ably.publication import Publication
from ably_ai_transport.channel.ably.sdk import code_of, to_error, word
from ably_ai_transport.channel.payload import APPEND
from ably_ai_transport.wire import AITransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ably_ai_transport.channel.ably.sdk import ConnectionManager, Pending, PublishResult
    from ably_ai_transport.channel.payload import Frame

logger = logging.getLogger("ably_ai_transport.channel")

MAX_FRAME_SIZE: Final = 524288
"""Bytes that a publish may have where the server's limit is not known: the size that breaks connections."""

_NOT_CONNECTED: Final = 90000
_CONNECTION_EXPIRED: Final = 80008
_BURST: Final = 64
"""Messages after which other tasks get a turn; a socket that takes everything never makes the writer wait."""
_ACTIONS: Final = {0: "create", 1: "update", 5: "append"}


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
        answered: Called with each publish of a session, and its result or refusal.
        pending: The publishes that are unanswered already.
    """

    def __init__(
        self,
        answered: Callable[[Publication, PublishResult | None, BaseException | None], None],
        pending: Iterable[Pending] = (),
    ) -> None:
        self._answered = answered
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
            result = res[index] if res and index < len(res) else _NO_RESULT
            if isinstance(pending, Publication):
                self._answered(pending, result, err)
            elif err is not None:
                future.set_exception(err)
            else:
                future.set_result(result)

    def complete_all_messages(self, err: BaseException) -> None:
        """Refuse all."""
        refused, self._by_serial = self._by_serial, {}
        for pending in refused.values():
            if pending.future is not None and not pending.future.done():
                pending.future.set_exception(err)

    def clear(self) -> None:
        """Forget all."""
        self._by_serial.clear()


class _Held:
    """Appends to one message that were refused for rate, while other appends to it have no answer yet.

    Attributes:
        publications: The appends.
        error: The refusal.
        has_gap: Whether the server took a later append: these can only be repaired by the whole text.
    """

    __slots__ = ("error", "has_gap", "publications")

    def __init__(self, error: BaseException) -> None:
        self.publications: list[Publication] = []
        self.error = error
        self.has_gap = False


class Writer:
    """Numbers, paces and sends the publishes of one client.

    The SDK makes a task of each publish, and their order is the one in which they happen to run. What waits
    for a connection goes through two queues and leaves them twice, or in the wrong order (ably 3.1.4). Here
    there is one queue, and one task for as long as a connection lasts.

    A publish that is refused for rate was not taken: it leaves again, in its place, as the pace allows. After
    the loss of a connection and its state, nobody knows whether unacked appends were taken. They are refused,
    so that their stream is repaired by its whole text; everything else is the same when it arrives twice.

    Args:
        manager: The SDK's connection.
        max_message_size: Bytes that a publish may have.
        clock: The time, in seconds.

    Attributes:
        in_flight: The publishes without an ack.
        max_message_size: Bytes that a publish may have.
    """

    def __init__(
        self,
        manager: ConnectionManager,
        max_message_size: int = MAX_FRAME_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.in_flight = InFlight(self._answered, manager.pending_message_queue.messages)
        self.max_message_size = max_message_size
        manager.pending_message_queue = self.in_flight
        self._manager = manager
        self._clock = clock
        self._again: deque[Pending] = deque()
        self._outbox = Outbox()
        self._held: dict[str, _Held] = {}
        self._broken: dict[str | None, BaseException] = {}
        self._pacer = Pacer(None, clock)
        self._chosen_rate: float | None = None
        self._channel_pacers: dict[str, Pacer] = {}
        self._due = math.inf
        self._paced = False
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    @property
    def rate(self) -> float:
        """Messages a second that leave at most, at present."""
        return self._pacer.rate

    def set_limit(self, limit: float | None) -> None:
        """Take note of the limit that the server announced for a connection.

        Args:
            limit: Messages a second; None where it announced none.
        """
        if self._chosen_rate is None and limit:
            self._pacer.set_limit(limit)

    def choose_rate(self, rate: float) -> None:
        """Publish at a rate that the application chose, whatever the server announces.

        Args:
            rate: Messages a second; infinite for as many as there are, until the server refuses some.
        """
        self._chosen_rate = rate
        self._pacer.set_limit(rate / STEADY_SHARE)
        self.wake()

    def put(self, publication: Publication) -> None:
        """Send a message now, or when there is a connection."""
        manager = self._manager
        state = manager.state
        if self._broken and publication.action == APPEND and publication.target in self._broken:
            publication.set_exception(self._broken[publication.target])
        elif state == "connected" or manager.options.queue_messages:
            self._outbox.put(publication, self.max_message_size)
            idle = self._idle
            if idle is not None:
                if not idle.done() and not self._paced:
                    idle.set_result(None)
            elif self._task is None and state == "connected":
                self._start()
        else:
            publication.set_exception(
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
        for held in self._held.values():
            _refuse(held.publications, error)
        self._held.clear()
        _refuse(self._outbox.clear(), error)

    def give_up_appends(self, targets: Iterable[str]) -> None:
        """Refuse all text that waits for messages of which earlier text may be lost.

        Args:
            targets: The serials of the messages.
        """
        for target in targets:
            held = self._held.pop(target, None)
            self._refuse_text(target, [] if held is None else held.publications, unknown_outcome())

    def _refuse_text(self, target: str, publications: Sequence[Publication], error: BaseException) -> None:
        """Refuse appends to a message, and all others to it until the caller has heard of that."""
        _refuse([*publications, *self._outbox.remove_appends(target)], error)
        self._broken[target] = error
        # The callers' callbacks are called first: they were scheduled before.
        asyncio.get_running_loop().call_soon(self._broken.pop, target, None)

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
                pending = self._next()
                if pending is None:
                    written = 0
                    await self._rest()
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

    def _next(self) -> Pending | None:
        """Take what leaves now; None when there is nothing, or when it is not yet time."""
        self._due = math.inf
        self._paced = False
        if not self._again and not self._outbox:
            return None
        delay = self._pacer.delay()
        if delay > 0:
            self._due, self._paced = delay, True
            return None
        if self._again:
            pending = self._again.popleft()
            self._pacer.spend(1)
            return pending
        publication = self._outbox.take(self._may_leave)
        if publication is None:
            return None
        publication.seal()
        self._pacer.spend(publication.count)
        if self._channel_pacers and publication.channel in self._channel_pacers:
            self._channel_pacers[publication.channel].spend(publication.count)
        publication.sent_at = self._clock()
        manager = self._manager
        publication.message["msgSerial"] = manager.msg_serial
        manager.msg_serial += 1
        self.in_flight.push(publication)
        return publication

    def _may_leave(self, publication: Publication) -> bool:
        if not self._held and not self._channel_pacers:
            return True
        if self._held and publication.target in self._held:
            return False
        pacer = self._channel_pacers.get(publication.channel)
        delay = 0.0 if pacer is None else pacer.delay()
        self._due = min(self._due, delay or math.inf)
        return delay == 0

    async def _rest(self) -> None:
        """Wait for something to send, or for the time to send it."""
        loop = asyncio.get_running_loop()
        self._idle = loop.create_future()
        timer = None if self._due == math.inf else loop.call_later(self._due, self.wake)
        try:
            await self._idle
        finally:
            self._idle = None
            if timer is not None:
                timer.cancel()

    def _answered(
        self, publication: Publication, result: PublishResult | None, error: BaseException | None
    ) -> None:
        """Ack a publish, refuse it, or send it again where it was refused for rate."""
        target = publication.target
        if error is None:
            publication.set_result(result or _NO_RESULT)
            if not self._pacer.is_unlimited:
                self._pacer.accepted()
            if self._held and target in self._held:
                self._held[target].has_gap = True
        elif code_of(error) in RATE_LIMITED:
            self._take_refusal(publication, error)
        else:
            publication.set_exception(error)
        if self._held and target in self._held:
            self._settle(target)

    def _take_refusal(self, publication: Publication, error: BaseException) -> None:
        if code_of(error) == CHANNEL_RATE_LIMITED:
            pacer = self._channel_pacers.get(publication.channel)
            if pacer is None:
                pacers = self._channel_pacers
                self._channel_pacers = {name: one for name, one in pacers.items() if not one.is_recovered}
                pacer = self._channel_pacers[publication.channel] = Pacer(DEFAULT_LIMIT, self._clock)
        else:
            pacer = self._pacer
        pacer.refused(publication.sent_at)
        publication.lane.stats.refused += 1
        logger.debug(
            "Refused for rate; publishing %d messages a second",
            pacer.rate,
            extra={"session": publication.channel, "code": code_of(error)},
        )
        if publication.action == APPEND and publication.target is not None:
            held = self._held.get(publication.target)
            if held is None:
                held = self._held[publication.target] = _Held(error)
            held.publications.append(publication)
        else:
            self._outbox.put_back([publication])
        self.wake()

    def _settle(self, target: str) -> None:
        """Send the appends to a message again, or give them up, once all that left have their answer."""
        if any(isinstance(one, Publication) and one.target == target for one in self.in_flight):
            return
        held = self._held.pop(target)
        if held.has_gap:
            self._refuse_text(target, held.publications, held.error)
        else:
            self._outbox.put_back(held.publications)
            self.wake()

    def _take_back(self, pending: Pending, error: Exception) -> None:
        """Undo the numbering of a message that cannot be encoded: a gap would confuse the server."""
        self.in_flight.discard(pending)
        if pending.message.get("msgSerial") == self._manager.msg_serial - 1:
            self._manager.msg_serial -= 1
        if pending.future is not None and not pending.future.done():
            pending.future.set_exception(error)


def unknown_outcome() -> AITransportError:
    """Return the error of appends that may have been taken, or not."""
    return AITransportError(
        "unable to append; the connection was lost before the ack, and the server's record of it, too",
        _CONNECTION_EXPIRED,
    )


def _refuse(publications: Iterable[Publication], error: BaseException) -> None:
    for publication in publications:
        publication.set_exception(error)


def serial_of(pending: object) -> int | None:
    """Return the msgSerial of a message, None where it has none."""
    message: Frame = getattr(pending, "message", {})
    serial: object = message.get("msgSerial")
    return serial if isinstance(serial, int) else None


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
