"""A scripted writer: it accepts, refuses or loses messages, acks when told to, and can be read back.

What it accepts goes into the log of a channel in memory at once. Followers are played afterwards, from any
place in the log; the channels of :class:`~ably_ai_transport.testing.MemoryHub` cannot lose an ack, ack within
the call, or return the deliveries to a follower that joined earlier.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, ParamSpec, TypeVar, cast

import anyio

from ably_ai_transport.codec.contract import Payload, StreamState
from ably_ai_transport.codec.decoder import DecoderCore
from ably_ai_transport.testing.memory.log import ChannelLog, Publisher, Serials
from ably_ai_transport.wire import AITransportError, InboundMessage, OutboundMessage
from ably_ai_transport.wire.messages import Headers

P = ParamSpec("P")
R = TypeVar("R")
Outcome = Literal["ok", "refuse", "too large", "lose"]
"""``lose``: the channel takes the message in, and its answer says that it did not."""
OK: Outcome = "ok"
Event = tuple[str, str]
_PUBLISHER = Publisher(client_id=None, connection_id="connection")


def _script(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    yield from outcomes
    while True:
        yield OK


def timed(test: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Fail a test that hangs."""

    @functools.wraps(test)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with anyio.fail_after(10):
            return await test(*args, **kwargs)

    return wrapper


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


class Frame(NamedTuple):
    """One change that the channel took.

    Attributes:
        change: The delivery to a follower that has the message's text.
        whole: What any other follower receives.
    """

    change: InboundMessage
    whole: InboundMessage


@dataclass
class FakeChannel:
    """Satisfies ``ChannelWriter``.

    Attributes:
        outcomes: The outcome of each append, in order; all further ones are accepted.
        update_outcomes: The same for updates.
        publish_outcomes: The same for publishes.
        manual: Whether answers wait for :meth:`answer`.
        merciful: Whether no message's update fails twice in a row.
    """

    outcomes: Iterable[Outcome] = ()
    update_outcomes: Iterable[Outcome] = ()
    publish_outcomes: Iterable[Outcome] = ()
    manual: bool = False
    merciful: bool = False
    sent: list[tuple[str, OutboundMessage]] = field(default_factory=list[tuple[str, OutboundMessage]])
    unanswered: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    futures: list[asyncio.Future[object]] = field(default_factory=list[asyncio.Future[object]])

    def __post_init__(self) -> None:
        self._appends = _script(self.outcomes)
        self._updates = _script(self.update_outcomes)
        self._publishes = _script(self.publish_outcomes)
        self._failed_updates: set[str] = set()
        self._log = ChannelLog(Serials())
        self._changes: list[InboundMessage] = []
        self._wholes: list[InboundMessage] = []
        self._log.attach(self._changes.append)
        self._newcomer = self._log.attach(self._wholes.append)

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        outcome = next(self._publishes)
        self.sent.extend(("publish", message) for message in messages)
        serials = [] if outcome == "refuse" else self._taken(self._log.publish(messages, _PUBLISHER))
        return self._reply(outcome, serials)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        outcome = next(self._appends)
        self.sent.append(("append", message))
        refused = outcome in ("refuse", "too large")
        version = None if refused else self._taken(self._log.append(message, _PUBLISHER))
        return self._reply(outcome, version, message.data)

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        outcome = next(self._updates)
        if self.merciful and message.serial in self._failed_updates:
            outcome = OK
        (self._failed_updates.discard if outcome == "ok" else self._failed_updates.add)(message.serial or "")
        self.sent.append(("update", message))
        version = None if outcome == "refuse" else self._taken(self._log.update(message, _PUBLISHER))
        return self._reply(outcome, version)

    def answer(self, count: int | None = None) -> None:
        """Answer the oldest unanswered writes: all of them, or so many."""
        now = self.unanswered[:count]
        del self.unanswered[: len(now)]
        for give in now:
            give()

    def texts(self, operation: str = "append") -> list[object]:
        """The data of everything that was sent by one operation."""
        return [message.data for kind, message in self.sent if kind == operation]

    @property
    def frames(self) -> list[Frame]:
        """The changes, oldest first."""
        return [Frame(*pair) for pair in zip(self._changes, self._wholes, strict=True)]

    @property
    def messages(self) -> dict[str | None, InboundMessage]:
        """The latest version of each message by serial, oldest first; ephemeral ones too."""
        return {message.serial: message for message in self._wholes}

    @property
    def history(self) -> list[InboundMessage]:
        """The latest version of each message, oldest first."""
        return self._log.all()

    def history_at(self, count: int) -> list[InboundMessage]:
        """The history after this many changes."""
        kept = {message.serial for message in self._log.all()}
        latest = {message.serial: message for message in self._wholes[:count]}
        return [message for serial, message in latest.items() if serial in kept]

    def seen_from(self, start: int) -> list[InboundMessage]:
        """Return the deliveries to a follower that joins after so many changes."""
        seen: set[str | None] = set()
        deliveries: list[InboundMessage] = []
        for change, whole in self.frames[start:]:
            deliveries.append(change if change.serial in seen else whole)
            seen.add(change.serial)
        return deliveries

    def _taken(self, result: R) -> R:
        self._log.move_to_head(self._newcomer)
        return result

    def _reply(self, outcome: Outcome, result: R, what: object = None) -> asyncio.Future[R]:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self.futures.append(cast("asyncio.Future[object]", future))

        def give() -> None:
            if future.done():
                return
            if outcome == "ok":
                future.set_result(result)
            else:
                code = 40009 if outcome == "too large" else 40160
                future.set_exception(AITransportError(f"refused by the script: {what}", code))

        if self.manual:
            self.unanswered.append(give)
        else:
            give()
        return future


class Hooks:
    """A vocabulary of pairs: what happened, and its text."""

    def build_start_events(self, stream: StreamState) -> Sequence[Event]:
        return [("start", stream.stream_id)]

    def build_delta_events(self, stream: StreamState, delta: str) -> Sequence[Event]:
        return [("delta", delta)]

    def build_end_events(self, stream: StreamState, closing_codec_headers: Headers) -> Sequence[Event]:
        return [("end", stream.text)]

    def decode_discrete(self, payload: Payload) -> Sequence[Event]:
        return [("discrete", str(payload.data))]


@dataclass
class Reader:
    """Someone who reads a channel through a decoder core.

    Attributes:
        events: What has been decoded, by message serial; replaced where the decoder says so.
        replaced: How often it said so.
    """

    decoder: DecoderCore[Event, Event] = field(default_factory=lambda: DecoderCore(Hooks()))
    events: dict[str, list[Event]] = field(default_factory=dict[str, list[Event]])
    replaced: int = 0

    def read(self, messages: Iterable[InboundMessage]) -> "Reader":
        for message in messages:
            decoded = self.decoder.decode(message)
            if decoded.replaces:
                self.replaced += 1
                self.events[message.serial or ""] = []
            self.events.setdefault(message.serial or "", []).extend(decoded.outputs)
        return self

    def streams(self) -> dict[str, tuple[str, bool]]:
        """Text of each stream and whether it ended complete; fails where the events do not make sense."""
        result: dict[str, tuple[str, bool]] = {}
        for events in self.events.values():
            kinds = [kind for kind, _ in events]
            if "start" not in kinds:
                assert set(kinds) <= {"discrete"}, events
                continue
            text = "".join(value for kind, value in events if kind == "delta")
            ended = kinds[-1] == "end"
            assert kinds == ["start", *["delta"] * kinds.count("delta"), *["end"] * ended], events
            if ended:
                assert events[-1][1] == text
            result[events[0][1]] = (text, ended)
        return result
