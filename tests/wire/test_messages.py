"""Messages as values: headers are read leniently and written in two tiers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.wire import InboundMessage, MessageAction, OutboundMessage
from ably_ai_transport.wire.messages import ai_extras


def test_both_tiers_are_read() -> None:
    message = InboundMessage(extras={"ai": {"transport": {"run-id": "r1"}, "codec": {"kind": "text"}}})
    assert message.transport_headers == {"run-id": "r1"}
    assert message.codec_headers == {"kind": "text"}
    assert message.has_ai_envelope


@pytest.mark.parametrize(
    ("extras", "envelope"),
    [
        (None, False),
        ("text", False),
        ([], False),
        ({}, False),
        ({"headers": {"run-id": "r1"}}, False),
        ({"ai": None}, False),
        ({"ai": "text"}, False),
        ({"ai": []}, False),
        ({"ai": {}}, True),
        ({"ai": {"transport": None, "codec": 7}}, True),
        ({"ai": {"transport": ["run-id"], "codec": "kind"}}, True),
    ],
)
def test_headers_that_are_missing_or_cut_short_are_none(extras: object, envelope: bool) -> None:
    message = InboundMessage(extras=extras)
    assert (dict(message.transport_headers), dict(message.codec_headers)) == ({}, {})
    assert message.has_ai_envelope is envelope


def test_a_header_that_is_no_string_is_no_header() -> None:
    tier: dict[object, object] = {"a": "1", "b": 2, 3: "c", "d": None, "e": ["x"], "f": ""}
    message = InboundMessage(extras={"ai": {"transport": tier, "codec": {"g": True}}})
    assert message.transport_headers == {"a": "1", "f": ""}
    assert message.codec_headers == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=2)
        | st.dictionaries(st.sampled_from(["ai", "transport", "codec", "x"]), children, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_extras_may_be_anything(extras: object) -> None:
    message = InboundMessage(extras=extras)
    for tier in (message.transport_headers, message.codec_headers):
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in tier.items())


def test_actions_have_ablys_names() -> None:
    assert [str(action) for action in MessageAction] == [
        "message.create",
        "message.update",
        "message.delete",
        "message.append",
        "meta",
        "message.summary",
    ]


def test_a_hook_can_add_headers_to_any_message() -> None:
    bare = OutboundMessage("ai-output")
    bare.transport_headers["a"] = "1"
    assert bare.extras == {"ai": {"transport": {"a": "1"}}}
    full = OutboundMessage("ai-output", extras=ai_extras({"a": "1"}, {"kind": "text"}))
    full.transport_headers["b"] = "2"
    assert full.extras == {"ai": {"transport": {"a": "1", "b": "2"}, "codec": {"kind": "text"}}}


def test_extras_are_built_from_copies_and_without_an_empty_codec_tier() -> None:
    transport = {"a": "1"}
    extras = ai_extras(transport, {})
    transport["a"] = "2"
    assert extras == {"ai": {"transport": {"a": "1"}}}


def test_messages_do_not_share_their_extras() -> None:
    OutboundMessage().transport_headers["a"] = "1"
    assert OutboundMessage().extras == {}
