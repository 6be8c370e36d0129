"""One step of a channel: its publisher, its outcome, and its frames, each encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ably_ai_transport.local.protocol.deltas import Base, as_deltas, base_of
from ably_ai_transport.local.protocol.formats import dump_frame
from ably_ai_transport.local.protocol.frames import Action, Frame

if TYPE_CHECKING:
    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.protocol.formats import Format
    from ably_ai_transport.local.protocol.frames import WireMessage
    from ably_ai_transport.local.storage.contract import LogEntry

Form: TypeAlias = "Literal['full', 'delta'] | Base"
"""In full, as an append, or with the first message as a delta of another one."""

_HELD_BY_PACKET: Final = 1000
_MESSAGE: Final = int(Action.MESSAGE)
_PRESENCE: Final = int(Action.PRESENCE)


@dataclass(frozen=True, slots=True)
class Publisher:
    """The publisher of a step.

    Attributes:
        identity: The credentials in force.
        connection_id: The connection it came over; None for REST.
        frame_id: The id of its frame, `<connectionId>:<msgSerial>`; None for REST.
        msg_serials: The frames that were rolled up into it.
    """

    identity: Identity
    connection_id: str | None = None
    frame_id: str | None = None
    msg_serials: tuple[int, ...] = ()


class Packet:
    """A frame and its encoding, as it waits in the queues of connections."""

    __slots__ = ("_queues", "frame", "payload")

    def __init__(self, frame: Frame, payload: bytes) -> None:
        self.frame = frame
        self.payload = payload
        self._queues = 0

    def enter(self) -> int:
        """Enter a queue; returns the bytes of memory to count: those of a packet that is in no other one."""
        self._queues += 1
        return self._held if self._queues == 1 else 0

    def leave(self) -> int:
        """Leave a queue; returns the bytes of memory to give back."""
        self._queues -= 1
        return 0 if self._queues else self._held

    @property
    def _held(self) -> int:
        # The frame holds its values, and the payload holds them again.
        return 2 * len(self.payload) + _HELD_BY_PACKET


class Delivery:
    """A log entry as subscribers get it.

    Attributes:
        entry: The step.
        is_create: Whether the step created its messages.
        delta: The appended part of an append; the full form is then the whole message.
        messages: The messages in full, if they are known already.
        is_base: Whether attachments have asked for its base.
    """

    __slots__ = ("_base", "_packets", "delta", "entry", "is_base", "is_create", "messages")

    def __init__(
        self,
        entry: LogEntry,
        *,
        is_create: bool = False,
        delta: WireMessage | None = None,
        messages: list[WireMessage] | None = None,
    ) -> None:
        self.entry = entry
        self.is_create = is_create
        self.delta = delta
        self.messages = messages
        self.is_base = False
        self._base: Base | None = None
        self._packets: dict[tuple[str, Form, Format], Packet] = {}

    @property
    def base(self) -> Base | None:
        """What the next message can be a delta of, once this step is delivered."""
        if not self.is_base and self.is_create and self.messages:
            self.is_base = True
            self._base = base_of(self.messages[-1])
        return self._base

    def packet(self, label: str, form: Form, format_: Format) -> Packet:
        """Return the frame for an attachment; `label` is the channel name as the client spells it."""
        key = (label, form, format_)
        packet = self._packets.get(key)
        if packet is None:
            frame = self._frame(label, form)
            packet = self._packets[key] = Packet(frame, dump_frame(frame, format_))
        return packet

    def _frame(self, label: str, form: Form) -> Frame:
        entry = self.entry
        if entry.presence:
            return entry_frame(entry, label)
        if form == "delta" and self.delta is not None:
            return entry_frame(entry, label, [self.delta])
        if isinstance(form, Base) and self.messages is not None:
            return entry_frame(entry, label, as_deltas(self.messages, form))
        return entry_frame(entry, label, self.messages)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a publish.

    Attributes:
        serials: The serials for its ack.
        delivery: The step for subscribers; None for a repeated publish.
        message_id: The id of its first message.
    """

    serials: list[str | None]
    delivery: Delivery | None
    message_id: str


def entry_frame(entry: LogEntry, label: str, messages: list[WireMessage] | None = None) -> Frame:
    """Return the frame of a log entry, with its messages in their latest version unless given."""
    frame: Frame = {
        "action": _PRESENCE if entry.presence else _MESSAGE,
        "channel": label,
        "channelSerial": entry.channel_serial,
    }
    if entry.frame_id is not None:
        frame["id"] = entry.frame_id
    if entry.connection_id is not None:
        frame["connectionId"] = entry.connection_id
    frame["timestamp"] = entry.timestamp
    if entry.presence:
        frame["presence"] = list(entry.presence)
    else:
        frame["messages"] = [m.wire() for m in entry.messages] if messages is None else messages
    return frame
