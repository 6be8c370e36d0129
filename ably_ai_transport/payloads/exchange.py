"""The exchange between one session's messages and a store."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from ably_ai_transport.payloads.contract import PayloadStore, fits_key, key_of, payload_prefix
from ably_ai_transport.payloads.references import (
    HEADER,
    Content,
    Place,
    Reference,
    content_of,
    read_references,
    replaced,
    stand_in,
    value_of,
    values_at,
    write_references,
)
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, OutboundMessage

_MIN_SIZE: Final = 1024
"""Bytes below which a value stays in its message: a reference takes a few hundred."""
_KEPT_BYTES: Final = 16 * 1024 * 1024


class PayloadLostError(AITransportError):
    """A payload is not in the store, or is not what it was. Another attempt cannot help."""


@dataclass(frozen=True, slots=True)
class Storable:
    """A value that can be moved out of a message.

    Attributes:
        message: The message.
        place: The place of the value in the message's payload.
        content: The value as the store keeps it.
    """

    message: OutboundMessage
    place: Place
    content: Content

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.content.data)


class PayloadExchange:
    """Moves values of outgoing messages to a store, and brings those of arriving messages back.

    A reference names a key, and only keys of this session are read: a participant can make a reader fetch
    neither another URL nor a payload of another session. Content that does not have the hash in its key is
    refused.

    Args:
        store: The store.
        session_name: The conversation.
    """

    def __init__(self, store: PayloadStore, session_name: str) -> None:
        self._store = store
        self._prefix = payload_prefix(session_name)
        # The channel echoes what this session publishes.
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._recent_size = 0

    def storable(
        self, messages: Sequence[OutboundMessage], patterns: Sequence[Sequence[str]]
    ) -> list[Storable]:
        """Find the values that are worth moving.

        Args:
            messages: Messages that are published together.
            patterns: The places of each message that may be moved, as for :func:`values_at`.

        Returns:
            The values, the largest last.
        """
        found = [
            Storable(message, place, content_of(value))
            for message, places in zip(messages, patterns, strict=True)
            for pattern in places
            for place, value in values_at(message.data, pattern)
            if not isinstance(value, bytes | bytearray)
        ]
        return sorted((one for one in found if one.size >= _MIN_SIZE), key=lambda one: one.size)

    async def move_out(self, storable: Storable) -> None:
        """Put a value into the store, and its stand-in into the message.

        Args:
            storable: The value.

        Raises:
            AITransportError: The store failed (50000).
        """
        content, size = storable.content, storable.size
        key = key_of(self._prefix, content.data, content.safe_media_type)
        try:
            url = await self._store.put(key, content.data, content.safe_media_type)
        except Exception as error:  # a store's code may be a user's
            raise _failed(f"store payload of {size} bytes", error) from error
        self._remember(key, content.data)
        message, headers = storable.message, storable.message.transport_headers
        reference = Reference(storable.place, content.form, key, size, content.media_type)
        earlier = read_references(headers[HEADER]) if HEADER in headers else ()
        headers[HEADER] = write_references((*earlier, reference))
        message.data = replaced(message.data, reference.place, stand_in(reference, url))

    def bring_back_known(self, message: InboundMessage) -> InboundMessage | None:
        """Return a message with its original values; None if some must be read from the store."""
        contents: list[bytes] = []
        references = self._references(message)
        for reference in references:
            content = self._recent.get(reference.key)
            if content is None:
                return None
            contents.append(content)
        return _restored(message, references, contents)

    async def bring_back(self, message: InboundMessage) -> InboundMessage:
        """Return a message with its original values.

        Args:
            message: A message with references.

        Raises:
            PayloadLostError: The references are malformed or not of this session, or a payload is not there
                or is damaged (50000).
            AITransportError: The store failed (50000).
        """
        references = self._references(message)
        return _restored(message, references, [await self._read(reference.key) for reference in references])

    async def _read(self, key: str) -> bytes:
        known = self._recent.get(key)
        if known is not None:
            return known
        try:
            content = await self._store.get(key)
        except FileNotFoundError as error:
            raise PayloadLostError(
                f"unable to read payload {key}; the store does not have it"
                " (was it deleted, or did its publisher use another store?)",
                ErrorCode.INTERNAL_ERROR,
                cause=error,
            ) from error
        except Exception as error:  # a store's code may be a user's
            raise _failed(f"read payload {key}", error) from error
        if not fits_key(key, content):
            raise PayloadLostError(
                f"unable to read payload {key}; its content was changed", ErrorCode.INTERNAL_ERROR
            )
        self._remember(key, content)
        return content

    def _references(self, message: InboundMessage) -> tuple[Reference, ...]:
        try:
            references = read_references(message.transport_headers[HEADER])
        except ValueError as error:
            raise _unreadable(f"its references are malformed: {error}") from error
        if not all(reference.key.startswith(self._prefix) for reference in references):
            raise _unreadable("it refers to another session")
        return references

    def _remember(self, key: str, content: bytes) -> None:
        if key in self._recent or len(content) > _KEPT_BYTES:
            return
        self._recent[key] = content
        self._recent_size += len(content)
        while self._recent_size > _KEPT_BYTES:
            _, dropped = self._recent.popitem(last=False)
            self._recent_size -= len(dropped)


def _restored(
    message: InboundMessage, references: Sequence[Reference], contents: Sequence[bytes]
) -> InboundMessage:
    """Return a message as it would be if it had never had references."""
    data = message.data
    try:
        for reference, content in zip(references, contents, strict=True):
            data = replaced(data, reference.place, value_of(reference, content))
    except (ValueError, LookupError, RecursionError) as error:
        raise _unreadable("a value does not fit its reference") from error
    extras = cast("Mapping[str, Mapping[str, Mapping[str, str]]]", message.extras)
    headers = {key: value for key, value in message.transport_headers.items() if key != HEADER}
    return replace(message, data=data, extras={**extras, "ai": {**extras["ai"], "transport": headers}})


def _failed(action: str, error: Exception) -> AITransportError:
    return AITransportError.wrap(action, error, ErrorCode.INTERNAL_ERROR)


def _unreadable(reason: str) -> PayloadLostError:
    return PayloadLostError(f"unable to read the payloads of a message; {reason}", ErrorCode.INTERNAL_ERROR)
