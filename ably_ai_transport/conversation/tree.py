"""The conversation as a tree, built from the messages of a channel.

Each turn is two nodes: the *input* of a person and the *run* of an agent that replies to it. An edit is a
sibling of the input that it replaces; a regeneration is a sibling of the run that it replaces. Messages may
come in any order (history is read newest first), any number of times: the same set gives the same tree.

There is no clock, no channel and no task here: a message goes in, and events come out. The npm package's
``tree.ts`` is the specification.
"""

import logging
from collections.abc import Sequence
from typing import Generic

from ably_ai_transport.codec.contract import (
    Codec,
    Decoded,
    FoldMeta,
    InputEvent,
    InT,
    MsgT,
    OutputEvent,
    OutT,
    ProjT,
)
from ably_ai_transport.conversation.authors import USER_MESSAGE, Author, InputClaim, InputLedger, event_of
from ably_ai_transport.conversation.events import OutputFolded, TreeEvent, TreeUpdated, read_steer_stamp
from ably_ai_transport.conversation.folding import Delivery, Folding
from ably_ai_transport.conversation.incomplete import IncompleteMessages
from ably_ai_transport.conversation.index import Entry, NodeIndex
from ably_ai_transport.conversation.lifecycle import RunLife, StepLedger
from ably_ai_transport.conversation.nodes import ConversationNode, InputNode, RunInfo, RunNode, run_info
from ably_ai_transport.conversation.routes import Route, Routes
from ably_ai_transport.wire import (
    InboundMessage,
    RunLifecycleEvent,
    RunResume,
    RunStart,
    StepEnd,
    StepLifecycleEvent,
    StepStart,
    names,
)
from ably_ai_transport.wire.events import read_run_lifecycle, read_step_lifecycle

logger = logging.getLogger("ably_ai_transport.conversation")

_MAX_UNKNOWN_KINDS = 100
_AGENTS_OUTPUT = frozenset({names.AI_OUTPUT, None})
"""Names of agents' outputs. An append need not repeat the name of its message."""
REORDER_WINDOW_MS = 120_000
"""Milliseconds for which the log of a finished run is kept, to put late messages in order."""


