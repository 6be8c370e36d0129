"""The branch of the tree that a view shows.

Two ways to choose it: a client *navigates* (:class:`Navigable`), an agent is *pinned* to the branch of its
own run (:class:`Pinned`, in ``pinned.py``). A view works with either.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeAlias

from ably_ai_transport.codec.contract import CodecMessage, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation.nodes import ConversationNode, InputNode, RunNode
from ably_ai_transport.conversation.tree import Tree
from ably_ai_transport.wire.listeners import Listeners

MessagesOf: TypeAlias = Callable[[ConversationNode[ProjT]], Sequence[CodecMessage[MsgT]]]
"""Reads the messages of a node."""


Move: TypeAlias = Literal["chosen", "expected"]
"""Another branch is shown from now on, or as soon as its run starts."""


class Branches(Protocol[ProjT, MsgT]):
    """Chooses the branch that a view shows."""

    @property
    def moved(self) -> Listeners[Move]:
        """Called when another branch is chosen or expected."""
        ...

    def visible_nodes(self) -> list[ConversationNode[ProjT]]:
        """List the nodes of the branch, from its root."""
        ...

    def extract(
        self, nodes: Iterable[ConversationNode[ProjT]], messages_of: MessagesOf[ProjT, MsgT]
    ) -> list[CodecMessage[MsgT]]:
        """List the messages of nodes as the branch shows them."""
        ...

    def selected_reply(self, input_codec_message_id: str) -> RunNode[ProjT] | None:
        """Return the reply that is shown for an input."""
        ...

    def on_structure_changed(self, shown_before: Sequence[str]) -> None:
        """Adapt to new nodes.

        Args:
            shown_before: Keys of the nodes that were shown until now.
        """
        ...


@dataclass(frozen=True, slots=True, repr=False)
class BranchHandle(Generic[MsgT]):
    """The alternatives at one message.

    Attributes:
        siblings: The alternatives, oldest first. Without alternatives this is the message alone; it is empty
            when the message is not known.
        index: The index of the alternative that is shown.
        select: Shows another alternative; the index is clamped. Does nothing when there is none.
    """

    siblings: Sequence[MsgT]
    index: int
    select: Callable[[int], None]

    def __repr__(self) -> str:
        return f"<BranchHandle: {self.index} of {len(self.siblings)} siblings>"

    @property
    def has_siblings(self) -> bool:
        """Whether there is anything to choose from."""
        return len(self.siblings) > 1

    @property
    def selected(self) -> MsgT | None:
        """The alternative that is shown; None where the message is not known."""
        return self.siblings[self.index] if self.siblings else None


@dataclass(slots=True)
class _Selection:
    """The choice in one group of alternatives.

    ``user`` and ``pinned`` choices stay, ``auto`` ones move on to newer alternatives, and a ``pending`` one
    waits for a run that has not started yet.
    """

    kind: Literal["user", "auto", "pinned", "pending"]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    head: str


@dataclass(frozen=True, slots=True)
class _BranchPoint:
    selections: dict[str, _Selection]
    group: str
    members: tuple[_Member, ...]

    def selected_index(self) -> int:
        selection = self.selections.get(self.group)
        if selection is not None and selection.key is not None:
            for i, member in enumerate(self.members):
                if member.key == selection.key:
                    return i
        return len(self.members) - 1


class Navigable(Generic[InT, OutT, ProjT, MsgT]):
    """The branch that a person navigates to.

    Without a choice the newest alternative is shown. An edit by somebody else does not replace the message
    that is shown. The npm package's ``branch-source.ts`` is the specification.

    Args:
        tree: The conversation.
    """

    def __init__(self, tree: Tree[InT, OutT, ProjT, MsgT]) -> None:
        self.moved = Listeners[Move]()
        self._tree = tree
        self._index = tree.index
        self._edits: dict[str, _Selection] = {}
        self._replies: dict[str, _Selection] = {}
        self._inner: dict[str, _Selection] = {}
        """Regenerations of a message that is not the first of its run, by that message."""

    def visible_nodes(self) -> list[ConversationNode[ProjT]]:
        """List the nodes of the selected branch, from its root."""
        visible: list[ConversationNode[ProjT]] = []
        path: set[str] = set()
        chosen: dict[str, str] = {}
        for node in self._index:
            key = node.key
            if self._index.is_superseded(key):
                continue
            parent = self._index.parent_key(node)
            if parent is not None and parent not in path:
                continue
            group = self._index.siblings(key)
            if len(group) > 1:
                root = self._index.group_root(key)
                selected = chosen.get(root)
                if selected is None:
                    selected = chosen[root] = self._chosen_of(root, group)
                if key != selected:
                    continue
            path.add(key)
            visible.append(node)
        return visible

    def extract(
        self, nodes: Iterable[ConversationNode[ProjT]], messages_of: MessagesOf[ProjT, MsgT]
    ) -> list[CodecMessage[MsgT]]:
        """List the messages of nodes; a message that was regenerated inside a run is replaced."""
        nodes = list(nodes)
        replacements = {
            regeneration.run_id
            for node in nodes
            if isinstance(node, RunNode)
            for target, before in _inner_messages(messages_of(node))
            for regeneration in self._regenerations(target, before)
        }
        shown: list[CodecMessage[MsgT]] = []
        for node in nodes:
            if node.key not in replacements:
                self._emit(node, messages_of, shown)
        return shown

    def selected_reply(self, input_codec_message_id: str) -> RunNode[ProjT] | None:
        """Return the reply that is shown for an input."""
        replies = self._index.replies(input_codec_message_id)
        if len(replies) > 1:
            selection = self._replies.get(self._index.group_root(replies[0].run_id))
            for reply in replies:
                if selection is not None and reply.run_id == selection.key:
                    return reply
        return replies[-1] if replies else None

    def on_structure_changed(self, shown_before: Sequence[str]) -> None:
        """Keep the shown message when somebody else edits it; move to the replies that were requested."""
        for key in shown_before:
            node = self._tree.get_node(key)
            if isinstance(node, InputNode) and len(self._index.siblings(key)) > 1:
                self._edits.setdefault(self._index.group_root(key), _Selection("pinned", key))
        for root, selection in self._replies.items():
            group = [node for node in self._index.siblings(root) if isinstance(node, RunNode)]
            if selection.kind != "user" and len(group) > 1:
                self._replies[root] = _Selection("auto", group[-1].run_id)
        for anchor, selection in self._inner.items():
            before = self._message_before(anchor)
            if selection.kind != "user" and before is not None:
                regenerations = self._regenerations(anchor, before)
                if regenerations:
                    self._inner[anchor] = _Selection("auto", regenerations[-1].run_id)

    def alternatives(self, codec_message_id: str) -> tuple[list[MsgT], int]:
        """List the alternatives at a message.

        Args:
            codec_message_id: The message.

        Returns:
            The alternatives, oldest first, and the index of the one that is shown.
        """
        point = self._branch_point(codec_message_id)
        if point is not None:
            siblings = [m for m in (self._message(member.head) for member in point.members) if m is not None]
            if siblings:
                return [m.message for m in siblings], min(point.selected_index(), len(siblings) - 1)
        own = self._message(codec_message_id)
        return ([] if own is None else [own.message]), 0

    def select(self, codec_message_id: str, index: int) -> bool:
        """Show another alternative at a message.

        Args:
            codec_message_id: The message.
            index: Which alternative; clamped.

        Returns:
            Whether there was anything to choose from.
        """
        point = self._branch_point(codec_message_id)
        if point is None or not point.members:
            return False
        member = point.members[max(0, min(index, len(point.members) - 1))]
        point.selections[point.group] = _Selection("user", member.key)
        self.moved.emit("chosen")
        return True

    def follow_edit(self, codec_message_id: str) -> None:
        """Show an edit that was just sent.

        Args:
            codec_message_id: The new input.
        """
        self._edits[self._index.group_root(codec_message_id)] = _Selection("auto", codec_message_id)
        self.moved.emit("chosen")

    def follow_regeneration(self, codec_message_id: str) -> bool:
        """Show the new reply of a regeneration as soon as it starts.

        Args:
            codec_message_id: The message that is regenerated.

        Returns:
            Whether it belongs to a run that is known.
        """
        run = self._tree.get_node_by_codec_message_id(codec_message_id)
        if not isinstance(run, RunNode):
            return False
        messages = self._messages(run)
        if messages and messages[0].codec_message_id == codec_message_id:
            self._replies[self._index.group_root(run.run_id)] = _Selection("pending")
        else:
            self._inner[codec_message_id] = _Selection("pending")
        self.on_structure_changed(())
        self.moved.emit("expected")
        return True

    def _chosen_of(self, root: str, group: Sequence[ConversationNode[ProjT]]) -> str:
        for selections in (self._replies, self._edits):
            selection = selections.get(root)
            if selection is not None and selection.key is not None:
                if any(node.key == selection.key for node in group):
                    return selection.key
                break
        return group[-1].key

    def _emit(
        self,
        node: ConversationNode[ProjT],
        messages_of: MessagesOf[ProjT, MsgT],
        shown: list[CodecMessage[MsgT]],
    ) -> None:
        messages = messages_of(node)
        if isinstance(node, InputNode):
            shown.extend(messages)
            return
        before: str | None = None
        for message in messages:
            target = message.codec_message_id
            regenerations = [] if before is None else self._regenerations(target, before)
            replacement = self._inner_choice(target, node.run_id, regenerations)
            if replacement is not None:
                self._emit(replacement, messages_of, shown)
                return
            shown.append(message)
            before = target

    def _inner_choice(
        self, target: str, owner: str, regenerations: Sequence[RunNode[ProjT]]
    ) -> RunNode[ProjT] | None:
        if not regenerations:
            return None
        selection = self._inner.get(target)
        if selection is not None and selection.key is not None:
            if selection.key == owner:
                return None
            for run in regenerations:
                if run.run_id == selection.key:
                    return run
        return regenerations[-1]

    def _regenerations(self, target: str, before: str) -> list[RunNode[ProjT]]:
        return [run for run in self._index.replies(before) if run.regenerates_codec_message_id == target]

    def _messages(self, node: ConversationNode[ProjT]) -> Sequence[CodecMessage[MsgT]]:
        return self._tree.codec.get_messages(node.projection)

    def _message(self, codec_message_id: str) -> CodecMessage[MsgT] | None:
        owner = self._tree.get_node_by_codec_message_id(codec_message_id)
        for message in () if owner is None else self._messages(owner):
            if message.codec_message_id == codec_message_id:
                return message
        return None

    def _message_before(self, codec_message_id: str) -> str | None:
        """The message before another in the same run; None for the first."""
        owner = self._tree.get_node_by_codec_message_id(codec_message_id)
        if not isinstance(owner, RunNode):
            return None
        return dict(_inner_messages(self._messages(owner))).get(codec_message_id)

    def _heads(self, nodes: Iterable[ConversationNode[ProjT]]) -> tuple[_Member, ...]:
        heads = ((node.key, self._messages(node)) for node in nodes)
        return tuple(_Member(key, messages[0].codec_message_id) for key, messages in heads if messages)

    def _branch_point(self, codec_message_id: str) -> _BranchPoint | None:
        node = self._tree.get_node_by_codec_message_id(codec_message_id)
        if node is None:
            return None
        siblings = self._index.siblings(node.key)
        if isinstance(node, InputNode):
            if len(siblings) < 2:
                return None
            return _BranchPoint(self._edits, self._index.group_root(node.key), self._heads(siblings))
        messages = self._messages(node)
        is_head = bool(messages) and messages[0].codec_message_id == codec_message_id
        anchor = codec_message_id
        if is_head and node.regenerates_codec_message_id is not None:
            anchor = node.regenerates_codec_message_id
        owner = self._tree.get_node_by_codec_message_id(anchor)
        before = self._message_before(anchor)
        regenerations = [] if before is None else self._regenerations(anchor, before)
        if owner is not None and regenerations:
            members = (_Member(owner.key, anchor), *self._heads(regenerations))
            return _BranchPoint(self._inner, anchor, members)
        if is_head and len(siblings) > 1:
            return _BranchPoint(self._replies, self._index.group_root(node.key), self._heads(siblings))
        return None


def _inner_messages(messages: Sequence[CodecMessage[MsgT]]) -> list[tuple[str, str]]:
    """Pair each message but the first with the one before it."""
    ids = [message.codec_message_id for message in messages]
    return list(zip(ids[1:], ids, strict=False))
