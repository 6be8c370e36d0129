"""The view of a client: it navigates branches, and writes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, cast

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import BranchHandle, ConversationNode, Navigable, RunNode
from ably_ai_transport.session.client_run import ClientRun
from ably_ai_transport.session.materialisation import Materialisation
from ably_ai_transport.session.view import View
from ably_ai_transport.wire import AITransportError, ErrorCode


@dataclass(frozen=True, slots=True)
class SendOptions:
    """What a send adds to its inputs.

    Attributes:
        parent: The message before it; None lets the view choose its newest.
        fork_of: The message that it replaces.
        run_id: The run that it goes on with.
        role: Who speaks.
        supersedes: The suspended run that it answers in a branch of its own.
    """

    parent: str | None = None
    fork_of: str | None = None
    run_id: str | None = None
    role: str = "user"
    supersedes: str | None = None


class Sender(Protocol[InT, OutT, ProjT, MsgT]):
    """Publishes the inputs of one turn."""

    def __call__(
        self, inputs: Sequence[InT], options: SendOptions, newest: str | None, /
    ) -> Awaitable[ClientRun[InT, OutT, ProjT, MsgT]]:
        """Publish the inputs; ``newest`` is the message to follow where none is named."""
        ...


class ClientView(View[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """A window on the branch that a person navigates to, and the way to add to it.

    Several views on one session have a window and a selection each.
    """

    def __init__(
        self,
        materialisation: Materialisation[InT, OutT, ProjT, MsgT],
        send: Sender[InT, OutT, ProjT, MsgT],
        *,
        on_exception: Callable[[Exception], None],
        on_close: Callable[[Self], None] | None = None,
    ) -> None:
        self._branches = Navigable(materialisation.tree)
        self._send = send
        super().__init__(
            materialisation,
            self._branches,
            on_exception=on_exception,
            on_close=on_close,
            withholds_history=True,
        )

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

        A new message is shown at once, and replaced by what the channel brings back.

        Args:
            inputs: One input, or several: at most one new message, and any number that amend others.
            parent: The message to follow; the newest visible one by default.
            fork_of: The message that this one replaces.
            run_id: The run to go on with.
            role: Who speaks.
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
        return await self._send_inputs(_as_sequence(inputs), options)

    async def regenerate(
        self, codec_message_id: str, *, run_id: str | None = None
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        """Ask for another reply in place of an assistant's message.

        Args:
            codec_message_id: The message to replace.
            run_id: The run to go on with.

        Returns:
            The run that brings the new reply.

        Raises:
            AITransportError: The message is not known, is not a reply, or follows nothing (40003); or as
                :meth:`send`.
        """
        self._check_open("regenerate")
        node = self._tree.get_node_by_codec_message_id(codec_message_id)
        if not isinstance(node, RunNode):
            raise AITransportError(
                f"unable to regenerate; message not found in tree: {codec_message_id}",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        before = self._message_before(node, codec_message_id)
        if before is None:
            raise AITransportError(
                f"unable to regenerate; parent user message not found for {codec_message_id}",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        anchor = codec_message_id
        if node.regenerates_codec_message_id is not None:
            messages = self._tree.codec.get_messages(node.projection)
            if messages and messages[0].codec_message_id == codec_message_id:
                anchor = node.regenerates_codec_message_id
        event = self._tree.codec.create_regenerate(anchor, before)
        run = await self._send([event], SendOptions(parent=before, run_id=run_id), before)
        if not self.closed and self._branches.follow_regeneration(anchor):
            self._state.recompute_if_changed()
            self._notify()
        return run

    async def edit(
        self, codec_message_id: str, inputs: InT | Sequence[InT], *, run_id: str | None = None
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        """Replace a message of a person, in a branch of its own.

        Args:
            codec_message_id: The message to replace.
            inputs: What to say instead.
            run_id: The run to go on with.

        Returns:
            The run that replies to the edit.

        Raises:
            AITransportError: The message is not known (40003); or as :meth:`send`.
        """
        self._check_open("edit")
        node = self._tree.get_node_by_codec_message_id(codec_message_id)
        if node is None:
            raise AITransportError(
                f"unable to edit; message not found in tree: {codec_message_id}",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        options = SendOptions(
            parent=self._message_before(node, codec_message_id), fork_of=codec_message_id, run_id=run_id
        )
        return await self._send_inputs(_as_sequence(inputs), options)

    def branch_selection(self, codec_message_id: str) -> BranchHandle[MsgT]:
        """Look at the alternatives at a message.

        Args:
            codec_message_id: The message.

        Returns:
            The alternatives, which one is shown, and ``select`` to show another.
        """
        siblings, index = self._branches.alternatives(codec_message_id)

        def select(choice: int) -> None:
            if not self.closed and self._branches.select(codec_message_id, choice):
                self.refresh()

        return BranchHandle(siblings, index, select)

    async def _send_inputs(
        self, inputs: Sequence[InT], options: SendOptions
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        run = await self._send(inputs, options, self._state.newest_id)
        if options.fork_of is not None and not self.closed:
            self._branches.follow_edit(run.input_codec_message_id)
            self.refresh()
        return run

    def _message_before(self, node: ConversationNode[ProjT], codec_message_id: str) -> str | None:
        """Find the message before another: on the visible branch, else in its run, else its parent."""
        for messages in (self.messages, self._tree.codec.get_messages(node.projection)):
            ids = [message.codec_message_id for message in messages]
            if codec_message_id in ids[1:]:
                return ids[ids.index(codec_message_id) - 1]
        # The first one in the window, or on another branch: what it follows need not have been loaded.
        return node.parent_codec_message_id

    def _check_open(self, action: str) -> None:
        if self.closed:
            raise AITransportError(f"unable to {action}; view is closed", ErrorCode.SESSION_CLOSED, 400)


def _as_sequence(inputs: InT | Sequence[InT]) -> Sequence[InT]:
    if isinstance(inputs, list | tuple):
        return cast("Sequence[InT]", inputs)
    return [cast("InT", inputs)]