class Tree(Generic[InT, OutT, ProjT, MsgT]):
    """The conversation of one channel.

    Args:
        codec: Decodes messages and folds events.
        reorder_window_ms: How long a finished run's events are kept after its last message, in milliseconds
            of message time. Raise it where a step may be retried after a longer pause.

    Example:
        >>> tree = Tree(codec)  # doctest: +SKIP
        >>> for message in messages:  # doctest: +SKIP
        ...     for event in tree.apply(message):
        ...         print(event)
    """

    def __init__(
        self, codec: Codec[InT, OutT, ProjT, MsgT], *, reorder_window_ms: int = REORDER_WINDOW_MS
    ) -> None:
        self.unknown_kinds: set[str] = set()
        """Event kinds of session messages that the codec does not know; the first hundred."""
        self.present_runs: frozenset[str] | None = None
        """The runs that agents present on the channel work on; None while nobody follows that."""
        self._codec = codec
        self._decoder = codec.create_decoder()
        self._index = NodeIndex[InT, OutT, ProjT]()
        self._folding = Folding(codec, reorder_window_ms)
        self.incomplete = IncompleteMessages(codec, self._index, self._folding)
        """The messages whose values are still on their way."""
        self._message_by_event_id: dict[str, InboundMessage] = {}
        self._early_life: dict[str, RunLife] = {}
        self._early_heard: dict[str, int] = {}
        self._early_steps: dict[str, StepLedger] = {}
        self._routes = Routes(self._index, self._folding)

    def __repr__(self) -> str:
        nodes = list(self._index)
        runs = sum(isinstance(node, RunNode) for node in nodes)
        return f"<Tree: {len(nodes) - runs} inputs, {runs} runs>"

    @property
    def index(self) -> NodeIndex[InT, OutT, ProjT]:
        """The nodes, for views."""
        return self._index

    @property
    def codec(self) -> Codec[InT, OutT, ProjT, MsgT]:
        """The codec."""
        return self._codec

    @property
    def newest_serial(self) -> str | None:
        """The place of the last node on the channel; None where no node has a place yet."""
        return self._index.newest_serial

    def get_node(self, key: str) -> ConversationNode[ProjT] | None:
        """Return the node with this key: a run id, or the message id of an input."""
        entry = self._index.entry(key)
        return None if entry is None else entry.node

    def get_run_node(self, run_id: str) -> RunNode[ProjT] | None:
        """Return a run; None when it has not been seen."""
        node = self.get_node(run_id)
        return node if isinstance(node, RunNode) else None

    def get_node_by_codec_message_id(self, codec_message_id: str) -> ConversationNode[ProjT] | None:
        """Return the node that owns a message; None when it has not been seen."""
        entry = self._index.entry_of_message(codec_message_id)
        return None if entry is None else entry.node

    def get_sibling_nodes(self, key: str) -> Sequence[ConversationNode[ProjT]]:
        """Return the alternatives at a node's place, itself included, oldest first."""
        return self._index.siblings(key)

    def find_message_by_event_id(self, event_id: str) -> InboundMessage | None:
        """Return the earliest message that carried an event id; None when it has not been seen."""
        return self._message_by_event_id.get(event_id)

    def author_of(self, codec_message_id: str) -> Author | None:
        """Return the author of a message; None when the channel has not brought it."""
        return self._index.author_of(codec_message_id)

    def owner_of(self, run_id: str) -> Author | None:
        """Return the author of the input that triggered a run.

        Args:
            run_id: The run.

        Returns:
            The author; None until the run's start and its input have been seen.
        """
        node = self.get_run_node(run_id)
        trigger = None if node is None else node.input_codec_message_id
        return None if trigger is None else self._index.author_of(trigger)

    def events_of(self, key: str) -> list[tuple[InputEvent[InT] | OutputEvent[OutT], FoldMeta]]:
        """List the events of a node with their origins, in the order in which they are folded.

        Args:
            key: The node's key.

        Returns:
            The events that count; none for an unknown node, and once its log has been swept.
        """
        entry = self._index.entry(key)
        return [
            (event, logged.meta)
            for logged in (() if entry is None else entry.log)
            if entry is not None and not self._folding.is_superseded(entry, logged.serial)
            for event in logged.events
        ]

    def find_input(self, codec_message_id: str) -> InboundMessage | None:
        """Return the input that brought a message; None when it has not been seen. Reads all inputs."""
        for message in self._message_by_event_id.values():
            headers = message.transport_headers
            if message.name == names.AI_INPUT and headers.get(names.CODEC_MESSAGE_ID) == codec_message_id:
                return message
        return None

    def is_agent_present(self, node: RunNode[ProjT]) -> bool | None:
        """Tell whether the agent of a run is present; None where that is not known, or needs not be."""
        if self.present_runs is None or node.status != "active":
            return None
        if node.run_id in self.present_runs:
            return True
        return False if node.claim is not None and node.claim.announced else None

    def describe(self, node: RunNode[ProjT]) -> RunInfo:
        """Describe a run."""
        return run_info(node, owner=self.owner_of(node.run_id), agent_present=self.is_agent_present(node))

    def apply(self, message: InboundMessage) -> list[TreeEvent[InT, OutT]]:
        """Take in one message of the channel.

        Args:
            message: A delivery, live or from history. A message that is not of a session changes nothing.

        Returns:
            The changes, in order; the message itself comes last.
        """
        events: list[TreeEvent[InT, OutT]] = []
        headers = message.transport_headers
        if message.name in names.RUN_LIFECYCLE:
            lifecycle = read_run_lifecycle(message)
            if lifecycle is not None:
                events = self.apply_run_lifecycle(lifecycle)
        elif message.name in names.STEP_LIFECYCLE:
            step = read_step_lifecycle(message)
            if step is not None:
                events = self.apply_step_lifecycle(step)
        else:
            decoded = self._decoder.decode(message)
            route = self._routes.find(message)
            if route is not None:
                return self._apply_append(route, decoded, message)
            if decoded.unknown is not None and len(self.unknown_kinds) < _MAX_UNKNOWN_KINDS:
                self.unknown_kinds.add(decoded.unknown)
            if decoded.inputs or decoded.outputs or names.RUN_ID in headers:
                delivery = Delivery(
                    decoded,
                    headers,
                    message.serial,
                    message.timestamp,
                    message.version,
                    client_id=message.client_id,
                    event=event_of(message) if message.name == names.AI_INPUT else None,
                )
                events = self.apply_delivery(delivery)
            self._note_author(message)
            if message.name in _AGENTS_OUTPUT:
                self._hear(headers.get(names.RUN_ID), message.changed_at)
        self._note_event(message)
        events.append(message)
        return events

    def complete(self, message: InboundMessage) -> list[TreeEvent[InT, OutT]]:
        """Take in the complete version of a message that :attr:`incomplete` expects.

        Args:
            message: The message, with its whole payload.

        Returns:
            The change; none if the message is not expected or does not count.
        """
        node = self.incomplete.complete(message)
        if node is None:
            return []
        headers = message.transport_headers
        is_run = isinstance(node, RunNode)
        return [
            OutputFolded(
                node.key if is_run else None,
                headers.get(names.INPUT_CODEC_MESSAGE_ID) if is_run else node.key,
                headers.get(names.CODEC_MESSAGE_ID),
                message.serial,
            )
        ]

    def _note_author(self, message: InboundMessage) -> None:
        message_id = message.transport_headers.get(names.CODEC_MESSAGE_ID)
        if message_id is not None and message.serial is not None:
            self._index.note_author(message_id, message.serial, message.client_id)

    def _note_event(self, message: InboundMessage) -> None:
        event_id = message.transport_headers.get(names.EVENT_ID)
        if event_id is not None:
            known = self._message_by_event_id.get(event_id)
            # Somebody may publish the id of another's event again: the earliest message is the event.
            if known is None or (message.serial or "") < (known.serial or ""):
                self._message_by_event_id[event_id] = message

    def apply_delivery(self, delivery: Delivery[InT, OutT]) -> list[TreeEvent[InT, OutT]]:
        """Take in a decoded message; without a serial, as a preview of the message to come.

        Args:
            delivery: The decoded message.

        Returns:
            The changes, in order.
        """
        decoded, headers = delivery.decoded, delivery.headers
        run_id = headers.get(names.RUN_ID)
        message_id = headers.get(names.CODEC_MESSAGE_ID)
        before = self._index.version
        folded: OutputFolded[InT, OutT] | None
        if run_id is not None:
            if not decoded.inputs and not decoded.outputs and self._index.entry(run_id) is None:
                return []
            folded = self._apply_run_message(run_id, delivery)
        elif message_id is not None and decoded.inputs:
            if headers.get(names.ROLE) == "user":
                folded = self._apply_input(message_id, delivery)
            else:
                folded = self._apply_fork(message_id, delivery)
        else:
            logger.debug(
                "Ignoring a message that names no run and is no input", extra={"serial": delivery.serial}
            )
            return []
        events: list[TreeEvent[InT, OutT]] = [] if folded is None else [folded]
        if self._index.version != before:
            events.append(TreeUpdated())
        return events

    def apply_run_lifecycle(self, event: RunLifecycleEvent) -> list[TreeEvent[InT, OutT]]:
        """Take in an event of a run's life; without a serial, as a preview of the message to come.

        Args:
            event: The event.

        Returns:
            The changes, in order.
        """
        before = self._index.version
        if isinstance(event, RunStart):
            entry = self._apply_run_start(event)
        else:
            entry = self._index.entry(event.run_id)
        if entry is not None and isinstance(entry.node, RunNode):
            if entry.life.add(event):
                entry.node.update(entry.life.standing)
                _note_life(entry.node, event)
                logger.debug(
                    "A run is %s after its %s",
                    entry.node.status,
                    event.type,
                    extra={"run": event.run_id, "serial": event.serial},
                )
            self._folding.touch(entry, event.timestamp)
            self._folding.queue_sweep(entry)
        elif entry is None:
            # History brings the end of a run before its beginning; it is kept until the run is known.
            self._early_life.setdefault(event.run_id, RunLife()).add(event)
        events: list[TreeEvent[InT, OutT]] = [event]
        if self._index.version != before:
            events.append(TreeUpdated())
        return events

    def apply_step_lifecycle(self, event: StepLifecycleEvent) -> list[TreeEvent[InT, OutT]]:
        """Take in an event of a step's life.

        Args:
            event: The event.

        Returns:
            The changes, in order.
        """
        before = self._index.version
        self._make_way(event.run_id, event.serial)
        entry = self._index.entry(event.run_id)
        if entry is None and isinstance(event, StepEnd):
            self._early_steps.setdefault(event.run_id, StepLedger()).end(event)
            return []
        if entry is None:
            entry = self._insert_run(RunNode(event.run_id, None, None, None, "", "", self._codec.init()))
        node = entry.node
        if not isinstance(node, RunNode):
            return []
        self._folding.touch(entry, event.timestamp)
        node.hear(event.timestamp)
        ledger = entry.steps = entry.steps or StepLedger()
        events: list[TreeEvent[InT, OutT]] = []
        if isinstance(event, StepStart):
            node.note_claim(event)
            self._routes.drop()
            if ledger.start(event):
                if entry.log.swept:
                    logger.warning(
                        "A step was retried after its run's log was swept;"
                        " the output of the earlier attempt stays (raise reorder_window_ms)",
                        extra={"run": node.key, "step": event.step_id},
                    )
                else:
                    self._folding.refold(entry)
                    events.append(OutputFolded(node.key))
        else:
            ledger.end(event)
        node.steps = ledger.summary()
        self._folding.queue_sweep(entry)
        if self._index.version != before:
            events.append(TreeUpdated())
        return events

    def discard_optimistic(self, codec_message_id: str) -> list[TreeEvent[InT, OutT]]:
        """Remove an input that could not be published, be it a node of its own or part of a run.

        Args:
            codec_message_id: The input.

        Returns:
            The changes; none where the channel has brought the input after all.
        """
        entry = self._index.entry_of_message(codec_message_id)
        if entry is None or not entry.optimistic:
            return []
        if entry.node.sort_serial is None:
            self._index.withdraw_fork(codec_message_id)
            self._index.remove(entry.node.key)
            return [TreeUpdated()]
        if entry.log.swept:
            return []
        entry.optimistic = False
        self._folding.refold(entry)
        return [OutputFolded(entry.node.key)]

    def _apply_append(
        self, route: Route[InT, OutT, ProjT], decoded: Decoded[InT, OutT], message: InboundMessage
    ) -> list[TreeEvent[InT, OutT]]:
        """Apply an append of a message whose route is known."""
        entry, headers, timestamp = route.entry, route.headers, message.timestamp
        if timestamp is not None and timestamp > entry.last_activity:
            self._folding.touch(entry, timestamp)
        route.run.hear(message.changed_at)
        self._folding.grow(entry, route.logged, decoded, message.version, superseded=route.superseded)
        if route.superseded:
            return [message]
        return [
            OutputFolded(
                route.key,
                headers.get(names.INPUT_CODEC_MESSAGE_ID),
                headers.get(names.CODEC_MESSAGE_ID),
                message.serial,
                decoded.outputs,
                decoded.inputs,
                headers.get(names.STEP_ID),
                headers.get(names.STEP_START_SERIAL),
                route.steered_by,
            ),
            message,
        ]

    def _apply_input(self, message_id: str, delivery: Delivery[InT, OutT]) -> OutputFolded[InT, OutT] | None:
        headers, serial = delivery.headers, delivery.serial
        entry = self._index.entry(message_id)
        if entry is not None and isinstance(entry.node, RunNode):
            # Its id is that of a run.
            return None
        if entry is None:
            entry = self._index.insert(
                InputNode(
                    message_id,
                    headers.get(names.PARENT),
                    headers.get(names.FORK_OF),
                    self._codec.init(),
                    serial,
                    delivery.client_id,
                )
            )
            self._own(message_id, entry, delivery)
        elif self._place(entry, serial) and isinstance(entry.node, InputNode):
            entry.node.client_id = delivery.client_id
        self._folding.touch(entry, delivery.timestamp)
        left_out = self._claim(entry, delivery)
        self._folding.take_in(entry, delivery, superseded=left_out)
        if left_out:
            return None
        return OutputFolded(None, message_id, message_id, serial, inputs=delivery.decoded.inputs)

    def _apply_fork(self, message_id: str, delivery: Delivery[InT, OutT]) -> OutputFolded[InT, OutT] | None:
        """Take in a client's answer that forks a reply: a run whose id the agent has not minted yet."""
        superseded = delivery.headers.get(names.SUPERSEDES)
        if superseded is not None:
            self._index.supersede(superseded, message_id)
        key = self._index.key_of_message(message_id)
        mapped = None if key is None else self.get_run_node(key)
        return self._apply_run_message(message_id if mapped is None else mapped.key, delivery)

    def _apply_run_message(
        self, run_id: str, delivery: Delivery[InT, OutT]
    ) -> OutputFolded[InT, OutT] | None:
        headers, serial = delivery.headers, delivery.serial
        message_id = headers.get(names.CODEC_MESSAGE_ID)
        input_message_id = headers.get(names.INPUT_CODEC_MESSAGE_ID)
        self._link_fork(input_message_id, run_id)
        self._make_way(run_id, serial)
        entry = self._index.entry(run_id)
        if entry is None and message_id is not None:
            owner = self._index.entry_of_message(message_id)
            if owner is not None and isinstance(owner.node, RunNode) and owner.node.start_serial is None:
                entry = owner
        if entry is None:
            entry = self._insert_run(
                RunNode(
                    run_id,
                    headers.get(names.PARENT),
                    self._owner_of(headers.get(names.FORK_OF)),
                    headers.get(names.MSG_REGENERATE),
                    headers.get(names.RUN_CLIENT_ID, ""),
                    headers.get(names.INVOCATION_ID, ""),
                    self._codec.init(),
                    serial,
                )
            )
        else:
            self._place(entry, serial)
        key = entry.node.key
        if message_id:
            self._own(message_id, entry, delivery)
        self._folding.touch(entry, delivery.timestamp)
        step_id = headers.get(names.STEP_ID)
        step_start_serial = headers.get(names.STEP_START_SERIAL)
        if step_id is not None and step_start_serial is not None and serial is not None:
            entry.steps = entry.steps or StepLedger()
            entry.steps.attribute(serial, step_id, step_start_serial)
        self._claim(entry, delivery)
        superseded = serial is not None and self._folding.is_superseded(entry, serial)
        self._folding.take_in(entry, delivery, superseded=superseded)
        steered_by = read_steer_stamp(headers)
        self._routes.keep(entry, delivery, superseded=superseded, steered_by=steered_by)
        if superseded:
            return None
        return OutputFolded(
            key,
            input_message_id,
            message_id,
            serial,
            delivery.decoded.outputs,
            delivery.decoded.inputs,
            step_id,
            step_start_serial,
            steered_by,
        )

    def _apply_run_start(self, event: RunStart) -> Entry[InT, OutT, ProjT] | None:
        self._link_fork(event.input_codec_message_id, event.run_id)
        self._make_way(event.run_id, event.serial)
        entry = self._index.entry(event.run_id)
        if entry is None:
            entry = self._insert_run(
                RunNode(
                    event.run_id,
                    event.parent,
                    self._owner_of(event.fork_of),
                    event.regenerates,
                    event.client_id,
                    event.invocation_id,
                    self._codec.init(),
                    event.serial,
                )
            )
        node = entry.node
        if not isinstance(node, RunNode):
            return None
        self._place(entry, event.serial)
        if entry.start_serial is not None and entry.start_serial < (event.serial or ""):
            # The earliest start fixes the place of a run, and its owner.
            return entry
        # The first output seen may be of a later invocation, with another parent; the start is right.
        if event.parent is not None and node.parent_codec_message_id != event.parent:
            self._index.set_parent(node, event.parent)
        if node.fork_of is None and event.fork_of is not None:
            target = self._index.key_of_message(event.fork_of)
            if target is not None and target != event.run_id:
                node.fork_of = target
                self._index.version += 1
        if node.regenerates_codec_message_id is None and event.regenerates is not None:
            node.regenerates_codec_message_id = event.regenerates
            self._index.version += 1
        node.client_id = event.client_id or node.client_id
        node.invocation_id = event.invocation_id or node.invocation_id
        node.input_codec_message_id = event.input_codec_message_id or node.input_codec_message_id
        if event.serial is not None:
            node.agent_client_id = event.publisher
            entry.start_serial = event.serial
        if event.timestamp is not None:
            node.started_at = event.timestamp
        entry.start_seen = True
        return entry

    def _owner_of(self, codec_message_id: str | None) -> str | None:
        """Find the key of the node that owns a message, where a message is named and known."""
        return None if codec_message_id is None else self._index.key_of_message(codec_message_id)

    def _insert_run(self, node: RunNode[ProjT]) -> Entry[InT, OutT, ProjT]:
        entry = self._index.insert(node)
        self._catch_up(entry, node)
        return entry

    def _hear(self, run_id: str | None, timestamp: int | None) -> None:
        """Take in the time of an agent's output, whether or not the codec can read it."""
        if run_id is None or timestamp is None:
            return
        node = self.get_run_node(run_id)
        if node is not None:
            node.hear(timestamp)
        else:
            self._early_heard[run_id] = max(timestamp, self._early_heard.get(run_id, timestamp))

    def _catch_up(self, entry: Entry[InT, OutT, ProjT], node: RunNode[ProjT]) -> None:
        """Apply the lifecycle events of a run that came before the first message that makes it a node."""
        life = self._early_life.pop(node.run_id, None)
        if life is not None:
            entry.life = life
            node.update(life.standing)
            for event in life.events:
                _note_life(node, event)
        node.hear(self._early_heard.pop(node.run_id, None))
        steps = self._early_steps.pop(node.run_id, None)
        if steps is not None:
            entry.steps = steps
            node.steps = steps.summary()

    def _place(self, entry: Entry[InT, OutT, ProjT], serial: str | None) -> bool:
        """Move a node to its earliest message, which history brings last; tell whether it was moved."""
        current = entry.node.sort_serial
        if serial is None or (current is not None and serial >= current):
            return False
        self._index.place(entry, serial)
        return True

    def _make_way(self, run_id: str, serial: str | None) -> None:
        """Remove an input that was published under the id of an earlier run."""
        entry = self._index.entry(run_id)
        if entry is None or not isinstance(entry.node, InputNode) or serial is None:
            return
        if (entry.node.serial or "") > serial:
            self._index.remove(run_id)

    def _own(self, message_id: str, entry: Entry[InT, OutT, ProjT], delivery: Delivery[InT, OutT]) -> None:
        """Decide which node a message belongs to: that of its outputs, else that of its earliest input."""
        owner = self._index.entry_of_message(message_id)
        if owner is entry:
            return
        first, serial = self._index.author_of(message_id), delivery.serial
        is_earliest = first is None or (serial is not None and serial < first.serial)
        if owner is not None and not delivery.decoded.outputs and not is_earliest:
            self._close(entry, message_id)
            return
        if self._index.own_message(message_id, entry.node.key):
            self._routes.drop()
        if owner is not None:
            self._close(owner, message_id)

    def _close(self, entry: Entry[InT, OutT, ProjT], message_id: str) -> None:
        entry.inputs = entry.inputs or InputLedger()
        if entry.inputs.close(message_id):
            self._folding.refold(entry)

    def _claim(self, entry: Entry[InT, OutT, ProjT], delivery: Delivery[InT, OutT]) -> bool:
        """Note who published an input or output; tell whether an input does not count."""
        headers, serial, decoded = delivery.headers, delivery.serial, delivery.decoded
        message_id = headers.get(names.CODEC_MESSAGE_ID)
        if serial is None:
            return False
        if decoded.outputs and message_id is not None:
            self._close(entry, message_id)
        if not decoded.inputs:
            return False
        entry.inputs = entry.inputs or InputLedger()
        speaks = any(getattr(event, "kind", None) == USER_MESSAGE for event in decoded.inputs)
        entry.inputs.add(InputClaim(serial, delivery.client_id, message_id, delivery.event, speaks))
        return entry.inputs.is_left_out(serial)

    def _link_fork(self, fork_message_id: str | None, run_id: str) -> None:
        """Join a client's fork and the run that the agent minted for it, in either order of arrival."""
        if fork_message_id is None or fork_message_id == run_id:
            return
        fork, run = self._index.entry(fork_message_id), self._index.entry(run_id)
        if fork is not None and isinstance(fork.node, RunNode):
            if run is None:
                self._index.rekey(fork, fork.node, run_id)
                self._catch_up(fork, fork.node)
            elif isinstance(run.node, RunNode):
                self._merge(fork, fork.node, run, run.node)
        elif self._index.key_of_message(fork_message_id) is None:
            self._index.own_message(fork_message_id, run_id)

    def _merge(
        self,
        fork: Entry[InT, OutT, ProjT],
        fork_node: RunNode[ProjT],
        run: Entry[InT, OutT, ProjT],
        node: RunNode[ProjT],
    ) -> None:
        """Join a fork and its run, which a message without the fork's id has made known before."""
        self._index.merge(fork, run)
        node.hear(fork_node.last_heard_at)
        self._place(run, fork_node.start_serial)
        if node.parent_codec_message_id is None and fork_node.parent_codec_message_id is not None:
            self._index.set_parent(node, fork_node.parent_codec_message_id)
        self._folding.refold(run)


def _note_life(node: RunNode[ProjT], event: RunLifecycleEvent) -> None:
    """Take in who works on a run, and when it was heard of."""
    node.hear(event.timestamp)
    if isinstance(event, RunStart | RunResume):
        node.note_claim(event)
