"""Decoder core: reads discrete and streamed messages, from any point of their life on."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Never, Protocol, TypeAlias

from typing_extensions import TypeVar

from ably_ai_transport.codec.contract import Payload, StreamState
from ably_ai_transport.wire import InboundMessage, MessageAction, names
from ably_ai_transport.wire.messages import Headers

EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)

StreamDeleteHook: TypeAlias = Callable[[str, StreamState | None], object]
"""Called with a deleted message's serial, and its stream where that was open."""

logger = logging.getLogger("ably_ai_transport.codec")

_RAISED: Final = "codec hook raised; its events are missing"


@dataclass(slots=True)
class DecodedEvents(Generic[EventT_co]):
    """What one delivery says.

    Attributes:
        events: The events, in order.
        replaces: Whether they stand in place of all that was decoded from the same message serial before.
    """

    events: Sequence[EventT_co] = ()
    replaces: bool = False


_NOTHING: DecodedEvents[Never] = DecodedEvents()


class DecoderHooks(Protocol[EventT_co]):
    """What a codec adds to the decoder core: events in its own vocabulary."""

    def build_start_events(self, stream: StreamState) -> Sequence[EventT_co]:
        """Return the events that open a stream."""
        ...

    def build_delta_events(self, stream: StreamState, delta: str) -> Sequence[EventT_co]:
        """Return the events for more text; ``stream`` holds it already."""
        ...

    def build_end_events(self, stream: StreamState, closing_codec_headers: Headers) -> Sequence[EventT_co]:
        """Return the events for a stream that is complete; not called for a cancelled one."""
        ...

    def decode_discrete(self, payload: Payload) -> Sequence[EventT_co]:
        """Return the events of a message that does not grow."""
        ...


@dataclass(frozen=True, slots=True)
class _Tombstone:
    """What is kept of a stream that is over: enough to tell the same text from another."""

    version: str
    fingerprint: tuple[int, int] | None
    """Length and hash of the text; None for a deleted message, which stays deleted."""


