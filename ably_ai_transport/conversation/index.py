"""The index of a tree's nodes: by key, by message, in order, among siblings."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic

from ably_ai_transport.codec.contract import InT, OutT, ProjT
from ably_ai_transport.conversation.authors import Author, InputLedger
from ably_ai_transport.conversation.lifecycle import RunLife, StepLedger
from ably_ai_transport.conversation.log import EventLog
from ably_ai_transport.conversation.nodes import ConversationNode, InputNode, RunNode


@dataclass(slots=True, eq=False)
class Entry(Generic[InT, OutT, ProjT]):
    """A node, and the state that the tree keeps beside it.

    Attributes:
        node: The node.
        order: Counts nodes as they are first seen; orders nodes without a serial.
        log: The messages that were folded into it.
        life: The lifecycle events of a run.
        steps: The steps of a run; None until one is seen.
        inputs: The inputs of the node; None until one is seen.
        optimistic: Whether the projection holds a preview that is not in the log.
        last_activity: Time of the newest message that touched it, in milliseconds.
        start_seen: Whether the start of a run has been seen, before which nothing of it can come.
        start_serial: Serial of the earliest start of a run; None until the channel has brought one.
        sweep_queued: Whether its log waits to be swept.
    """

    node: ConversationNode[ProjT]
    order: int
    log: EventLog[InT, OutT] = field(default_factory=EventLog[InT, OutT])
    life: RunLife = field(default_factory=RunLife)
    steps: StepLedger | None = None
    inputs: InputLedger | None = None
    optimistic: bool = False
    last_activity: int = 0
    start_seen: bool = False
    start_serial: str | None = None
    sweep_queued: bool = False


def _place(entry: Entry[InT, OutT, ProjT]) -> tuple[bool, str, int]:
    serial = entry.node.sort_serial
    return (serial is None, serial or "", entry.order)


class NodeIndex(Generic[InT, OutT, ProjT]):
    """All nodes of one tree.

    Edits of a message are sibling inputs: they share its parent and lead to it by ``fork_of``. The replies
    to one input are sibling runs. A run whose question was answered by a fork is *superseded*: it is kept,
    and no branch leads to it.
    """

    def __init__(self) -> None:
        self.version = 0
        """Grows with each change of structure, and only then."""
        self._superseded_by: dict[str, set[str]] = {}
        self._entries: dict[str, Entry[InT, OutT, ProjT]] = {}
        self._sorted: list[Entry[InT, OutT, ProjT]] = []
        self._key_by_message: dict[str, str] = {}
        self._authors: dict[str, Author] = {}
        self._children: dict[str | None, dict[str, None]] = {}
        self._replies: dict[str, dict[str, None]] = {}
        self._siblings: dict[str, tuple[ConversationNode[ProjT], ...]] = {}
        self._siblings_version = -1
        self._count = 0

    def __iter__(self) -> Iterator[ConversationNode[ProjT]]:
        """Walk through all nodes in channel order; those without a serial come last."""
        return (entry.node for entry in self._sorted)

    @property
    def newest_serial(self) -> str | None:
        """The place of the last node on the channel; None where no node has a place yet."""
        serials = (entry.node.sort_serial for entry in reversed(self._sorted))
        return next((serial for serial in serials if serial is not None), None)

    def entry(self, key: str) -> Entry[InT, OutT, ProjT] | None:
        """Find a node by its key."""
        return self._entries.get(key)

    def key_of_message(self, codec_message_id: str) -> str | None:
        """Find the key of the node that owns a message."""
        return self._key_by_message.get(codec_message_id)

    def entry_of_message(self, codec_message_id: str) -> Entry[InT, OutT, ProjT] | None:
        """Find the node that owns a message."""
        key = self._key_by_message.get(codec_message_id)
        return None if key is None else self._entries.get(key)

    def own_message(self, codec_message_id: str, key: str) -> bool:
        """Note which node owns a message.

        Returns:
            Whether another node has owned it until now.
        """
        before = self._key_by_message.get(codec_message_id, key)
        self._key_by_message[codec_message_id] = key
        return before != key

    def note_author(self, codec_message_id: str, serial: str, client_id: str | None) -> None:
        """Note who published a message; the earliest publisher is its author."""
        known = self._authors.get(codec_message_id)
        if known is None or serial < known.serial:
            self._authors[codec_message_id] = Author(serial, client_id)

    def author_of(self, codec_message_id: str) -> Author | None:
        """Return the author of a message; None when the channel has not brought it."""
        return self._authors.get(codec_message_id)

    def insert(self, node: ConversationNode[ProjT]) -> Entry[InT, OutT, ProjT]:
        """Add a node."""
        entry = Entry[InT, OutT, ProjT](node, self._count)
        self._count += 1
        self._entries[node.key] = entry
        insort(self._sorted, entry, key=_place)
        self._file(node)
        self.version += 1
        return entry

    def remove(self, key: str) -> None:
        """Remove a node; its children stay and cannot be reached any more."""
        entry = self._entries.pop(key)
        self._unfile(entry.node)
        self._take_from_order(entry)
        self.version += 1

    def place(self, entry: Entry[InT, OutT, ProjT], serial: str) -> None:
        """Give a node its place on the channel."""
        self._take_from_order(entry)
        node = entry.node
        if isinstance(node, RunNode):
            node.start_serial = serial
        else:
            node.serial = serial
        insort(self._sorted, entry, key=_place)
        self.version += 1

    def set_parent(self, node: RunNode[ProjT], parent_codec_message_id: str) -> None:
        """Hang a run under its input, once that is known."""
        self._unfile(node)
        node.parent_codec_message_id = parent_codec_message_id
        self._file(node)
        self.version += 1

    def rekey(self, entry: Entry[InT, OutT, ProjT], node: RunNode[ProjT], run_id: str) -> None:
        """Give a run the id that the agent minted for it."""
        old = node.run_id
        self._unfile(node)
        del self._entries[old]
        node.run_id = run_id
        self._entries[run_id] = entry
        self._file(node)
        self._key_by_message[old] = run_id
        self.version += 1

    def merge(self, entry: Entry[InT, OutT, ProjT], into: Entry[InT, OutT, ProjT]) -> None:
        """Join two nodes that are the same run; the first one is removed."""
        old, key = entry.node.key, into.node.key
        self.remove(old)
        for message_id, owner in self._key_by_message.items():
            if owner == old:
                self._key_by_message[message_id] = key
        self._key_by_message[old] = key
        into.log.absorb(entry.log)
        if entry.inputs is not None:
            into.inputs = into.inputs or InputLedger()
            into.inputs.absorb(entry.inputs)
        into.last_activity = max(into.last_activity, entry.last_activity)

    def supersede(self, run_id: str, fork_message_id: str) -> None:
        """Hide a run, seen already or not, from all branches because a fork answers it."""
        forks = self._superseded_by.setdefault(run_id, set())
        if not forks:
            self.version += 1
        forks.add(fork_message_id)

    def withdraw_fork(self, fork_message_id: str) -> None:
        """Undo the superseding of runs by a fork that could not be published."""
        for run_id, forks in tuple(self._superseded_by.items()):
            forks.discard(fork_message_id)
            if not forks:
                del self._superseded_by[run_id]
                self.version += 1

    def is_superseded(self, key: str) -> bool:
        """Tell whether a node is a run that a fork answers."""
        return key in self._superseded_by

    def parent_key(self, node: ConversationNode[ProjT]) -> str | None:
        """Find the key of a node's parent; None at a root, and while the parent has not been seen."""
        parent = node.parent_codec_message_id
        return None if parent is None else self._key_by_message.get(parent)

    def replies(self, input_codec_message_id: str) -> list[RunNode[ProjT]]:
        """List the runs that reply to an input, oldest first, without superseded ones."""
        entries = (
            self._entries.get(run_id)
            for run_id in self._replies.get(input_codec_message_id, ())
            if run_id not in self._superseded_by
        )
        found = sorted((entry for entry in entries if entry is not None), key=_place)
        return [entry.node for entry in found if isinstance(entry.node, RunNode)]

    def siblings(self, key: str) -> tuple[ConversationNode[ProjT], ...]:
        """List the alternatives at a node's place, itself included, oldest first.

        Args:
            key: Key of any of them.

        Returns:
            The nodes; empty when the key is not known.
        """
        if self._siblings_version != self.version:
            self._siblings.clear()
            self._siblings_version = self.version
        known = self._siblings.get(key)
        if known is not None:
            return known
        entry = self._entries.get(key)
        if entry is None:
            return ()
        anchor = self._edit_root(entry.node) if isinstance(entry.node, InputNode) else entry.node
        candidates = (
            self._entries[child]
            for child in self._children.get(anchor.parent_codec_message_id, ())
            if child not in self._superseded_by
        )
        group = sorted((c for c in candidates if self._are_siblings(c.node, anchor)), key=_place)
        found = tuple(member.node for member in group)
        for node in found:
            self._siblings[node.key] = found
        self._siblings[key] = found
        return found

    def group_root(self, key: str) -> str:
        """Return the key that names a node's group of siblings: that of the original."""
        entry = self._entries.get(key)
        if entry is None:
            return key
        if isinstance(entry.node, InputNode):
            return self._edit_root(entry.node).key
        group = self.siblings(key)
        return group[0].key if group else key

    def _are_siblings(self, node: ConversationNode[ProjT], anchor: ConversationNode[ProjT]) -> bool:
        if isinstance(node, RunNode):
            return isinstance(anchor, RunNode)
        return isinstance(anchor, InputNode) and anchor.key in self._edit_chain(node)

    def _edit_root(self, node: InputNode[ProjT]) -> InputNode[ProjT]:
        root = node
        seen = {node.key}
        while root.fork_of is not None and root.fork_of not in seen:
            target = self._entries.get(root.fork_of)
            if target is None or not isinstance(target.node, InputNode):
                break
            if target.node.parent_codec_message_id != root.parent_codec_message_id:
                break
            root = target.node
            seen.add(root.key)
        return root

    def _edit_chain(self, node: InputNode[ProjT]) -> set[str]:
        chain = {node.key}
        current: ConversationNode[ProjT] = node
        while isinstance(current, InputNode) and current.fork_of is not None:
            if current.fork_of in chain:
                break
            chain.add(current.fork_of)
            target = self._entries.get(current.fork_of)
            if target is None:
                break
            current = target.node
        return chain

    def _file(self, node: ConversationNode[ProjT]) -> None:
        parent = node.parent_codec_message_id
        self._children.setdefault(parent, {})[node.key] = None
        if isinstance(node, RunNode) and parent is not None:
            self._replies.setdefault(parent, {})[node.key] = None

    def _unfile(self, node: ConversationNode[ProjT]) -> None:
        parent = node.parent_codec_message_id
        self._children.get(parent, {}).pop(node.key, None)
        if parent is not None:
            self._replies.get(parent, {}).pop(node.key, None)

    def _take_from_order(self, entry: Entry[InT, OutT, ProjT]) -> None:
        del self._sorted[bisect_left(self._sorted, _place(entry), key=_place)]
