"""Acks: one per msgSerial, in order; a retried publish gets the same ack again."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from ably_ai_transport.local.protocol.frames import Action, Frame, PublishResult
from ably_ai_transport.local.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.core.limits import Quota

Result: TypeAlias = "list[str | None] | RefusedError"
"""The serials of a frame's messages, or its refusal."""

_ACK = int(Action.ACK)
_NACK = int(Action.NACK)


_Kept: TypeAlias = "list[str | None] | tuple[int, int, str]"
"""A result as it is kept: a refusal is its code, its status and its message."""

_AT_LEAST: Final = 1000
"""Results that are kept even while the app holds as much as it may."""
_HELD_BY_RESULT: Final = 200
_HELD_BY_SERIAL: Final = 100
"""Bytes of memory, measured with CPython 3.11."""


class Slot:
    """The place of one publish in the order of acks."""

    __slots__ = ("msg_serial", "result")

    def __init__(self, msg_serial: int) -> None:
        self.msg_serial = msg_serial
        self.result: Result | None = None


class AckQueue:
    """The acks of a connection.

    Clients pair ACKs with publishes by position, so acks are sent in order; consecutive ones go out as one
    frame with their count (specification RTN7). Results outlive the transport: a client that lost an ACK
    retries the publish and gets the first result (RTN19a).

    Args:
        send: Sends a frame to the client.
        retained: How many results are kept; fewer of them while the app holds as much as it may.
        quota: Counts what they take.
    """

    def __init__(self, send: Callable[[Frame], None], retained: int, quota: Quota) -> None:
        self._send = send
        self._retained = retained
        self._quota = quota
        self._held = 0
        self._is_counted = True
        self._slots: deque[Slot] = deque()
        self._results: dict[int, _Kept] = {}
        self._order: deque[int] = deque()
        self.held = False

    def known(self, msg_serial: int) -> Result | None:
        """Return the result of a publish that was processed before."""
        kept = self._results.get(msg_serial)
        return RefusedError(*kept) if isinstance(kept, tuple) else kept

    def recall(self, results: dict[int, list[str | None]]) -> None:
        """Load the newest results of an earlier process."""
        kept = sorted(results)[-self._retained :]
        for msg_serial in kept:
            self._keep(msg_serial, results[msg_serial])

    def is_next(self, msg_serial: int) -> bool:
        """Tell whether a publish comes after all those in progress, as it should."""
        return not self._slots or msg_serial > self._slots[-1].msg_serial

    def is_pending(self, msg_serial: int) -> bool:
        """Tell whether a publish is in progress on this transport."""
        return any(slot.msg_serial == msg_serial for slot in self._slots)

    def open(self, msg_serial: int) -> Slot:
        """Open the slot of a publish, the next in the order."""
        slot = Slot(msg_serial)
        self._slots.append(slot)
        return slot

    def complete(self, slot: Slot, result: Result) -> None:
        """Store the result of a publish; `flush` sends it."""
        slot.result = result
        self._keep(slot.msg_serial, result)
        while len(self._order) > self._retained or (len(self._order) > _AT_LEAST and self._quota.is_full):
            self._drop()

    def flush(self) -> None:
        """Send all acks up to the first publish without a result."""
        slots = self._slots
        if self.held:
            return
        while slots and (result := slots[0].result) is not None:
            first = slots.popleft().msg_serial
            if isinstance(result, RefusedError):
                self._send({"action": _NACK, "msgSerial": first, "count": 1, "error": result.to_wire()})
                continue
            res: list[PublishResult] = [{"serials": result}]
            while slots and isinstance(more := slots[0].result, list):
                if slots[0].msg_serial != first + len(res):
                    break
                slots.popleft()
                res.append({"serials": more})
            self._send({"action": _ACK, "msgSerial": first, "count": len(res), "res": res})

    def transport_lost(self) -> None:
        """Drop the slots: the client retries every publish that it has no ack for."""
        self._slots.clear()

    def release(self) -> None:
        """Give back what the results take, when the connection can no longer be resumed."""
        self._quota.used -= self._held
        self._is_counted = False

    def _keep(self, msg_serial: int, result: Result) -> None:
        before = self._results.get(msg_serial)
        if before is None:
            self._order.append(msg_serial)
        else:
            self._count(-_held_by(before))
        # An error itself would keep its traceback, and with it the frame that was refused.
        is_refusal = isinstance(result, RefusedError)
        kept = (result.code, result.status, result.message) if is_refusal else result
        self._results[msg_serial] = kept
        self._count(_held_by(kept))

    def _drop(self) -> None:
        self._count(-_held_by(self._results.pop(self._order.popleft())))

    def _count(self, held: int) -> None:
        if self._is_counted:
            self._held += held
            self._quota.used += held


def _held_by(kept: _Kept) -> int:
    return _HELD_BY_RESULT + (len(kept[2]) if isinstance(kept, tuple) else _HELD_BY_SERIAL * len(kept))
