"""A client's view: it navigates branches, and writes."""

from collections.abc import Sequence
from typing import Generic, cast

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import BranchHandle, ConversationNode, Navigable, RunNode
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.client.publisher import InputWriter, SendOptions
from ably_ai_transport.session.client.run import ClientRun
from ably_ai_transport.session.client.steering import ClientSteering
from ably_ai_transport.session.view import View
from ably_ai_transport.wire import InvalidArgumentError, SessionClosedError


class ClientView(View[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """A window on the branch that a person navigates to, and the way to add to it.

    Several views on one session have a window and a selection each.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        writer: InputWriter[InT, OutT, ProjT, MsgT],
        steering: ClientSteering[InT, OutT, ProjT, MsgT],
    ) -> None:
        self._branches = Navigable(core.conversation.tree)
        self._core = core
        self._writer = writer
        self._steering = steering
        super().__init__(core, self._branches, withholds_history=True)

    async def send(
        self,
        inputs: InT | Sequence[InT],
        *,
        parent: str | None = None,
        fork_of: str | None = None,
        run_id: str | None = None,
        role: str = "user",
        supersedes: str | None = None,
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        """Publish the inputs of one turn.

        A new message is shown at once, and replaced by its echo from the channel.

        Args:
            inputs: One input, or several: at most one new message, and any number that amend others.
            parent: The message to follow; the newest visible one by default.
            fork_of: The message that this one replaces.
            run_id: The run to go on with.
            role: The role of the sender.
            supersedes: The suspended run that is answered in a branch of its own.

        Returns:
            The run that the inputs ask for.

        Raises:
            AITransportError: The view or session is closed (104004), not connected (40003), or the channel is
                not attached (104007); there is no input, or more than one new message (40003); the channel
                refused (104005, or 40160 for lack of capability). Nothing is left behind then.
        """
        self._check_open("send")
        options = SendOptions(parent, fork_of, run_id, role, supersedes)
        return await self._send_inputs(_as_sequence(inputs), options, self._window.newest_id)

    async def regenerate(
        self,
        codec_message_id: str,
        *,
        run_id: str | None = None,
        role: str = "user",
        supersedes: str | None = None,
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        """Ask for another reply in place of an assistant's message.

        Args:
            codec_message_id: The message to replace.
            run_id: The run to go on with.
            role: The role of the sender.
            supersedes: The suspended run that is answered in a branch of its own.

        Returns:
            The run that brings the new reply.

        Raises:
            InvalidArgumentError: The message is not known, is not a reply, or follows nothing (40003).
            AITransportError: As :meth:`send`.
        """
        self._check_open("regenerate")
        node = self._tree.get_node_by_codec_message_id(codec_message_id)
        if node is None:
            raise InvalidArgumentError(f"unable to regenerate; message not found in tree: {codec_message_id}")
        if not isinstance(node, RunNode):
            raise InvalidArgumentError(
                f"unable to regenerate; message {codec_message_id} is a user's message"
                " (name a reply to regenerate, or use edit() for a user's message)"
            )
        before = self._message_before(node, codec_message_id)
        if before is None:
            raise InvalidArgumentError(
                f"unable to regenerate; parent user message not found for {codec_message_id}"
            )
        anchor = codec_message_id
        if node.regenerates_codec_message_id is not None:
            messages = self._tree.codec.get_messages(node.projection)
            if messages and messages[0].codec_message_id == codec_message_id:
                anchor = node.regenerates_codec_message_id
        event = self._tree.codec.create_regenerate(anchor, before)
        options = SendOptions(before, None, run_id, role, supersedes)
        run = await self._send_inputs([event], options, before)
        if not self.closed:
            self._branches.follow_regeneration(anchor)
        return run

    async def edit(
        self,
        codec_message_id: str,
        inputs: InT | Sequence[InT],
        *,
        run_id: str | None = None,
        role: str = "user",
        supersedes: str | None = None,
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        """Replace a message of a person, in a branch of its own.

        Args:
            codec_message_id: The message to replace.
            inputs: The replacement: one input, or several.
            run_id: The run to go on with.
            role: The role of the sender.
            supersedes: The suspended run that is answered in a branch of its own.

        Returns:
            The run that replies to the edit.

        Raises:
            InvalidArgumentError: The message is not known (40003).
            AITransportError: As :meth:`send`.
        """
        self._check_open("edit")
        node = self._tree.get_node_by_codec_message_id(codec_message_id)
        if node is None:
            raise InvalidArgumentError(f"unable to edit; message not found in tree: {codec_message_id}")
        before = self._message_before(node, codec_message_id)
        options = SendOptions(before, codec_message_id, run_id, role, supersedes)
        return await self._send_inputs(_as_sequence(inputs), options, self._window.newest_id)

    def branch_selection(self, codec_message_id: str) -> BranchHandle[MsgT]:
        """Look at the alternatives at a message.

        Args:
            codec_message_id: The message.

        Returns:
            The alternatives, which one is shown, and ``select`` to show another.
        """
        siblings, index = self._branches.alternatives(codec_message_id)

        def select(choice: int) -> None:
            if not self.closed:
                self._branches.select(codec_message_id, choice)

        return BranchHandle(siblings, index, select)

    async def _send_inputs(
        self, inputs: Sequence[InT], options: SendOptions, newest: str | None
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        progress = await self._writer.send(inputs, options, newest)
        if options.fork_of is not None and not self.closed:
            self._branches.follow_edit(progress.input_codec_message_id)
        return ClientRun(self._core, progress, self._writer, self._steering)

    def _message_before(self, node: ConversationNode[ProjT], codec_message_id: str) -> str | None:
        """Find the message before another: on the visible branch, else in its run, else its parent."""
        for messages in (self.messages, self._tree.codec.get_messages(node.projection)):
            ids = [message.codec_message_id for message in messages]
            if codec_message_id in ids[1:]:
                return ids[ids.index(codec_message_id) - 1]
        # The first one in the window, or on another branch: its parent may not be loaded.
        return node.parent_codec_message_id

    def _check_open(self, action: str) -> None:
        if self.closed:
            raise SessionClosedError(f"unable to {action}; view is closed")


def _as_sequence(inputs: InT | Sequence[InT]) -> Sequence[InT]:
    if isinstance(inputs, list | tuple):
        return cast("Sequence[InT]", inputs)
    return [cast("InT", inputs)]
