"""A run, as clients and agents alike can read it."""

from typing import Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import InputNode, RunStatus, Tree
from ably_ai_transport.wire import AITransportError


class BaseRun(Generic[InT, OutT, ProjT, MsgT]):
    """Reads one run from the conversation.

    Args:
        tree: The conversation.
    """

    def __init__(self, tree: Tree[InT, OutT, ProjT, MsgT]) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.run_id or 'not started'} {self.status}>"

    @property
    def run_id(self) -> str:
        """The run's id; empty until it is known."""
        raise NotImplementedError

    @property
    def _anchor(self) -> str | None:
        """The input that the run replies to, as far as this side knows."""
        raise NotImplementedError

    @property
    def status(self) -> RunStatus:
        """The status of the run; ``active`` until another status is known."""
        node = self._tree.get_run_node(self.run_id)
        return "active" if node is None else node.status

    @property
    def error(self) -> AITransportError | None:
        """The error of a failed run; None unless its status is ``error``."""
        node = self._tree.get_run_node(self.run_id)
        return None if node is None else node.error

    @property
    def messages(self) -> list[MsgT]:
        """The run's input and its reply so far."""
        tree = self._tree
        node = tree.get_run_node(self.run_id)
        anchor = self._anchor if node is None else node.parent_codec_message_id or self._anchor
        parent = None if anchor is None else tree.get_node_by_codec_message_id(anchor)
        found: dict[str, MsgT] = {}
        for part in (parent if isinstance(parent, InputNode) else None, node):
            for message in () if part is None else tree.codec.get_messages(part.projection):
                found.setdefault(message.codec_message_id, message.message)
        return list(found.values())
