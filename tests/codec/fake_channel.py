"""A channel in memory: accepts, refuses or loses what is written, answers when told to, and is read back.

It applies what it accepts at once, as Ably does: an append joins the message's text, its extras replace the
message's, each change makes a version. Followers see the changes live from where they join, first a whole
message and then what is added to it; history has the latest version of each message.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, ParamSpec, TypeVar, cast

import anyio

from ably_ai_transport.codec.contract import Payload, StreamState
from ably_ai_transport.codec.decoder import DecoderCore
from ably_ai_transport.wire import AITransportError, InboundMessage, MessageAction, OutboundMessage
from ably_ai_transport.wire.messages import Headers

P = ParamSpec("P")
R = TypeVar("R")
Outcome = Literal["ok", "refuse", "lose"]
"""``lose``: the channel takes the message in, and its answer says that it did not."""
OK: Outcome = "ok"
Event = tuple[str, str]


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


@dataclass
class Stored:
    """A message as the channel has it."""

    serial: str
    name: str | None
    data: object
    extras: dict[str, object]
    version: str


@dataclass
class Frame:
    """One accepted change, with the message as it was after it."""

    action: MessageAction
    serial: str
    version: str
    name: str | None
    data: object
    extras: dict[str, object]
    whole: object

    def as_change(self) -> InboundMessage:
        return InboundMessage(
            self.action, self.name, self.data, self.serial, self.version, extras=self.extras
        )

    def as_whole(self) -> InboundMessage:
        if self.action is MessageAction.CREATE:
            return self.as_change()
        return InboundMessage(
            MessageAction.UPDATE, self.name, self.whole, self.serial, self.version, extras=self.extras
        )


@dataclass
class FakeChannel:
    """Satisfies ``ChannelWriter``.

    Attributes:
        outcomes: What becomes of each append, in order; all further ones are accepted.
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
    frames: list[Frame] = field(default_factory=list[Frame])
    messages: dict[str, Stored] = field(default_factory=dict[str, Stored])
    unanswered: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    futures: list[asyncio.Future[object]] = field(default_factory=list[asyncio.Future[object]])

    def __post_init__(self) -> None:
        self._appends = _script(self.outcomes)
        self._updates = _script(self.update_outcomes)
        self._publishes = _script(self.publish_outcomes)
        self._failed_updates: set[str] = set()
        self._clock = 0

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        outcome = next(self._publishes)
        serials: list[str | None] = []
        for message in messages:
            self.sent.append(("publish", message))
            if outcome != "refuse":
                serial = self._tick()
                stored = Stored(serial, message.name, message.data, message.extras, serial)
                self.messages[serial] = stored
                self._record(MessageAction.CREATE, stored, message.data)
                serials.append(serial)
        return self._reply(outcome, serials)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        outcome = next(self._appends)
        self.sent.append(("append", message))
        if outcome != "refuse":
            stored = self._stored(message)
            stored.data = f"{stored.data}{message.data}"
            self._change(MessageAction.APPEND, stored, message)
        return self._reply(outcome, self._latest(), message.data)

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        outcome = next(self._updates)
        if self.merciful and message.serial in self._failed_updates:
            outcome = OK
        (self._failed_updates.discard if outcome == "ok" else self._failed_updates.add)(message.serial or "")
        self.sent.append(("update", message))
        if outcome != "refuse":
            stored = self._stored(message)
            stored.data = message.data
            self._change(MessageAction.UPDATE, stored, message)
        return self._reply(outcome, self._latest())

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
    def history(self) -> list[InboundMessage]:
        """The latest version of each message, oldest first."""
        latest = {frame.serial: frame.as_whole() for frame in self.frames}
        return [latest[serial] for serial in self.messages]

    def seen_from(self, start: int) -> list[InboundMessage]:
        """What a follower sees that joins after so many changes."""
        seen: set[str] = set()
        deliveries: list[InboundMessage] = []
        for frame in self.frames[start:]:
            known = frame.serial in seen
            seen.add(frame.serial)
            deliveries.append(frame.as_change() if known else frame.as_whole())
        return deliveries

    def _tick(self) -> str:
        self._clock += 1
        return f"{self._clock:06}"

    def _latest(self) -> str | None:
        return f"{self._clock:06}"

    def _stored(self, message: OutboundMessage) -> Stored:
        assert message.serial is not None
        return self.messages[message.serial]

    def _change(self, action: MessageAction, stored: Stored, message: OutboundMessage) -> None:
        stored.extras = message.extras
        stored.version = self._tick()
        self._record(action, stored, message.data)

    def _record(self, action: MessageAction, stored: Stored, data: object) -> None:
        self.frames.append(
            Frame(action, stored.serial, stored.version, stored.name, data, stored.extras, stored.data)
        )

    def _reply(self, outcome: Outcome, result: R, what: object = None) -> asyncio.Future[R]:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self.futures.append(cast("asyncio.Future[object]", future))

        def give() -> None:
            if future.done():
                return
            if outcome == "ok":
                future.set_result(result)
            else:
                future.set_exception(AITransportError(f"refused by the script: {what}", 40160))

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
