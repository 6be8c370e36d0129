"""Decoder core: reads discrete and streamed messages, also from the middle of their life."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Never, Protocol, TypeAlias, cast

from typing_extensions import TypeVar

from ably_ai_transport.codec.contract import Decoded, Decoder, InT, OutT, Payload, StreamState
from ably_ai_transport.codec.text import well_formed, whole_characters
from ably_ai_transport.wire import InboundMessage, MessageAction, names
from ably_ai_transport.wire.messages import Headers

EventT_co = TypeVar("EventT_co", covariant=True)

StreamDeleteHook: TypeAlias = Callable[[str, StreamState | None], object]
"""Called with the serial of a deleted message, and its stream if that was open."""
UnknownHook: TypeAlias = Callable[[Payload], str | None]
"""Returns the event kind of a message that the codec does not know; None if it knows the message."""

logger = logging.getLogger("ably_ai_transport.codec")

_RAISED: Final = "codec hook raised; its events are missing"
_NOTHING: Final[Decoded[Never, Never]] = Decoded()


class DecoderHooks(Protocol[EventT_co]):
    """Builds a codec's events from streams and discrete messages."""

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
        """Return the events of a discrete message."""
        ...


@dataclass(frozen=True, slots=True)
class _Tombstone:
    """The version and text of a stream that is over, as far as needed to tell a rewrite."""

    version: str
    fingerprint: tuple[int, int] | None
    """Length and hash of the text; None for a deleted message, which stays deleted."""


