"""Tests of the guards against the SDK's faults when a connection fails or its token is renewed."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import socket
from typing import TYPE_CHECKING

import anyio
import pytest
from ably.types.tokendetails import TokenDetails

from ably_ai_transport.channel import ChannelState, open_channel
from ably_ai_transport.wire import AITransportError, OutboundMessage
from tests.channel.clients import Seen, realtime, sdk
from tests.channel.fake_ably import ATTACH, AUTH, ERROR, MESSAGE, FakeAbly, fake_ably

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSED = {"code": 40101, "statusCode": 401, "message": "invalid key"}


def jwt(number: int, **claims: object) -> str:
    """Make a token that is not verified; the number makes it unique."""

    def part(value: Mapping[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'n': number, 'exp': 4102444800, **claims})}.c2lnbmF0dXJl"


class TestFailedConnection:
    """In the SDK, an ERROR from the server leaves channels unchanged, and waiters wait for ever."""

    async def test_everybody_who_waits_learns_of_it(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            attached, attaching = open_channel(client, "attached"), open_channel(client, "attaching")
            seen = Seen(attached)
            await attached.attach()
            ably.holds_acks = True
            ably.silent.add(ATTACH)
            answer = attached.publish([OutboundMessage(data="a")])
            attempt = asyncio.ensure_future(attaching.attach())
            await ably.received(ATTACH, 2)
            await ably.received(MESSAGE, 1)
            await ably.link.send({"action": ERROR, "error": REFUSED})
            for failing in (answer, attempt):
                with pytest.raises(AITransportError) as caught:
                    await failing
                assert (caught.value.code, caught.value.status_code) == (40101, 401)
            change = await seen.change("failed")
            assert change.reason is not None
            assert change.reason.code == 40101
            assert attached.state is ChannelState.FAILED
            assert attached.error_reason is not None
            assert attached.error_reason.code == 40101

    async def test_nothing_is_begun_on_it(self, ably: FakeAbly) -> None:
        ably.connect_error = (40101, "invalid key")
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            for _ in range(2):
                with pytest.raises(AITransportError) as caught:
                    await channel.attach()
                assert caught.value.code == 40101
            with pytest.raises(AITransportError) as caught:
                await channel.publish([OutboundMessage(data="a")])
            assert caught.value.code == 40101
            await channel.detach()

    async def test_a_channel_opened_afterwards_has_failed(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            await sdk(client).channels.get("c").attach()
            await ably.link.send({"action": ERROR, "error": REFUSED})
            failed = sdk(client).connection.once_async("failed")
            await failed
            channel = open_channel(client, "c")
            assert channel.state is ChannelState.FAILED
            assert channel.error_reason is not None
            assert channel.error_reason.code == 40101


class TestRenewal:
    async def test_a_renewed_token_loses_nothing(self, ably: FakeAbly) -> None:
        """The SDK attaches every channel again when a token is renewed."""

        async def token(_params: object) -> TokenDetails:
            return TokenDetails(token="t")

        async with realtime(ably.options(key=None, auth_callback=token)) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            seen = Seen(channel)
            await sdk(client).auth.authorize()
            assert len(ably.link.sent(AUTH)) == 1
            change = await seen.change("attached")
            assert change.resumed
            assert seen.states == ["attaching", "attached"]
            assert len(await channel.publish([OutboundMessage(data="a")])) == 1

    @pytest.mark.parametrize("synchronous", [False, True])
    @pytest.mark.parametrize(
        "claims", [{"x-ably-clientId": "alice"}, {}, {"x-ably-clientId": "*"}], ids=["alice", "none", "any"]
    )
    async def test_a_callback_may_answer_with_a_string(
        self, ably: FakeAbly, claims: dict[str, object], synchronous: bool
    ) -> None:
        """The SDK takes it for a token of nobody, and refuses it."""
        calls = iter(range(9))

        def token(_params: object) -> str:
            return jwt(next(calls), **claims)

        async def token_later(params: object) -> str:
            return token(params)

        callback = token if synchronous else token_later
        options = ably.options(key=None, auth_callback=callback, client_id="alice")
        async with realtime(options) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            assert channel.client_id == "alice"
            await sdk(client).auth.authorize()
            [frame] = await ably.received(AUTH, 1)
            assert frame["auth"]["accessToken"] == jwt(1, **claims)
            assert channel.client_id == "alice"

    async def test_a_url_may_answer_with_a_string(self, ably: FakeAbly) -> None:
        """I."""
        ably.texts["/token"] = jwt(0, **{"x-ably-clientId": "alice"})
        url = f"http://127.0.0.1:{ably.port}/token"
        async with realtime(ably.options(key=None, auth_url=url, client_id="alice")) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            await sdk(client).auth.authorize()
            assert len(await ably.received(AUTH, 1)) == 1
            assert channel.client_id == "alice"

    async def test_the_callback_is_wrapped_where_the_client_is_connected_already(
        self, ably: FakeAbly
    ) -> None:
        """The first token passes; without the guard it is the renewal that fails."""
        calls = iter(range(9))

        async def token(_params: object) -> str:
            return jwt(next(calls), **{"x-ably-clientId": "alice"})

        ably.details = {"clientId": "alice"}
        async with realtime(ably.options(key=None, auth_callback=token)) as client:
            await sdk(client).connection.once_async("connected")
            channel = open_channel(client, "c")
            await channel.attach()
            await sdk(client).auth.authorize()
            assert len(await ably.received(AUTH, 1)) == 1
            assert channel.client_id == "alice"


class TestReachingTheServer:
    async def test_a_refused_connection_is_noticed_at_once(self) -> None:
        """The SDK waits for its timer."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        options = {"key": "a.k:s", "endpoint": f"127.0.0.1:{port}/", "tls": False}
        async with realtime(options | {"realtime_request_timeout": 8000}) as client:
            open_channel(client, "c")
            with anyio.fail_after(2):
                change = await sdk(client).connection.once_async("disconnected")
            assert change.reason.code == 80003

    async def test_no_page_is_asked_whether_there_is_a_network(self, ably: FakeAbly) -> None:
        """The SDK stops the event loop until that page answers."""
        async with fake_ably() as down:
            down.refuses_upgrades = True
            with socket.create_server(("127.0.0.1", 0)) as silent:
                options = down.options(
                    fallback_hosts=[f"127.0.0.1:{ably.port}/"],
                    connectivity_check_url=f"http://127.0.0.1:{silent.getsockname()[1]}/",
                )
                async with realtime(options) as client:
                    channel = open_channel(client, "c")
                    with anyio.fail_after(3):
                        await channel.attach()
                    assert ably.link.sent(ATTACH)


class TestClosing:
    async def test_a_websocket_that_is_not_open_yet_is_closed_quietly(self, ably: FakeAbly) -> None:
        """The SDK sends CLOSE in a task that nobody awaits, and raises in it."""
        noises: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noises.append(context))
        async with realtime(ably.options(auto_connect=False)) as client:
            pending = sdk(client).connection.connection_manager.once_async("transport.pending")
            channel = open_channel(client, "c")
            sdk(client).connect()
            await pending
            await sdk(client).close()
            channel.release()
        gc.collect()
        assert noises == []
