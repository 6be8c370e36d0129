"""The tables of states that drive clients and server sessions."""

from collections.abc import Mapping

import anyio
import pytest
from ably_ai_transport_haip import (
    HaipConnectionError,
    HaipEnvelope,
    HaipError,
    HaipEventType,
    HaipMessage,
)
from ably_ai_transport_haip.client.link import TRANSITIONS as LINK
from ably_ai_transport_haip.client.link import LinkState
from ably_ai_transport_haip.protocol import Frame, new_id
from ably_ai_transport_haip.server import HaipServerOptions, HaipServerSession, Principal
from ably_ai_transport_haip.server.outlet import Ending
from ably_ai_transport_haip.server.session import TRANSITIONS as SESSION
from ably_ai_transport_haip.server.session import SessionState

from tests.support.haip_stand import Inbox, parrot, standing


@pytest.mark.parametrize(
    ("table", "start", "states"),
    [(LINK, LinkState.CLOSED, set(LinkState)), (SESSION, SessionState.AWAY, set(SessionState))],
    ids=["link", "session"],
)
def test_every_state_can_be_reached(
    table: Mapping[tuple[str, str], str], start: str, states: set[str]
) -> None:
    reached = {start}
    while more := {after for (before, _), after in table.items() if before in reached} - reached:
        reached |= more
    assert reached == states
    assert {before for before, _ in table} | set(table.values()) == states


async def test_a_client_that_connects_again_after_it_was_closed() -> None:
    async with standing(parrot) as stand:
        alice = stand.client()
        inbox = Inbox(alice)
        assert "closed" in repr(alice)
        for number in (1, 2):
            async with alice:
                assert "up" in repr(alice)
                assert inbox.ups == number
            assert "closed" in repr(alice)
            assert inbox.downs == ["clean"] * number
        with pytest.raises(HaipConnectionError, match="not connected"):
            await alice.send_text_message("USER", "Hello")


async def test_a_first_connection_that_fails_is_not_tried_again() -> None:
    async with standing(parrot) as stand:
        alice = stand.client(reconnect_delay=1000.0)
        port = stand.port
    with anyio.fail_after(20), pytest.raises(HaipConnectionError, match=str(port)):
        await alice.connect()
    assert alice.get_connection_state().reconnect_attempts == 0


class FakeOutlet:
    """A connection that notes its end."""

    reopens = False

    def __init__(self) -> None:
        self.closed: list[tuple[str, Ending]] = []

    async def write(self, frame: Frame) -> None:
        """Drop a frame."""

    async def close(self, reason: str, ending: Ending = "over") -> None:
        """Note the end."""
        self.closed.append((reason, ending))


async def test_a_session_that_has_ended_accepts_no_connection() -> None:
    session = HaipServerSession(new_id(), Principal("alice"), HaipServerOptions(), (), lambda: 0.0)
    first, second, third = FakeOutlet(), FakeOutlet(), FakeOutlet()
    said = {"haip_version": "1.1.2", "accept_major": [1], "accept_events": ["PING"]}
    envelope = HaipEnvelope(session_id=session.session_id, channel="SYSTEM", sequence="1")
    handshake = HaipMessage(HaipEventType.HAI, said, envelope)
    assert session.enter(first, handshake) is None
    assert session.enter(second, handshake) is first
    session.stop()
    await session.end()
    assert second.closed == [("the session has ended", "over")]
    with pytest.raises(HaipError, match="just ended"):
        session.enter(third, handshake)
    assert not session.is_connected
    assert "ended" in repr(session)
