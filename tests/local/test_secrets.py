"""Neither `repr` nor log records show a key or a token."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from ably_ai_transport.local import ConnectionRecord, LocalServer, LocalServerOptions
from ably_ai_transport.local.auth.capability import EVERYTHING
from ably_ai_transport.local.auth.credentials import Authority, Credentials, Identity
from ably_ai_transport.local.auth.keys import ApiKey, keys_of, parse_key
from ably_ai_transport.local.auth.tokens import TokenDesk
from ably_ai_transport.local.clock import SystemClock
from ably_ai_transport.local.core.apps import Apps
from ably_ai_transport.local.core.engine import Engine
from ably_ai_transport.local.core.steps import Publisher
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.messages import parse_submission
from ably_ai_transport.local.storage.sqlite import SqliteContent
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from collections.abc import Generator

SECRET = "this-is-the-secret"
KEY = f"app.key:{SECRET}"


def secretive() -> list[object]:
    options = LocalServerOptions(keys=(KEY,))
    keys = keys_of([KEY])
    authority = Authority(keys, SystemClock())
    engine = Engine(options)
    content = SqliteContent(Path("unused"), kept_ms=0)
    content.file.state.key = KEY
    return [
        keys[0],
        options,
        Credentials(key=KEY),
        Credentials(token=SECRET, client_id="alice"),
        Identity("app.key", "alice", EVERYTHING),
        Publisher(Identity("app.key", "alice", EVERYTHING)),
        authority,
        TokenDesk(authority, SystemClock()),
        ConnectionRecord("id", (f"id!{SECRET}",), "app.key", None),
        parse_submission({"data": "x", "connectionKey": f"id!{SECRET}"}),
        content,
        content.file.state,
        content.app(),
        engine,
        Apps(engine),
        engine.connections,
        LocalServer(options),
    ]


@pytest.mark.parametrize("value", secretive(), ids=lambda value: type(value).__name__)
def test_no_text_form_shows_a_secret(value: object) -> None:
    assert SECRET not in repr(value)
    assert SECRET not in str(value)
    assert SECRET not in f"{value}"
    assert SECRET not in repr([value])


def test_a_key_shows_its_name_only() -> None:
    assert "app.key" in repr(ApiKey("app.key", SECRET))
    assert parse_key(KEY).full == KEY


def test_a_malformed_key_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="must look like") as refused:
        LocalServer(LocalServerOptions(keys=(SECRET,)))
    assert SECRET not in str(refused.value)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Generator[pytest.LogCaptureFixture]:
    with (
        caplog.at_level(logging.DEBUG),
        caplog.at_level(logging.DEBUG, "ably_ai_transport"),
        caplog.at_level(logging.DEBUG, "uvicorn"),
    ):
        yield caplog


async def test_no_log_record_shows_a_secret(everything_logged: pytest.LogCaptureFixture) -> None:
    caplog = everything_logged
    async with LocalServer(LocalServerOptions(keys=(KEY,))) as server:
        # uvicorn sets the level of its logger when it starts.
        with caplog.at_level(logging.DEBUG, "uvicorn.error"):
            token = server.token("alice")
            async with (
                raw_client(server, "alice") as client,
                raw_client(server, credentials=False, access_token=token) as other,
            ):
                secrets = [SECRET, token, client.key.partition("!")[2], other.key.partition("!")[2]]
                await client.attach("c")
                await client.publish("c", {"data": "x"})
                await other.send({"action": Action.AUTH, "auth": {"accessToken": token}})
                await other.until(Action.CONNECTED)
            async with raw_client(server, "alice", resume=client.key) as resumed:
                await resumed.send({"action": Action.AUTH, "auth": {"accessToken": f"{token}x"}})
                await resumed.closed()
            async with raw_client(server, credentials=False, key=f"app.other:{SECRET}") as refused:
                assert refused.connected["action"] == Action.ERROR
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as rest:
                await rest.get("/channels/c", params={"key": KEY})
                await rest.get("/nothing", headers={"Authorization": f"Bearer {token}"})
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "websockets"))
    ]
    for record in ours:
        for secret in secrets:
            assert secret not in f"{record.getMessage()} {record.__dict__}", record


async def test_the_log_tells_of_connects_attaches_publishes_and_refusals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "ably_ai_transport.local"):
        async with LocalServer() as server, raw_client(server, "alice") as client:
            await client.attach("c")
            serial = await client.publish("c", {"data": "x"})
            server.faults.nack("c")
            await client.refused("c", {"data": "y"})
            await client.send({"action": Action.ATTACH, "channel": "[meta]c"})
            await client.until(Action.ERROR)
    records = [record for record in caplog.records if record.name == "ably_ai_transport.local"]
    texts = [record.getMessage() for record in records]
    assert texts[0].startswith("local server listens on http://")
    assert texts[1:6] == [
        "connected alice (new)",
        "attached (new)",
        "published (create)",
        "publish refused: Publish refused by a fault",
        "attach refused: unsupported channel qualifier: '[meta]c'",
    ]
    assert texts[-1] == "local server stopped"
    published = records[3].__dict__
    assert (published["session"], published["serial"], published["connection"]) == ("c", serial, client.id)
    assert [record.levelname for record in records[:2]] == ["INFO", "DEBUG"]


async def test_a_token_without_a_scheme_is_not_repeated(server: LocalServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as rest:
        response = await rest.get("/channels/c", headers={"Authorization": SECRET})
    assert response.status_code == 401
    assert SECRET not in response.text + str(response.headers)
