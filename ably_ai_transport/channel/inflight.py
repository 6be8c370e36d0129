"""What has been sent and not been answered, by the number that its answer will carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ably_ai_transport.channel.answers import refuse, resolve
from ably_ai_transport.channel.convert import to_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ably_ai_transport.channel.sdk import Frame, Pending, PublishResult

T = TypeVar("T")


class Publication(Generic[T]):
    """One frame on its way, and who waits for the answer.

    It is to the SDK what its own pending messages are, and their future in one: the answer goes to whoever
    waits without a detour through the event loop.

    Attributes:
        message: The frame.
        ack_required: True: publishes are answered.
        answer: Resolves to what is read from the answer.
    """

    __slots__ = ("_answered", "_read", "ack_required", "answer", "message")

    def __init__(
        self,
        message: Frame,
        answer: asyncio.Future[T],
        read: Callable[[list[str | None]], T],
        answered: Callable[[], None],
    ) -> None:
        self.message = message
        self.ack_required = True
        self.answer = answer
        self._read = read
        self._answered: Callable[[], None] | None = answered

    @property
    def future(self) -> Publication[T]:
        """What the SDK completes."""
        return self

    def done(self) -> bool:
        """Whether there was an answer; a caller who no longer waits does not count as one."""
        return self._answered is None

    def set_result(self, result: PublishResult) -> None:
        """Take the answer."""
        self._end()
        resolve(self.answer, self._read(result.serials))

    def set_exception(self, error: BaseException) -> None:
        """Take the refusal."""
        self._end()
        refuse(self.answer, to_error(error))

    def _end(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered()


class _NoResult:
    """An answer without serials."""

    @property
    def serials(self) -> list[str | None]:
        return []


_NO_RESULT = _NoResult()


class InFlight:
    """Stands in for the SDK's queue of unanswered messages.

    The queue of ably 3.1.4 counts answers off its head. Whatever is missing there, out of order or left over
    from another connection shifts the answers of all that follow; and it is searched from end to end for
    each message. Here an answer belongs to the number that it carries.

    Args:
        pending: What is unanswered already.
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
        """Forget a message that was not sent."""
        if pending in self:
            del self._by_serial[pending.message["msgSerial"]]

    def count(self) -> int:
        """Return how many there are."""
        return len(self._by_serial)

    def complete_messages(
        self,
        serial: int,
        count: int,
        res: Sequence[PublishResult] | None,
        err: BaseException | None = None,
    ) -> None:
        """Give an answer, or a refusal, to those that it is for."""
        for index in range(count):
            pending = self._by_serial.pop(serial + index, None)
            if pending is None or pending.future is None or pending.future.done():
                continue
            if err is not None:
                pending.future.set_exception(err)
            else:
                pending.future.set_result(res[index] if res and index < len(res) else _NO_RESULT)

    def complete_all_messages(self, err: BaseException) -> None:
        """Refuse all."""
        refused, self._by_serial = self._by_serial, {}
        for pending in refused.values():
            if pending.future is not None and not pending.future.done():
                pending.future.set_exception(err)

    def clear(self) -> None:
        """Forget all."""
        self._by_serial.clear()


def serial_of(pending: object) -> int | None:
    """Return the number of a message, None where it has none."""
    message: Frame = getattr(pending, "message", {})
    serial: object = message.get("msgSerial")
    return serial if isinstance(serial, int) else None
