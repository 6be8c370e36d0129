"""Any value comes back as it was, whatever its kind and its place."""

import base64
import json

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport import AITransportError, InboundMessage, OutboundMessage
from ably_ai_transport.payloads.contract import key_of, payload_prefix, safe_media_type
from ably_ai_transport.payloads.exchange import PayloadExchange
from ably_ai_transport.payloads.references import HEADER, WHOLE_PAYLOAD, content_of
from ably_ai_transport.payloads.timed import TimedPayloads
from ably_ai_transport.wire.messages import ai_extras
from tests.payloads.stores import MemoryPayloads

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


def data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


data_urls = st.builds(
    data_url,
    st.sampled_from(["image/png", "text/html", "", "text/plain;charset=utf-8", "x"]),
    st.binary(max_size=50),
)
near_data_urls = st.sampled_from(
    ["data:,hi", "data:image/png;base64,a", "data:image/png;base64,YQ=", "data:text/plain,a;base64,YQ=="]
)
values = st.recursive(
    scalars | data_urls | near_data_urls,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def roomy(value: object) -> object:
    """Make a value large enough to be moved."""
    if isinstance(value, str):
        if value.startswith("data:image/png;base64,") and len(value) > 30:
            return "data:image/png;base64," + base64.b64encode(b"x" * 2000 + value.encode()).decode()
        return value + " " * 2000
    return [value, " " * 2000]


async def moved_and_back(
    data: object, patterns: list[str], store: MemoryPayloads
) -> tuple[OutboundMessage, InboundMessage]:
    message = OutboundMessage("ai-output", data, ai_extras({"stream": "false"}, {"kind": "k"}))
    exchange = PayloadExchange(store, "chat:42")
    for storable in exchange.storable([message], [patterns]):
        await exchange.move_out(storable)
    # Another reader, after the trip over the wire.
    arrived = InboundMessage(
        name="ai-output", data=json.loads(json.dumps(message.data)), extras=message.extras
    )
    if HEADER not in arrived.transport_headers:
        return message, arrived
    return message, await PayloadExchange(store, "chat:42").bring_back(arrived)


@settings(deadline=None)
@given(value=values, others=st.dictionaries(st.sampled_from(["a", "b"]), values))
def test_a_value_comes_back(value: object, others: dict[str, object]) -> None:
    async def check() -> None:
        large = roomy(value)
        cases: list[tuple[object, str]] = [
            (large, WHOLE_PAYLOAD),
            ({**others, "output": large}, "output"),
            ({"item": {**others, "output": large}}, "item.output"),
            ([{"part": large}, {"part": others}], "*.part"),
        ]
        for data, pattern in cases:
            before = json.dumps(data)
            store = MemoryPayloads()
            sent, arrived = await moved_and_back(data, [pattern], store)
            assert len(store.objects) >= 1
            assert len(json.dumps(sent.data)) < len(before)
            assert arrived.data == json.loads(before)
            assert json.dumps(data) == before
            assert arrived.transport_headers == {"stream": "false"}
            assert arrived.codec_headers == {"kind": "k"}

    anyio.run(check)


async def test_several_values_of_one_message_come_back() -> None:
    data = {"a": "a" * 2000, "b": ["b" * 2000], "c": "small"}
    store = MemoryPayloads()
    sent, arrived = await moved_and_back(data, ["a", "b", "c", "missing.key"], store)
    assert len(store.objects) == 2
    assert '"c": "small"' in json.dumps(sent.data)
    assert arrived.data == data


@pytest.mark.parametrize(
    ("media_type", "safe"),
    [
        ("image/png", "image/png"),
        ("Text/Plain; charset=utf-8", "text/plain"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_a_browser_never_runs_a_payload(media_type: str, safe: str) -> None:
    assert safe_media_type(media_type) == safe
    content = content_of(f"data:{media_type};base64,YQ==")
    assert content.safe_media_type == safe
    key = key_of(payload_prefix("s"), content.data, content.safe_media_type)
    assert not key.endswith((".html", ".svg"))


async def test_a_store_that_hangs_fails_in_time() -> None:
    store = MemoryPayloads()
    store.gate = anyio.Event()
    sent, _ = await moved_and_back(["x" * 2000], [], store)
    exchange = PayloadExchange(store, "chat:42")
    [storable] = exchange.storable([sent], [[WHOLE_PAYLOAD]])
    await exchange.move_out(storable)
    arrived = InboundMessage(name="ai-output", data=sent.data, extras=sent.extras)
    with pytest.raises(AITransportError, match="TimeoutError"):
        await PayloadExchange(TimedPayloads(store, 0.001), "chat:42").bring_back(arrived)
