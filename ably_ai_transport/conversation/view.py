"""What one view shows: a window on one branch of the tree.

The list of messages is kept up as events come in. A token that extends a message costs the same however
long the conversation is; only a change of structure (a new turn, another branch) walks the branch again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from ably_ai_transport.codec.contract import CodecMessage, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation.branches import Branches
from ably_ai_transport.conversation.events import OutputFolded, TreeEvent, TreeUpdated
from ably_ai_transport.conversation.nodes import ConversationNode, RunInfo, RunNode, run_info
from ably_ai_transport.conversation.tree import Tree
from ably_ai_transport.wire import InboundMessage, RunLifecycleEvent, RunStart, names


@dataclass(frozen=True, slots=True)
class ViewUpdated:
    """The list of messages changed."""


_UPDATED = ViewUpdated()


class ViewState(Generic[InT, OutT, ProjT, MsgT]):
    """A window on the branch that a :class:`Branches` chooses.

    The window reaches from some message to the newest. Messages before it are either *withheld* (whole nodes
    that history brought beyond what was asked for) or *hidden* (the oldest messages of the nodes that are
    not withheld).

    Args:
        tree: The conversation.
        branches: Chooses the branch.
    """

    def __init__(self, tree: Tree[InT, OutT, ProjT, MsgT], branches: Branches[ProjT, MsgT]) -> None:
        self._tree = tree
        self._branches = branches
        self._hidden = 0
        self._withheld_keys: set[str] = set()
        self._withheld: list[ConversationNode[ProjT]] = []
        self._nodes: list[ConversationNode[ProjT]] = []
        self._keys: list[str] = []
        self._key_set: set[str] = set()
        self._flat: list[CodecMessage[MsgT]] = []
        self._places: dict[str, int] = {}
        self._ids_of: dict[str, tuple[str, ...]] = {}
        self._dirty: dict[str, None] = {}
        self.fetching = False
        """Whether history is being folded for this view, which shows it once that is done."""
        self.recompute()

    @property
    def messages(self) -> list[CodecMessage[MsgT]]:
        """The visible messages, oldest first, as a list of the caller's own."""
        self._refresh()
        return self._flat[self._hidden :]

    @property
    def oldest_id(self) -> str | None:
        """The oldest visible message."""
        self._refresh()
        return self._flat[self._hidden].codec_message_id if len(self._flat) > self._hidden else None

    @property
    def newest_id(self) -> str | None:
        """The newest visible message."""
        self._refresh()
        return self._flat[-1].codec_message_id if len(self._flat) > self._hidden else None

    @property
    def nodes(self) -> Sequence[ConversationNode[ProjT]]:
        """The nodes of the branch that are not withheld."""
        return self._nodes

    def runs(self) -> list[RunInfo]:
        """Describe the visible runs, oldest first."""
        return [run_info(node) for node in self._nodes if isinstance(node, RunNode)]

    def run(self, run_id: str) -> RunInfo | None:
        """Describe a run; None when it has not been seen."""
        node = self._tree.get_run_node(run_id)
        return None if node is None else run_info(node)

    def run_of(self, codec_message_id: str) -> RunInfo | None:
        """Describe the run that a message belongs to, or that replies to it."""
        node = self._tree.get_node_by_codec_message_id(codec_message_id)
        if node is None:
            return None
        run = node if isinstance(node, RunNode) else self._branches.selected_reply(node.codec_message_id)
        return None if run is None else run_info(run)

    def handle(
        self, event: TreeEvent[InT, OutT], *, from_history: bool
    ) -> ViewUpdated | RunLifecycleEvent | InboundMessage | None:
        """Follow a change of the tree.

        Args:
            event: The change.
            from_history: Whether it came out of history: it may change what is shown, and is no news.

        Returns:
            What those who watch the view should be told; None for nothing.
        """
        match event:
            case OutputFolded():
                return self._on_output(event)
            case InboundMessage():
                return event if not from_history and self._concerns(event) else None
            case TreeUpdated():
                if self.fetching:
                    return None
                self._branches.on_structure_changed(self._keys)
                before = self._keys
                self.recompute()
                return _UPDATED if self._keys != before else None
            case _:
                return event if not from_history and self._concerns_run(event) else None

    def recompute(self) -> None:
        """Walk the branch again."""
        nodes = self._branches.visible_nodes()
        if self._withheld_keys:
            nodes = [node for node in nodes if node.key not in self._withheld_keys]
        self._nodes = nodes
        self._keys = [node.key for node in nodes]
        self._key_set = set(self._keys)
        self._relist()

    def reveal_hidden(self, limit: int) -> bool:
        """Show older messages of nodes that are there, if there are enough of them.

        Args:
            limit: How many.

        Returns:
            Whether there were; otherwise nothing changed.
        """
        if self._hidden < limit:
            return False
        self._hidden -= limit
        return True

    @property
    def has_unrevealed(self) -> bool:
        """Whether messages are there that the window leaves out."""
        return self._hidden > 0 or bool(self._withheld)

    @property
    def hidden(self) -> int:
        """How many messages of the nodes on the branch the window leaves out."""
        return self._hidden

    @property
    def total(self) -> int:
        """How many messages the nodes on the branch hold, withheld ones not counted."""
        self._refresh()
        return len(self._flat)

    def release_withheld(self, need: int) -> None:
        """Let the newest withheld nodes in, as many as hold a number of messages.

        Args:
            need: How many messages.
        """
        self._release(_newest(self._withheld, need, self._count))

    def admit_fetched(self, known: set[str], need: int) -> None:
        """Let nodes in that history brought, the newest first, and withhold the rest.

        Args:
            known: Keys of the nodes that were visible before.
            need: How many messages to let in.
        """
        fetched = [node for node in self._branches.visible_nodes() if node.key not in known]
        admitted = _newest(fetched, need, self._count)
        self._withheld_keys.update(node.key for node in fetched)
        self._withheld.extend(fetched)
        self._release(admitted)

    def count_beyond(self, known: set[str]) -> int:
        """Count the messages of visible nodes that are not among the known ones."""
        return sum(self._count(node) for node in self._branches.visible_nodes() if node.key not in known)

    def visible_keys(self) -> set[str]:
        """Return the keys of all nodes of the branch, withheld ones included."""
        return {node.key for node in self._branches.visible_nodes()}

    def trim_to(self, before: int, limit: int) -> None:
        """Hide what was revealed beyond a limit.

        Args:
            before: How many messages there were before.
            limit: How many may have been added to the window.
        """
        self.recompute()
        self._hidden = max(0, self._hidden + (self.total - before) - limit)

    def hide_through(self, codec_message_id: str) -> None:
        """Start the window just after a message."""
        self._refresh()
        place = self._places.get(codec_message_id)
        if place is not None:
            self._hidden = place + 1

    def _on_output(self, event: OutputFolded[InT, OutT]) -> ViewUpdated | None:
        key = event.node_key
        if key is not None and key in self._key_set:
            self._dirty[key] = None
        elif event.input_codec_message_id not in self._key_set:
            return None
        return None if self.fetching else _UPDATED

    def _concerns(self, message: InboundMessage) -> bool:
        run_id = message.transport_headers.get(names.RUN_ID)
        if not run_id:
            return not message.transport_headers.get(names.CODEC_MESSAGE_ID)
        return run_id in self._key_set

    def _concerns_run(self, event: RunLifecycleEvent) -> bool:
        if event.run_id in self._key_set:
            return True
        if not isinstance(event, RunStart):
            return False
        # A run has no messages when it starts; it counts as visible if its input is.
        parent = None if event.parent is None else self._tree.get_node_by_codec_message_id(event.parent)
        if parent is not None and parent.key not in self._key_set:
            return False
        self._key_set.add(event.run_id)
        return True

    def _messages_of(self, node: ConversationNode[ProjT], /) -> Sequence[CodecMessage[MsgT]]:
        return self._tree.codec.get_messages(node.projection)

    def _count(self, node: ConversationNode[ProjT]) -> int:
        return len(self._messages_of(node))

    def _release(self, nodes: Sequence[ConversationNode[ProjT]]) -> None:
        released = {node.key for node in nodes}
        self._withheld_keys -= released
        self._withheld = [node for node in self._withheld if node.key not in released]
        self.recompute()

    def _relist(self) -> None:
        self._dirty.clear()
        self._ids_of = {node.key: _ids(self._messages_of(node)) for node in self._nodes}
        self._flat = self._branches.extract(self._nodes, self._messages_of)
        self._places = {message.codec_message_id: i for i, message in enumerate(self._flat)}

    def _refresh(self) -> None:
        """Put the messages of changed nodes in their places; list all again where places changed."""
        if not self._dirty:
            return
        if len(self._places) == len(self._flat):
            for key in self._dirty:
                node = self._tree.get_node(key)
                messages = () if node is None else self._messages_of(node)
                if _ids(messages) != self._ids_of.get(key):
                    break
                for message in messages:
                    place = self._places.get(message.codec_message_id)
                    if place is not None:
                        self._flat[place] = message
            else:
                self._dirty.clear()
                return
        self._relist()


def _ids(messages: Sequence[CodecMessage[MsgT]]) -> tuple[str, ...]:
    return tuple(message.codec_message_id for message in messages)


def _newest(
    nodes: Sequence[ConversationNode[ProjT]], need: int, count: Callable[[ConversationNode[ProjT]], int]
) -> Sequence[ConversationNode[ProjT]]:
    """Return the newest nodes that together hold a number of messages, or all of them."""
    held = 0
    for i in range(len(nodes) - 1, -1, -1):
        held += count(nodes[i])
        if held >= need:
            return nodes[i:]
    return nodes
