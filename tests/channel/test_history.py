"""History over REST, and the credentials that it uses."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from ably.types.tokendetails import TokenDetails

from ably_ai_transport.channel import open_channel
from ably_ai_transport.local import LocalServer
from ably_ai_transport.wire import AITransportError, OutboundMessage
from tests.channel.clients import Seen, realtime, sdk
from tests.channel.fake_ably import ATTACH, AUTH, FakeAbly, Frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATH = "/channels/c/messages"


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with LocalServer() as running:
        yield running


def item(data: object, **fields: object) -> Frame:
    return {"name": "n", "data": data, "serial": str(data), "action": 0, **fields}


def bearer(token: str) -> str:
    return f"Bearer {base64.b64encode(token.encode()).decode()}"


def bounds(ably: FakeAbly) -> list[str]:
    """Return where each history request started."""
    return [path.split("from_serial=")[1].replace("%40", "@") for path, _ in ably.requests]


class TestWithTokens:
    async def test_the_connection_is_not_disturbed(self, ably: FakeAbly) -> None:
        """The SDK authorises the connection anew, and attaches every channel again, for each page."""
        ably.pages[PATH] = [item("b"), item("a")]
        async with realtime(ably.options(key=None, token="t")) as client:
            channel, other = open_channel(client, "c"), open_channel(client, "other")
            await channel.attach()
            await other.attach()
            seen = Seen(other)
            for _ in range(2):
                page = await channel.history()
                assert [one.data for one in page.items] == ["b", "a"]
                assert (page.has_next, await page.next()) == (False, None)
            assert {authorization for _, authorization in ably.requests} == {bearer("t")}
            assert ably.link.sent(AUTH) == []
            assert len(ably.link.sent(ATTACH)) == 2
            assert seen.changes == []

    async def test_a_token_that_has_expired_is_replaced(self, ably: FakeAbly) -> None:
        tokens = iter(("first", "second", "third"))

        async def callback(_params: object) -> TokenDetails:
            return TokenDetails(token=next(tokens))

        async with realtime(ably.options(key=None, auth_callback=callback)) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.refuses_token = bearer("first").split()[1]
            for _ in range(2):
                await channel.history()
            used = [authorization for _, authorization in ably.requests]
            assert used == [bearer("first"), bearer("second"), bearer("first"), bearer("second")]
            assert ably.link.sent(AUTH) == []

    async def test_a_token_that_cannot_be_replaced(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(key=None, token="t")) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.refuses_token = bearer("t").split()[1]
            with pytest.raises(AITransportError) as caught:
                await channel.history()
            assert caught.value.code == 40171


class TestPages:
    async def test_refusals_keep_their_codes(self, ably: FakeAbly) -> None:
        ably.pages[PATH] = (40160, "no history")
        async with realtime(ably.options(key=None, token="t")) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            with pytest.raises(AITransportError, match="no history") as caught:
                await channel.history()
            assert (caught.value.code, caught.value.status_code) == (40160, 401)

    async def test_a_page_that_is_none(self, ably: FakeAbly) -> None:
        ably.texts[PATH] = "<html>"
        async with realtime(ably.options(key=None, token="t")) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            with pytest.raises(AITransportError) as caught:
                await channel.history()
            assert caught.value.code == 104011

    async def test_a_message_that_cannot_be_decoded_is_left_out(self, ably: FakeAbly) -> None:
        ably.pages[PATH] = [item("b"), item("{", encoding="json"), item("a")]
        async with realtime(ably.options(key=None, token="t")) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            assert [one.data for one in (await channel.history()).items] == ["b", "a"]

    @pytest.mark.parametrize("limit", [0, 1001])
    async def test_limits(self, ably: FakeAbly, limit: int) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            with pytest.raises(AITransportError) as caught:
                await channel.history(limit=limit)
            assert caught.value.code == 40003

    async def test_it_needs_an_attached_channel(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            for _ in range(2):
                with pytest.raises(AITransportError) as caught:
                    await channel.history()
                assert caught.value.code == 104007
                await channel.attach()
                await channel.detach()

    async def test_it_cannot_be_read_once_the_client_is_closed(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(key=None, token="t")) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            await client.close()
            with pytest.raises(AITransportError):
                await channel.history()


class TestWhereItStarts:
    async def test_a_resumed_attach_does_not_move_it(self, ably: FakeAbly) -> None:
        """The SDK takes the serial of any ATTACHED."""
        async with realtime(ably.options(key=None, token="t")) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            await channel.history()
            seen = Seen(channel)
            ably.link.cut()
            assert (await seen.change("attached")).resumed
            await channel.history()
            await ably.link.send(ably.attached({"channel": "c"}, resumed=False))
            await seen.change("attached", 2)
            await channel.history()
            first, second, third = bounds(ably)
            assert first == second < third

    async def test_a_session_that_joins_an_attached_channel_starts_there(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(key=None, token="t")) as client:
            first = open_channel(client, "c")
            seen = Seen(first)
            await first.attach()
            await ably.deliver("c", item("before the second joins"))
            await seen.first(1)
            second = open_channel(client, "c")
            await second.attach()
            await first.history()
            await second.history()
            # What came between the two would be in neither's history nor among the second's live messages.
            assert bounds(ably)[0] < bounds(ably)[1]

    async def test_a_channel_that_the_application_attached(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(key=None, token="t")) as client:
            await sdk(client).channels.get("c").attach()
            channel = open_channel(client, "c")
            await channel.attach()
            await channel.history()
            assert len(bounds(ably)) == 1


def _key(server: LocalServer) -> dict[str, Any]:
    """The websocket takes a key over plain TCP; the SDK's REST does not."""
    return {"key": server.key}


def _key_for_tokens(server: LocalServer) -> dict[str, Any]:
    return {"key": server.key, "use_token_auth": True, "default_token_params": {"client_id": "alice"}}


def _token(server: LocalServer) -> dict[str, Any]:
    return {"token": server.token("alice")}


def _token_details(server: LocalServer) -> dict[str, Any]:
    return {"token_details": TokenDetails(token=server.token("alice"), client_id="alice")}


def _callback(server: LocalServer) -> dict[str, Any]:
    async def callback(_params: object) -> str:
        return server.token("alice")

    return {"auth_callback": callback}


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
@pytest.mark.parametrize("credentials", [_key, _key_for_tokens, _token, _token_details, _callback])
async def test_all_credentials(
    server: LocalServer, credentials: Callable[[LocalServer], dict[str, Any]], binary: bool
) -> None:
    options = server.python_options("alice", use_binary_protocol=binary, **credentials(server))
    if credentials in (_token, _token_details):
        # With the option, too, the SDK would refuse a token without details.
        del options["client_id"]
    async with realtime(options) as client:
        writer, reader = open_channel(client, "c:[1]/2 ü"), open_channel(client, "c:[1]/2 ü")
        await writer.publish([OutboundMessage(name="n", data=[number]) for number in range(5)])
        await reader.attach()
        page = await reader.history(limit=2)
        assert [one.data for one in page.items] == [[4], [3]]
        older = await page.next()
        assert older is not None
        assert [one.data for one in older.items] == [[2], [1]]
        assert older.has_next
        assert reader.client_id == "alice"
