"""The branch that an agent sees: from the root of the conversation to its own run."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic

from ably_ai_transport.codec.contract import CodecMessage, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation.branches import MessagesOf, Move
from ably_ai_transport.conversation.lifecycle import RunStatus
from ably_ai_transport.conversation.nodes import ConversationNode, InputNode, RunNode
from ably_ai_transport.conversation.tree import Tree
from ably_ai_transport.wire.listeners import Listeners

_COMPLETE: Final[frozenset[RunStatus]] = frozenset({"complete"})
_KEPT: Final[frozenset[RunStatus]] = frozenset({"complete", "cancelled", "error", "active"})


class Pinned(Generic[InT, OutT, ProjT, MsgT]):
    """A branch that ends in one run.

    Nothing is shown until the run's input is known. Earlier runs that are suspended are left out, with the
    inputs that they replied to: they wait for an answer of their own. Runs that failed, were cancelled or
    have not ended are shown as far as they came. A regeneration sees the conversation up to the message that
    it replaces. The npm package's ``leaf-branch-source.ts`` is the specification, except that it leaves out
    every run that is not complete.

    Args:
        tree: The conversation.
        is_unanswered: Tells whether a message is a steering message without a response yet; these are
            listed after the output of their run.
        keeps_unfinished: Whether earlier runs that did not complete are shown. Otherwise they are left out,
            as in the npm package.
    """

    def __init__(
        self,
        tree: Tree[InT, OutT, ProjT, MsgT],
        is_unanswered: Callable[[str], bool] = lambda _: False,
        *,
        keeps_unfinished: bool = True,
    ) -> None:
        self.moved = Listeners[Move]()
        self._tree = tree
        self._is_unanswered = is_unanswered
        self._kept = _KEPT if keeps_unfinished else _COMPLETE
        self._run_id: str | None = None
        self._anchor: str | None = None
        self._regenerates: str | None = None

    def pin(self, *, run_id: str, anchor: str | None, regenerates: str | None) -> None:
        """Choose the run that the branch ends in.

        Args:
            run_id: The run.
            anchor: The message that it follows.
            regenerates: The message that it replaces.
        """
        self._run_id = run_id
        self._anchor = anchor
        self._regenerates = regenerates
        self.moved.emit("chosen")

    def reorder(self) -> None:
        """List the messages again: other steering messages have no response now."""
        self.moved.emit("chosen")

    def visible_nodes(self) -> list[ConversationNode[ProjT]]:
        """List the nodes of the branch, from its root."""
        anchor = None if self._anchor is None else self._tree.get_node_by_codec_message_id(self._anchor)
        kept_runs = {self._run_id}
        if isinstance(anchor, RunNode):
            kept_runs.add(anchor.run_id)
        chain = self._chain()
        left_out = {
            node.run_id: node.parent_codec_message_id
            for node in chain
            if isinstance(node, RunNode) and node.run_id not in kept_runs and node.status not in self._kept
        }
        unanswered = set(left_out.values())
        return [
            node
            for node in chain
            if node.key not in left_out and not (isinstance(node, InputNode) and node.key in unanswered)
        ]

    def extract(
        self, nodes: Iterable[ConversationNode[ProjT]], messages_of: MessagesOf[ProjT, MsgT]
    ) -> list[CodecMessage[MsgT]]:
        """List the messages of nodes, up to the one that is to be replaced."""
        shown: list[CodecMessage[MsgT]] = []
        for node in nodes:
            messages = messages_of(node)
            if isinstance(node, RunNode):
                messages = sorted(messages, key=lambda m: self._is_unanswered(m.codec_message_id))
            for message in messages:
                if self._regenerates is not None and message.codec_message_id == self._regenerates:
                    return shown
                shown.append(message)
        return shown

    def selected_reply(self, input_codec_message_id: str) -> RunNode[ProjT] | None:
        """Return the reply of this branch to an input."""
        replies = self._tree.index.replies(input_codec_message_id)
        on_branch = {node.key for node in self._chain()}
        for reply in replies:
            if reply.run_id in on_branch:
                return reply
        return replies[-1] if replies else None

    def on_structure_changed(self, shown_before: Sequence[str]) -> None:
        """Do nothing: a pinned branch does not move."""

    def _chain(self) -> list[ConversationNode[ProjT]]:
        if self._run_id is None:
            return []
        chain: list[ConversationNode[ProjT]] = []
        seen: set[str] = set()
        link = self._anchor
        while link is not None:
            node = self._tree.get_node_by_codec_message_id(link)
            if node is None or node.key in seen:
                break
            seen.add(node.key)
            chain.append(node)
            link = node.parent_codec_message_id
        chain.reverse()
        run = self._tree.get_run_node(self._run_id)
        if run is not None and run.key not in seen:
            chain.append(run)
        return chain
