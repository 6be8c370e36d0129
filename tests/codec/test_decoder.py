"""Tests of the decoder: it reads streams from any point on, and each piece of text once."""

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.codec.contract import Decoded, Payload, StreamState
from ably_ai_transport.codec.decoder import DecoderCore
from ably_ai_transport.wire import InboundMessage, MessageAction
from ably_ai_transport.wire.messages import Headers
from tests.codec.fake_channel import Event, Hooks, Reader

CREATE, APPEND = MessageAction.CREATE, MessageAction.APPEND
Core = DecoderCore[Event, Event]
UPDATE, DELETE = MessageAction.UPDATE, MessageAction.DELETE


def delivery(
    action: MessageAction,
    version: int | None,
    data: object = "",
    status: str | None = "streaming",
    *,
    serial: str | None = "s1",
    codec: dict[str, str] | None = None,
) -> InboundMessage:
    """A delivery of the stream ``t1``; its serial is also version 1's."""
    transport = {"stream": "true", "stream-id": "t1", **({"status": status} if status else {})}
    name = None if action is APPEND else "ai-output"
    return InboundMessage(
        action,
        name,
        data,
        serial,
        None if version is None else f"s{version}",
        extras={"ai": {"transport": transport, "codec": codec or {}}},
    )


def events(decoder: Core, *messages: InboundMessage) -> list[Event]:
    """All events of some deliveries, none of which rewrites anything."""
    result: list[Event] = []
    for message in messages:
        decoded = decoder.decode(message)
        assert not decoded.replaces
        result.extend(decoded.outputs)
    return result


@pytest.fixture
def decoder() -> Core:
    return DecoderCore(Hooks())


def test_a_stream_from_its_beginning(decoder: Core) -> None:
    assert events(
        decoder,
        delivery(CREATE, 1),
        delivery(APPEND, 2, "a"),
        delivery(APPEND, 3, "b"),
        delivery(APPEND, 4, "c", "complete"),
    ) == [("start", "t1"), ("delta", "a"), ("delta", "b"), ("delta", "c"), ("end", "abc")]


@pytest.mark.parametrize(
    ("status", "end"),
    [("streaming", []), ("complete", [("end", "abc")]), ("cancelled", []), (None, [])],
)
@pytest.mark.parametrize("action", [CREATE, UPDATE, APPEND])
def test_first_contact_in_the_middle(
    decoder: Core, action: MessageAction, status: str | None, end: list[Event]
) -> None:
    """An append is no first contact by contract, but all that there is."""
    assert events(decoder, delivery(action, 3, "abc", status)) == [("start", "t1"), ("delta", "abc"), *end]
    more = events(decoder, delivery(APPEND, 4, "d"))
    assert more == ([] if status in ("complete", "cancelled") else [("delta", "d")])


def test_an_update_that_goes_on_is_a_delta(decoder: Core) -> None:
    events(decoder, delivery(CREATE, 1), delivery(APPEND, 2, "ab"))
    assert events(decoder, delivery(UPDATE, 3, "abc")) == [("delta", "c")]
    assert events(decoder, delivery(UPDATE, 4, "abc")) == []
    assert events(decoder, delivery(UPDATE, 5, "abcd", "complete")) == [("delta", "d"), ("end", "abcd")]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("action", [CREATE, APPEND, UPDATE])
@pytest.mark.parametrize("status", ["streaming", "complete"])
def test_what_has_been_taken_in_decodes_to_nothing(
    decoder: Core, version: int, action: MessageAction, status: str
) -> None:
    events(decoder, delivery(CREATE, 1), delivery(APPEND, 2, "a"), delivery(APPEND, 3, "b", status))
    assert events(decoder, delivery(action, version, "other")) == []


def test_live_text_and_history_in_either_order() -> None:
    live = [delivery(CREATE, 1), delivery(APPEND, 2, "a"), delivery(APPEND, 3, "b", "complete")]
    page = [delivery(UPDATE, 3, "ab", "complete")]
    assert Reader().read(live).read(page).streams() == {"t1": ("ab", True)}
    assert Reader().read(page).read(live).streams() == {"t1": ("ab", True)}
    assert Reader().read(live[:2]).read(page).read(live[2:]).streams() == {"t1": ("ab", True)}


@pytest.mark.parametrize(
    ("status", "end"), [("streaming", []), ("complete", [("end", "xyz")]), ("cancelled", [])]
)
def test_a_rewritten_stream_is_read_anew(decoder: Core, status: str, end: list[Event]) -> None:
    events(decoder, delivery(CREATE, 1), delivery(APPEND, 2, "abc"))
    decoded = decoder.decode(delivery(UPDATE, 3, "xyz", status))
    assert decoded == Decoded(outputs=[("start", "t1"), ("delta", "xyz"), *end], replaces=True)
    after = events(decoder, delivery(APPEND, 4, "!"))
    assert after == ([("delta", "!")] if status == "streaming" else [])


