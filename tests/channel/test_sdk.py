"""The two SDKs: ``ably`` 3, and its successor ``ably-pubsub-server`` 4."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum, StrEnum
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, cast

import ably
import pytest
from ably.types.connectionstate import ConnectionState

from ably_ai_transport.channel import make_client
from ably_ai_transport.channel.ably.sdk import code_of, failed, sdk, to_error

if TYPE_CHECKING:
    from ably_ai_transport.channel.ably.sdk import ConnectionManager


class SuccessorError(Exception):
    """What the successor raises; not related to the exceptions of ``ably`` 3."""

    def __init__(self, message: str, status_code: int, code: int) -> None:
        self.message, self.status_code, self.code = message, status_code, code


class State(StrEnum):
    FAILED = "failed"
    CONNECTED = "connected"


@pytest.fixture
def successor(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The names that the successor exports and this library uses."""
    server = ModuleType("ably.pubsub.server")
    names = {
        "lib_version": "4.0.0",
        "AblyException": SuccessorError,
        "create_realtime_client": dict,
        **{
            name: type(name, (), {})
            for name in ("ChannelMode", "ChannelOptions", "Message", "MessageAction", "TokenDetails")
        },
    }
    for name, value in names.items():
        setattr(server, name, value)
    monkeypatch.setitem(sys.modules, "ably.pubsub.server", server)
    sdk.cache_clear()
    yield server
    sdk.cache_clear()


def test_the_installed_one_is_used() -> None:
    found = sdk()
    assert found.agent == f"ably-python/{ably.lib_version}"
    assert found.client is ably.AblyRealtime
    assert found.error is ably.AblyException


def test_the_one_that_the_application_has_imported_comes_first(successor: ModuleType) -> None:
    found = sdk()
    assert found.agent == "ably-pubsub-python/4.0.0"
    assert found.channel_mode is vars(successor)["ChannelMode"]
    assert make_client({"key": "a.b:c"}) == {"key": "a.b:c"}


@pytest.mark.usefixtures("successor")
def test_its_errors_are_known() -> None:
    error = SuccessorError("no", 401, 40160)
    assert code_of(error) == 40160
    assert (to_error(error).code, to_error(error).status_code) == (40160, 401)
    assert code_of(KeyError()) is None


@pytest.mark.parametrize("state", [State.CONNECTED, ConnectionState.CONNECTED])
def test_a_failed_connection_is_spelled_as_the_sdk_does(state: Enum) -> None:
    manager = cast("ConnectionManager", SimpleNamespace(state=state))
    assert failed(manager) is type(state)("failed")
