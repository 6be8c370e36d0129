"""Targets: the small parsers of the wire."""

from typing import Any, Final

from hypothesis import strategies as st

from ably_ai_transport import AITransportError, Invocation
from ably_ai_transport.codec import dump_json, parse_json
from ably_ai_transport.payloads.references import read_references
from ably_ai_transport.wire.events import read_run_lifecycle, read_step_lifecycle
from ably_ai_transport.wire.session_name import check_session_name
from tests.fuzz.target import BrokenPromiseError, Target
from tests.fuzz.values import TEXTS, Json, changed, encode_json, texts, values
from tests.fuzz.vocabularies import conversation, inbound_of


def _take_wire(fields: Json) -> None:
    message = inbound_of(fields)
    if message is not None:
        read_run_lifecycle(message)
        read_step_lifecycle(message)


def _take_invocation(value: object) -> None:
    try:
        invocation = Invocation.from_json(value)
    except AITransportError:
        return
    if Invocation.from_json(invocation.to_json()) != invocation:
        raise BrokenPromiseError("an invocation reads back as another one")


def _take_json(text: str) -> None:
    value = parse_json(text)
    written = dump_json(value)
    written.encode()
    if dump_json(parse_json(written)) != written:
        raise BrokenPromiseError("JSON reads back as another value", written)


def _as_text(value: object) -> str:
    return encode_json(value).decode()


_INVOCATIONS: Final = (
    {"inputEventId": "e", "sessionName": "chat:1"},
    {"inputEventId": "e", "sessionName": "[x]c"},
)
_REFERENCES: Final[tuple[Any, ...]] = (
    [{"place": ["a", 0], "form": "json", "key": "a" * 64, "size": 3, "mediaType": "application/json"}],
    [{"place": [], "form": "data-url", "key": "0" * 32, "size": 3, "mediaType": "a/b"}],
)
_refused: Final = (AITransportError,)


TARGETS: Final = (
    Target("wire.lifecycle", st.deferred(lambda: changed(conversation("vercel"))), _take_wire),
    Target(
        "wire.invocations",
        changed(_INVOCATIONS) | changed(_INVOCATIONS).map(_as_text) | st.sampled_from(TEXTS),
        _take_invocation,
    ),
    Target("wire.session_names", texts, check_session_name, _refused),
    Target("codec.json", values.map(_as_text) | texts, _take_json, (ValueError,)),
    Target("payloads.references", changed(_REFERENCES).map(_as_text), read_references, (ValueError,)),
)
