"""Messages: nested values in Python, one flat JSON object on the wire."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.halves import whole
from ably_ai_transport_haip.protocol.names import Dialect, HaipEventType, event_named, wire_name
from ably_ai_transport_haip.protocol.reading import read_json

_CHANNEL: Final = re.compile(r"[A-Za-z0-9_\-]{1,128}")
UUID_FORM: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_LONGEST_THREAD: Final = 128
_MOST_MAJOR: Final = 255
_SHORT: Final = 40
_AS_IS: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_KNOWN: Final = frozenset(
    {
        "id", "session", "seq", "ack", "ts", "channel", "type", "payload", "pv", "crit", "bin_len",
        "bin_mime", "run_id", "thread_id",
    }
)  # fmt: skip


_DIGITS_WANTED: Final = "1 to 20 decimal digits"
_FORMS: Final = (
    ("session", "session_id", UUID_FORM, "a UUID"),
    ("run_id", "run_id", UUID_FORM, "a UUID"),
    ("channel", "channel", _CHANNEL, "1 to 128 letters, digits, hyphens and underscores"),
    ("seq", "sequence", _NUMBER, _DIGITS_WANTED),
    ("ts", "timestamp", _NUMBER, _DIGITS_WANTED),
    ("ack", "ack", _NUMBER, _DIGITS_WANTED),
)


@dataclass(frozen=True, slots=True)
class HaipEnvelope:
    """The metadata of a message. The sender fills in empty fields.

    Attributes:
        session_id: The session, a UUID.
        run_id: The run, a UUID.
        thread_id: The thread: a conversation, in at most 128 characters.
        channel: The channel, such as a :class:`HaipChannel`.
        sequence: The sequence number of the message, from 1 per sender, as decimal digits.
        timestamp: The time of sending: milliseconds since 1970, as decimal digits.
        ack: The sequence number of the newest message received from the other side.
    """

    session_id: str | None = None
    run_id: str | None = None
    thread_id: str | None = None
    channel: str | None = None
    sequence: str | None = None
    timestamp: str | None = None
    ack: str | None = None


@dataclass(frozen=True, slots=True)
class HaipMessage:
    """One HAIP message.

    Attributes:
        type: The type.
        payload: The payload; its fields depend on the type.
        envelope: The metadata.
        id: The id, a UUID.
        pv: The major version of the protocol that the message was made with.
        crit: Whether the receiver must refuse fields that it does not know.
        bin_len: The size of the binary body in bytes.
        bin_mime: The media type of the binary body.
        binary: The binary body, once it has arrived.
        size: The bytes of its frames as they arrived; 0 for a message that was not received.
        price: The message and byte credits that it cost the other side, likewise.

    Example:
        >>> HaipMessage(HaipEventType.PING, {"nonce": "1"}).type.value
        'PING'
    """

    type: HaipEventType
    payload: Mapping[str, object]
    envelope: HaipEnvelope = field(default_factory=HaipEnvelope)
    id: str | None = None
    pv: int | None = None
    crit: bool | None = None
    bin_len: int | None = None
    bin_mime: str | None = None
    binary: bytes | None = None
    size: int = field(default=0, compare=False, repr=False)
    price: tuple[int, int] = field(default=(0, 0), compare=False, repr=False)

    def to_wire(self, dialect: Dialect = "text") -> dict[str, object]:
        """Return the flat object for the wire.

        Args:
            dialect: The dialect of the peer.

        Returns:
            The object, without empty fields.
        """
        flat = {
            "id": self.id,
            "session": self.envelope.session_id,
            "seq": self.envelope.sequence,
            "ack": self.envelope.ack,
            "ts": self.envelope.timestamp,
            "channel": self.envelope.channel,
            "type": wire_name(self.type, dialect),
            "payload": dict(self.payload),
            "pv": self.pv,
            "crit": self.crit,
            "bin_len": self.bin_len,
            "bin_mime": self.bin_mime,
            "run_id": self.envelope.run_id,
            "thread_id": self.envelope.thread_id,
        }
        return {key: value for key, value in flat.items() if value is not None}

    @classmethod
    def from_wire(cls, flat: object, size: int = 0) -> "HaipMessage":
        """Read a flat object from the wire. The payload is not checked.

        Args:
            flat: The object, any JSON value.
            size: The bytes of its text frame.

        Returns:
            The message.

        Raises:
            HaipProtocolError: It is no message (INVALID_MESSAGE), its type is unknown, or it is critical and
                has an unknown field (UNSUPPORTED_TYPE).
        """
        if not isinstance(flat, dict):
            raise HaipProtocolError(
                "unable to read message; it is no JSON object", HaipErrorCode.INVALID_MESSAGE
            )
        said = cast("dict[str, object]", flat)
        name = _text(said, "type", required=True)
        event = event_named(name or "")
        if event is None:
            raise HaipProtocolError(
                f"unable to read message; event '{_short(name)}' is unknown",
                HaipErrorCode.UNSUPPORTED_TYPE,
                {"type": _short(name)},
            )
        payload = said.get("payload")
        if not isinstance(payload, dict):
            raise _invalid("payload", "an object")
        crit = said.get("crit")
        if crit is True and not said.keys() <= _KNOWN:
            unknown = _short(min(said.keys() - _KNOWN))
            raise HaipProtocolError(
                f"unable to read message; field '{unknown}' is unknown, and the message is critical",
                HaipErrorCode.UNSUPPORTED_TYPE,
            )
        channel = _text(said, "channel", required=True)
        if channel is not None and not _CHANNEL.fullmatch(channel):
            raise _invalid("channel", "1 to 128 letters, digits, hyphens and underscores")
        return cls(
            event,
            cast("dict[str, object]", payload),
            HaipEnvelope(
                session_id=_text(said, "session"),
                run_id=_text(said, "run_id"),
                thread_id=_text(said, "thread_id"),
                channel=channel,
                sequence=_text(said, "seq"),
                timestamp=_text(said, "ts"),
                ack=_text(said, "ack"),
            ),
            id=_text(said, "id"),
            pv=_number(said, "pv"),
            crit=crit if isinstance(crit, bool) else None,
            bin_len=_number(said, "bin_len"),
            bin_mime=_text(said, "bin_mime"),
            size=size,
        )


def read_text(text: str | bytes) -> HaipMessage:
    """Read a text frame.

    Args:
        text: The frame.

    Returns:
        The message.

    Raises:
        HaipProtocolError: The frame is no JSON, or it is nested too deeply (INVALID_MESSAGE), or it is no
            message; see :meth:`HaipMessage.from_wire`.
    """
    return HaipMessage.from_wire(read_json(text), size_of(text))


def write_text(message: HaipMessage, dialect: Dialect = "text") -> str:
    """Write a text frame.

    Args:
        message: The message.
        dialect: The dialect of the peer.

    Returns:
        The frame; it can always be encoded as UTF-8.

    Raises:
        HaipProtocolError: The payload is no JSON (INVALID_MESSAGE).
    """
    return write_flat(message.to_wire(dialect), message.type)


def write_flat(flat: Mapping[str, object], event: HaipEventType) -> str:
    """Write a text frame from its flat object.

    Args:
        flat: The object, as :meth:`HaipMessage.to_wire` returns it.
        event: The type of the message, for errors.

    Returns:
        The frame; it can always be encoded as UTF-8.

    Raises:
        HaipProtocolError: The payload is no JSON (INVALID_MESSAGE).
    """
    try:
        text = _AS_IS.encode(flat)
    except (TypeError, ValueError, RecursionError) as error:
        raise HaipProtocolError(
            f"unable to write {event}; its payload is no JSON ({error})", HaipErrorCode.INVALID_MESSAGE
        ) from error
    # JSON could escape half of a character, but not every peer can read that.
    return whole(text)


def size_of(text: str | bytes) -> int:
    """Return the bytes of a text as UTF-8. Half a surrogate pair counts as three."""
    if isinstance(text, bytes) or text.isascii():
        return len(text)
    return len(text.encode(errors="surrogatepass"))


def new_id() -> str:
    """Return a random id for a message, a run or a call: a UUID of version 4."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _short(text: str | None) -> str:
    """Return the beginning of a text of the other side, for an error."""
    return (text or "")[:_SHORT]


