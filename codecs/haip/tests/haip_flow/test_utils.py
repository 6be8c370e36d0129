"""HAIP utilities."""

import asyncio
import time
from dataclasses import replace

import pytest
from ably_ai_transport_haip import (
    HaipClientConfig,
    HaipConstants,
    HaipEnvelope,
    HaipError,
    HaipEventType,
    HaipProtocolError,
    utils,
)

from tests.support.haip_stand import token


def test_messages_are_made_and_checked() -> None:
    text = utils.create_text_message("USER", "Hello", "alice", thread_id="1")
    assert (text.type, text.payload["text"], text.payload["author"]) == ("MESSAGE_START", "Hello", "alice")
    assert (text.envelope.channel, text.envelope.thread_id) == ("USER", "1")
    call = utils.create_tool_call("AGENT", "add", {"a": 1})
    assert (call.type, call.payload["params"]) == ("TOOL_CALL", {"a": 1})
    grant = utils.create_flow_update("USER", 0, 5)
    assert grant.payload == {"channel": "USER", "add_bytes": 5}
    assert utils.create_message("PING", {"nonce": "1"}).type is HaipEventType.PING
    with pytest.raises(HaipProtocolError, match="INVALID_MESSAGE"):
        utils.create_message("TOOL_CALL", {"tool": "add"})
    end = utils.create_message(type="TEXT_MESSAGE_END", payload={"message_id": utils.generate_uuid()})
    assert end.type is HaipEventType.MESSAGE_END
    with pytest.raises(ValueError, match="NONSENSE"):
        utils.create_message("NONSENSE", {})


def test_a_message_is_valid_when_it_can_be_sent() -> None:
    message = utils.create_text_message("USER", "Hello")
    assert utils.validate_message(message)
    assert utils.validate_message(utils.create_tool_call("AGENT", "now"))
    assert utils.validate_message(utils.create_flow_update("USER", 1))
    envelope = HaipEnvelope(
        session_id=utils.generate_uuid(),
        channel="USER",
        sequence=utils.generate_sequence_number(),
        timestamp=utils.generate_timestamp(),
    )
    assert utils.validate_envelope(HaipEnvelope())
    assert utils.validate_envelope(envelope)
    complete = replace(message, id=utils.generate_uuid(), envelope=envelope)
    assert utils.validate_message(complete)
    assert not utils.validate_message(replace(complete, payload={}))
    assert not utils.validate_message(replace(complete, id="x"))
    for broken in ({"session_id": "x"}, {"channel": "no channel"}, {"sequence": "x"}, {"timestamp": ""}):
        assert not utils.validate_envelope(replace(envelope, **broken))
        assert not utils.validate_message(replace(complete, envelope=replace(envelope, **broken)))


def test_what_is_generated() -> None:
    assert abs(int(utils.generate_timestamp()) - time.time() * 1000) < 5000
    first, second = int(utils.generate_sequence_number()), int(utils.generate_sequence_number())
    assert second > first
    assert utils.generate_uuid() != utils.generate_uuid()


def test_tokens_are_read_and_not_trusted() -> None:
    assert utils.parse_jwt(token("alice"))["sub"] == "alice"
    for nonsense in ("", "a.b", "a.b.c", "a.WzFd.c"):
        with pytest.raises(HaipError, match="unable to read token"):
            utils.parse_jwt(nonsense)


def test_bytes_and_credits() -> None:
    assert utils.encode_base64(b"\x00\xff") == utils.array_buffer_to_base64(b"\x00\xff") == "AP8="
    assert utils.parse_base64("AP8=") == utils.base64_to_array_buffer("AP8=") == b"\x00\xff"
    assert utils.array_buffer_to_string(utils.string_to_array_buffer("é 🙂")) == "é 🙂"
    for broken in ("?", "AP8", "é"):
        with pytest.raises(HaipError, match="unable to read base64"):
            utils.parse_base64(broken)
    with pytest.raises(HaipError, match="unable to encode text"):
        utils.string_to_array_buffer("\ud83d")
    with pytest.raises(HaipError, match="unable to decode text"):
        utils.array_buffer_to_string(b"\xff")
    assert utils.calculate_byte_credits("é") == utils.calculate_byte_credits(b"12") == 2
    assert utils.calculate_message_credits(utils.create_text_message("USER", "x")) == 1
    assert utils.calculate_message_credits(utils.create_flow_update("USER", 1)) == 0
    assert [utils.exponential_backoff(n, 1, 30) for n in (0, 3, 60)] == [1, 8, 30]


async def test_of_calls_in_quick_succession_the_last_counts() -> None:
    called: list[int] = []

    async def note(number: int) -> None:
        called.append(number)

    later = utils.debounce(note, 0)
    await asyncio.gather(later(1), later(2), later(3))
    await later(4)
    await utils.debounce(called.append, 0)(5)
    assert called == [3, 4, 5]


async def test_of_calls_in_a_while_the_first_counts() -> None:
    called: list[int] = []

    async def note(number: int) -> None:
        called.append(number)

    seldom = utils.throttle(note, 60)
    assert [await seldom(1), await seldom(2)] == [True, False]
    often = utils.throttle(note, 0)
    assert [await often(3), await often(4)] == [True, True]
    assert await utils.throttle(called.append, 60)(5)
    assert called == [1, 3, 4, 5]


def test_the_constants() -> None:
    assert HaipConstants.PROTOCOL_VERSION == "1.1.2"
    assert (HaipConstants.DEFAULT_CREDITS, HaipConstants.DEFAULT_CREDIT_BYTES) == (10, 1024 * 1024)
    assert HaipConstants.DEFAULT_HEARTBEAT_INTERVAL == 30_000
    assert HaipConstants.DEFAULT_RECONNECT_DELAY == 1_000
    assert HaipConstants.DEFAULT_MAX_RECONNECT_ATTEMPTS == HaipConstants.DEFAULT_MAX_CONCURRENT_RUNS == 5
    assert HaipConstants.WEBSOCKET_READY_STATE == {"CONNECTING": 0, "OPEN": 1, "CLOSING": 2, "CLOSED": 3}
    config = HaipClientConfig("ws://localhost", "token")
    assert (config.heartbeat_interval, config.reconnect_delay) == (30.0, 1.0)
