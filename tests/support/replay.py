"""Plays a participant's part of a recorded conversation to a session of ours."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from ably_ai_transport_openai import ResponsesCodec
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport import AITransportError, ClientSession, InboundMessage
from ably_ai_transport.channel import ChannelState
from ably_ai_transport.codec import Codec
from tests.support.scripted_channel import ScriptedChannel, ScriptedSource
from tests.support.transcripts import Attached, Delivered, HistoryFetched, Participant

Session: TypeAlias = ClientSession[Any, Any, Any, Any]
Until: TypeAlias = Callable[[InboundMessage], bool]


CODECS: Final[Mapping[str | None, type[Codec[Any, Any, Any, Any]]]] = {"openai-responses": ResponsesCodec}
"""The codecs of participants, by the name that these give themselves; UI messages for all others."""


@asynccontextmanager
async def replayed(
    participant: Participant,
    *,
    until: Until | None = None,
    on_error: Callable[[AITransportError], object] | None = None,
) -> AsyncGenerator[Session]:
    """Give a client session all that a participant received.

    The session only listens: what the participant sent comes back to it like everybody else's messages.
    History is loaded where the participant loaded it.

    Args:
        participant: Whose part to play.
        until: Stops the replay after the first message for which it is true.
        on_error: Called with what the session reports.

    Yields:
        The session, as it stands in the end.
    """
    channel = ScriptedChannel(client_id=participant.client_id)
    walks = participant.walks()
    channel.history_walks.extend(walks)
    page_size = next((event.limit for event in participant.events if isinstance(event, HistoryFetched)), 100)
    session = ClientSession(
        ScriptedSource(channel),
        "replayed",
        codec=_codec_of(participant),
        history_page_size=page_size,
    )
    if on_error is not None:
        session.on_error(on_error)
    async with session:
        await _play(participant, channel, session, until)
        yield session


def _codec_of(participant: Participant) -> Codec[Any, Any, Any, Any]:
    return CODECS.get(participant.adapter, UIMessageCodec)()


async def _play(
    participant: Participant, channel: ScriptedChannel, session: Session, until: Until | None
) -> None:
    attached = False
    for event in participant.events:
        match event:
            case Attached():
                if attached:
                    channel.set_state(ChannelState.ATTACHED, resumed=event.resumed, reason=event.error)
                attached = True
            case Delivered():
                for message in event.messages:
                    channel.deliver(message)
                    if until is not None and until(message):
                        return
            case HistoryFetched(first=True):
                await session.view.load_all()
            case _:
                pass
