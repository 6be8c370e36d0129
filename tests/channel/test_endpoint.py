"""Clients of any endpoint: Ably, a self-hosted engine, the local server."""

from typing import Any, cast

import pytest
from ably import AblyRealtime

from ably_ai_transport import ClientSession, InvalidArgumentError, client_options, connect
from ably_ai_transport.codec import LifecycleOnlyCodec
from ably_ai_transport.local import LocalServer

KEY = "app.key:secret"


def client_id_of(ably: AblyRealtime) -> object:
    return cast("Any", ably).auth.client_id


async def test_a_session_over_an_address_and_a_key() -> None:
    async with (
        LocalServer() as server,
        connect(server.url, key=server.key, client_id="alice") as ably,
        ClientSession(ably, "chat:1", codec=LifecycleOnlyCodec()) as session,
    ):
        assert session.view.messages == []
        assert client_id_of(ably) == "alice"
    assert ably.connection.state == "closed"


async def test_a_token_instead_of_a_key() -> None:
    async with (
        LocalServer() as server,
        connect(server.url, token=server.token("bob")) as ably,
        ClientSession(ably, "chat:1", codec=LifecycleOnlyCodec()),
    ):
        assert client_id_of(ably) == "bob"


def test_ably_itself_needs_no_address() -> None:
    assert client_options(key=KEY, client_id="alice") == {"key": KEY, "client_id": "alice"}


@pytest.mark.parametrize(
    ("url", "endpoint", "tls"),
    [
        ("http://127.0.0.1:8099", "127.0.0.1:8099/", False),
        ("127.0.0.1:8099/", "127.0.0.1:8099/", False),
        ("localhost:8099", "localhost:8099/", False),
        ("[::1]:8099", "[::1]:8099/", False),
        ("ws://10.0.0.7:6001", "10.0.0.7:6001/", False),
        ("https://realtime.example.com", "realtime.example.com/", True),
        ("realtime.example.com:8443", "realtime.example.com:8443/", True),
    ],
)
def test_addresses(url: str, endpoint: str, *, tls: bool) -> None:
    options = client_options(url, key=KEY, client_id="alice")
    assert (options["endpoint"], options["tls"]) == (endpoint, tls)
    # The SDK sends no API key where there is no TLS.
    assert options.get("use_token_auth", False) is not tls


def test_the_options_of_the_sdk_win() -> None:
    options = client_options("https://127.0.0.1", key=KEY, tls=False, use_binary_protocol=False)
    assert (options["tls"], options["use_binary_protocol"]) == (False, False)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com", "no URL of a server"),
        ("https://example.com/ably", "no URL of a server"),
        ("https://example.com:many", "no URL of a server"),
        ("", "no URL of a server"),
        ("http://user:password@example.com", "credentials belong into key="),
        ("http://sockudo:6001", "a name without a dot"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why) as refused:
        client_options(url, key=KEY)
    assert refused.value.code == 40003
    assert "password" not in str(refused.value)


def test_credentials_are_needed() -> None:
    with pytest.raises(InvalidArgumentError, match="there are no credentials"):
        client_options("https://example.com")
