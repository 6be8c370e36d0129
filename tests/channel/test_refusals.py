"""Refusals that a user can do something about: they come at once, and say what to do."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from ably_ai_transport.channel import ChannelState, open_channel
from ably_ai_transport.local import LocalServer, LocalServerOptions, Namespace
from ably_ai_transport.wire import AITransportError, CapabilityError, ChannelRefusedError, OutboundMessage
from tests.channel.clients import realtime

if TYPE_CHECKING:
    from tests.channel.fake_ably import FakeAbly


async def attach_error(options: dict[str, Any]) -> AITransportError:
    """Attach a channel; nothing here waits for a time-out, which is longer than a test may take."""
    async with realtime({"realtime_request_timeout": 60_000, **options}) as client:
        channel = open_channel(client, "c")
        with pytest.raises(AITransportError) as caught:
            await channel.attach()
        assert channel.state is ChannelState.FAILED
        return caught.value


@pytest.mark.parametrize("token", [True, False])
async def test_a_wrong_key_is_refused_at_once(token: bool) -> None:
    async with LocalServer() as server:
        options = {**server.python_options(), "key": "app.wrong:secret", "use_token_auth": token}
        error = await attach_error(options)
    assert isinstance(error, CapabilityError)
    assert (error.code, error.status_code) == (40101, 401)
    assert "key refused" in error.message
    assert "secret" not in str(error)


async def test_a_key_that_is_refused_before_the_websocket_opens(ably: FakeAbly) -> None:
    ably.refuses_upgrades, ably.upgrade_status = True, 401
    error = await attach_error(ably.options())
    assert "key refused" in error.message
    assert ably.attempts == 1


async def test_an_application_that_does_not_exist(ably: FakeAbly) -> None:
    ably.connect_error = (40400, "no application found with id app")
    error = await attach_error(ably.options())
    assert "key refused" in error.message
    assert error.code == 40400


async def test_a_server_that_cannot_be_reached_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = {"key": "app.key:secret", "endpoint": f"127.0.0.1:{port}/", "tls": False}
    async with realtime({**options, "realtime_request_timeout": 200}) as client:
        with pytest.raises(ChannelRefusedError) as caught:
            await open_channel(client, "c").attach()
    assert f"no answer within 0.4 s from 127.0.0.1:{port}," in caught.value.message
    assert caught.value.code == 104007


@pytest.mark.parametrize(
    ("name", "where"),
    [("frozen:1", "namespace 'frozen'"), ("alone", "channels without a namespace")],
)
async def test_a_channel_without_mutable_messages_names_the_rule(name: str, where: str) -> None:
    rules = LocalServerOptions(
        mutable_messages=False, namespaces=(Namespace(id="frozen", mutable_messages=False),)
    )
    async with LocalServer(rules) as server, realtime(server.python_options()) as client:
        channel = open_channel(client, name)
        (serial,) = await channel.publish([OutboundMessage("n", "text")])
        with pytest.raises(AITransportError, match="mutableMessages") as caught:
            await channel.append(OutboundMessage(None, "more", serial=serial))
    assert caught.value.code == 93002
    assert f"channel '{name}'" in caught.value.message
    assert where in caught.value.message