def _text(said: Mapping[str, object], key: str, *, required: bool = False) -> str | None:
    value = said.get(key)
    if isinstance(value, str) or (value is None and not required):
        return value
    raise _invalid(key, "text")


def _number(said: Mapping[str, object], key: str) -> int | None:
    value = said.get(key)
    if value is None or (isinstance(value, int) and _is_count(value)):
        return value
    raise _invalid(key, "a non-negative integer")


def _invalid(key: str, wanted: str, doing: str = "read") -> HaipProtocolError:
    return HaipProtocolError(
        f"unable to {doing} message; {key} must be {wanted}", HaipErrorCode.INVALID_MESSAGE, {"field": key}
    )


def check_envelope(envelope: HaipEnvelope) -> None:
    """Check an envelope before it is sent. Empty fields pass, because the sender fills them in.

    Args:
        envelope: The envelope.

    Raises:
        HaipProtocolError: The schema refuses a field (INVALID_MESSAGE); the error names it.
    """
    for name, key, form, wanted in _FORMS:
        value: object = getattr(envelope, key)
        if value is not None and not (isinstance(value, str) and form.fullmatch(value)):
            raise _invalid(name, wanted, "send")
    thread_id = envelope.thread_id
    if thread_id is not None and not (_is_text(thread_id) and len(thread_id) <= _LONGEST_THREAD):
        raise _invalid("thread_id", f"text of at most {_LONGEST_THREAD} characters", "send")


def check_references(envelope: HaipEnvelope) -> None:
    """Check the run and the thread of a received message.

    Args:
        envelope: The envelope.

    Raises:
        HaipProtocolError: The schema refuses one of them (INVALID_MESSAGE); the error names it.
    """
    if envelope.run_id is not None and not UUID_FORM.fullmatch(envelope.run_id):
        raise _invalid("run_id", "a UUID")
    if envelope.thread_id is not None and len(envelope.thread_id) > _LONGEST_THREAD:
        raise _invalid("thread_id", f"text of at most {_LONGEST_THREAD} characters")


def check_message(message: HaipMessage) -> None:
    """Check a message before it is sent, without its payload. Empty fields pass; the sender fills them in.

    Args:
        message: The message.

    Raises:
        HaipProtocolError: The schema refuses a field (INVALID_MESSAGE); the error names it.
    """
    check_envelope(message.envelope)
    if message.id is not None and not (_is_text(message.id) and UUID_FORM.fullmatch(message.id)):
        raise _invalid("id", "a UUID of version 1 to 5", "send")
    if message.pv is not None and not (_is_count(message.pv) and message.pv <= _MOST_MAJOR):
        raise _invalid("pv", f"an integer from 0 to {_MOST_MAJOR}", "send")
    if message.bin_len is not None and not _is_count(message.bin_len):
        raise _invalid("bin_len", "a non-negative integer", "send")
    if message.bin_mime is not None and not _is_text(message.bin_mime):
        raise _invalid("bin_mime", "text", "send")
    if message.crit is not None and not isinstance(message.crit, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid("crit", "true or false", "send")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)
