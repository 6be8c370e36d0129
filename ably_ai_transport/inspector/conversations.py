"""The conversation of a channel, drawn from an observing client session."""

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from importlib.metadata import entry_points
from typing import Any, Final, Self, TypeAlias

from ably_ai_transport import (
    AITransportError,
    ChannelClient,
    ClientSession,
    Codec,
    ConversationNode,
    RunNode,
)
from ably_ai_transport.inspector.watcher import Json

AnyCodec: TypeAlias = Codec[Any, Any, Any, Any]

SHOWN_MESSAGES: Final = 200
"""The most nodes of a conversation that are drawn: the newest ones."""


def codec_named(adapter: str | None) -> AnyCodec | None:
    """Find an installed codec.

    Args:
        adapter: The adapter tag of the codec.

    Returns:
        The codec; None when no installed codec has this tag.
    """
    for entry in entry_points(group="ably_ai_transport.codecs"):
        codec: AnyCodec = entry.load()()
        if codec.adapter_tag == adapter:
            return codec
    return None


class Conversation:
    """An observing session on one channel.

    Args:
        client: The Ably client of the inspector.
        channel: The channel.
        codec: The codec of its sessions.
        on_change: Called when the drawing has changed.
    """

    def __init__(
        self, client: ChannelClient, channel: str, codec: AnyCodec, on_change: Callable[[], None]
    ) -> None:
        self.channel = channel
        self._session: ClientSession[Any, Any, Any, Any] = ClientSession(
            client, channel, codec=codec, history_page_size=1000
        )
        self._codec = codec
        self._on_change = on_change
        self._error: str | None = None

    async def __aenter__(self) -> Self:
        await self._session.connect()
        tree = self._session.tree
        tree.on_update(self._on_change)
        tree.on_output(lambda _: self._on_change())
        tree.on_run(lambda _: self._on_change())
        self._session.on_error(self._note)
        try:
            await self._session.view.load_all()
        except AITransportError as error:
            self._note(error)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def draw(self) -> Json:
        """Return the conversation for the page: nodes with their parents."""
        session = self._session
        visible = {entry.codec_message_id for entry in session.view.messages}
        nodes = session.tree.nodes
        owners = {message.codec_message_id: node.key for node in nodes for message in self._messages_of(node)}
        drawn = [self._draw_node(node, owners, visible) for node in nodes[-SHOWN_MESSAGES:]]
        known = {node["key"] for node in drawn}
        for node in drawn:
            if node["parent"] not in known:
                node["parent"] = None
        return {
            "channel": self.channel,
            "nodes": drawn,
            "left_out": max(0, len(nodes) - SHOWN_MESSAGES),
            "error": self._error,
        }

    def _draw_node(self, node: ConversationNode[Any], owners: dict[str, str], visible: set[str]) -> Json:
        messages = self._messages_of(node)
        parent = node.parent_codec_message_id
        drawn: Json = {
            "key": node.key,
            "kind": node.kind,
            "parent": None if parent is None else owners.get(parent, parent),
            "after": parent,
            "visible": any(message.codec_message_id in visible for message in messages),
            "alternatives": len(self._session.tree.get_sibling_nodes(node.key)),
            "messages": [
                {"id": message.codec_message_id, "message": _plain(message.message)} for message in messages
            ],
        }
        if isinstance(node, RunNode):
            drawn |= {
                "status": node.status,
                "client": node.client_id,
                "invocation": node.invocation_id,
                "regenerates": node.regenerates_codec_message_id,
                "error": None if node.error is None else str(node.error),
                "steps": [
                    {"id": step.step_id, "status": step.status, "attempts": step.attempt_count}
                    for step in node.steps
                ],
            }
        return drawn

    def _messages_of(self, node: ConversationNode[Any]) -> list[Any]:
        return list(self._codec.get_messages(node.projection))

    def _note(self, error: AITransportError) -> None:
        self._error = str(error)
        self._on_change()


def _plain(message: object) -> object:
    """Return a message as a JSON value."""
    return asdict(message) if is_dataclass(message) and not isinstance(message, type) else message
