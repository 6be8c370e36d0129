"""No token, header or cookie appears in a log record, an error or a repr."""

import logging
from typing import Any

import pytest
from ably_ai_transport_haip import (
    HaipAuthenticationError,
    HaipClientConfig,
    HaipConnectionError,
    HaipError,
    HaipTransportConfig,
    HTTPStreamingTransportOptions,
    SSETransport,
    SSETransportOptions,
    WebSocketTransport,
    create_haip_client,
)
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.utils import parse_jwt
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ably_ai_transport.local.web.listener import WebListener
from tests.support.haip_stand import SECRET, TRANSPORTS, Inbox, parrot, standing, token


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_logs_of_a_conversation_hold_no_token(
    transport: TransportName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good, bad = token("alice"), token("mallory", secret=SECRET[::-1])
    async with standing(parrot) as stand:
        async with stand.client(transport, token=good) as alice:
            inbox = Inbox(alice)
            run_id = await alice.start_run("1")
            await alice.send_text_message("USER", "Hello", run_id=run_id, thread_id="1")
            await inbox.until(1, "MESSAGE_END")
        with pytest.raises(HaipAuthenticationError) as raised:
            await stand.client(transport, token=bad).connect()
    said = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    for secret in (good, bad, SECRET):
        assert secret not in said
        assert secret not in caplog.text
        assert secret not in str(raised.value) + repr(raised.value)
    names = {record.name for record in caplog.records}
    assert names >= {
        "ably_ai_transport_haip.client",
        "ably_ai_transport_haip.endpoint",
        "ably_ai_transport_haip.server",
    }
    records = [record for record in caplog.records if record.name == "ably_ai_transport_haip.endpoint"]
    assert any(
        (vars(record)["run"], vars(record)["haip_session"]) == (run_id, alice.session_id)
        for record in records
    )


def test_no_repr_holds_a_secret() -> None:
    address = "ws://me:hunter2@localhost:1/haip?token=hunter2"
    config = HaipClientConfig(url=address, token="hunter2")
    options: list[Any] = [
        SSETransportOptions(headers={"X-Key": "hunter2"}, cookies={"key": "hunter2"}),
        HTTPStreamingTransportOptions(headers={"X-Key": "hunter2"}, cookies={"key": "hunter2"}),
    ]
    transports = [
        WebSocketTransport(address, "hunter2"),
        SSETransport(HaipTransportConfig(address.replace("ws", "http"), "hunter2")),
    ]
    for one in (config, *options, *transports, create_haip_client(config)):
        assert "hunter2" not in repr(one)


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("ws://localhost:1/haip?token=hunter2", "websocket"),
        ("http://localhost:1/haip?token=hunter2", "sse"),
        ("http://localhost:1/haip?token=hunter2", "http-streaming"),
    ],
)
async def test_an_unreachable_server_is_named_without_the_token(url: str, transport: TransportName) -> None:
    with pytest.raises(HaipConnectionError, match="localhost:1/haip;") as raised:
        await create_haip_client(url=url, token="hunter2", transport=transport).connect()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["ws:///?token=hunter2", "ws://a:b:c/?token=hunter2", "nonsense?token=hunter2"]
)
def test_an_address_that_is_refused_is_named_without_the_token(url: str) -> None:
    with pytest.raises(HaipConnectionError, match="is no address") as raised:
        create_haip_client(url=url, token="hunter2")
    assert "hunter2" not in str(raised.value)


async def test_a_server_that_repeats_the_token_in_its_refusal() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        said = Request(scope).query_params.get("token", "")
        await PlainTextResponse(f"bad token {said}", 403)(scope, receive, send)

    listener = WebListener(app, "127.0.0.1", 0)
    await listener.start()
    try:
        client = create_haip_client(
            url=f"http://127.0.0.1:{listener.port}/haip/sse", token="hunter2", transport="sse"
        )
        with pytest.raises(HaipAuthenticationError, match=r"answered 403: bad token \*\*\*"):
            await client.connect()
    finally:
        await listener.stop()


def test_a_token_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(HaipError, match="no JSON web token") as raised:
        parse_jwt("hunter2.hunter2.hunter2")
    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__