class DecoderCore(Generic[EventT]):
    """Reads one channel, live and from history at once.

    It remembers the version of each stream that it has seen, so that what has been taken in by one way
    decodes to nothing on the other.

    Args:
        hooks: The codec's part.
        on_stream_delete: Called when a message is deleted.
    """

    def __init__(
        self, hooks: DecoderHooks[EventT], *, on_stream_delete: StreamDeleteHook | None = None
    ) -> None:
        self._hooks = hooks
        self._on_stream_delete = on_stream_delete
        self._open: dict[str, StreamState] = {}
        self._over: dict[str, _Tombstone] = {}

    def decode(self, message: InboundMessage) -> DecodedEvents[EventT]:
        """Decode one delivery.

        Never raises for what others put on the channel: what cannot be read decodes to nothing.

        Args:
            message: The delivery.

        Returns:
            Its events.
        """
        try:
            match message.action:
                case MessageAction.APPEND:
                    return self._append(message)
                case MessageAction.CREATE:
                    return self._create(message)
                case MessageAction.UPDATE:
                    return self._update(message)
                case MessageAction.DELETE:
                    return self._delete(message)
                case _:
                    return _NOTHING
        except Exception:
            logger.exception("message %r cannot be decoded", message.serial)
            return _NOTHING

    # Actions

    def _create(self, message: InboundMessage) -> DecodedEvents[EventT]:
        if _stream_tier(message).get(names.STREAM) != "true":
            return self._discrete(message)
        serial = _text_or_none(message.serial)
        if serial is None or serial in self._open or serial in self._over:
            return _NOTHING
        return self._first_contact(message, serial)

    def _append(self, message: InboundMessage) -> DecodedEvents[EventT]:
        serial = _text_or_none(message.serial)
        if serial is None or serial in self._over:
            return _NOTHING
        stream = self._open.get(serial)
        if stream is None:
            if not message.has_ai_envelope:
                return _NOTHING  # an application's own stream on a shared channel
            # A channel sends the whole text first; this one did not, so what is here is all there is.
            logger.warning("append to %r before any text of it was seen", serial)
            return self._update(message)
        if _seen(message, stream.version):
            return _NOTHING
        _advance(message, stream)
        return DecodedEvents(self._more(message, serial, stream, _data(message)))

    def _update(self, message: InboundMessage) -> DecodedEvents[EventT]:
        serial = _text_or_none(message.serial)
        if serial is None:
            return _NOTHING
        stream = self._open.get(serial)
        if stream is not None:
            if _seen(message, stream.version):
                return _NOTHING
            text, so_far = _data(message), stream.text
            if text.startswith(so_far):
                _advance(message, stream)
                return DecodedEvents(self._more(message, serial, stream, text[len(so_far) :]))
            return self._replace(message, serial, stream.version)
        tombstone = self._over.get(serial)
        if tombstone is not None:
            if not _text_or_none(message.version) or _seen(message, tombstone.version):
                return _NOTHING
            if tombstone.fingerprint in (None, _fingerprint(_data(message))):
                return _NOTHING
            return self._replace(message, serial, tombstone.version)
        if _stream_tier(message).get(names.STREAM) != "true":
            return self._discrete(message)
        return self._first_contact(message, serial)

    def _delete(self, message: InboundMessage) -> DecodedEvents[EventT]:
        serial = _text_or_none(message.serial)
        if serial is None:
            return _NOTHING
        stream = self._open.pop(serial, None)
        if self._on_stream_delete is not None:
            try:
                self._on_stream_delete(serial, stream)
            except Exception:
                logger.exception("delete callback raised")
        if stream is not None:
            self._bury(serial, stream, deleted=True)
        elif serial in self._over:
            self._over[serial] = _Tombstone(self._over[serial].version, None)
        return _NOTHING

    # Streams

    def _discrete(self, message: InboundMessage) -> DecodedEvents[EventT]:
        payload = Payload(message.name or "", message.data, message.codec_headers, message.transport_headers)
        return DecodedEvents(_call(lambda: self._hooks.decode_discrete(payload)))

    def _first_contact(self, message: InboundMessage, serial: str) -> DecodedEvents[EventT]:
        return DecodedEvents(self._whole(message, serial, _text_or_none(message.version) or serial))

    def _replace(self, message: InboundMessage, serial: str, version: str) -> DecodedEvents[EventT]:
        """Read a rewritten stream anew; it may be open, closed or open again after that."""
        self._over.pop(serial, None)
        events = self._whole(message, serial, _text_or_none(message.version) or version)
        return DecodedEvents(events, replaces=True)

    def _whole(self, message: InboundMessage, serial: str, version: str) -> list[EventT]:
        transport = dict(message.transport_headers)
        stream_id = _stream_tier(message).get(names.STREAM_ID, "")
        codec = dict(message.codec_headers)
        stream = StreamState(message.name or "", stream_id, codec, transport, version)
        self._open[serial] = stream
        events = [*_call(lambda: self._hooks.build_start_events(stream))]
        events.extend(self._more(message, serial, stream, _data(message)))
        return events

    def _more(
        self, message: InboundMessage, serial: str, stream: StreamState, delta: str
    ) -> Sequence[EventT]:
        """Take in more text, and the end where the message brings it."""
        events: Sequence[EventT] = ()
        if delta:
            stream.chunks.append(delta)
            try:
                events = self._hooks.build_delta_events(stream, delta)
            except Exception:
                logger.exception(_RAISED)
        status = _status(message)
        if status == "complete":
            closing = message.codec_headers
            events = [*events, *_call(lambda: self._hooks.build_end_events(stream, closing))]
        if status in ("complete", "cancelled"):
            del self._open[serial]
            self._bury(serial, stream)
        return events

    def _bury(self, serial: str, stream: StreamState, *, deleted: bool = False) -> None:
        self._over[serial] = _Tombstone(stream.version, None if deleted else _fingerprint(stream.text))
        stream.closed = True
        stream.chunks.clear()


def _call(hook: Callable[[], Sequence[EventT]]) -> Sequence[EventT]:
    try:
        return hook()
    except Exception:
        logger.exception(_RAISED)
        return ()


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _data(message: InboundMessage) -> str:
    return message.data if isinstance(message.data, str) else ""


def _fingerprint(text: str) -> tuple[int, int]:
    return len(text), hash(text)


def _seen(message: InboundMessage, version: str) -> bool:
    """Whether a delivery has been taken in already. Versions of one message compare as strings."""
    its = message.version
    return isinstance(its, str) and its <= version


def _advance(message: InboundMessage, stream: StreamState) -> None:
    stream.version = _text_or_none(message.version) or stream.version


def _stream_tier(message: InboundMessage) -> Headers:
    """Return the tier that holds the stream headers: transport since 0.8.0, codec in earlier releases."""
    if names.STREAM in message.transport_headers or names.STREAM not in message.codec_headers:
        return message.transport_headers
    return message.codec_headers


def _status(message: InboundMessage) -> str | None:
    status = message.transport_headers.get(names.STATUS)
    return _stream_tier(message).get(names.STATUS) if status is None else status
