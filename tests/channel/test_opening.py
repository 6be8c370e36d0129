"""Opening channels: on what, under which name, with which modes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from ably_ai_transport.channel import BASE_MODES, OBJECT_MODES, open_channel, resolve_channel_modes
from ably_ai_transport.channel.ably.user_agent import agent_string, identify
from ably_ai_transport.testing.memory import MemoryHub
from ably_ai_transport.version import __version__
from ably_ai_transport.wire import AITransportError, InvalidArgumentError
from tests.channel.clients import realtime

if TYPE_CHECKING:
    from tests.channel.fake_ably import FakeAbly


@pytest.mark.parametrize(
    ("extra", "modes"),
    [
        ([], []),
        (BASE_MODES, list(BASE_MODES)),
        (
            OBJECT_MODES,
            [
                "PUBLISH",
                "SUBSCRIBE",
                "PRESENCE",
                "PRESENCE_SUBSCRIBE",
                "OBJECT_PUBLISH",
                "OBJECT_SUBSCRIBE",
                "ANNOTATION_PUBLISH",
            ],
        ),
        (["ANNOTATION_SUBSCRIBE", "ANNOTATION_SUBSCRIBE"], [*BASE_MODES, "ANNOTATION_SUBSCRIBE"]),
        (["Z", "A"], [*BASE_MODES, "A", "Z"]),
    ],
)
def test_modes_in_one_order(extra: list[str], modes: list[str]) -> None:
    assert resolve_channel_modes(extra) == modes
    assert resolve_channel_modes(reversed(extra)) == modes


def test_the_library_is_named_once() -> None:
    own = f"ai-transport-python/{__version__}"
    assert agent_string() == own
    assert agent_string([("ai-transport-python", __version__), ("codec", "2")]) == f"{own} codec/2"
    params = {"agent": "mine/1"}
    identify(params, agent_string([("codec", "2")]))
    identify(params, agent_string([("codec", "2")]))
    assert params["agent"] == f"mine/1 {own} codec/2"


async def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(AITransportError, match=r"str is no ably\.AblyRealtime") as caught:
        open_channel(cast("Any", "client"), "c")
    assert caught.value.code == 40003
    with pytest.raises(AITransportError, match="name is empty"):
        open_channel(MemoryHub().client(), "")


@pytest.mark.parametrize("name", ["[?rewind=1]x", "[meta]x"])
async def test_a_name_with_a_channel_qualifier_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="channel qualifier"):
        open_channel(MemoryHub().client(), name)


async def test_an_unknown_mode_is_refused(ably: FakeAbly) -> None:
    async with realtime(ably.options()) as client:
        with pytest.raises(AITransportError, match="no channel mode 'FLY'") as caught:
            open_channel(client, "c", modes=["FLY"])
        assert caught.value.code == 40003
        open_channel(client, "c")


def test_the_sdk_is_imported_when_it_is_needed() -> None:
    program = (
        "import sys, ably_ai_transport.channel, ably_ai_transport.testing.memory\n"
        "assert not {'ably', 'httpx', 'websockets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603
