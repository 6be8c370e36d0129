"""Invocations: validated when read, written as the npm package writes them."""

import json

import pytest
from pydantic import ValidationError

from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    Invocation,
    InvocationData,
)

BODY = {"inputEventId": "e1", "sessionName": "chat:1"}


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        json.dumps(BODY),
        json.dumps(BODY).encode(),
        bytearray(json.dumps(BODY).encode()),
        {**BODY, "added": "by a newer peer"},
        Invocation(input_event_id="e1", session_name="chat:1"),
    ],
)
def test_a_body_is_read(body: object) -> None:
    invocation = Invocation.from_json(body)
    assert (invocation.input_event_id, invocation.session_name) == ("e1", "chat:1")


def test_it_is_written_as_javascript_writes_it() -> None:
    invocation = Invocation.from_json(BODY)
    assert invocation.to_json() == BODY
    assert list(invocation.to_json()) == ["inputEventId", "sessionName"]
    assert Invocation.from_json(invocation.to_json()) == invocation


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"sessionName": "s"}, "inputEventId"),
        ({"inputEventId": "e"}, "sessionName"),
        ({**BODY, "sessionName": ""}, "sessionName"),
        ({**BODY, "inputEventId": 7}, "inputEventId"),
        ({**BODY, "inputEventId": None}, "inputEventId"),
        ({**BODY, "sessionName": ["s"]}, "sessionName"),
        ({}, "inputEventId"),
        ("", "body"),
        ("not json", "body"),
        (b"\xff\xfe", "body"),
        ("[]", "body"),
        ("null", "body"),
        (None, "body"),
        (7, "body"),
        ([BODY], "body"),
    ],
)
def test_a_bad_body_is_refused_with_the_place_of_the_mistake(body: object, where: str) -> None:
    with pytest.raises(AITransportError) as caught:
        Invocation.from_json(body)
    assert (caught.value.code, caught.value.status_code) == (ErrorCode.BAD_REQUEST, 400)
    assert caught.value.message.startswith(f"unable to read invocation; {where}: ")


@pytest.mark.parametrize("name", ["[?rewind=1]x", "[meta]x", "[filter=bmFtZQ==]x", "[x"])
def test_a_session_name_with_a_channel_qualifier_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="channel qualifier"):
        Invocation.from_json({**BODY, "sessionName": name})
    with pytest.raises(ValidationError, match="channel qualifier"):
        Invocation(input_event_id="e1", session_name=name)


def test_brackets_elsewhere_in_a_session_name_are_fine() -> None:
    assert Invocation.from_json({**BODY, "sessionName": "x[1]"}).session_name == "x[1]"


def test_an_invocation_does_not_change() -> None:
    invocation = Invocation.from_json(BODY)
    with pytest.raises(ValidationError):
        invocation.session_name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_the_name_of_the_wire_form() -> None:
    assert InvocationData is Invocation