def test_headers_of_a_rewritten_stream_are_replaced() -> None:
    seen: list[tuple[Headers, Headers]] = []

    class Spy(Hooks):
        def build_delta_events(self, stream: StreamState, delta: str) -> Sequence[Event]:
            seen.append((stream.codec_headers, stream.transport_headers))
            return []

    decoder = DecoderCore(Spy())
    for message in (
        delivery(CREATE, 1, codec={"kind": "text"}),
        delivery(APPEND, 2, "a", codec={"kind": "unread"}),
        delivery(UPDATE, 3, "x", codec={"kind": "other"}),
    ):
        decoder.decode(message)
    assert [codec for codec, _ in seen] == [{"kind": "text"}, {"kind": "other"}]
    assert seen[1][1] == {"stream": "true", "stream-id": "t1", "status": "streaming"}


def test_a_closed_stream_takes_no_appends(decoder: Core) -> None:
    events(decoder, delivery(CREATE, 1), delivery(APPEND, 2, "a", "complete"))
    assert events(decoder, delivery(APPEND, 3, "b"), delivery(APPEND, 4, "", "complete")) == []
    assert events(decoder, delivery(APPEND, None, "b"), delivery(UPDATE, None, "b")) == []


@pytest.mark.parametrize("status", ["complete", "cancelled"])
def test_a_closed_stream_is_read_anew_only_where_its_text_changed(decoder: Core, status: str) -> None:
    events(decoder, delivery(CREATE, 1), delivery(APPEND, 2, "abc", status))
    assert events(decoder, delivery(UPDATE, 3, "abc", status)) == []
    changed = decoder.decode(delivery(UPDATE, 4, "abcd", "complete"))
    assert changed == Decoded(outputs=[("start", "t1"), ("delta", "abcd"), ("end", "abcd")], replaces=True)
    assert events(decoder, delivery(UPDATE, 4, "zzz"), delivery(UPDATE, 3, "zzz")) == []


def test_a_closed_stream_may_be_opened_again(decoder: Core) -> None:
    events(decoder, delivery(CREATE, 1), delivery(APPEND, 2, "abc", "complete"))
    assert decoder.decode(delivery(UPDATE, 3, "x")).replaces
    assert events(decoder, delivery(APPEND, 4, "y", "complete")) == [("delta", "y"), ("end", "xy")]


def test_a_closed_stream_keeps_no_text(decoder: Core) -> None:
    streams: list[StreamState] = []

    class Spy(Hooks):
        def build_start_events(self, stream: StreamState) -> Sequence[Event]:
            streams.append(stream)
            return []

    decoder = DecoderCore(Spy())
    decoder.decode(delivery(UPDATE, 2, "long text"))
    assert (streams[0].text, streams[0].closed) == ("long text", False)
    decoder.decode(delivery(APPEND, 3, "", "complete"))
    assert (streams[0].text, streams[0].closed) == ("", True)


def test_a_deleted_stream_stays_deleted() -> None:
    deleted: list[tuple[str, str | None]] = []

    def on_delete(serial: str, stream: StreamState | None) -> None:
        deleted.append((serial, stream.stream_id if stream else None))

    decoder = DecoderCore(Hooks(), on_stream_delete=on_delete)
    events(decoder, delivery(CREATE, 1), delivery(APPEND, 2, "a"))
    assert events(decoder, delivery(DELETE, 3), delivery(DELETE, 3, serial="unknown")) == []
    assert deleted == [("s1", "t1"), ("unknown", None)]
    assert events(decoder, delivery(UPDATE, 4, "b"), delivery(APPEND, 5, "c"), delivery(CREATE, 6)) == []


def test_a_closed_stream_that_is_deleted_stays_deleted(decoder: Core) -> None:
    events(decoder, delivery(UPDATE, 2, "a", "complete"), delivery(DELETE, 3))
    assert events(decoder, delivery(UPDATE, 4, "b", "complete")) == []


@pytest.mark.parametrize("action", [CREATE, UPDATE])
@pytest.mark.parametrize("headers", [{"stream": "false"}, {}])
def test_a_message_that_does_not_grow(action: MessageAction, headers: dict[str, str]) -> None:
    payloads: list[Payload] = []

    class Spy(Hooks):
        def decode_discrete(self, payload: Payload) -> Sequence[Event]:
            payloads.append(payload)
            return [("discrete", "x")]

    extras = {"ai": {"transport": headers, "codec": {"kind": "data"}}}
    message = InboundMessage(action, "ai-output", {"x": 1}, "s1", "s1", extras=extras)
    assert DecoderCore(Spy()).decode(message).outputs == [("discrete", "x")]
    assert payloads == [Payload("ai-output", {"x": 1}, {"kind": "data"}, headers)]


def test_a_strangers_append_is_ignored(decoder: Core) -> None:
    for extras in (None, {}, {"headers": {"stream": "true"}}, {"ai": "no"}):
        assert events(decoder, InboundMessage(APPEND, None, "x", "s9", "s9", extras=extras)) == []


