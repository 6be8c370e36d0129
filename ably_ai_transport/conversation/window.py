"""The window of a view: the part of one branch of the tree that it shows.

The list of messages is kept up as events come in. A token that extends a message costs the same however
long the conversation is; only a change of structure (a new turn, another branch) walks the branch again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from ably_ai_transport.codec.contract import CodecMessage, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation.branches import Branches
from ably_ai_transport.conversation.events import OutputFolded, TreeEvent, TreeUpdated
from ably_ai_transport.conversation.nodes import ConversationNode, RunInfo, RunNode
from ably_ai_transport.conversation.tree import Tree
from ably_ai_transport.wire import InboundMessage, RunLifecycleEvent, RunStart, names


@dataclass(frozen=True, slots=True)
class ViewUpdated:
    """The list of messages changed."""


_UPDATED = ViewUpdated()


class ViewState(Generic[InT, OutT, ProjT, MsgT]):
    """A window on the branch that a :class:`Branches` chooses.

    The window reaches from some message to the newest. Messages before it are either *withheld* (whole nodes
    from history that were not requested) or *hidden* (the oldest messages of the nodes that are not
    withheld).

    Args:
        tree: The conversation.
        branches: Chooses the branch.
        withholds_history: Whether older nodes stay out of the window when another view loaded them.
    """

    def __init__(
        self,
        tree: Tree[InT, OutT, ProjT, MsgT],
        branches: Branches[ProjT, MsgT],
        *,
        withholds_history: bool = False,
    ) -> None:
        self._tree = tree
        self._branches = branches
        self._withholds_history = withholds_history
        self._hidden = 0
        self._live: set[str] = set()
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

    def __repr__(self) -> str:
        return f"<ViewState: {max(0, len(self._flat) - self._hidden)} of {len(self._flat)} messages>"

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
        return [self._tree.describe(node) for node in self._nodes if isinstance(node, RunNode)]

    def run(self, run_id: str) -> RunInfo | None:
        """Describe a run; None when it has not been seen."""
        node = self._tree.get_run_node(run_id)
        return None if node is None else self._tree.describe(node)

    def run_of(self, codec_message_id: str) -> RunInfo | None:
        """Describe the run that a message belongs to, or that replies to it."""
        node = self._tree.get_node_by_codec_message_id(codec_message_id)
        if node is None:
            return None
        run = node if isinstance(node, RunNode) else self._branches.selected_reply(node.codec_message_id)
        return None if run is None else self._tree.describe(run)

    def handle(
        self, event: TreeEvent[InT, OutT], *, from_history: bool
    ) -> ViewUpdated | RunLifecycleEvent | InboundMessage | None:
        """Follow a change of the tree.

        Args:
            event: The change.
            from_history: Whether it came out of history: then it is no news, even where it changes the list.

        Returns:
            The news for the view's listeners; None for none.
        """
        match event:
            case OutputFolded():
                key = event.node_key if event.run_id is None else event.run_id
                if self.fetching:
                    self._note_live(key, from_history=from_history)
                if key is not None and key in self._ids_of:
                    self._dirty[key] = None
                elif event.input_codec_message_id not in self._key_set:
                    return None
                return None if self.fetching else _UPDATED
            case InboundMessage():
                if from_history:
                    return None
                headers = event.transport_headers
                run_id = headers.get(names.RUN_ID)
                concerned = run_id in self._key_set if run_id else not headers.get(names.CODEC_MESSAGE_ID)
                return event if concerned else None
            case TreeUpdated():
                self._branches.on_structure_changed(self._keys)
                if self.fetching:
                    return None
                if from_history and self._withholds_history:
                    self._withhold(self._older_nodes())
                return _UPDATED if self.recompute_if_changed() else None
            case _:
                self._note_live(event.run_id, from_history=from_history)
                return event if not from_history and self._concerns_run(event) else None

    def recompute(self) -> None:
        """Walk the branch again."""
        nodes = self._branches.visible_nodes()
        self._withheld = [node for node in nodes if node.key in self._withheld_keys]
        left_out = {node.key for node in self._withheld}
        if self.fetching:
            left_out.update(node.key for node in self._older_nodes())
        self._nodes = [node for node in nodes if node.key not in left_out] if left_out else nodes
        self._keys = [node.key for node in self._nodes]
        self._key_set = set(self._keys)
        self._relist()

    def recompute_if_changed(self) -> bool:
        """Walk the branch again; a run that was announced before it had anything to show is still followed.

        Returns:
            Whether other nodes are shown now.
        """
        before, followed = self._keys, self._key_set
        self.recompute()
        if self._keys != before:
            return True
        self._key_set = followed
        return False

    @property
    def has_unrevealed(self) -> bool:
        """Whether the window leaves messages out."""
        return self._hidden > 0 or bool(self._withheld)

    def release_withheld(self, need: int) -> bool:
        """Let the newest withheld nodes in, as many as hold a number of messages.

        Args:
            need: How many messages.

        Returns:
            Whether there were any.
        """
        if not self._withheld:
            return False
        self._release(_newest(self._withheld, need, self._count))
        return True

    def begin_fetch(self) -> None:
        """Hide all nodes that history brings until :meth:`end_fetch` says how many to show."""
        self.fetching = True

    def end_fetch(self, need: int) -> None:
        """Let nodes in that history brought, the newest first, and withhold the rest.

        Args:
            need: How many messages to let in.
        """
        fetched = self._older_nodes()
        self.fetching = False
        self._withhold(fetched)
        self._release(_newest(fetched, need, self._count))

    def count_fetched(self) -> int:
        """Count the messages that history has brought since the fetch began."""
        return sum(self._count(node) for node in self._older_nodes())

    def count_before(self, codec_message_id: str | None) -> int:
        """Count the messages before another, shown or hidden.

        Args:
            codec_message_id: The oldest message that was visible when loading began; None where none was.

        Returns:
            How many there are; those of withheld nodes do not count.
        """
        self._refresh()
        place = None if codec_message_id is None else self._places.get(codec_message_id)
        if place is None:
            place = next((i for i, m in enumerate(self._flat) if self._is_live(m)), len(self._flat))
        return place

    def reveal_before(self, codec_message_id: str | None, limit: int) -> list[CodecMessage[MsgT]]:
        """Start the window a number of messages before another.

        Args:
            codec_message_id: As for :meth:`count_before`.
            limit: How many messages to show before it, at most.

        Returns:
            The messages that are shown before it.
        """
        place = self.count_before(codec_message_id)
        self._hidden = max(0, place - limit)
        self._live.clear()
        return self._flat[self._hidden : place]

    def hide_through(self, codec_message_id: str) -> None:
        """Start the window just after a message."""
        self._refresh()
        place = self._places.get(codec_message_id)
        if place is not None:
            self._hidden = place + 1

    def _note_live(self, key: str | None, *, from_history: bool) -> None:
        if self.fetching and not from_history and key is not None:
            self._live.add(key)

    def _is_live(self, message: CodecMessage[MsgT]) -> bool:
        node = self._tree.get_node_by_codec_message_id(message.codec_message_id)
        return node is not None and node.key in self._live

    def _older_nodes(self) -> list[ConversationNode[ProjT]]:
        """List the nodes before those that are shown or came live meanwhile, withheld ones excepted."""
        nodes = self._branches.visible_nodes()
        for i, node in enumerate(nodes):
            if node.key in self._key_set or node.key in self._live:
                return [older for older in nodes[:i] if older.key not in self._withheld_keys]
        # Where everything shown is on another branch now, this branch takes its place.
        return [] if self._keys and not self.fetching else nodes

    def _withhold(self, nodes: Iterable[ConversationNode[ProjT]]) -> None:
        self._withheld_keys.update(node.key for node in nodes)

    def _concerns_run(self, event: RunLifecycleEvent) -> bool:
        if event.run_id in self._key_set:
            return True
        if not isinstance(event, RunStart):
            return False
        # A run has no messages when it starts; it is visible if its input is.
        parent = None if event.parent is None else self._tree.get_node_by_codec_message_id(event.parent)
        if parent is not None and parent.key not in self._key_set:
            return False
        self._key_set.add(event.run_id)
        return True

    def _messages_of(self, node: ConversationNode[ProjT], /) -> Sequence[CodecMessage[MsgT]]:
        return self._tree.codec.get_messages(node.projection)

    def _listed_messages_of(self, node: ConversationNode[ProjT], /) -> Sequence[CodecMessage[MsgT]]:
        """Read the messages of a node and remember that the list depends on them."""
        messages = self._messages_of(node)
        self._ids_of[node.key] = _ids(messages)
        return messages

    def _count(self, node: ConversationNode[ProjT]) -> int:
        return len(self._messages_of(node))

    def _release(self, nodes: Sequence[ConversationNode[ProjT]]) -> None:
        self._withheld_keys.difference_update(node.key for node in nodes)
        self.recompute()

    def _relist(self) -> None:
        self._dirty.clear()
        self._ids_of = {}
        self._flat = self._branches.extract(self._nodes, self._listed_messages_of)
        self._places = {message.codec_message_id: i for i, message in enumerate(self._flat)}

    def _refresh(self) -> None:
        """Put the messages of changed nodes in their places; list all again where places changed."""
        if not self._dirty:
            return
        if len(self._places) == len(self._flat) and all(map(self._replace, self._dirty)):
            self._dirty.clear()
        else:
            self._relist()

    def _replace(self, key: str) -> bool:
        """Put the messages of a node in their places, and tell whether it still has the same ones."""
        node = self._tree.get_node(key)
        messages = () if node is None else self._messages_of(node)
        ids = self._ids_of.get(key, ())
        if len(ids) != len(messages):
            return False
        flat, places = self._flat, self._places
        for known, message in zip(ids, messages, strict=True):
            if message.codec_message_id != known:
                return False
            place = places.get(known)
            if place is not None:
                flat[place] = message
        return True


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
