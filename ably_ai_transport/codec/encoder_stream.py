"""The state of one streamed message on its way out."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from ably_ai_transport.codec.contract import Ack

EndStatus: TypeAlias = Literal["complete", "cancelled"]


class StreamPhase(Enum):
    """Where an outgoing stream stands.

    Text is sent in OPEN only; in the phases before and beside it, text waits in the buffer.
    :data:`TRANSITIONS` tells how it gets from one to the other.
    """

    STARTING = auto()
    OPEN = auto()
    DAMAGED = auto()
    REPAIRING = auto()
    ENDING = auto()
    CLOSED = auto()
    DEAD = auto()


StreamTrigger: TypeAlias = Literal[
    "start accepted",
    "start refused",
    "append refused",
    "all answered",
    "repaired",
    "repaired with its end",
    "repair refused",
    "given up",
    "end sent",
    "end accepted",
]

TRANSITIONS: Final[Mapping[tuple[StreamPhase, StreamTrigger], StreamPhase]] = MappingProxyType(
    {
        (StreamPhase.STARTING, "start accepted"): StreamPhase.OPEN,
        (StreamPhase.STARTING, "start refused"): StreamPhase.DEAD,
        (StreamPhase.OPEN, "append refused"): StreamPhase.DAMAGED,
        (StreamPhase.OPEN, "end sent"): StreamPhase.ENDING,
        (StreamPhase.DAMAGED, "append refused"): StreamPhase.DAMAGED,
        (StreamPhase.DAMAGED, "all answered"): StreamPhase.REPAIRING,
        (StreamPhase.REPAIRING, "repair refused"): StreamPhase.REPAIRING,
        (StreamPhase.REPAIRING, "repaired"): StreamPhase.OPEN,
        (StreamPhase.REPAIRING, "repaired with its end"): StreamPhase.CLOSED,
        (StreamPhase.REPAIRING, "given up"): StreamPhase.DEAD,
        (StreamPhase.ENDING, "append refused"): StreamPhase.DAMAGED,
        (StreamPhase.ENDING, "end accepted"): StreamPhase.CLOSED,
    }
)
"""The life of an outgoing stream; nothing that is not listed can happen."""


@dataclass(slots=True)
class EncoderStats:
    """What an encoder has done so far.

    Attributes:
        deltas: Pieces of text that were handed in.
        appends: Appends that went out, closing ones included.
        merged: Pieces of text that went out in another piece's append.
        recovered: Repairs of streams after a refused append.
        max_in_flight: The most appends that waited for their acknowledgement at once.
    """

    deltas: int = 0
    appends: int = 0
    merged: int = 0
    recovered: int = 0
    max_in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream is to end.

    Attributes:
        status: The status that its last version carries.
        data: The closing append's own text.
        transport: Transport headers of the last version, status included.
        codec: Codec headers of the last version.
    """

    status: EndStatus
    data: str
    transport: dict[str, str]
    codec: dict[str, str]


def _ignore(_: object) -> None:
    """Stand in until the pipeline takes the stream in."""


@dataclass(slots=True, eq=False)
class OutgoingStream:
    """One streamed message that is being written.

    Attributes:
        stream_id: The stream's id, in the codec's terms.
        transport: Transport headers that every append repeats.
        codec: Codec headers that every append repeats.
        sent: The text that has been handed to the channel, accepted or not.
        serial: Serial of the message; empty while the start is unanswered.
        extras: The extras of its appends, where they may share one object.
        buffer: Text that waits for room.
        buffered: Size of the buffer, in bytes of UTF-8.
        queued: Whether it stands in line for room.
        in_flight: Its unanswered appends.
        ending: How it is to end, once that has been asked for.
        end_sent: Whether the closing append has been sent: a repair then carries the end.
        attempts: Updates that were refused since the stream was last whole.
        error: Why it was refused, the first time since it was last whole.
        reported: Whether somebody has been told that it is dead.
        acknowledged: Called with the answer to each of its appends.
    """

    stream_id: str
    transport: dict[str, str]
    codec: dict[str, str]
    sent: list[str]
    phase: StreamPhase = StreamPhase.STARTING
    serial: str = ""
    extras: dict[str, object] = field(default_factory=dict[str, object])
    buffer: deque[str] = field(default_factory=deque[str])
    buffered: int = 0
    queued: bool = False
    in_flight: int = 0
    ending: Ending | None = None
    end_sent: bool = False
    attempts: int = 0
    error: BaseException | None = None
    reported: bool = False
    acknowledged: Callable[[Ack[str | None]], object] = _ignore

    def move(self, trigger: StreamTrigger) -> None:
        """Go on to the next phase."""
        self.phase = TRANSITIONS[self.phase, trigger]

    @property
    def over(self) -> bool:
        """Whether nothing more will be sent for it."""
        return self.phase is StreamPhase.CLOSED or self.phase is StreamPhase.DEAD

    @property
    def idle(self) -> bool:
        """Whether nothing of it is unanswered or waits to be sent."""
        if self.phase is StreamPhase.OPEN:
            return not (self.in_flight or self.buffer or self.ending)
        return self.over

    def take_buffer(self) -> str:
        """Empty the buffer and return its text."""
        text = "".join(self.buffer)
        self.buffer.clear()
        self.buffered = 0
        return text