class DecoderCore(Decoder[InT, OutT]):
    """Reads one channel, live and from history at once.

    It remembers the version of each stream that it has seen, so a version decodes to nothing the second time.
    The message name fixes the direction: events of ``ai-input`` are inputs, all others are outputs.

    Args:
        hooks: Builds the codec's events.
        on_stream_delete: Called when a message is deleted.
        unknown: Tells which messages of a session the codec does not know, for :attr:`Decoded.unknown`.
    """

    def __init__(
        self,
        hooks: DecoderHooks[InT | OutT],
        *,
        on_stream_delete: StreamDeleteHook | None = None,
        unknown: UnknownHook | None = None,
    ) -> None:
        self._hooks = hooks
        self._on_stream_delete = on_stream_delete
        self._unknown = unknown
        self._open: dict[str, StreamState] = {}
        self._over: dict[str, _Tombstone] = {}

    def decode(self, message: InboundMessage) -> Decoded[InT, OutT]:
        """Decode one delivery.

        Never raises for messages of other publishers: an unreadable message decodes to nothing.

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
        except Exception:  # a malformed message of another publisher must not stop the reader
            logger.exception("message %r cannot be decoded", message.serial, extra={"serial": message.serial})
            return _NOTHING

    # Actions

    def _create(self, message: InboundMessage) -> Decoded[InT, OutT]:
        if _stream_tier(message).get(names.STREAM) != "true":
            return self._discrete(message)
        serial = _text_or_none(message.serial)
        if serial is None or serial in self._open or serial in self._over:
            return _NOTHING
        return self._first_contact(message, serial)

    def _append(self, message: InboundMessage) -> Decoded[InT, OutT]:
        # Runs once per token: it reads an open stream without a helper call.
        serial = message.serial
        if not isinstance(serial, str) or serial in self._over:
            return _NOTHING
        stream = self._open.get(serial)
        if stream is None:
            return self._first_append(message)
        version = message.version
        if isinstance(version, str):
            if version <= stream.version:
                return _NOTHING
            stream.version = version
        delta = message.data
        events: Sequence[InT | OutT] = ()
        if not isinstance(delta, str):
            delta = ""
        elif stream.half or not delta.isascii():
            delta = _taken(stream, delta)
        if delta:
            stream.chunks.append(delta)
            try:
                events = self._hooks.build_delta_events(stream, delta)
            except Exception:  # a codec's hook may be a user's code
                logger.exception(_RAISED, extra={"serial": serial})
        if message.transport_headers.get(names.STATUS) != "streaming":
            events = [*events, *self._end(message, serial, stream)]
        if stream.name == names.AI_INPUT:
            return Decoded(inputs=cast("Sequence[InT]", events))
        return Decoded(outputs=cast("Sequence[OutT]", events))

    def _first_append(self, message: InboundMessage) -> Decoded[InT, OutT]:
        """Read an append whose stream was not seen before."""
        if not message.serial or not message.has_ai_envelope:
            return _NOTHING  # an application's own stream on a shared channel
        # A late joiner may see an append before history has brought the text before it.
        logger.debug("append to a stream not seen before", extra={"serial": message.serial})
        return self._update(message)

    def _update(self, message: InboundMessage) -> Decoded[InT, OutT]:
        serial = _text_or_none(message.serial)
        if serial is None:
            return _NOTHING
        stream = self._open.get(serial)
        if stream is not None:
            if _seen(message, stream.version):
                return _NOTHING
            text, so_far = _data(message), stream.text
            if text.startswith(so_far):
                stream.half = ""  # the whole text holds it
                stream.version = _text_or_none(message.version) or stream.version
                return _decoded(stream.name, self._more(message, serial, stream, text[len(so_far) :]))
            return self._replace(message, serial, stream.version)
        tombstone = self._over.get(serial)
        if tombstone is not None:
            if not _text_or_none(message.version) or _seen(message, tombstone.version):
                return _NOTHING
            if tombstone.fingerprint in (None, _fingerprint(well_formed(_data(message)))):
                return _NOTHING
            return self._replace(message, serial, tombstone.version)
        if _stream_tier(message).get(names.STREAM) != "true":
            return self._discrete(message)
        return self._first_contact(message, serial)

    def _delete(self, message: InboundMessage) -> Decoded[InT, OutT]:
        serial = _text_or_none(message.serial)
        if serial is None:
            return _NOTHING
        stream = self._open.pop(serial, None)
        if self._on_stream_delete is not None:
            try:
                self._on_stream_delete(serial, stream)
            except Exception:  # a user's code
                logger.exception("delete callback raised")
        if stream is not None:
            self._bury(serial, stream, deleted=True)
        elif serial in self._over:
            self._over[serial] = _Tombstone(self._over[serial].version, None)
        return _NOTHING

    # Streams

    def _discrete(self, message: InboundMessage) -> Decoded[InT, OutT]:
        name = message.name or ""
        data = well_formed(message.data) if isinstance(message.data, str) else message.data
        payload = Payload(name, data, message.codec_headers, message.transport_headers)
        decoded: Decoded[InT, OutT] = _decoded(name, _call(lambda: self._hooks.decode_discrete(payload)))
        decoded.unknown = self._unknown_kind(message, payload)
        return decoded

    def _first_contact(self, message: InboundMessage, serial: str) -> Decoded[InT, OutT]:
        events = self._whole(message, serial, _text_or_none(message.version) or serial)
        decoded: Decoded[InT, OutT] = _decoded(message.name, events)
        if not events:
            payload = Payload(message.name or "", None, message.codec_headers, message.transport_headers)
            decoded.unknown = self._unknown_kind(message, payload)
        return decoded

    def _unknown_kind(self, message: InboundMessage, payload: Payload) -> str | None:
        if self._unknown is None or not message.has_ai_envelope:
            return None
        return self._unknown(payload)

    def _replace(self, message: InboundMessage, serial: str, version: str) -> Decoded[InT, OutT]:
        """Read a rewritten stream from its start. It may be open, closed or open again after that."""
        self._over.pop(serial, None)
        events = self._whole(message, serial, _text_or_none(message.version) or version)
        return _decoded(message.name, events, replaces=True)

    def _whole(self, message: InboundMessage, serial: str, version: str) -> list[InT | OutT]:
        transport = dict(message.transport_headers)
        stream_id = _stream_tier(message).get(names.STREAM_ID, "")
        codec = dict(message.codec_headers)
        stream = StreamState(message.name or "", stream_id, codec, transport, version, serial=serial)
        self._open[serial] = stream
        events = [*_call(lambda: self._hooks.build_start_events(stream))]
        events.extend(self._more(message, serial, stream, _data(message)))
        return events

    def _more(
        self, message: InboundMessage, serial: str, stream: StreamState, delta: str
    ) -> Sequence[InT | OutT]:
        """Read more text, and the end if the message has it."""
        events: Sequence[InT | OutT] = ()
        whole = _taken(stream, delta)
        if whole:
            stream.chunks.append(whole)
            events = _call(lambda: self._hooks.build_delta_events(stream, whole))
        return [*events, *self._end(message, serial, stream)]

    def _end(self, message: InboundMessage, serial: str, stream: StreamState) -> Sequence[InT | OutT]:
        """Close a stream if the message says so."""
        events: Sequence[InT | OutT] = ()
        status = _status(message)
        if stream.half and status in ("complete", "cancelled"):
            lost = well_formed(stream.half)
            stream.half = ""
            stream.chunks.append(lost)
            events = _call(lambda: self._hooks.build_delta_events(stream, lost))
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


def _decoded(name: str | None, events: Sequence[InT | OutT], *, replaces: bool = False) -> Decoded[InT, OutT]:
    """Sort events by the direction of their message."""
    if name == names.AI_INPUT:
        return Decoded(inputs=cast("Sequence[InT]", events), replaces=replaces)
    return Decoded(outputs=cast("Sequence[OutT]", events), replaces=replaces)


def _call(hook: Callable[[], Sequence[EventT_co]]) -> Sequence[EventT_co]:
    try:
        return hook()
    except Exception:  # a codec's hook may be a user's code
        logger.exception(_RAISED)
        return ()


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _data(message: InboundMessage) -> str:
    return message.data if isinstance(message.data, str) else ""


def _taken(stream: StreamState, delta: str) -> str:
    """Return the whole characters of more text. A peer may cut one in half."""
    if stream.half:
        delta, stream.half = stream.half + delta, ""
    text, stream.half = whole_characters(delta)
    return text


def _fingerprint(text: str) -> tuple[int, int]:
    return len(text), hash(text)


def _seen(message: InboundMessage, version: str) -> bool:
    """Whether a version was decoded before. Versions of one message compare as strings."""
    its = message.version
    return isinstance(its, str) and its <= version


def _stream_tier(message: InboundMessage) -> Headers:
    """Return the tier with the stream headers: transport since 0.8.0, codec in earlier releases."""
    if names.STREAM in message.transport_headers or names.STREAM not in message.codec_headers:
        return message.transport_headers
    return message.codec_headers


def _status(message: InboundMessage) -> str | None:
    status = message.transport_headers.get(names.STATUS)
    return _stream_tier(message).get(names.STATUS) if status is None else status
