"""Targets: what strangers publish into a session."""

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st

from ably_ai_transport import AITransportError, ClientSession
from ably_ai_transport.conversation import Tree
from ably_ai_transport.testing import MemoryHub
from tests.fuzz.target import Target
from tests.fuzz.values import Json, changed
from tests.fuzz.vocabularies import CODECS, AnyCodec, conversation, inbound_of


def _messages(codec: str) -> st.SearchStrategy[list[Json]]:
    def several() -> st.SearchStrategy[list[Json]]:
        samples = conversation(codec)
        return st.lists(changed(samples, most=3), min_size=1, max_size=12)

    return st.deferred(several)


def _take_messages(codec: AnyCodec) -> Callable[[list[Json]], None]:
    def run(value: list[Json]) -> None:
        tree = Tree(codec)
        for fields in value:
            message = inbound_of(fields)
            if message is None:
                continue
            tree.apply(message)
            tree.complete(message)
            for node in tree.index:
                codec.get_messages(node.projection)

    return run


def _take_session(codec: AnyCodec) -> Callable[[list[Json]], object]:
    async def run(value: list[Json]) -> None:
        hub = MemoryHub()
        async with ClientSession(hub.client("me"), "c", codec=codec) as session:
            for fields in value:
                message = inbound_of(fields)
                if message is not None:
                    hub.inject("c", message)
            await hub.settle()
            shown = session.view.messages
            session.view.runs()
            for one in shown:
                session.view.run_of(one.codec_message_id)
                session.view.author_of(one.codec_message_id)
            await session.view.load_all()

    return run


_refused: Final = (AITransportError,)

TARGETS: Final = tuple(
    target
    for name, codec in CODECS.items()
    for target in (
        Target(f"codec.{name}.messages", _messages(name), _take_messages(codec)),
        Target(f"session.{name}", _messages(name), _take_session(codec), _refused),
    )
)