def test_stream_headers_in_the_codec_tier_are_read_too(decoder: Core) -> None:
    """An earlier release may have put them there."""

    def old(action: MessageAction, version: str, data: str, status: str) -> InboundMessage:
        codec = {"type": "text", "stream": "true", "status": status, "stream-id": "t1"}
        extras = {"ai": {"transport": {"run-id": "r1"}, "codec": codec}}
        return InboundMessage(action, "ai-output", data, "s1", version, extras=extras)

    assert events(
        decoder,
        old(CREATE, "s1", "", "streaming"),
        old(APPEND, "s2", "a", "streaming"),
        old(APPEND, "s3", "b", "complete"),
    ) == [("start", "t1"), ("delta", "a"), ("delta", "b"), ("end", "ab")]


def test_a_codecs_own_status_is_not_the_streams(decoder: Core) -> None:
    events(decoder, delivery(CREATE, 1))
    message = delivery(APPEND, 2, "a", None, codec={"status": "complete", "stream": "true"})
    assert events(decoder, message) == [("delta", "a")]


@pytest.mark.parametrize("data", [None, 7, {"a": 1}, b"bytes", ["x"]])
def test_data_of_a_stream_that_is_no_text_counts_as_none(decoder: Core, data: object) -> None:
    events(decoder, delivery(CREATE, 1, data), delivery(APPEND, 2, "a"))
    assert events(decoder, delivery(APPEND, 3, data), delivery(APPEND, 4, "b", "complete")) == [
        ("delta", "b"),
        ("end", "ab"),
    ]


JUNK: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.integers(),
    st.binary(max_size=3),
    st.lists(st.text(max_size=2), max_size=2),
    st.dictionaries(st.one_of(st.text(max_size=2), st.integers()), st.integers(), max_size=2),
)
TIER: st.SearchStrategy[object] = st.one_of(
    JUNK,
    st.fixed_dictionaries(
        {},
        optional={
            "stream": st.one_of(st.just("true"), JUNK),
            "status": st.one_of(st.sampled_from(["streaming", "complete", "cancelled"]), JUNK),
            "stream-id": JUNK,
        },
    ),
)
ANYTHING = st.builds(
    InboundMessage,
    action=st.one_of(st.sampled_from(MessageAction), JUNK),
    name=st.one_of(st.just("ai-output"), JUNK),
    data=JUNK,
    serial=st.one_of(st.sampled_from(["s1", "s2"]), JUNK),
    version=st.one_of(st.sampled_from(["s1", "s2", "s3", "s4"]), JUNK),
    extras=st.one_of(
        JUNK, st.fixed_dictionaries({"ai": st.one_of(JUNK, st.fixed_dictionaries({"transport": TIER}))})
    ),
)


@given(st.lists(ANYTHING, max_size=12))
def test_nothing_that_is_on_the_channel_raises_or_disturbs_others(messages: list[InboundMessage]) -> None:
    decoder = DecoderCore(Hooks())
    for message in messages:
        decoder.decode(message)
    own = [delivery(CREATE, 5, serial="own"), delivery(APPEND, 6, "a", "complete", serial="own")]
    own[0].version = own[1].version = None
    assert events(decoder, *own) == [("start", "t1"), ("delta", "a"), ("end", "a")]


class Broken(Hooks):
    """Raises in one of its hooks."""

    def __init__(self, where: str) -> None:
        self._where = where

    def _maybe(self, where: str) -> None:
        if where == self._where:
            raise RuntimeError(where)

    def build_start_events(self, stream: StreamState) -> Sequence[Event]:
        self._maybe("start")
        return super().build_start_events(stream)

    def build_delta_events(self, stream: StreamState, delta: str) -> Sequence[Event]:
        self._maybe("delta")
        return super().build_delta_events(stream, delta)

    def build_end_events(self, stream: StreamState, closing_codec_headers: Headers) -> Sequence[Event]:
        self._maybe("end")
        return super().build_end_events(stream, closing_codec_headers)

    def decode_discrete(self, payload: Payload) -> Sequence[Event]:
        self._maybe("discrete")
        return super().decode_discrete(payload)


@pytest.mark.parametrize("where", ["start", "delta", "end", "discrete"])
def test_a_hook_that_raises_is_logged_and_only_its_events_are_missing(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    decoder = DecoderCore(Broken(where))
    discrete = InboundMessage(CREATE, "ai-output", "d", "s0", "s0", extras={"ai": {"transport": {}}})
    with caplog.at_level(logging.ERROR, "ably_ai_transport.codec"):
        got = events(decoder, discrete, delivery(UPDATE, 2, "ab", "complete"))
    everything = [("discrete", "d"), ("start", "t1"), ("delta", "ab"), ("end", "ab")]
    assert got == [event for event in everything if event[0] != where]
    assert len(caplog.records) == 1


def test_a_delete_callback_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(serial: str, stream: StreamState | None) -> None:
        raise RuntimeError("callback is broken")

    decoder = DecoderCore(Hooks(), on_stream_delete=broken)
    events(decoder, delivery(CREATE, 1), delivery(DELETE, 2))
    assert "callback is broken" in caplog.text
    assert events(decoder, delivery(APPEND, 3, "a")) == []
