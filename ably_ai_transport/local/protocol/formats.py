"""Formats: JSON text frames and msgpack binary frames, and binary data in each."""

from __future__ import annotations

import base64
import json
from typing import Any, Final, Literal, TypeAlias, cast

import msgpack

from ably_ai_transport.local.protocol.frames import Action, Frame, Value, WireMessage, WirePresence
from ably_ai_transport.local.protocol.nesting import prune_json, prune_msgpack
from ably_ai_transport.local.protocol.parse import MAX_INTEGER, integer
from ably_ai_transport.local.protocol.refusals import bad_request
from ably_ai_transport.local.protocol.values import MAX_DEPTH, carried, carried_text, is_shallow

Format: TypeAlias = Literal["json", "msgpack"]


def _jsonable(value: object) -> str:
    """Encode a value in extras that JSON lacks; binary becomes base64, without a marker."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _large_integer(digits: str) -> float:
    """Return an integer that may have more digits than Python reads."""
    return float(digits) if len(digits) > _MAX_DIGITS else int(digits)


def _text_keys(pairs: list[tuple[object, object]]) -> dict[str | None, object]:
    """Return an object of msgpack; a key that is not text becomes None, which no checked value may have."""
    return {key if isinstance(key, str) else None: value for key, value in pairs}


_MAX_DIGITS: Final = 400
_MAX_ENCODING: Final = 256
_PRUNED_AT: Final = 2 * MAX_DEPTH

# Values that JSON lacks are decoded, too: the frame that holds one is refused, and its connection lives.
_decode_json = json.JSONDecoder().decode
_decode_any_json = json.JSONDecoder(parse_int=_large_integer).decode
_encode_json = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, check_circular=False, default=_jsonable
).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), default=_jsonable).encode
_pack = cast("Any", msgpack).packb
_unpack = cast("Any", msgpack).unpackb


_FIELDS: Final[dict[str, type]] = {
    "id": str,
    "channel": str,
    "channelSerial": str,
    "params": dict,
    "auth": dict,
    "messages": list,
    "presence": list,
}
_INTEGERS: Final = ("flags", "msgSerial")
_PUBLISHED: Final = frozenset({"messages", "presence"})


def dump(value: object, format_: Format) -> bytes:
    """Encode a value for a REST body; binary message data must be transcoded before."""
    if format_ == "msgpack":
        return _pack(value, unicode_errors="replace")
    try:
        return _encode_json(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair can only travel escaped
        return _encode_ascii(value).encode()


def load(payload: str | bytes, format_: Format) -> Value:
    """Decode a frame or a body of a client.

    Raises:
        RefusedError: 40000, the payload is not of that format.
    """
    try:
        if format_ == "json":
            return _load_json(payload if isinstance(payload, str) else payload.decode())
        if isinstance(payload, str):
            raise TypeError("text instead of binary")
        return _load_msgpack(payload)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise bad_request(f"the body or frame is not valid {format_}: {error}") from error


def _load_json(text: str) -> Value:
    try:
        return _decode_json(text)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError):
        return _decode_any_json(prune_json(text, _PRUNED_AT))


def _load_msgpack(payload: bytes) -> Value:
    try:
        return _unpack(payload, raw=False, unicode_errors="surrogatepass")
    except (ValueError, TypeError):
        # Keys are decoded in pairs: integers as keys of a dict can be chosen to collide.
        return _unpack(
            prune_msgpack(payload, _PRUNED_AT),
            raw=False,
            unicode_errors="surrogatepass",
            strict_map_key=False,
            object_pairs_hook=_text_keys,
        )


def load_frame(payload: str | bytes, format_: Format) -> Frame:
    """Decode a frame.

    Raises:
        RefusedError: 40000, it is not a protocol message.
    """
    value = load(payload, format_)
    if not isinstance(value, dict):
        raise bad_request("a protocol message must be an object with an action")
    value["action"] = integer(value.get("action"), "action", -MAX_INTEGER)
    for name in _INTEGERS:
        number = value.get(name)
        if number is not None:
            value[name] = integer(number, name, 0)
    for name, field in value.items():
        expected = _FIELDS.get(name)
        if expected is not None and field is not None and not isinstance(field, expected):
            raise bad_request(f"{name} of a protocol message has the wrong type")
        # Those of a publish are checked with their messages, and refused without failing the connection.
        if isinstance(field, (dict, list)) and name not in _PUBLISHED and not is_shallow(field):
            raise bad_request(f"{name} of a protocol message nests too deep")
    return cast("Frame", value)


def dump_frame(frame: Frame, format_: Format) -> bytes:
    """Encode a frame as the payload of a websocket text (JSON) or binary (msgpack) frame."""
    if format_ == "msgpack":
        return dump(frame, format_)
    action = frame.get("action")
    if action == Action.MESSAGE:
        messages = frame.get("messages", [])
        if any(isinstance(message.get("data"), bytes) for message in messages):
            frame = {**frame, "messages": [for_json(message) for message in messages]}
    elif action in (Action.PRESENCE, Action.SYNC):
        frame = {**frame, "presence": [presence_for_json(member) for member in frame.get("presence", [])]}
    return dump(frame, format_)


def for_json(message: WireMessage) -> WireMessage:
    """Return the message with binary data in base64, marked in its encoding (Ably specification RSL4d)."""
    data = message.get("data")
    if not isinstance(data, bytes):
        return message
    return {**message, "data": _base64(data), "encoding": _marked(message.get("encoding"))}


def presence_for_json(member: WirePresence) -> WirePresence:
    """Return the presence message with binary data in base64, marked in its encoding."""
    data = member.get("data")
    if not isinstance(data, bytes):
        return member
    return {**member, "data": _base64(data), "encoding": _marked(member.get("encoding"))}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _marked(encoding: str | None) -> str:
    return f"{encoding}/base64" if encoding else "base64"


def canonical_data(data: Value, encoding: Value) -> tuple[str | bytes | None, str | None]:
    """Return data and encoding in the form that the server stores: base64 decoded, objects as JSON text.

    Raises:
        RefusedError: 40013, Ably does not carry data of this type; 40000, JSON cannot carry the data.
    """
    encoding = carried_text(encoding) if isinstance(encoding, str) and encoding else None
    if encoding is not None and len(encoding) > _MAX_ENCODING:
        raise bad_request(f"an encoding must have at most {_MAX_ENCODING} characters, not {len(encoding)}")
    if data is None or isinstance(data, bytes):
        return data, encoding
    if isinstance(data, str):
        data = carried_text(data)
        if encoding is not None and encoding.endswith("base64"):
            rest, _, last = encoding.rpartition("/")
            if last == "base64":
                try:
                    return base64.b64decode(data, validate=True), rest or None
                except ValueError as error:
                    raise bad_request(f"invalid message data: {error}", 40013) from error
        return data, encoding
    if isinstance(data, (dict, list)):
        return _encode_json(carried(data, "data")), f"{encoding}/json" if encoding else "json"
    raise bad_request("invalid message data: must be a string, binary or an object", 40013)


def json_size(data: str | bytes | None) -> int:
    """Return how many bytes message data takes in a JSON frame, escaped or in base64, without the quotes."""
    if data is None:
        return 0
    if isinstance(data, bytes):
        return 4 * ((len(data) + 2) // 3)
    try:
        return len(_encode_json(data).encode()) - 2
    except UnicodeEncodeError:
        return len(_encode_ascii(data)) - 2


def transcode(value: object, format_: Format) -> object:
    """Return a REST body for `format_`: in JSON, binary message data becomes base64."""
    if format_ == "msgpack":
        return value
    if isinstance(value, list):
        return [transcode(item, format_) for item in cast("list[object]", value)]
    if isinstance(value, dict) and isinstance(cast("dict[str, object]", value).get("data"), bytes):
        return for_json(cast("WireMessage", value))
    return cast("object", value)
